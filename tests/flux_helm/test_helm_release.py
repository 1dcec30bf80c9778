"""HelmReleases: conditions and events as Flux sets them, stored releases as Helm writes them."""

from __future__ import annotations

from typing import Any

from azuresandbox.machine.helm.releases import decode, encode
from azuresandbox.machine.images.flux.helm import program
from tests.flux_helm.helm_world import chart, publish, release, secrets, stored, version_of
from tests.flux_kustomize.apply_world import NAMESPACE, Cluster, conditions, with_program

DEPLOYMENT = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 1}\n"
AVAILABLE = {
    "observedGeneration": 1,
    "replicas": 1,
    "updatedReplicas": 1,
    "readyReplicas": 1,
    "availableReplicas": 1,
    "conditions": [{"type": "Available", "status": "True"}],
}


@with_program(program)
async def test_an_install_is_stored_in_helms_format(cluster: Cluster) -> None:
    publish(cluster, chart())
    cluster.create(release(values={"count": 3}))
    await cluster.settle()
    found = cluster.get("HelmRelease", "app")
    version = version_of(cluster)
    assert version.startswith("0.1.0+")
    message = f"Helm install succeeded for release {NAMESPACE}/app.v1 with chart demo@{version}"
    assert conditions(found) == {
        "Ready": ("True", "InstallSucceeded", message),
        "Released": ("True", "InstallSucceeded", message),
    }
    assert cluster.events("app") == [("Normal", "InstallSucceeded", message)]
    config = cluster.get("ConfigMap", "app-settings")
    assert config["data"] == {"count": "3", "revision": "1"}
    assert config["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "Helm",
        "helm.toolkit.fluxcd.io/name": "app",
        "helm.toolkit.fluxcd.io/namespace": NAMESPACE,
    }
    assert config["metadata"]["annotations"] == {
        "meta.helm.sh/release-name": "app",
        "meta.helm.sh/release-namespace": NAMESPACE,
    }
    secret = cluster.get("Secret", "sh.helm.release.v1.app.v1")
    assert secret["type"] == "helm.sh/release.v1"
    assert {k: v for k, v in secret["metadata"]["labels"].items() if k != "modifiedAt"} == {
        "name": "app",
        "owner": "helm",
        "status": "deployed",
        "version": "1",
    }
    kept = stored(cluster, 1)
    assert (kept.status, kept.config, kept.chart_metadata["name"]) == ("deployed", {"count": 3}, "demo")
    assert "# Source: demo/templates/config.yaml" in kept.manifest
    status = found["status"]
    assert status["storageNamespace"] == NAMESPACE and status["lastAttemptedReleaseAction"] == "install"
    assert status["history"][0]["status"] == "deployed" and status["history"][0]["appVersion"] == "7"


@with_program(program)
async def test_a_settled_release_causes_no_writes(cluster: Cluster) -> None:
    publish(cluster, chart())
    cluster.create(release())
    await cluster.settle()
    writes = list(cluster.api.writes)
    await cluster.advance(3600)
    assert cluster.api.writes == writes


@with_program(program)
async def test_an_upgrade_applies_the_difference(cluster: Cluster) -> None:
    kept = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: keep, annotations: {helm.sh/resource-policy: keep}}\n"
    publish(cluster, chart(templates__keep_dot_yaml=kept))
    cluster.create(release(values={"count": 1, "extra": True}))
    await cluster.settle()
    assert cluster.has("ConfigMap", "extra")
    publish(cluster, chart("0.2.0"), "0.2.0")
    cluster.change("HelmRelease", "app", values={"count": 2})
    await cluster.settle()
    found = cluster.get("HelmRelease", "app")
    current = found["status"]["history"][0]
    message = f"Helm upgrade succeeded for release {NAMESPACE}/app.v{current['version']} with chart demo@{version_of(cluster)}"
    assert conditions(found)["Ready"] == ("True", "UpgradeSucceeded", message)
    assert cluster.get("ConfigMap", "app-settings")["data"]["count"] == "2"
    assert not cluster.has("ConfigMap", "extra") and cluster.has("ConfigMap", "keep")
    assert [s["status"] for s in found["status"]["history"][:2]] == ["deployed", "superseded"]
    assert stored(cluster, 1).status == "superseded"


