"""Kustomizations: applied objects, inventory, and the conditions and events as Flux sets them."""

from __future__ import annotations

import base64
from typing import Any

from azuresandbox.machine.images.flux.kustomize import program
from tests.flux_kustomize.apply_world import NAMESPACE, Cluster, conditions, with_program

MAIN = "main@sha1:1111111111111111111111111111111111111111"
NEXT = "main@sha1:2222222222222222222222222222222222222222"


def kustomization(name: str = "apps", **spec: Any) -> dict[str, Any]:
    source = {"kind": "GitRepository", "name": "fleet"}
    return {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": name},
        "spec": {"interval": "10m", "sourceRef": source, "path": "./apps", "prune": True, **spec},
        "status": {"observedGeneration": -1},
    }


def config_map(name: str, namespace: str = NAMESPACE, **data: str) -> str:
    values = "".join(f"\n  {key}: {value!r}" for key, value in data.items()) or " {}"
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  namespace: {namespace}\ndata:{values}\n"


@with_program(program)
async def test_a_revision_is_applied_with_inventory_labels_and_events(cluster: Cluster) -> None:
    cluster.files(MAIN, {"apps/a.yaml": config_map("a", x="1"), "apps/sub/b.yaml": config_map("b")})
    cluster.create(kustomization())
    await cluster.settle()
    found = cluster.get("Kustomization", "apps")
    assert conditions(found) == {"Ready": ("True", "ReconciliationSucceeded", f"Applied revision: {MAIN}")}
    status = found["status"]
    assert status["inventory"]["entries"] == [
        {"id": f"{NAMESPACE}_a__ConfigMap", "v": "v1"},
        {"id": f"{NAMESPACE}_b__ConfigMap", "v": "v1"},
    ]
    assert (status["lastAppliedRevision"], status["lastAttemptedRevision"], status["observedGeneration"]) == (MAIN, MAIN, 1)
    assert cluster.get("ConfigMap", "a")["metadata"]["labels"] == {
        "kustomize.toolkit.fluxcd.io/name": "apps",
        "kustomize.toolkit.fluxcd.io/namespace": NAMESPACE,
    }
    changes = f"ConfigMap/{NAMESPACE}/a created\nConfigMap/{NAMESPACE}/b created"
    assert cluster.events("apps") == [
        ("Normal", "Progressing", changes),
        ("Normal", "ReconciliationSucceeded", "Reconciliation finished in 0s, next run in 10m0s"),
    ]
    assert found["metadata"]["finalizers"] == ["finalizers.fluxcd.io"]


@with_program(program)
async def test_a_settled_object_causes_no_writes(cluster: Cluster) -> None:
    cluster.files(MAIN, {"apps/a.yaml": config_map("a")})
    cluster.create(kustomization(wait=True))
    await cluster.settle()
    writes = list(cluster.api.writes)
    await cluster.advance(3600)
    assert cluster.api.writes == writes


@with_program(program)
async def test_drift_is_undone_at_the_interval(cluster: Cluster) -> None:
    cluster.files(MAIN, {"apps/a.yaml": config_map("a", x="1")})
    cluster.create(kustomization())
    await cluster.settle()
    cluster.api.put({**cluster.get("ConfigMap", "a"), "data": {"x": "changed"}})
    await cluster.advance(601)
    assert cluster.get("ConfigMap", "a")["data"] == {"x": "1"}
    assert ("Normal", "ReconciliationSucceeded", f"ConfigMap/{NAMESPACE}/a configured") in cluster.events("apps")


@with_program(program)
async def test_objects_removed_from_the_source_are_pruned_unless_marked(cluster: Cluster) -> None:
    kept = config_map("kept").replace("\ndata:", "\n  annotations: {kustomize.toolkit.fluxcd.io/prune: disabled}\ndata:")
    cluster.files(MAIN, {"apps/a.yaml": config_map("a"), "apps/b.yaml": config_map("b"), "apps/kept.yaml": kept})
    cluster.create(kustomization())
    await cluster.settle()
    cluster.files(NEXT, {"apps/a.yaml": config_map("a")})
    await cluster.settle()
    assert cluster.has("ConfigMap", "a") and cluster.has("ConfigMap", "kept") and not cluster.has("ConfigMap", "b")
    assert ("Normal", "Progressing", f"ConfigMap/{NAMESPACE}/kept skipped\nConfigMap/{NAMESPACE}/b deleted") in cluster.events(
        "apps"
    )
    assert cluster.get("Kustomization", "apps")["status"]["inventory"]["entries"] == [
        {"id": f"{NAMESPACE}_a__ConfigMap", "v": "v1"}
    ]


