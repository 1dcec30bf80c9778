"""The table of versions: those that run, are declared and are offered, with a note where they differ."""

from __future__ import annotations

from typing import Any

from fleetlib.errors import FinalError
from fleetlib.inspect import versions
from fleetlib.inspect.fleet import Fleet
from fleetlib.inspect.reading import Git, Inside
from tests.inspect.fleet_documents import Document, Documents, at, flux

PROD, HUB = "podinfo-prod-1-aks", "asocluster-aks"
REGION: list[Document] = [
    {
        "version": "1.37",
        "isPreview": True,
        "capabilities": {"supportPlan": ["KubernetesOfficial"]},
        "patchVersions": {"1.37.1": {}},
    },
    {
        "version": "1.36",
        "capabilities": {"supportPlan": ["KubernetesOfficial", "AKSLongTermSupport"]},
        "patchVersions": {"1.36.10": {}, "1.36.4": {}},
    },
    {
        "version": "1.35",
        "capabilities": {"supportPlan": ["KubernetesOfficial", "AKSLongTermSupport"]},
        "patchVersions": {"1.35.7": {}, "1.35.8": {}},
    },
    {
        "version": "1.33",
        "capabilities": {"supportPlan": ["AKSLongTermSupport"]},
        "patchVersions": {"1.33.11": {}, "1.33.12": {}},
    },
]


def fleet(documents: Documents, *, chart: str = "0.1.0", region: list[Document] | None = None) -> Fleet:
    found = documents.fleet()
    reading: Any = found._reading
    reading._parts["git"] = Git(reading.git.head, reading.git.environments, chart)
    reading._parts["Kubernetes versions of eastus2"] = versions.parse(REGION if region is None else region)
    reading._inside.setdefault(HUB, Inside({"Deployment": [controller(name) for name in versions.CONTROLLERS]}))
    return found


def controller(name: str, version: str = "v1.6.2") -> Document:
    image = f"mcr.microsoft.com/oss/v2/fluxcd/{name}:{version}"
    return {
        "metadata": {"name": name, "namespace": "flux-system"},
        "spec": {"template": {"spec": {"containers": [{"image": "mcr.microsoft.com/arck8s/proxy:1.0"}, {"image": image}]}}},
    }


def row(documents: Documents, component: str, cluster: str = PROD, **options: Any) -> Any:
    return fleet(documents, **options).versions().loc[(cluster, component)]


def runs(documents: Documents, version: str, **properties: Any) -> Documents:
    documents.clusters[PROD]["properties"].update(currentKubernetesVersion=version, **properties)
    return documents


def test_a_newer_minor_version_is_offered_and_a_preview_is_not() -> None:
    found = row(Documents(), "kubernetes")
    assert found[["version", "patch", "offered", "behind", "supported"]].tolist() == ["1.35.8", "1.35.8", "1.36.10", True, True]
    assert not bool(row(runs(Documents(), "1.36.10"), "kubernetes").behind)
    assert "preview" in row(runs(Documents(), "1.37.1"), "kubernetes").note


def test_the_declared_version_is_the_releases() -> None:
    documents = Documents()
    documents.environments["podinfo-prod"].values["kubernetesVersion"] = "1.36"
    assert row(documents, "kubernetes").declared == "1.36" and row(documents, "pool/system").declared == "1.36"


def test_a_patch_a_minor_version_and_a_plan_that_are_no_longer_offered() -> None:
    old = row(runs(Documents(), "1.35.2"), "kubernetes")
    assert (old.supported, old.patch) == (
        False,
        "1.35.8",
    ) and old.note == "eastus2 no longer offers this patch: upgrade to 1.35.8"
    lts = row(runs(Documents(), "1.33.12"), "kubernetes")
    assert (
        not lts.supported
        and lts.note == "eastus2 offers 1.33 with AKSLongTermSupport only, the cluster has KubernetesOfficial: upgrade it"
    )
    paid = row(runs(Documents(), "1.33.12", supportPlan="AKSLongTermSupport"), "kubernetes")
    assert paid.supported and paid.offered == "1.36.10"
    gone = row(runs(Documents(), "1.29.5"), "kubernetes")
    assert not gone.supported and "upgrade, one minor version at a time" in gone.note


