"""HelmRepository and HelmChart: indexes, versions, charts from Git and from registries, values files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from azuresandbox.machine.images.flux import artifacts
from azuresandbox.machine.images.flux.source import charts
from azuresandbox.sources import stand_ins
from tests.flux_source.source_cluster import FLEET, NAMESPACE, Cluster, cluster, conditions

JETSTACK = {"url": "https://charts.jetstack.io", "interval": "24h"}


def chart(**spec: Any) -> dict[str, Any]:
    reference = {"kind": "HelmRepository", "name": "jetstack"}
    return {
        "chart": "cert-manager",
        "version": "*",
        "interval": "5m",
        "reconcileStrategy": "ChartVersion",
        "sourceRef": reference,
        **spec,
    }


async def contents(hub: Cluster, obj: dict[str, Any]) -> dict[str, bytes]:
    return charts.unpack(await artifacts.fetch(hub.pod, obj["status"]["artifact"]))


@cluster
async def test_the_index_of_a_repository(hub: Cluster) -> None:
    source = await hub.apply("HelmRepository", "jetstack", JETSTACK)
    artifact = source["status"]["artifact"]
    assert conditions(source)["Ready"] == ("True", "Succeeded", f"stored artifact: revision '{artifact['revision']}'")
    index = json.loads(await artifacts.fetch(hub.pod, artifact))
    assert [entry["version"] for entry in index["entries"]["cert-manager"]] == stand_ins.versions("cert-manager")[::-1]
    assert artifact["path"] == f"helmrepository/{NAMESPACE}/jetstack/index-{artifact['revision'][7:]}.yaml"
    assert source["status"]["url"].endswith("/index.yaml")
    _, reason, message = hub.events("jetstack")[0]
    assert (reason, message.startswith("stored fetched index of size ")) == ("NewArtifact", True)
    assert message.endswith("kB from 'https://charts.jetstack.io'")


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("*", "v1.18.2"), ("1.x", "v1.18.2"), ("~1.16.0", "v1.16.5"), ("v1.15.5", "v1.15.5"), ("<1.17", "v1.16.5")],
)
@cluster
async def test_a_chart_of_a_range(hub: Cluster, wanted: str, found: str) -> None:
    await hub.apply("HelmRepository", "jetstack", JETSTACK)
    obj = await hub.apply("HelmChart", "chart", chart(version=wanted))
    message = f"pulled 'cert-manager' chart with version '{found}'"
    assert conditions(obj)["Ready"] == ("True", "ChartPullSucceeded", message)
    assert obj["status"]["artifact"]["revision"] == found
    assert yaml.safe_load((await contents(hub, obj))["Chart.yaml"])["version"] == found
    assert obj["status"]["observedChartName"] == "cert-manager"
    assert hub.events("chart")[-1] == ("Normal", "ChartPullSucceeded", message)


@cluster
async def test_a_chart_waits_for_its_repository(hub: Cluster) -> None:
    obj = await hub.apply("HelmChart", "chart", chart())
    message = 'failed to get source: HelmRepository.source.toolkit.fluxcd.io "jetstack" not found'
    assert conditions(obj)["Ready"] == ("False", "SourceUnavailable", message)
    await hub.apply("HelmRepository", "jetstack", JETSTACK)
    assert conditions(hub.get("HelmChart", "chart"))["Ready"][0] == "True"


@cluster
async def test_a_source_without_an_artifact(hub: Cluster) -> None:
    await hub.apply("HelmRepository", "jetstack", {"url": "https://nowhere.example/charts", "interval": "1h"})
    obj = await hub.apply("HelmChart", "chart", chart())
    message = "no artifact available for HelmRepository source 'jetstack'"
    assert conditions(obj)["Ready"] == ("False", "NoSourceArtifact", message)
    repository = hub.get("HelmRepository", "jetstack")
    assert conditions(repository)["Ready"] == (
        "False",
        "Failed",
        "failed to fetch Helm repository index: failed to cache index to temporary file: "
        'Get "https://nowhere.example/charts/index.yaml": dial tcp: lookup nowhere.example: no such host',
    )


INVALID = "invalid chart reference: failed to get chart version for remote reference: "


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"chart": "nope"}, INVALID + "no chart name found"),
        ({"version": ">=99"}, INVALID + "no 'cert-manager' chart with version matching '>=99' found"),
    ],
)
@cluster
async def test_a_missing_chart_stalls(hub: Cluster, spec: dict[str, str], message: str) -> None:
    await hub.apply("HelmRepository", "jetstack", JETSTACK)
    found = conditions(await hub.apply("HelmChart", "chart", chart(**spec)))
    assert found["Ready"] == ("False", "InvalidChartReference", message)
    assert found["Stalled"] == ("True", "InvalidChartReference", message)


@cluster
async def test_values_files_are_merged_into_the_defaults(hub: Cluster) -> None:
    hub.repository(
        {
            "charts/app/Chart.yaml": "apiVersion: v2\nname: app\nversion: 1.2.3\n",
            "charts/app/values.yaml": "a: 1\nb: {c: 2}\n",
            "charts/app/prod.yaml": "b: {d: 3}\n",
            "charts/app/.helmignore": "*.md\n",
            "charts/app/NOTES.md": "x",
        }
    )
    await hub.apply("GitRepository", "fleet", {"url": FLEET, "interval": "5m", "ref": {"branch": "main"}})
    source = {"kind": "GitRepository", "name": "fleet"}
    files = ["charts/app/values.yaml", "charts/app/prod.yaml"]
    spec = chart(chart="./charts/app", sourceRef=source, valuesFiles=files)
    obj = await hub.apply("HelmChart", "chart", spec)
    message = (
        "packaged 'app' chart with version '1.2.3+1' and merged values files [charts/app/values.yaml charts/app/prod.yaml]"
    )
    assert conditions(obj)["Ready"] == ("True", "ChartPackageSucceeded", message)
    unpacked = await contents(hub, obj)
    assert yaml.safe_load(unpacked["values.yaml"]) == {"a": 1, "b": {"c": 2, "d": 3}}
    assert "NOTES.md" not in unpacked


@cluster
async def test_a_chart_in_git_follows_revisions_with_that_strategy(hub: Cluster) -> None:
    files = {"charts/app/Chart.yaml": "apiVersion: v2\nname: app\nversion: 1.2.3\n", "charts/app/values.yaml": "a: 1\n"}
    hub.repository(files)
    await hub.apply("GitRepository", "fleet", {"url": FLEET, "interval": "1m", "ref": {"branch": "main"}})
    source = {"kind": "GitRepository", "name": "fleet"}
    by_version = await hub.apply("HelmChart", "version", chart(chart="charts/app", sourceRef=source))
    await hub.apply("HelmChart", "revision", chart(chart="charts/app", sourceRef=source, reconcileStrategy="Revision"))
    commit = hub.commit({"charts/app/values.yaml": "a: 2\n"}, "Two")
    await hub.advance(61)
    assert hub.get("HelmChart", "revision")["status"]["artifact"]["revision"] == f"1.2.3+{commit[:12]}"
    assert hub.get("HelmChart", "version")["status"]["artifact"] == by_version["status"]["artifact"]
    assert b"a: 2" in (await contents(hub, hub.get("HelmChart", "revision")))["values.yaml"]


@cluster
async def test_a_registry_as_a_repository(hub: Cluster) -> None:
    """A HelmRepository of type oci is static; its charts are found among the registry's tags."""
    spec = {"url": "oci://ghcr.io/stefanprodan/charts", "type": "oci", "interval": "5m"}
    repository = await hub.apply("HelmRepository", "podinfo", spec)
    assert (repository["status"], repository["metadata"].get("finalizers")) == ({"observedGeneration": -1}, None)
    source = {"kind": "HelmRepository", "name": "podinfo"}
    obj = await hub.apply("HelmChart", "chart", chart(chart="podinfo", version="6.7.x", sourceRef=source))
    assert conditions(obj)["Ready"] == ("True", "ChartPullSucceeded", "pulled 'podinfo' chart with version '6.7.1'")
    missing = await hub.apply("HelmChart", "missing", chart(chart="podinfo", version="9.9.9", sourceRef=source))
    assert conditions(missing)["Ready"] == (
        "False",
        "ChartPullError",
        "chart pull error: failed to download chart for remote reference: "
        "failed to get 'oci://ghcr.io/stefanprodan/charts/podinfo:9.9.9': ghcr.io/stefanprodan/charts/podinfo:9.9.9: not found",
    )


@cluster
async def test_a_bucket_is_refused_by_name(hub: Cluster) -> None:
    spec = {"endpoint": "minio.example", "bucketName": "fleet", "interval": "5m"}
    found = conditions(await hub.apply("Bucket", "bucket", spec))
    assert found["Ready"][:2] == ("False", "Unsupported")
    assert found["Ready"][2] == (
        "the sandbox does not emulate object storage (Bucket minio.example/fleet): use a GitRepository or an OCIRepository"
    )


@pytest.mark.parametrize("name", sorted(stand_ins.VERSIONS))
def test_stand_in_packages_are_reproducible_charts(name: str, tmp_path: Path) -> None:
    helm = pytest.importorskip("helm_python")
    version = stand_ins.versions(name)[-1]
    first = stand_ins.package(tmp_path / "a", name, version)
    assert stand_ins.package(tmp_path / "b", name, version).path.read_bytes() == first.path.read_bytes()
    assert helm.digest(str(first.path)) == f"sha256:{first.digest}"
    with helm.Chart.load(str(first.path)) as loaded:
        assert loaded.metadata["version"] == version