@with_program(program)
async def test_deleting_prunes_by_inventory_and_the_policy(cluster: Cluster) -> None:
    cluster.files(MAIN, {"apps/a.yaml": config_map("a")})
    cluster.create(kustomization())
    cluster.create(kustomization("other", path="./apps", deletionPolicy="Orphan"))
    await cluster.settle()
    owner = cluster.get("ConfigMap", "a")["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"]
    for name in ("apps", "other"):
        cluster.delete("Kustomization", name)
        await cluster.settle()
        assert not cluster.has("Kustomization", name)
        if name == "other":
            assert cluster.has("ConfigMap", "a") == (owner == "other")


@with_program(program)
async def test_missing_source_path_and_artifact_are_named(cluster: Cluster) -> None:
    cluster.create(kustomization())
    await cluster.settle()
    ready = conditions(cluster.get("Kustomization", "apps"))["Ready"]
    assert ready == ("False", "ArtifactFailed", 'GitRepository.source.toolkit.fluxcd.io "fleet" not found')
    source = {"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": {"name": "fleet"}}
    cluster.create({**source, "spec": {}})
    await cluster.advance(601)
    ready = conditions(cluster.get("Kustomization", "apps"))["Ready"]
    assert ready == ("False", "ArtifactFailed", "Source artifact not found, retrying in 30s")
    cluster.files(MAIN, {"other/a.yaml": config_map("a")})
    await cluster.settle()
    status, reason, message = conditions(cluster.get("Kustomization", "apps"))["Ready"]
    assert (status, reason) == ("False", "ArtifactFailed")
    assert message.startswith("kustomization path not found: stat /tmp/kustomization-")
    assert message.endswith("/apps: no such file or directory")
    reconciling = conditions(cluster.get("Kustomization", "apps"))["Reconciling"]
    assert reconciling[:2] == ("True", "ProgressingWithRetry")


@with_program(program)
async def test_a_broken_build_has_kustomizes_message(cluster: Cluster) -> None:
    cluster.files(MAIN, {"apps/kustomization.yaml": "resources: [gone.yaml]\n"})
    cluster.create(kustomization())
    await cluster.settle()
    status, reason, message = conditions(cluster.get("Kustomization", "apps"))["Ready"]
    assert (status, reason) == ("False", "BuildFailed")
    assert message.startswith(
        "kustomize build failed: accumulating resources: accumulation err='accumulating resources from 'gone.yaml': open /tmp/"
    )


@with_program(program)
async def test_dependencies_wait_for_ready_and_revision(cluster: Cluster) -> None:
    cluster.files(MAIN, {"apps/a.yaml": config_map("a"), "infra/b.yaml": config_map("b")})
    cluster.create(kustomization(dependsOn=[{"name": "infra"}]))
    await cluster.settle()
    ready = conditions(cluster.get("Kustomization", "apps"))["Ready"]
    missing = 'kustomizations.kustomize.toolkit.fluxcd.io "infra" not found'
    assert ready == ("False", "DependencyNotReady", f"dependency '{NAMESPACE}/infra' not found: {missing}")
    assert cluster.events("apps")[-1] == (
        "Normal",
        "DependencyNotReady",
        "Dependencies do not meet ready condition, retrying in 30s",
    )
    cluster.create(kustomization("infra", path="./infra"))
    await cluster.settle()
    assert conditions(cluster.get("Kustomization", "apps"))["Ready"][0] == "True"


@with_program(program)
async def test_definitions_come_first_and_errors_name_the_object(cluster: Cluster) -> None:
    crd = (
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: things.example.org}\nspec:\n"
        "  group: example.org\n  scope: Namespaced\n  names: {plural: things, kind: Thing}\n  versions: [{name: v1}]\n"
    )
    thing = "apiVersion: example.org/v1\nkind: Thing\nmetadata: {name: t, namespace: made}\nspec: {}\n"
    namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: made}\n"
    cluster.files(MAIN, {"apps/a-thing.yaml": thing})
    cluster.create(kustomization())
    await cluster.settle()
    ready = conditions(cluster.get("Kustomization", "apps"))["Ready"]
    problem = 'Thing/made/t dry-run failed: no matches for kind "Thing" in version "example.org/v1"\n'
    assert ready == ("False", "ReconciliationFailed", problem)
    cluster.files(NEXT, {"apps/a-thing.yaml": thing, "apps/z-crd.yaml": crd, "apps/z-namespace.yaml": namespace})
    await cluster.settle()
    assert conditions(cluster.get("Kustomization", "apps"))["Ready"][0] == "True"
    assert cluster.has("Thing", "t", "made")