def test_a_pool_behind_its_control_plane_is_named() -> None:
    documents = runs(Documents(), "1.36.4")
    found = row(documents, "pool/system")
    assert (
        found.behind and found.offered == "1.36.4" and found.note == "the control plane runs 1.36.4: upgrade the pool as well"
    )


def test_flux_has_azures_and_upstreams_version_on_every_cluster_with_the_same_extension() -> None:
    documents = Documents()
    documents.extensions["podinfo-staging-0-aks"][0]["properties"]["currentVersion"] = "1.18.2"
    frame = fleet(documents).versions()
    assert at(frame, PROD, "flux").version == "source 1.6.2, kustomize 1.6.2, helm 1.6.2, notification 1.6.2"
    staging = at(frame, "podinfo-staging-0-aks", "microsoft.flux")
    assert staging.behind and staging.offered == "1.19.5" and "another cluster" in staging.note
    assert ("podinfo-staging-0-aks", "flux") not in frame.index, "the controllers of 1.18.2 are not known"


def test_an_upgrade_that_skips_a_minor_version_has_a_note() -> None:
    documents = Documents()
    for name, chart, installed in (("aso2", "azure-service-operator", "v2.11.0"), ("cert-manager", "cert-manager", "v1.18.2")):
        spec = {"chart": {"spec": {"chart": chart, "version": "v2.13.0" if name == "aso2" else "v1.18.2"}}}
        documents.hub["HelmRelease"].append(flux("HelmRelease", name, spec, {"history": [{"chartVersion": installed}]}))
    aso, certs = row(documents, "aso", HUB), row(documents, "cert-manager", HUB)
    assert (aso.version, aso.declared, aso.note) == (
        "v2.11.0",
        "v2.13.0",
        "v2.13.0 is more than one minor version newer: upgrade one minor version at a time",
    )
    assert (certs.version, certs.declared) == ("v1.18.2", "v1.18.2") and certs.note is not None and str(certs.note) == "<NA>"


def test_a_newer_chart_in_git_is_offered() -> None:
    component = "cluster-chart/podinfo-prod"
    same = row(Documents(), component, HUB)
    assert (same.environment, same.version, same.declared, same.behind) == ("podinfo-prod", "0.1.0", "0.1.0", False)
    newer = row(Documents(), component, HUB, chart="0.2.0")
    assert newer.behind and newer.offered == "0.2.0" and "publish it (notebook 05)" in newer.note


def test_a_region_that_cannot_be_read_leaves_the_other_columns() -> None:
    found = fleet(Documents())
    reading: Any = found._reading
    del reading._parts["Kubernetes versions of eastus2"]
    reading.unread["Kubernetes versions of eastus2"] = FinalError("could not read from Azure", said="AuthorizationFailed")
    frame = found.versions()
    kubernetes = at(frame, PROD, "kubernetes")
    assert kubernetes.version == "1.35.8" and kubernetes[["offered", "supported", "behind"]].isna().all()
    assert "AuthorizationFailed" in frame.attrs["unread"]["Kubernetes versions of eastus2"]


def test_the_versions_of_a_thousand_clusters_take_less_than_two_seconds() -> None:
    import time

    found = fleet(Documents({"podinfo-prod": 1000}))
    began = time.process_time()
    frame = found.versions()
    assert len(frame) == 1000 * 4 + 5 and time.process_time() - began < 2.0


def test_versions_compare_by_number() -> None:
    assert versions.number("v1.18.10") > versions.number("v1.18.2") and versions.number("0.1.0+38c4") == versions.number(
        "0.1.0"
    )
