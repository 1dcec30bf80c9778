"""Changes by the unmodified kubectl, and how the fleet corrects those that differ from Git."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.slow

NAMESPACE = "by-hand"


@pytest.fixture
def namespace(prod: Any) -> Iterator[str]:
    prod("create", "namespace", NAMESPACE)
    yield f"--namespace={NAMESPACE}"
    prod("delete", "namespace", NAMESPACE, "--timeout=30s")


def settings(**data: str) -> str:
    return yaml.safe_dump({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": data})


def test_apply(prod: Any, namespace: str) -> None:
    said = [prod("apply", namespace, "-f", "-", text=settings(**data)) for data in ({"a": "1"}, {"a": "1"}, {"b": "2"})]
    assert said == [f"configmap/settings {word}\n" for word in ("created", "unchanged", "configured")]
    assert prod.objects("configmap", "settings", namespace)["data"] == {"b": "2"}, "what is no longer applied goes"
    misspelt = json.dumps({**yaml.safe_load(settings()), "dota": {}})
    assert 'strict decoding error: unknown field "dota"' in prod.fails("apply", namespace, "-f", "-", text=misspelt)


def test_server_side_apply(prod: Any, namespace: str) -> None:
    """Fields have managers; a server-side apply after a client-side one keeps all fields; another manager gets a conflict."""
    prod("apply", namespace, "-f", "-", text=settings(a="1", b="2"))
    assert "serverside-applied" in prod("apply", "--server-side", namespace, "-f", "-", text=settings(a="1"))
    assert prod.objects("configmap", "settings", namespace)["data"] == {"a": "1"}
    other = ["apply", "--server-side", "--field-manager=other", namespace, "-f", "-"]
    assert 'conflict with "kubectl": .data.a' in prod.fails(*other, text=settings(a="9"))
    prod(*other, "--force-conflicts", text=settings(a="9"))
    assert prod.objects("configmap", "settings", namespace)["data"] == {"a": "9"}


def test_edit_and_patch(prod: Any, namespace: str) -> None:
    prod("create", "configmap", "settings", "--from-literal=colour=blue", namespace)
    assert "edited" in prod("edit", "configmap", "settings", namespace, editor="sed -i s/blue/green/")
    prod("patch", "configmap", "settings", namespace, "--type=merge", "-p", '{"data": {"size": "1"}}')
    prod("patch", "configmap", "settings", namespace, "--type=json", "-p", '[{"op": "remove", "path": "/data/size"}]')
    prod("label", "configmap", "settings", namespace, "kept=yes")
    found = prod.objects("configmap", "settings", namespace)
    assert found["data"] == {"colour": "green"} and found["metadata"]["labels"] == {"kept": "yes"}


def test_a_deployment_from_create_to_delete(prod: Any, namespace: str) -> None:
    image = "ghcr.io/stefanprodan/podinfo"
    prod("create", "deployment", "web", f"--image={image}:6.9.0", "--replicas=2", namespace)
    assert "successfully rolled out" in prod("rollout", "status", "deployment/web", "--timeout=30s", namespace)
    prod("set", "image", "deployment/web", f"podinfo={image}:6.9.1", namespace)
    prod("rollout", "status", "deployment/web", "--timeout=30s", namespace)
    prod("rollout", "undo", "deployment/web", namespace)
    prod("rollout", "status", "deployment/web", "--timeout=30s", namespace)
    prod("scale", "deployment/web", "--replicas=3", namespace)
    prod("wait", "deployment/web", "--for=jsonpath={.status.readyReplicas}=3", "--timeout=30s", namespace)
    images = {pod["spec"]["containers"][0]["image"] for pod in prod.objects("pods", "-l", "app=web", namespace)["items"]}
    assert images == {f"{image}:6.9.0"}
    prod("delete", "deployment", "web", namespace)
    prod("wait", "pod", "-l", "app=web", "--for=delete", "--timeout=30s", namespace)
    assert prod.objects("pods", namespace)["items"] == []


def test_diff_shows_what_apply_would_do(prod: Any, namespace: str) -> None:
    prod("apply", namespace, "-f", "-", text=settings(a="1"))
    done = prod.run("diff", namespace, "-f", "-", text=settings(a="2"))
    assert done.returncode == 1 and "-  a: " in done.stdout and "+  a: " in done.stdout
    assert prod.objects("configmap", "settings", namespace)["data"] == {"a": "1"}


# --- the state in Git is restored ------------------------------------------------------------------------------------


def test_a_deleted_pod_is_replaced(prod: Any) -> None:
    before = prod("get", "pods", "-n", "podinfo", "-o", "name").split()
    prod("delete", before[0], "-n", "podinfo")
    prod("rollout", "status", "deploy/podinfo", "-n", "podinfo", "--timeout=30s")
    after = prod("get", "pods", "-n", "podinfo", "-o", "name").split()
    assert len(after) == len(before) and before[0] not in after


def test_changed_and_deleted_objects_of_a_kustomization_are_restored(staging: Any) -> None:
    """A changed and a deleted HelmRelease are restored at the next reconciliation, not before."""
    version = staging.objects("helmrelease", "podinfo", "-n", "cluster-config")["spec"]["interval"]
    staging("patch", "helmrelease", "podinfo", "-n", "cluster-config", "--type=merge", "-p", '{"spec": {"interval": "59m"}}')
    assert staging.objects("helmrelease", "podinfo", "-n", "cluster-config")["spec"]["interval"] == "59m"
    staging.reconcile("kustomization", "cluster-config-apps")
    assert staging.objects("helmrelease", "podinfo", "-n", "cluster-config")["spec"]["interval"] == version
    staging("delete", "namespace", "podinfo", "--timeout=30s")
    staging.reconcile("kustomization", "cluster-config-apps")
    assert staging("get", "namespace", "podinfo", "-o", "jsonpath={.status.phase}") == "Active"
    # The release's objects were deleted with the namespace, which no kustomization knows. Helm has to run again.
    staging.reconcile("helmrelease", "podinfo", force=True)
    staging("rollout", "status", "deploy/podinfo", "-n", "podinfo", "--timeout=30s")


def test_a_release_without_drift_detection_keeps_changes_until_it_is_forced(prod: Any) -> None:
    """The helm-controller corrects drift only if the release asks for it; podinfo's does not."""
    release = prod.objects("helmrelease", "podinfo", "-n", "cluster-config")
    assert "driftDetection" not in release["spec"]
    replicas = prod.objects("deploy", "podinfo", "-n", "podinfo")["spec"]["replicas"]
    prod("scale", "deploy/podinfo", "-n", "podinfo", f"--replicas={replicas + 1}")
    prod.reconcile("helmrelease", "podinfo")
    assert prod.objects("deploy", "podinfo", "-n", "podinfo")["spec"]["replicas"] == replicas + 1
    prod("delete", "deploy", "podinfo", "-n", "podinfo")
    prod.reconcile("helmrelease", "podinfo", force=True)
    prod("wait", "deploy/podinfo", "-n", "podinfo", f"--for=jsonpath={{.status.readyReplicas}}={replicas}", "--timeout=30s")