@with_program(program)
async def test_a_missing_namespace_and_a_refusal_are_quoted(cluster: Cluster) -> None:
    cluster.files(MAIN, {"apps/a.yaml": config_map("a", namespace="nowhere")})
    cluster.create(kustomization())
    await cluster.settle()
    ready = conditions(cluster.get("Kustomization", "apps"))["Ready"]
    assert ready[2] == 'ConfigMap/nowhere/a not found: namespaces "nowhere" not found\n'
    cluster.api.refuse = lambda verb, key, obj: (403, "Forbidden", "no") if key[2] == "b" and verb == "APPLY" else None
    cluster.files(NEXT, {"apps/a.yaml": config_map("a"), "apps/b.yaml": config_map("b")})
    await cluster.settle()
    ready = conditions(cluster.get("Kustomization", "apps"))["Ready"]
    assert ready == ("False", "ReconciliationFailed", f"ConfigMap/{NAMESPACE}/b dry-run failed (Forbidden): no\n")
    assert not cluster.has("ConfigMap", "a"), "no object is applied when a dry-run fails"


DEPLOYMENT = f"apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web, namespace: {NAMESPACE}}}\nspec: {{replicas: 1}}\n"
AVAILABLE = {
    "observedGeneration": 1,
    "replicas": 1,
    "updatedReplicas": 1,
    "readyReplicas": 1,
    "availableReplicas": 1,
    "conditions": [{"type": "Available", "status": "True"}],
}


@with_program(program)
async def test_with_wait_ready_follows_the_health_of_all_objects(cluster: Cluster) -> None:
    cluster.files(MAIN, {"apps/web.yaml": DEPLOYMENT})
    cluster.create(kustomization(wait=True, timeout="5m"))
    await cluster.settle()
    found = conditions(cluster.get("Kustomization", "apps"))
    running = f"Running health checks for revision {MAIN} with a timeout of 5m0s"
    assert found["Ready"] == ("Unknown", "Progressing", "Reconciliation in progress")
    assert found["Healthy"] == ("Unknown", "Progressing", running)
    cluster.api.status("Deployment", NAMESPACE, "web", AVAILABLE)
    await cluster.settle()
    found = conditions(cluster.get("Kustomization", "apps"))
    assert found["Ready"][0] == "True" and found["Healthy"][:2] == ("True", "Succeeded")


@with_program(program)
async def test_a_health_check_that_takes_too_long_fails(cluster: Cluster) -> None:
    cluster.files(MAIN, {"apps/web.yaml": DEPLOYMENT})
    check = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "namespace": NAMESPACE}
    cluster.create(kustomization(healthChecks=[check], timeout="1m", retryInterval="2m"))
    await cluster.settle()
    await cluster.advance(61)
    found = conditions(cluster.get("Kustomization", "apps"))
    cause = f"timeout waiting for: [Deployment/{NAMESPACE}/web status: 'InProgress']"
    assert found["Ready"] == ("False", "HealthCheckFailed", f"health check failed after 1m0s: {cause}")
    cluster.api.status("Deployment", NAMESPACE, "web", AVAILABLE)
    await cluster.advance(121)
    assert conditions(cluster.get("Kustomization", "apps"))["Ready"][0] == "True"


@with_program(program)
async def test_variables_are_substituted(cluster: Cluster) -> None:
    template = config_map("a", x="${region:=northeurope} ${city} $${kept}")
    opted_out = config_map("b", x="${city}").replace(
        "\ndata:", "\n  annotations: {kustomize.toolkit.fluxcd.io/substitute: disabled}\ndata:"
    )
    cluster.files(MAIN, {"apps/a.yaml": template, "apps/b.yaml": opted_out})
    secret = {"city": base64.b64encode(b"Dublin\n").decode()}
    cluster.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vars"}, "data": secret})
    post = {"substituteFrom": [{"kind": "Secret", "name": "vars"}, {"kind": "ConfigMap", "name": "none", "optional": True}]}
    cluster.create(kustomization(postBuild=post))
    await cluster.settle()
    assert cluster.get("ConfigMap", "a")["data"] == {"x": "northeurope Dublin ${kept}"}
    assert cluster.get("ConfigMap", "b")["data"] == {"x": "${city}"}
    cluster.change("Kustomization", "apps", postBuild={"substituteFrom": [{"kind": "ConfigMap", "name": "none"}]})
    await cluster.settle()
    ready = conditions(cluster.get("Kustomization", "apps"))["Ready"]
    missing = "substitute from 'ConfigMap/none' error: configmaps \"none\" not found"
    assert ready == ("False", "BuildFailed", f"post build failed for 'ConfigMap.v1.[noGrp]/a': {missing}")