@with_program(program)
async def test_a_request_or_a_force_runs_once(cluster: Cluster) -> None:
    publish(cluster, chart())
    cluster.create(release())
    await cluster.settle()
    cluster.annotate("HelmRelease", "app", requestedAt="1")
    await cluster.settle()
    assert secrets(cluster) == ["sh.helm.release.v1.app.v1"]
    assert cluster.get("HelmRelease", "app")["status"]["lastHandledReconcileAt"] == "1"
    cluster.annotate("HelmRelease", "app", requestedAt="2", forceAt="2")
    await cluster.settle()
    assert secrets(cluster) == ["sh.helm.release.v1.app.v1", "sh.helm.release.v1.app.v2"]
    await cluster.advance(601)
    assert len(secrets(cluster)) == 2


@with_program(program)
async def test_deleting_uninstalls(cluster: Cluster) -> None:
    publish(cluster, chart())
    cluster.create(release())
    await cluster.settle()
    cluster.delete("HelmRelease", "app")
    await cluster.settle()
    assert not cluster.has("HelmRelease", "app") and not cluster.has("ConfigMap", "app-settings") and not secrets(cluster)
    called = f"release {NAMESPACE}/app.v1 with chart demo@"
    assert cluster.events("app")[-1][2].startswith(f"Helm uninstall succeeded for {called}")


@with_program(program)
async def test_render_schema_and_kind_errors_have_helms_messages(cluster: Cluster) -> None:
    publish(cluster, chart())
    cluster.create(release(values={"count": -1}))
    await cluster.settle()
    found = cluster.get("HelmRelease", "app")
    version = found["status"]["lastAttemptedRevision"]
    head = f"Helm install failed for release {NAMESPACE}/app with chart demo@{version}: "
    schema = "values don't meet the specifications of the schema(s) in the following chart(s):\ndemo:\n"
    problem = f"{head}{schema}- at '/count': minimum: got -1, want 0"
    assert conditions(found)["Ready"] == ("False", "InstallFailed", problem)
    assert not secrets(cluster), "a release that was not stored does not count as failed"
    thing = "apiVersion: example.org/v1\nkind: Thing\nmetadata: {name: t}\n"
    publish(cluster, chart("0.2.0", templates__thing_dot_yaml=thing), "0.2.0")
    cluster.change("HelmRelease", "app", values={})
    await cluster.settle()
    message = conditions(cluster.get("HelmRelease", "app"))["Ready"][2]
    assert message.endswith(
        'unable to build kubernetes objects from release manifest: resource mapping not found for name: "t" namespace: "" '
        'from "": no matches for kind "Thing" in version "example.org/v1"\nensure CRDs are installed first'
    )


@with_program(program)
async def test_an_api_refusal_fails_the_install_and_retries_are_counted(cluster: Cluster) -> None:
    publish(cluster, chart())
    problem = ".spec.x: field not declared in schema"
    cluster.api.refuse = lambda verb, key, obj: (
        (422, "Invalid", problem) if (verb, key[2]) == ("APPLY", "app-settings") else None
    )
    cluster.create(release(install={"remediation": {"retries": 1}}))
    await cluster.settle()
    found = cluster.get("HelmRelease", "app")
    where = f"server-side apply failed for object {NAMESPACE}/app-settings /v1, Kind=ConfigMap: {problem}"
    failures = [event for event in cluster.events("app") if event[1] == "InstallFailed"]
    assert failures and failures[0][2].endswith(where)
    assert conditions(found)["Stalled"] == ("True", "RetriesExceeded", "Failed to install after 2 attempt(s)")
    assert conditions(found)["Released"][:2] == ("False", "InstallFailed")
    assert conditions(found)["Ready"][0] == "False" and found["status"]["installFailures"] == 2
    cluster.api.refuse = lambda verb, key, obj: None
    cluster.change("HelmRelease", "app", values={"count": 2})
    await cluster.settle()
    found = cluster.get("HelmRelease", "app")
    assert conditions(found)["Ready"][0] == "True" and "Stalled" not in conditions(found)


@with_program(program)
async def test_a_failed_upgrade_is_rolled_back(cluster: Cluster) -> None:
    publish(cluster, chart())
    cluster.create(release(upgrade={"remediation": {"retries": 0, "remediateLastFailure": True}}, values={"count": 1}))
    await cluster.settle()

    def refuse(verb: str, key: Any, obj: Any) -> tuple[int, str, str] | None:
        bad = verb == "APPLY" and key[2] == "app-settings" and obj["data"]["count"] == "2"
        return (422, "Invalid", "two is bad") if bad else None

    cluster.api.refuse = refuse
    cluster.change("HelmRelease", "app", values={"count": 2})
    await cluster.settle()
    found = cluster.get("HelmRelease", "app")
    assert cluster.get("ConfigMap", "app-settings")["data"]["count"] == "1"
    version = version_of(cluster)
    message = f"Helm rollback to previous release {NAMESPACE}/app.v1 with chart demo@{version} succeeded"
    assert conditions(found)["Ready"] == ("False", "RollbackSucceeded", message)
    assert conditions(found)["Remediated"] == ("True", "RollbackSucceeded", message)
    assert conditions(found)["Stalled"] == ("True", "RetriesExceeded", "Failed to upgrade after 1 attempt(s)")
    assert stored(cluster, 3).info["description"] == "Rollback to 1"


