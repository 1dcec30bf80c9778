"""The real helm on the fleet's clusters: it reads Flux's releases and installs its own; each takes over the other's.

Flux keeps a release's record in the HelmRelease's namespace unless `storageNamespace` says otherwise, so helm finds podinfo
with
`-n cluster-config` although its objects are elsewhere. Both helms are run: 4, whose library the sandbox renders with, and 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.clients.helm_binaries import Helm, each_helm

pytestmark = pytest.mark.slow

FLUX = "cluster-config"
IMAGE = "ghcr.io/stefanprodan/podinfo"
CHART = {
    "Chart.yaml": "apiVersion: v2\nname: web\nversion: 0.1.0\nappVersion: '6.9'\n",
    "values.yaml": "colour: blue\nreplicas: 1\ntag: 6.9.0\ncheck: 'true'\nprobe: [echo, reachable]\n",
    "values.schema.json": '{"type": "object", "properties": {"replicas": {"type": "integer", "minimum": 1}}}',
    "templates/NOTES.txt": "It is {{ .Values.colour }}, revision {{ .Release.Revision }}.\n",
    "templates/web.yaml": """
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec: {containers: [{name: web, image: "IMAGE:{{ .Values.tag }}"}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}}
data: {colour: {{ .Values.colour }}, version: {{ .Capabilities.KubeVersion.Version | quote }}}
""".replace("IMAGE", IMAGE),
    "templates/hook.yaml": """
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-before
  annotations: {helm.sh/hook: pre-upgrade, helm.sh/hook-delete-policy: hook-succeeded}
spec:
  backoffLimit: 0
  template: {spec: {restartPolicy: Never, containers: [{name: job, image: busybox:1.36, command: ["{{ .Values.check }}"]}]}}
""",
    "templates/tests/probe.yaml": """
