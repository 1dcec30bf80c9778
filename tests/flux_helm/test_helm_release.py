"""HelmReleases: conditions and events as Flux sets them, stored releases as Helm writes them."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from typing import Any

from azuresandbox.machine.helm.releases import decode, encode
from azuresandbox.machine.images.flux.helm import program
from tests.flux_kustomize.apply_world import NAMESPACE, Cluster, conditions, with_program

CONFIG = (
    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-settings\ndata:\n"
    "  count: {{ .Values.count | quote }}\n  revision: {{ .Release.Revision | quote }}\n"
)
EXTRA = "{{- if .Values.extra }}\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\n{{- end }}\n"
SCHEMA = '{"type": "object", "properties": {"count": {"type": "integer", "minimum": 0}}}'
DEPLOYMENT = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 1}\n"
AVAILABLE = {
    "observedGeneration": 1,
    "replicas": 1,
    "updatedReplicas": 1,
    "readyReplicas": 1,
    "availableReplicas": 1,
    "conditions": [{"type": "Available", "status": "True"}],
}


def chart(version: str = "0.1.0", name: str = "demo", **files: str) -> bytes:
    """Return a chart archive. In the names of files, `__` stands for `/` and `_dot_` for `.`."""
    contents = {
        "Chart.yaml": f"apiVersion: v2\nname: {name}\nversion: {version}\nappVersion: '7'\n",
        "values.yaml": "count: 1\nextra: false\n",
        "values.schema.json": SCHEMA,
        "templates/config.yaml": CONFIG,
        "templates/extra.yaml": EXTRA,
        **{path.replace("__", "/").replace("_dot_", "."): text for path, text in files.items()},
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for path, text in contents.items():
            entry = tarfile.TarInfo(f"{name}/{path}")
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def publish(cluster: Cluster, data: bytes, revision: str = "0.1.0", name: str = "charts") -> None:
    """Make a chart the artifact of an OCIRepository. The digest in the revision is computed from its tag."""
    digest = hashlib.sha256(revision.encode()).hexdigest()
    cluster.source(f"{revision}@sha256:{digest}", data, kind="OCIRepository", name=name)


def release(name: str = "app", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "helm.toolkit.fluxcd.io/v2",
        "kind": "HelmRelease",
        "metadata": {"name": name},
        "spec": {"interval": "5m", "chartRef": {"kind": "OCIRepository", "name": "charts"}, **spec},
        "status": {"observedGeneration": -1},
    }


def stored(cluster: Cluster, version: int, name: str = "app") -> Any:
    return decode(cluster.get("Secret", f"sh.helm.release.v1.{name}.v{version}")["data"]["release"])


def secrets(cluster: Cluster) -> list[str]:
    return sorted(name for kind, _, name in cluster.api.objects if kind == "Secret" and name.startswith("sh.helm"))


def version_of(cluster: Cluster, name: str = "app") -> str:
    return str(cluster.get("HelmRelease", name)["status"]["history"][0]["chartVersion"])


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
async def test_values_from_secrets_and_their_errors(cluster: Cluster) -> None:
    publish(cluster, chart())
    cluster.create(release(valuesFrom=[{"kind": "Secret", "name": "aso-identity"}]))
    await cluster.settle()
    where = f"could not resolve Secret chart values reference '{NAMESPACE}/aso-identity' with key 'values.yaml'"
    ready = conditions(cluster.get("HelmRelease", "app"))["Ready"]
    assert ready == ("False", "ValuesError", f'{where}: secrets "aso-identity" not found')
    assert ("Warning", "ValuesError", ready[2]) in cluster.events("app")
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "aso-identity"}}
    cluster.create({**secret, "data": {"other": ""}})
    await cluster.advance(60)
    assert conditions(cluster.get("HelmRelease", "app"))["Ready"][2] == f"{where}: key not found"
    cluster.create({**secret, "data": {"values.yaml": base64.b64encode(b"a: b: c").decode()}})
    await cluster.advance(600)
    problem = "error converting YAML to JSON: yaml: mapping values are not allowed in this context"
    assert conditions(cluster.get("HelmRelease", "app"))["Ready"][2] == f"{where}: {problem}"
    cluster.create({**secret, "data": {"values.yaml": base64.b64encode(b"count: 7\nextra: true").decode()}})
    await cluster.advance(900)
    assert conditions(cluster.get("HelmRelease", "app"))["Ready"][0] == "True"
    assert cluster.get("ConfigMap", "app-settings")["data"]["count"] == "7"


@with_program(program)
async def test_values_are_composed_in_order(cluster: Cluster) -> None:
    publish(cluster, chart())
    cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "v"}, "data": {"n": "5", "y": "extra: true"}})
    references = [
        {"kind": "ConfigMap", "name": "v", "valuesKey": "y"},
        {"kind": "ConfigMap", "name": "v", "valuesKey": "n", "targetPath": "count"},
        {"kind": "Secret", "name": "none", "optional": True},
    ]
    cluster.create(release(valuesFrom=references))
    await cluster.settle()
    assert stored(cluster, 1).config == {"count": 5, "extra": True}


@with_program(program)
async def test_sources_that_are_missing_or_not_ready_are_named(cluster: Cluster) -> None:
    cluster.create(release())
    await cluster.settle()
    ready = conditions(cluster.get("HelmRelease", "app"))["Ready"]
    missing = 'could not get Source object: OCIRepository.source.toolkit.fluxcd.io "charts" not found'
    assert ready == ("False", "ArtifactFailed", missing)
    repository = {"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository", "metadata": {"name": "charts"}}
    failed = {"type": "Ready", "status": "False", "reason": "OCIPullFailed", "message": "no such tag"}
    cluster.create({**repository, "spec": {}, "status": {"observedGeneration": 0, "conditions": [failed]}})
    await cluster.settle()
    ready = conditions(cluster.get("HelmRelease", "app"))["Ready"]
    assert ready == ("False", "SourceNotReady", f"OCIRepository '{NAMESPACE}/charts' is not ready: no such tag")
    cluster.source("0.1.0@sha256:" + "a" * 64, b"no chart", kind="OCIRepository", name="charts")
    await cluster.settle()
    ready = conditions(cluster.get("HelmRelease", "app"))["Ready"]
    assert ready[1] == "ArtifactFailed" and ready[2].startswith("Could not load chart: ")
    publish(cluster, chart("0.9.0"))
    await cluster.settle()
    ready = conditions(cluster.get("HelmRelease", "app"))["Ready"]
    assert ready == ("False", "ChartMutateError", "artifact revision 0.1.0 does not match chart version 0.9.0")
    publish(cluster, chart("0.9.0"), "0.9.0")
    await cluster.settle()
    assert conditions(cluster.get("HelmRelease", "app"))["Ready"][0] == "True"


@with_program(program)
async def test_a_chart_template_becomes_a_helm_chart(cluster: Cluster) -> None:
    template = {"spec": {"chart": "demo", "version": "0.1.0", "sourceRef": {"kind": "HelmRepository", "name": "repo"}}}
    cluster.create({**release(), "spec": {"interval": "5m", "chart": template}})
    await cluster.settle()
    made = cluster.get("HelmChart", f"{NAMESPACE}-app")
    assert made["spec"] == {
        "chart": "demo",
        "version": "0.1.0",
        "interval": "5m",
        "sourceRef": {"kind": "HelmRepository", "name": "repo"},
    }
    assert made["metadata"]["labels"]["helm.toolkit.fluxcd.io/name"] == "app"
    ready = conditions(cluster.get("HelmRelease", "app"))["Ready"]
    problem = "latest generation of object has not been reconciled"
    assert ready == ("False", "SourceNotReady", f"HelmChart '{NAMESPACE}/{NAMESPACE}-app' is not ready: {problem}")
    cluster.source("0.1.0", chart(), kind="HelmChart", name=f"{NAMESPACE}-app")
    await cluster.settle()
    assert conditions(cluster.get("HelmRelease", "app"))["Ready"][0] == "True" and version_of(cluster) == "0.1.0"
    cluster.delete("HelmRelease", "app")
    await cluster.settle()
    assert not cluster.has("HelmRelease", "app") and not cluster.has("HelmChart", f"{NAMESPACE}-app")


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
async def test_dependencies(cluster: Cluster) -> None:
    publish(cluster, chart())
    cluster.create(release("later", dependsOn=[{"name": "first"}]))
    await cluster.settle()
    ready = conditions(cluster.get("HelmRelease", "later"))["Ready"]
    missing = 'helmreleases.helm.toolkit.fluxcd.io "first" not found'
    assert ready == ("False", "DependencyNotReady", f"unable to get '{NAMESPACE}/first' dependency: {missing}")
    cluster.create(release("first"))
    await cluster.settle()
    assert conditions(cluster.get("HelmRelease", "later"))["Ready"][0] == "True"


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
    assert not secrets(cluster), "nothing was recorded, so nothing counts as a failed release"
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


@with_program(program, "--no-cross-namespace-refs=true")
async def test_cross_namespace_references_can_be_refused(cluster: Cluster) -> None:
    """A chartRef to another namespace stalls the release. A chart template's source there fails before any condition is set."""
    cluster.create(release(chartRef={"kind": "OCIRepository", "name": "charts", "namespace": "other"}))
    template = {"chart": "demo", "sourceRef": {"kind": "HelmRepository", "name": "repo", "namespace": "other"}}
    cluster.create({**release("late"), "spec": {"interval": "5m", "chart": {"spec": template}}})
    await cluster.settle()
    found = conditions(cluster.get("HelmRelease", "app"))
    message = "cross-namespace references are not allowed: cannot access OCIRepository other/charts"
    assert found == {"Stalled": ("True", "AccessDenied", message), "Ready": ("False", "AccessDenied", message)}
    assert cluster.events("app") == [("Warning", "AccessDenied", message)]
    assert conditions(cluster.get("HelmRelease", "late")) == {}
    assert not cluster.has("HelmChart", f"{NAMESPACE}-late", "other")


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


@with_program(program)
async def test_helm_tests_are_refused_by_name(cluster: Cluster) -> None:
    publish(cluster, chart())
    cluster.create(release(test={"enable": True}))
    await cluster.settle()
    ready = conditions(cluster.get("HelmRelease", "app"))["Ready"]
    assert ready[0] == "False" and "spec.test" in ready[2]