@with_program(program)
async def test_a_release_waits_for_its_objects(cluster: Cluster) -> None:
    publish(cluster, chart(templates__web_dot_yaml=DEPLOYMENT))
    cluster.create(release(timeout="2m"))
    await cluster.settle()
    found = conditions(cluster.get("HelmRelease", "app"))
    running = "Running 'install' action with timeout of 2m0s"
    assert found["Ready"] == ("Unknown", "Progressing", running) and found["Reconciling"][2] == running
    assert stored(cluster, 1).status == "pending-install"
    cluster.api.status("Deployment", NAMESPACE, "web", AVAILABLE)
    await cluster.settle()
    assert conditions(cluster.get("HelmRelease", "app"))["Ready"][0] == "True"


@with_program(program)
async def test_a_release_that_takes_too_long_fails(cluster: Cluster) -> None:
    publish(cluster, chart(templates__web_dot_yaml=DEPLOYMENT))
    cluster.create(release(timeout="2m"))
    await cluster.settle()
    await cluster.advance(121)
    message = conditions(cluster.get("HelmRelease", "app"))["Released"][2]
    assert message.endswith(f"timeout waiting for: [Deployment/{NAMESPACE}/web status: 'InProgress']")
    assert stored(cluster, 1).status == "failed"


@with_program(program)
async def test_hooks_run_in_order_and_are_deleted_by_policy(cluster: Cluster) -> None:
    def job(name: str, weight: int, policy: str) -> str:
        marks = f'helm.sh/hook: pre-install, helm.sh/hook-weight: "{weight}", helm.sh/hook-delete-policy: {policy}'
        return f"apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: {name}\n  annotations: {{{marks}}}\nspec: {{}}\n"

    first, second = job("first", -1, "hook-succeeded"), job("second", 1, "before-hook-creation")
    publish(cluster, chart(templates__a_dot_yaml=second, templates__b_dot_yaml=first))
    cluster.create(release())
    await cluster.settle()
    assert cluster.has("Job", "first") and not cluster.has("Job", "second") and not cluster.has("ConfigMap", "app-settings")
    done = {"conditions": [{"type": "Complete", "status": "True"}]}
    cluster.api.status("Job", NAMESPACE, "first", done)
    await cluster.settle()
    assert cluster.has("Job", "second") and not cluster.has("ConfigMap", "app-settings")
    cluster.api.status("Job", NAMESPACE, "second", done)
    await cluster.settle()
    assert cluster.has("ConfigMap", "app-settings") and cluster.has("Job", "second") and not cluster.has("Job", "first")
    assert [hook["last_run"]["phase"] for hook in stored(cluster, 1).hooks] == ["Succeeded", "Succeeded"]


@with_program(program)
async def test_crds_are_applied_before_and_kept_after(cluster: Cluster) -> None:
    crd = (
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: things.example.org}\nspec:\n"
        "  group: example.org\n  scope: Namespaced\n  names: {plural: things, kind: Thing}\n  versions: [{name: v1}]\n"
    )
    thing = "apiVersion: example.org/v1\nkind: Thing\nmetadata: {name: t}\n"
    publish(cluster, chart(crds__thing_dot_yaml=crd, templates__thing_dot_yaml=thing))
    cluster.create(release())
    await cluster.settle()
    assert cluster.has("Thing", "t")
    cluster.delete("HelmRelease", "app")
    await cluster.settle()
    assert not cluster.has("Thing", "t") and cluster.has("CustomResourceDefinition", "things.example.org", "")