apiVersion: v1
kind: Pod
metadata: {name: {{ .Release.Name }}-probe, annotations: {helm.sh/hook: test, helm.sh/hook-delete-policy: before-hook-creation}}
spec: {restartPolicy: Never, containers: [{name: probe, image: busybox:1.36, command: {{ toJson .Values.probe }}}]}
""",
}


@pytest.fixture
def chart(tmp_path: Path) -> str:
    for name, text in CHART.items():
        path = tmp_path / "web" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(tmp_path / "web")


@pytest.fixture(params=each_helm())
def helm(request: Any, prod: Any, tmp_path: Path) -> Helm:
    return Helm(request.param, tmp_path, prod.config)


@pytest.fixture
def namespace(prod: Any) -> Iterator[str]:
    prod("create", "namespace", "by-helm")
    yield "by-helm"
    prod("delete", "namespace", "by-helm", "--timeout=30s")


# --- releases of Flux ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", each_helm())
def test_list_shows_what_flux_released_on_the_hub(program: Path, hub: Any, tmp_path: Path) -> None:
    listed = {item["name"]: item for item in Helm(program, tmp_path, hub.config).json("list", "--all-namespaces")}
    assert {name: (item["namespace"], item["status"]) for name, item in listed.items()} == {
        "aso2": ("azureserviceoperator-system", "deployed"),
        "cert-manager": ("cert-manager", "deployed"),
        "podinfo-staging": ("clusters", "deployed"),
        "podinfo-prod": ("clusters", "deployed"),
    }
    for name in ("podinfostaging", "podinfoprod"):
        (shown, *_) = hub.objects("helmrelease", name, "-n", FLUX)["status"]["history"]
        item = listed[shown["name"]]
        assert (item["revision"], item["chart"]) == (str(shown["version"]), f"podinfocluster-{shown['chartVersion']}")


def test_releases_of_flux_are_shown_in_full(helm: Helm, prod: Any) -> None:
    release = prod.objects("helmrelease", "podinfo", "-n", FLUX)
    inside = f"--namespace={FLUX}"
    history = helm.history("podinfo", FLUX)
    assert history[-1][1] == "deployed" and [number for number, _, _ in history] == sorted(n for n, _, _ in history)
    assert history[-1][0] == release["status"]["history"][0]["version"]
    assert helm.json("get", "values", "podinfo", inside) == release["spec"]["values"]
    everything = helm.json("get", "values", "podinfo", inside, "--all")
    assert everything["replicaCount"] == prod.objects("deploy", "podinfo", "-n", "podinfo")["spec"]["replicas"]
    status = helm.json("status", "podinfo", inside)
    assert (status["info"]["status"], status["namespace"]) == ("deployed", "podinfo")
    assert helm("get", "notes", "podinfo", inside).startswith("NOTES:\npodinfo")
    for obj in yaml.safe_load_all(helm("get", "manifest", "podinfo", inside)):
        live = prod.objects(obj["kind"], obj["metadata"]["name"], "-n", "podinfo")
        assert live["metadata"]["labels"].items() >= obj["metadata"]["labels"].items()
        assert obj["metadata"]["labels"]["helm.toolkit.fluxcd.io/name"] == "podinfo"
    assert "release: not found" in helm.fails("status", "podinfo", "--namespace=podinfo"), "its record is with the HelmRelease"


# --- releases of helm ------------------------------------------------------------------------------------------------


def test_from_install_to_uninstall(helm: Helm, prod: Any, namespace: str, chart: str) -> None:
    inside = f"--namespace={namespace}"
    said = helm("install", "web", chart, inside, "--wait", "--timeout=30s")
    assert "STATUS: deployed" in said and "It is blue, revision 1." in said
    made = prod.objects("deploy", "web", inside)
    assert made["status"]["readyReplicas"] == 1
    assert made["metadata"]["annotations"]["meta.helm.sh/release-name"] == "web"
    assert made["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"
    version = yaml.safe_load(prod("version", "--output=yaml"))["serverVersion"]["gitVersion"]
    assert prod.objects("configmap", "web", inside)["data"] == {"colour": "blue", "version": version}
    helm("upgrade", "web", chart, inside, "--wait", "--timeout=30s", "--set=replicas=2,colour=green")
    assert prod.objects("deploy", "web", inside)["status"]["readyReplicas"] == 2
    assert prod.objects("jobs", inside)["items"] == [], "a hook that succeeded is deleted, as its policy says"
    helm("rollback", "web", "1", inside, "--wait", "--timeout=30s")
    assert prod.objects("configmap", "web", inside)["data"]["colour"] == "blue"
    assert helm.history("web", namespace) == [
        (1, "superseded", "Install complete"),
        (2, "superseded", "Upgrade complete"),
        (3, "deployed", "Rollback to 1"),
    ]
    secrets = prod.objects("secrets", inside, "-l", "owner=helm,name=web")["items"]
    assert {item["type"] for item in secrets} == {"helm.sh/release.v1"}
    assert [item["metadata"]["name"] for item in secrets] == [f"sh.helm.release.v1.web.v{n}" for n in (1, 2, 3)]
    assert 'release "web" uninstalled' in helm("uninstall", "web", inside, "--wait", "--timeout=30s")
    assert prod.objects("deploy,configmap,secret", inside, "-l", "app.kubernetes.io/managed-by=Helm")["items"] == []
    assert helm.json("list", inside) == []


def test_failures_are_recorded_and_rolled_back(helm: Helm, prod: Any, namespace: str, chart: str) -> None:
    inside = f"--namespace={namespace}"
    helm("install", "web", chart, inside)
    back = "--atomic" if helm.is_3 else "--rollback-on-failure"
    said = helm.fails("upgrade", "web", chart, inside, back, "--timeout=10s", "--set-string=check=false")
    assert "pre-upgrade hooks failed" in said
    states = [status for _, status, _ in helm.history("web", namespace)]
    assert states == ["superseded", "failed", "deployed"]
    assert prod.objects("configmap", "web", inside)["data"]["colour"] == "blue"
    helm("uninstall", "web", inside)


def test_release_tests_run_in_the_sandboxs_containers(helm: Helm, namespace: str, chart: str) -> None:
    """The test's Pod runs and logs; a command that the sandbox does not emulate is named in the log."""
    inside = f"--namespace={namespace}"
    helm("install", "web", chart, inside)
    said = helm("test", "web", inside, "--logs", "--timeout=30s")
    assert "Phase:          Succeeded" in said and "reachable" in said
    helm("upgrade", "web", chart, inside, "--set=probe={wget,web:80}")
    done = helm.run("test", "web", inside, "--logs", "--timeout=30s")
    assert done.returncode == 1 and "the sandbox does not run 'wget'" in done.stdout, done
    assert helm.json("status", "web", inside)["info"]["status"] == "deployed", "a failed test changes nothing"
    helm("uninstall", "web", inside)