def test_drift_of_a_managed_cluster_is_corrected(hub: Any) -> None:
    """The releases of clusters ask for drift detection: the object, ASO and ARM get the values in Git again."""
    cluster = ["managedcluster", "podinfo-prod-0-aks", "-n", "clusters"]
    before = hub.objects(*cluster)
    change = {"metadata": {"labels": {"fleet/environment": "other"}}, "spec": {"tags": {"environment": "other"}}}
    hub("patch", *cluster, "--type=merge", "-p", json.dumps(change))
    hub("wait", *cluster, "--for=jsonpath={.status.tags.environment}=other", "--timeout=30s")
    hub.reconcile("helmrelease", "podinfoprod")
    tag = before["spec"]["tags"]["environment"]
    hub("wait", *cluster, f"--for=jsonpath={{.status.tags.environment}}={tag}", "--timeout=30s")
    hub("wait", *cluster, "--for=condition=Ready", "--timeout=30s")
    after = hub.objects(*cluster)
    assert after["spec"] == before["spec"] and after["metadata"]["labels"] == before["metadata"]["labels"]
    events = hub("events", "-n", "cluster-config", "--for=helmrelease/podinfoprod")
    assert "DriftDetected" in events and "DriftCorrected" in events


def test_a_deleted_managed_cluster_is_recreated(fleet: Any, hub: Any) -> None:
    """Its dependents are recreated too, and the new cluster gets its workloads as the first one did."""
    names = {"managedcluster": "podinfo-prod-0-aks"}
    for kind in ("extension", "fluxconfiguration"):
        (names[kind],) = (
            item["metadata"]["name"]
            for item in hub.objects(f"{kind}s", "-n", "clusters")["items"]
            if item["spec"]["owner"]["name"] == "podinfo-prod-0-aks"
        )
    before = hub.objects("managedcluster", "podinfo-prod-0-aks", "-n", "clusters")
    hub("delete", "managedcluster", "podinfo-prod-0-aks", "-n", "clusters", "--timeout=60s")
    for kind in ("extension", "fluxconfiguration"):
        hub("wait", f"{kind}/{names[kind]}", "-n", "clusters", "--for=delete", "--timeout=30s")
    hub.reconcile("helmrelease", "podinfoprod")
    for kind, name in names.items():
        hub("wait", f"{kind}/{name}", "-n", "clusters", "--for=condition=Ready", "--timeout=60s")
    after = hub.objects("managedcluster", "podinfo-prod-0-aks", "-n", "clusters")
    assert after["metadata"]["uid"] != before["metadata"]["uid"] and after["spec"] == before["spec"]
    fresh = fleet.cluster("podinfo-prod-0-aks")
    fresh("wait", "kustomization", "cluster-config-apps", "-n", "cluster-config", "--for=create", "--timeout=30s")
    fresh("wait", "kustomization", "cluster-config-apps", "-n", "cluster-config", "--for=condition=Ready", "--timeout=60s")
    fresh("rollout", "status", "deploy/podinfo", "-n", "podinfo", "--timeout=30s")