@with_program(program)
async def test_the_overlay_of_the_spec(cluster: Cluster) -> None:
    cluster.files(MAIN, {"apps/web.yaml": DEPLOYMENT.replace(f", namespace: {NAMESPACE}", "")})
    cluster.namespace("staging")
    patch = "- op: add\n  path: /spec/replicas\n  value: 3\n"
    cluster.create(
        kustomization(
            targetNamespace="staging",
            namePrefix="eu-",
            patches=[{"patch": patch, "target": {"kind": "Deployment"}}],
            commonMetadata={"labels": {"team": "a"}, "annotations": {"note": "b"}},
        )
    )
    await cluster.settle()
    found = cluster.get("Deployment", "eu-web", "staging")
    assert found["spec"]["replicas"] == 3
    assert found["metadata"]["labels"]["team"] == "a" and found["metadata"]["annotations"] == {"note": "b"}


@with_program(program)
async def test_suspension_and_requests(cluster: Cluster) -> None:
    cluster.files(MAIN, {"apps/a.yaml": config_map("a")})
    cluster.create(kustomization(suspend=True))
    await cluster.settle()
    assert not cluster.has("ConfigMap", "a")
    cluster.change("Kustomization", "apps", suspend=False)
    await cluster.settle()
    assert cluster.has("ConfigMap", "a")
    cluster.delete("ConfigMap", "a")
    cluster.annotate("Kustomization", "apps", requestedAt="now")
    await cluster.settle()
    assert cluster.has("ConfigMap", "a")
    assert cluster.get("Kustomization", "apps")["status"]["lastHandledReconcileAt"] == "now"


@with_program(program)
async def test_ssa_annotations_and_force(cluster: Cluster) -> None:
    def marked(name: str, policy: str, **data: str) -> str:
        return config_map(name, **data).replace("\ndata:", f"\n  annotations: {{kustomize.toolkit.fluxcd.io/{policy}}}\ndata:")

    cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "once"}, "data": {"x": "old"}})
    cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "fixed"}, "data": {"x": "old"}})
    cluster.files(
        MAIN,
        {
            "apps/once.yaml": marked("once", "ssa: IfNotPresent", x="new"),
            "apps/never.yaml": marked("never", "ssa: Ignore", x="new"),
            "apps/fixed.yaml": marked("fixed", "force: enabled", x="new"),
        },
    )

    def immutable(verb: str, key: tuple[str, str, str], obj: Any) -> tuple[int, str, str] | None:
        live = cluster.api.objects.get(key) or {}
        is_refused = verb == "APPLY" and key[2] == "fixed" and live.get("data") == {"x": "old"}
        return (422, "Invalid", "field is immutable") if is_refused else None

    cluster.api.refuse = immutable
    cluster.create(kustomization())
    await cluster.settle()
    assert cluster.get("ConfigMap", "once")["data"] == {"x": "old"}
    assert not cluster.has("ConfigMap", "never")
    assert cluster.get("ConfigMap", "fixed")["data"] == {"x": "new"}


@with_program(program)
async def test_a_service_account_that_is_missing_is_named(cluster: Cluster) -> None:
    cluster.files(MAIN, {"apps/a.yaml": config_map("a")})
    cluster.create(kustomization(serviceAccountName="deployer"))
    await cluster.settle()
    ready = conditions(cluster.get("Kustomization", "apps"))["Ready"]
    problem = 'failed to build kube client: serviceaccounts "deployer" not found'
    assert ready == ("False", "ReconciliationFailed", problem)


@with_program(program, "--no-cross-namespace-refs=true")
async def test_cross_namespace_references_can_be_refused(cluster: Cluster) -> None:
    cluster.create(kustomization(sourceRef={"kind": "GitRepository", "name": "fleet", "namespace": "other"}))
    await cluster.settle()
    found = conditions(cluster.get("Kustomization", "apps"))
    message = "can't access 'GitRepository/other/fleet', cross-namespace references have been blocked"
    assert found["Ready"] == ("False", "AccessDenied", message) and "Stalled" not in found
    assert ("Warning", "AccessDenied", message) in cluster.events("apps"), "the object is tried again at the retry interval"


@with_program(program)
async def test_unsupported_fields_are_refused_by_name(cluster: Cluster) -> None:
    cluster.files(MAIN, {"apps/a.yaml": config_map("a")})
    cluster.create(kustomization(decryption={"provider": "sops"}))
    await cluster.settle()
    status, reason, message = conditions(cluster.get("Kustomization", "apps"))["Ready"]
    assert (status, reason) == ("False", "BuildFailed") and "spec.decryption" in message