def test_refusals_are_in_helms_words(helm: Helm, prod: Any, namespace: str, chart: str) -> None:
    """A schema, a name in use, and objects of another owner: helm's words for the API's answers."""
    inside = f"--namespace={namespace}"
    assert "minimum: got 0, want 1" in helm.fails("install", "web", chart, inside, "--set=replicas=0")
    prod("create", "configmap", "web", inside)
    said = helm.fails("install", "web", chart, inside)
    assert 'ConfigMap "web" in namespace "by-helm" exists and cannot be imported into the current release' in said
    prod("delete", "configmap", "web", inside)
    helm("install", "web", chart, inside)
    name = "cannot re-use" if helm.is_3 else "cannot reuse"
    assert f"{name} a name that is still in use" in helm.fails("install", "web", chart, inside)
    assert "has no deployed releases" in helm.fails("upgrade", "other", chart, inside)
    helm("uninstall", "web", inside)


# --- takeovers between helm and Flux ---------------------------------------------------------------------------------


@pytest.fixture
def podinfo(prod: Any) -> Iterator[list[str]]:
    """Yield the arguments of podinfo's release, and let Flux restore the release from Git afterwards."""
    yield ["podinfo", f"--namespace={FLUX}"]
    prod.reconcile("helmrelease", "podinfo", force=True)
    prod("rollout", "status", "deploy/podinfo", "-n", "podinfo", "--timeout=30s")


def test_flux_reverts_a_rollback_by_helm(helm: Helm, prod: Any, podinfo: list[str]) -> None:
    """The controller did not store this revision, so it upgrades again, even with equal chart and values."""
    before = helm.history(podinfo[0], FLUX)[-1][0]
    helm("rollback", *podinfo, str(before), *(["--force-conflicts"] if not helm.is_3 else []))
    assert helm.history("podinfo", FLUX)[-1][0] == before + 1
    prod.reconcile("helmrelease", "podinfo")
    prod(
        "wait",
        "helmrelease/podinfo",
        "-n",
        FLUX,
        f"--for=jsonpath={{.status.history[0].version}}={before + 2}",
        "--timeout=30s",
    )
    assert helm.history("podinfo", FLUX)[-1][1:] == ("deployed", "Upgrade complete")


def test_flux_reinstalls_an_uninstalled_release(helm: Helm, prod: Any, podinfo: list[str]) -> None:
    helm("uninstall", *podinfo)
    assert prod.objects("deploy", "-n", "podinfo")["items"] == []
    prod.reconcile("helmrelease", "podinfo")
    prod("wait", "helmrelease/podinfo", "-n", FLUX, "--for=condition=Ready", "--timeout=30s")
    assert helm.history("podinfo", FLUX) == [(1, "deployed", "Install complete")]


def test_flux_adopts_a_release_that_helm_made(helm: Helm, prod: Any, tmp_path: Path) -> None:
    """A release with the same name and namespace gets its next revision; there is no second release."""
    inside = f"--namespace={FLUX}"
    empty = tmp_path / "podinfo"
    empty.mkdir()
    (empty / "Chart.yaml").write_text("apiVersion: v2\nname: podinfo\nversion: 0.0.1\n")
    helm("install", "mine", str(empty), inside)
    chart = prod.objects("helmchart", f"{FLUX}-podinfo", inside)["spec"]
    template = {"spec": {key: chart[key] for key in ("chart", "version", "sourceRef")}}
    release = {
        "apiVersion": "helm.toolkit.fluxcd.io/v2",
        "kind": "HelmRelease",
        "metadata": {"name": "mine"},
        "spec": {"interval": "1h", "chart": template},
    }
    prod("apply", inside, "-f", "-", text=yaml.safe_dump(release))
    prod("wait", "helmrelease/mine", inside, "--for=condition=Ready", "--timeout=30s")
    assert helm.history("mine", FLUX) == [(1, "superseded", "Install complete"), (2, "deployed", "Upgrade complete")]
    prod("delete", "helmrelease", "mine", inside, "--timeout=30s")
    assert "mine" not in {item["name"] for item in helm.json("list", inside)}