def test_a_tenant_without_an_applier_gets_an_error(prod: Any, namespace: str) -> None:
    """Azure's Flux applies as the namespace's `flux-applier` by default, and allows no reference out of the namespace."""
    template = {"chart": "podinfo", "sourceRef": {"kind": "HelmRepository", "name": "podinfo"}}
    repository = prod.objects("helmrepository", "podinfo", "-n", "cluster-config")["spec"]
    borrowed = {"kind": "OCIRepository", "name": "charts", "namespace": "cluster-config"}
    release = {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease"}
    objects = [
        {
            "apiVersion": "source.toolkit.fluxcd.io/v1",
            "kind": "HelmRepository",
            "metadata": {"name": "podinfo"},
            "spec": {key: repository[key] for key in ("url", "interval")},
        },
        {**release, "metadata": {"name": "tenant"}, "spec": {"interval": "1h", "chart": {"spec": template}}},
        {**release, "metadata": {"name": "borrower"}, "spec": {"interval": "1h", "chartRef": borrowed}},
    ]
    prod("apply", namespace, "-f", "-", text=yaml.safe_dump_all(objects))
    prod(
        "wait",
        "helmrelease/tenant",
        namespace,
        "--for=jsonpath={.status.conditions[?(@.type=='Ready')].reason}=RESTClientError",
        "--timeout=30s",
    )
    row = next(row for row in prod.table("helmreleases", namespace) if row["NAME"] == "tenant")
    assert (row["READY"], row["STATUS"]) == ("False", 'serviceaccounts "flux-applier" not found')
    prod("wait", "helmrelease/borrower", namespace, "--for=condition=Stalled", "--timeout=30s")
    said = "cross-namespace references are not allowed: cannot access OCIRepository cluster-config/charts"
    row = next(row for row in prod.table("helmreleases", namespace) if row["NAME"] == "borrower")
    assert (row["READY"], row["STATUS"]) == ("False", said)