@with_program(program)
async def test_target_namespace_names_and_creation(cluster: Cluster) -> None:
    publish(cluster, chart())
    cluster.create(release(targetNamespace="clusters"))
    await cluster.settle()
    message = conditions(cluster.get("HelmRelease", "app"))["Released"][2]
    assert message.endswith('/clusters-app-settings /v1, Kind=ConfigMap: namespaces "clusters" not found')
    cluster.change("HelmRelease", "app", install={"createNamespace": True}, releaseName="podinfo-prod")
    await cluster.settle()
    await cluster.advance(120)
    assert cluster.has("ConfigMap", "podinfo-prod-settings", "clusters")
    assert cluster.has("Secret", "sh.helm.release.v1.podinfo-prod.v1")


@with_program(program)
async def test_ownership_is_checked_without_take_ownership(cluster: Cluster) -> None:
    publish(cluster, chart())
    cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app-settings"}})
    cluster.create(release(install={"disableTakeOwnership": True}))
    await cluster.settle()
    message = conditions(cluster.get("HelmRelease", "app"))["Ready"][2]
    assert message.endswith(
        f'unable to continue with install: ConfigMap "app-settings" in namespace "{NAMESPACE}" exists and cannot be imported '
        "into the current release: invalid ownership metadata; label validation error: missing key "
        '"app.kubernetes.io/managed-by": must be set to "Helm"; annotation validation error: missing key '
        '"meta.helm.sh/release-name": must be set to "app"; annotation validation error: missing key '
        f'"meta.helm.sh/release-namespace": must be set to "{NAMESPACE}"'
    )


@with_program(program)
async def test_drift_is_reported_or_corrected(cluster: Cluster) -> None:
    """Flux 2.6 reports drift in events. The release stays ready."""
    publish(cluster, chart())
    cluster.create(release(driftDetection={"mode": "warn"}))
    await cluster.settle()
    before = conditions(cluster.get("HelmRelease", "app"))
    cluster.api.put({**cluster.get("ConfigMap", "app-settings"), "data": {"count": "9", "revision": "1"}})
    await cluster.advance(301)
    change = f"ConfigMap/{NAMESPACE}/app-settings changed (0 additions, 1 changes, 0 removals)"
    head = f"Cluster state of release {NAMESPACE}/app.v1 has drifted from the desired state:\n"
    assert cluster.events("app")[-1] == ("Warning", "DriftDetected", head + change)
    assert cluster.get("ConfigMap", "app-settings")["data"]["count"] == "9"
    assert conditions(cluster.get("HelmRelease", "app")) == before
    cluster.change("HelmRelease", "app", driftDetection={"mode": "enabled"})
    await cluster.settle()
    assert cluster.get("ConfigMap", "app-settings")["data"]["count"] == "1"
    corrected = f"Cluster state of release {NAMESPACE}/app.v1 has been corrected:\n{change}"
    assert cluster.events("app")[-1] == ("Normal", "DriftCorrected", corrected), cluster.events("app")[-1]


@with_program(program)
async def test_post_renderers_patch_the_applied_and_stored_manifest(cluster: Cluster) -> None:
    patch = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app-settings}\ndata: {added: 'yes'}\n"
    publish(cluster, chart())
    cluster.create(release(postRenderers=[{"kustomize": {"patches": [{"patch": patch}]}}]))
    await cluster.settle()
    assert cluster.get("ConfigMap", "app-settings")["data"]["added"] == "yes"
    assert "# Source: demo/templates/config.yaml" in stored(cluster, 1).manifest
    cluster.change("HelmRelease", "app", postRenderers=[])
    await cluster.settle()
    assert "added" not in cluster.get("ConfigMap", "app-settings")["data"] and len(secrets(cluster)) == 2


@with_program(program)
async def test_history_is_limited(cluster: Cluster) -> None:
    publish(cluster, chart())
    cluster.create(release(maxHistory=2))
    for count in range(4):
        cluster.change("HelmRelease", "app", values={"count": count})
        await cluster.settle()
    assert len(secrets(cluster)) == 2


@with_program(program)
async def test_a_release_left_pending_is_unlocked(cluster: Cluster) -> None:
    publish(cluster, chart())
    cluster.create(release())
    await cluster.settle()
    secret = cluster.get("Secret", "sh.helm.release.v1.app.v1")
    left = decode(secret["data"]["release"])
    left.set_status("pending-upgrade", "Preparing upgrade")
    cluster.api.put({**secret, "data": {"release": encode(left)}})
    cluster.annotate("HelmRelease", "app", requestedAt="1")
    await cluster.settle()
    found = cluster.get("HelmRelease", "app")
    assert conditions(found)["Ready"][0] == "True"
    assert any(e[1] == "PendingRelease" and e[2].endswith("in pending-upgrade state") for e in cluster.events("app"))
