"""kubectl on workloads: rollouts, cascading deletion, labels and annotations, logs, nodes, and refusals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.slow

IMAGE = "ghcr.io/stefanprodan/podinfo"


@pytest.fixture
def namespace(prod: Any) -> Iterator[str]:
    prod("create", "namespace", "workloads")
    yield "--namespace=workloads"
    prod("delete", "namespace", "workloads", "--timeout=30s")


@pytest.fixture
def web(prod: Any, namespace: str) -> str:
    prod("create", "deployment", "web", f"--image={IMAGE}:6.9.0", "--replicas=2", namespace)
    prod("rollout", "status", "deployment/web", "--timeout=30s", namespace)
    return namespace


def names(prod: Any, kind: str, namespace: str) -> list[str]:
    return list(prod("get", kind, namespace, "-o", "name").split())


def test_rollouts_have_a_history(prod: Any, web: str) -> None:
    prod("annotate", "deployment/web", "kubernetes.io/change-cause=first", web)
    prod("rollout", "restart", "deployment/web", web)
    prod("rollout", "status", "deployment/web", "--timeout=30s", web)
    prod("set", "image", "deployment/web", f"podinfo={IMAGE}:6.9.1", web)
    prod("annotate", "deployment/web", "kubernetes.io/change-cause=a newer podinfo", "--overwrite", web)
    prod("rollout", "status", "deployment/web", "--timeout=30s", web)
    lines = [
        line.split(maxsplit=1) for line in prod("rollout", "history", "deployment/web", web).splitlines() if line[:1].isdigit()
    ]
    assert [number for number, _ in lines] == ["1", "2", "3"] and lines[2][1] == "a newer podinfo"
    assert f"Image:\t{IMAGE}:6.9.0" in prod("rollout", "history", "deployment/web", "--revision=2", web)
    prod("rollout", "undo", "deployment/web", "--to-revision=1", web)
    prod("rollout", "status", "deployment/web", "--timeout=30s", web)
    assert prod("get", "deployment", "web", web, "-o", "jsonpath={.spec.template.spec.containers[0].image}") == f"{IMAGE}:6.9.0"
    assert len(names(prod, "replicasets", web)) == 3, "what is rolled back to keeps its ReplicaSet"


def test_a_paused_rollout_waits(prod: Any, web: str) -> None:
    before = names(prod, "replicasets", web)
    prod("rollout", "pause", "deployment/web", web)
    prod("set", "env", "deployment/web", "A=1", web)
    prod("set", "resources", "deployment/web", "--limits=cpu=200m", web)
    prod("wait", "deployment/web", "--for=jsonpath={.status.observedGeneration}=4", "--timeout=30s", web)
    assert names(prod, "replicasets", web) == before
    prod("rollout", "resume", "deployment/web", web)
    prod("rollout", "status", "deployment/web", "--timeout=30s", web)
    assert len(names(prod, "replicasets", web)) == 2, "both changes came as one"


@pytest.mark.parametrize("cascade", ["background", "foreground"])
def test_deleting_an_owner_deletes_its_dependents(prod: Any, web: str, cascade: str) -> None:
    prod("delete", "deployment", "web", f"--cascade={cascade}", "--timeout=30s", web)
    if cascade == "background":
        prod("wait", "pod,replicaset", "-l", "app=web", "--for=delete", "--timeout=30s", web)
    assert names(prod, "replicasets,pods", web) == []


def test_orphans_stay_and_are_adopted(prod: Any, web: str) -> None:
    pods = names(prod, "pods", web)
    prod("delete", "deployment", "web", "--cascade=orphan", web)
    assert names(prod, "pods", web) == pods
    (replicaset,) = prod.objects("replicasets", web)["items"]
    assert "ownerReferences" not in replicaset["metadata"] and replicaset["status"]["readyReplicas"] == 2
    prod("create", "deployment", "web", f"--image={IMAGE}:6.9.0", "--replicas=2", web)
    prod("rollout", "status", "deployment/web", "--timeout=30s", web)
    (adopted,) = prod.objects("replicasets", web)["items"]
    assert adopted["metadata"]["uid"] == replicaset["metadata"]["uid"] and names(prod, "pods", web) == pods
    assert adopted["metadata"]["ownerReferences"][0]["kind"] == "Deployment"


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
def test_pods_of_sets_are_orphaned_and_adopted(prod: Any, namespace: str, kind: str) -> None:
    labels = {"app": "kept"}
    container = {"name": "podinfo", "image": f"{IMAGE}:6.9.0"}
    spec: dict[str, Any] = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        **({"serviceName": "kept", "replicas": 2} if kind == "StatefulSet" else {}),
    }
    manifest = yaml.safe_dump({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "kept"}, "spec": spec})

    def pods() -> dict[str, str]:
        prod("rollout", "status", f"{kind}/kept", "--timeout=30s", namespace)
        found = prod.objects("pods", namespace, "-l", "app=kept")["items"]
        return {item["metadata"]["uid"]: item["metadata"]["ownerReferences"][0]["uid"] for item in found}

    prod("apply", "-f", "-", namespace, text=manifest)
    before = pods()
    prod("delete", kind, "kept", "--cascade=orphan", namespace)
    prod("apply", "-f", "-", namespace, text=manifest)
    uid = prod.objects(kind, "kept", namespace)["metadata"]["uid"]
    assert before and pods() == dict.fromkeys(before, uid)


def test_labels_and_annotations(prod: Any, web: str) -> None:
    assert prod("label", "pods", "--all", "tier=front", web).count("labeled") == 2
    assert len(names(prod, "pods", f"{web}")) == len(
        prod("get", "pods", "-l", "tier in (front, back),!absent", "-o", "name", web).split()
    )
    assert "'tier' already has a value (front), and --overwrite is false" in prod.fails(
        "label", "pods", "--all", "tier=back", web
    )
    prod("label", "pods", "--all", "tier=back", "--overwrite", web)
    assert {row["TIER"] for row in prod.table("pods", web, "-L", "tier")} == {"back"}
    prod("label", "pods", "--all", "tier-", web)
    prod("annotate", "deployment", "web", "example.org/note=kept", web)
    prod("annotate", "deployment", "web", "example.org/note-", web)
    assert "example.org/note" not in prod.objects("deployment", "web", web)["metadata"]["annotations"]


def test_a_pod_that_runs_to_its_end(prod: Any, namespace: str) -> None:
    prod("run", "one", "--image=busybox:1.36", "--restart=Never", namespace, "--", "echo", "hello")
    prod("wait", "pod/one", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=30s", namespace)
    assert prod("logs", "one", namespace) == "hello\n"
    (line,) = prod("logs", "one", "--timestamps", namespace).splitlines()
    assert line.endswith("Z hello") and line[:2] == "20"
    assert 'previous terminated container "one" in pod "one" not found' in prod.fails("logs", "one", "--previous", namespace)
    prod("create", "job", "count", "--image=busybox:1.36", namespace, "--", "echo", "counted")
    prod("wait", "job/count", "--for=condition=Complete", "--timeout=30s", namespace)
    assert prod("logs", "job/count", "--tail=1", namespace) == "counted\n"


def test_a_pod_without_its_label_is_released_and_replaced(prod: Any, web: str) -> None:
    """A Pod without its label leaves the ReplicaSet, as when it is taken out of service for inspection."""
    before = names(prod, "pods", web)
    prod("label", before[0], "app-", web)
    with prod.watching("get", before[0], web, "-w", "-o", "jsonpath=[{.metadata.ownerReferences[*].name}]{'\\n'}") as lines:
        assert "[]" in lines, "the Pod has no owner now"
    prod("wait", "pods", "-l", "app=web", "--for=condition=Ready", "--timeout=30s", web)
    assert len(names(prod, "pods", web)) == 3 and len(prod.objects("pods", "-l", "app=web", web)["items"]) == 2


def test_server_side_dry_runs_change_nothing(prod: Any, web: str) -> None:
    said = prod("set", "image", "deployment/web", "podinfo=other:1", "--dry-run=server", web)
    assert said == "deployment.apps/web image updated (server dry run)\n"
    assert prod("delete", "deployment", "web", "--dry-run=server", web).strip().endswith("deleted (server dry run)")
    assert prod("get", "deployment", "web", web, "-o", "jsonpath={.spec.template.spec.containers[0].image}") == f"{IMAGE}:6.9.0"


def test_replace_and_prune(prod: Any, namespace: str) -> None:
    def maps(*wanted: str) -> str:
        return yaml.safe_dump_all(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"set": "a"}}, "data": {"n": name}}
            for name in wanted
        )

    prod("apply", "-f", "-", namespace, text=maps("a", "b"))
    said = prod("apply", "--prune", "-l", "set=a", "--prune-allowlist=core/v1/ConfigMap", "-f", "-", namespace, text=maps("a"))
    assert said.splitlines() == ["configmap/a unchanged", "configmap/b pruned"]
    assert "replaced" in prod("replace", "-f", "-", namespace, text=maps("a"))
    assert 'configmaps "b" not found' in prod.fails("replace", "-f", "-", namespace, text=maps("b"))
    forced = prod("replace", "--force", "-f", "-", namespace, text=maps("a"))
    assert forced.splitlines() == ['configmap "a" deleted', "configmap/a replaced"]


def test_kustomizations_are_applied_by_kubectl(prod: Any, namespace: str, tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("configMapGenerator: [{name: made, literals: [a=1]}]\n")
    (name,) = [line.split()[0] for line in prod("apply", "-k", str(tmp_path), namespace).splitlines()]
    assert name.startswith("configmap/made-")
    done = prod.run("diff", "-k", str(tmp_path), namespace)
    assert (done.returncode, done.stdout) == (0, "")
    assert name.removeprefix("configmap/") in prod("delete", "-k", str(tmp_path), namespace)


def test_the_scale_and_status_subresources(prod: Any, web: str) -> None:
    prod("patch", "deployment", "web", "--subresource=scale", "--type=merge", "-p", '{"spec": {"replicas": 1}}', web)
    prod("wait", "deployment/web", "--for=jsonpath={.status.replicas}=1", "--timeout=30s", web)
    assert prod.objects("deployment", "web", "--subresource=scale", web)["kind"] == "Scale"
    said = prod.fails("scale", "deployment/web", "--current-replicas=5", "--replicas=6", web)
    assert "Expected replicas to be 5, was 1" in said


def test_a_node_is_cordoned_drained_and_uncordoned(staging: Any) -> None:
    """Drained Pods stay pending, because there is one node; `uncordon` makes it schedulable again."""
    (node,) = staging("get", "nodes", "-o", "name").split()
    staging("cordon", node)
    try:
        (row,) = staging.table("nodes")
        assert row["STATUS"] == "Ready,SchedulingDisabled"
        said = staging(
            "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--pod-selector=app.kubernetes.io/name=podinfo"
        )
        assert "evicting pod podinfo/" in said and said.rstrip().endswith("drained")
        staging(
            "wait",
            "pods",
            "-n",
            "podinfo",
            "--for=condition=PodScheduled=false",
            "-l",
            "app.kubernetes.io/name=podinfo",
            "--timeout=30s",
        )
    finally:
        staging("uncordon", node)
    staging("rollout", "status", "deployment/podinfo", "-n", "podinfo", "--timeout=30s")
    staging("taint", "nodes", node.removeprefix("node/"), "example.org/only=me:NoSchedule")
    assert "example.org/only" in staging("describe", node)
    staging("taint", "nodes", node.removeprefix("node/"), "example.org/only-")


def test_discovery_by_kubectl(prod: Any) -> None:
    assert {"v1", "apps/v1", "helm.toolkit.fluxcd.io/v2", "rbac.authorization.k8s.io/v1"} <= set(prod("api-versions").split())
    lines = prod("api-resources", "--api-group=source.toolkit.fluxcd.io", "-o", "wide", "--no-headers").splitlines()
    assert {line.split()[0] for line in lines} >= {"gitrepositories", "helmcharts", "helmrepositories", "ocirepositories"}
    assert all(
        "delete,deletecollection,get,list,patch,create,update,watch" in line or "create,delete" in line for line in lines
    )
    assert "helmcharts" in prod("api-resources", "--namespaced=true", "--verbs=list", "-o", "name")
    assert "<[]Container> -required-" in prod("explain", "pod.spec", "--recursive")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["exec", "deploy/podinfo", "--", "ls"], "the sandbox does not emulate exec"),
        (["attach", "deploy/podinfo"], "the sandbox does not emulate attach"),
        (["port-forward", "deploy/podinfo", "0:9898"], "the sandbox does not emulate port forwarding"),
        (["cp", "deploy/podinfo:/x", "x"], ""),
        (["top", "nodes"], "Metrics API not available"),
        (["autoscale", "deploy/podinfo", "--max=3"], ""),
        (["create", "quota", "few", "--hard=pods=1"], "the sandbox does not emulate ResourceQuota"),
        (["certificate", "approve", "x"], 'the server doesn\'t have a resource type "certificatesigningrequests"'),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_commands_not_emulated_are_refused_by_name(prod: Any, arguments: list[str], said: str) -> None:
    assert said in prod.fails("-n", "podinfo", *arguments)
