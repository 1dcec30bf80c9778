"""The GitOps content of the repository: pinned, complete, consistent with the parameters, and built by the real kustomize."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from azuresandbox.machine.images.aso.crds import selected
from azuresandbox.sources import stand_ins
from fleetlib import environments
from fleetlib.parameters import Parameters
from tests.gitops.rendered import CLUSTER_CHART, ROOT, documents, named, render

DEFAULTS = Parameters.check({})
KUSTOMIZE = ROOT / "tools" / "kustomize" / "bin" / "kustomize"
FOLDERS = (
    "flux/controlplane",
    "flux/clusters",
    "workloads/infrastructure",
    "workloads/apps/staging",
    "workloads/apps/production",
)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_file_is_listed(folder: str) -> None:
    """Each file is listed in kustomization.yaml: an unlisted one is never applied."""
    kustomization = yaml.safe_load((ROOT / folder / "kustomization.yaml").read_text())
    patches = [patch["path"] for patch in kustomization.get("patches", [])]
    listed = {name.rstrip("/") for name in [*kustomization["resources"], *patches] if not name.startswith("..")}
    present = {p.name for p in (ROOT / folder).iterdir() if p.name != "kustomization.yaml"}
    assert listed == present


@pytest.mark.skipif(not KUSTOMIZE.exists(), reason="the pinned kustomize is built by tools/kustomize")
@pytest.mark.parametrize("folder", FOLDERS)
def test_the_real_kustomize_builds_it(folder: str) -> None:
    done = subprocess.run([str(KUSTOMIZE), "build", folder], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0 and not done.stderr, done.stderr


@pytest.mark.parametrize("folder", ["flux", "workloads"])
def test_chart_versions_are_pinned_and_exist_in_the_sandbox(folder: str) -> None:
    seen = 0
    for obj in documents(folder):
        spec = (obj.get("spec") or {}).get("chart", {}).get("spec") if obj["kind"] == "HelmRelease" else None
        if spec and "version" in spec:
            seen += 1
            assert re.fullmatch(r"v?\d+\.\d+\.\d+", spec["version"]), spec
            chart = spec.get("chart", "podinfo")
            assert spec["version"] in stand_ins.VERSIONS[chart]
    assert seen >= 2


def test_every_source_is_served_by_the_sandbox() -> None:
    urls = [o["spec"]["url"] for folder in ("flux", "workloads") for o in documents(folder) if o["kind"] == "HelmRepository"]
    assert urls and set(urls) <= set(stand_ins.REPOSITORIES)


def test_the_control_plane_has_the_names_that_the_runbook_trusts() -> None:
    objects = documents("flux/controlplane")
    aso = named(objects, "HelmRelease", "aso2")["spec"]
    assert aso["targetNamespace"] == "azureserviceoperator-system", "the federated credential's subject"
    assert aso["dependsOn"] == [{"name": "cert-manager"}]
    assert aso["valuesFrom"] == [{"kind": "Secret", "name": DEFAULTS.aso_secret}]
    assert aso["values"]["useWorkloadIdentityAuth"] is True
    kinds = {kind.kind for kind in selected(aso["values"]["crdPattern"], pytest.fail)}
    assert {obj["kind"] for obj in render(CLUSTER_CHART)} | {"ResourceGroup"} <= kinds
    assert {o["metadata"]["namespace"] for o in objects if "namespace" in o.get("metadata", {})} == {DEFAULTS.flux_namespace}


def test_the_resource_group_of_the_fleet_is_read_only_and_not_pruned() -> None:
    objects = documents("flux/clusters")
    group = named(objects, "ResourceGroup", DEFAULTS.fleet_group)
    marks = group["metadata"]["annotations"]
    assert marks["serviceoperator.azure.com/reconcile-policy"] == "skip"
    assert marks["kustomize.toolkit.fluxcd.io/prune"] == "disabled"
    assert group["metadata"]["namespace"] == DEFAULTS.cluster_namespace
    assert named(objects, "Namespace", DEFAULTS.cluster_namespace)["metadata"]["annotations"] == {
        "kustomize.toolkit.fluxcd.io/prune": "disabled"
    }


def test_the_chart_source_has_the_published_chart() -> None:
    source = named(documents("flux/clusters"), "OCIRepository", environments.SOURCE)["spec"]
    assert source["url"] == f"{DEFAULTS.chart_registry}/podinfocluster"
    assert source["ref"]["tag"] == yaml.safe_load((CLUSTER_CHART / "Chart.yaml").read_text())["version"]
    assert source["layerSelector"] == {"mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip", "operation": "copy"}


@pytest.mark.parametrize(("name", "path"), [("staging", "./apps/staging"), ("prod", "./apps/production")])
def test_each_environment_renders_with_every_value_that_the_runbook_sets(name: str, path: str) -> None:
    """The cluster counts are 0 in the repository, because notebook 06 sets the first ones."""
    release = named(documents("flux/clusters"), "HelmRelease", f"podinfo{name}")["spec"]
    values = release["values"]
    assert release["releaseName"] == f"podinfo-{name}" and release["targetNamespace"] == DEFAULTS.cluster_namespace
    assert release["chartRef"] == {"kind": "OCIRepository", "name": environments.SOURCE}
    assert values["clusterCount"] == 0 and values["flux"]["kustomizationPath"] == path
    assert (ROOT / "workloads" / path / "kustomization.yaml").exists()
    assert values["flux"]["repository"] == DEFAULTS.workloads_repository and values["resourceGroup"] == DEFAULTS.fleet_group
    assert (values["vmSize"], values["nodeCount"]["max"]) == (DEFAULTS.cluster_vm_size, DEFAULTS.cluster_max_nodes)
    assert "kubernetesVersion" in values
    assert len(render(CLUSTER_CHART, {**values, "clusterCount": 3}, release["releaseName"])) == 9


def test_the_environments_differ_in_their_names_and_path_only() -> None:
    folder = ROOT / "flux" / "clusters"
    staging, prod = (folder / f"podinfo{name}.yaml" for name in ("staging", "prod"))
    text = staging.read_text().replace("podinfo-staging", "podinfo-prod").replace("podinfostaging", "podinfoprod")
    assert text.replace("./apps/staging", "./apps/production") == prod.read_text()


def test_the_content_has_no_subscription_and_no_secret() -> None:
    guid = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
    for folder in ("flux", "charts", "workloads"):
        for file in Path(ROOT / folder).rglob("*"):
            if file.is_file():
                text = file.read_text()
                assert not guid.search(text), file
                assert "kind: Secret\nmetadata" not in text, file
