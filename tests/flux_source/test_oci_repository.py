"""OCIRepository: tags, ranges, layers, and the messages when the registry fails."""

from __future__ import annotations

import pytest

from azuresandbox.context import OPERATOR_CLIENT_ID
from azuresandbox.machine.images.flux import artifacts
from azuresandbox.sources import mirror
from tests.flux_source.source_cluster import NAMESPACE, Cluster, cluster, conditions
from tests.harness import OPERATOR_SECRET

HOST = "contoso.azurecr.io"
REPOSITORY = f"{HOST}/charts/podinfocluster"
HELM = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
SPEC = {
    "url": f"oci://{REPOSITORY}",
    "interval": "5m",
    "timeout": "60s",
    "ref": {"tag": "0.1.0"},
    "layerSelector": {"mediaType": HELM, "operation": "copy"},
}
LAYER = artifacts.archive({"podinfocluster/Chart.yaml": (b"name: podinfocluster\n", False)})


@cluster
async def test_a_layer_is_copied(hub: Cluster) -> None:
    digest = await hub.push(REPOSITORY, "0.1.0", LAYER, HELM, **{"org.opencontainers.image.title": "podinfocluster"})
    source = await hub.apply("OCIRepository", "charts", SPEC)
    revision = f"0.1.0@{digest}"
    assert conditions(source) == {
        "Ready": ("True", "Succeeded", f"stored artifact for digest '{revision}'"),
        "ArtifactInStorage": ("True", "Succeeded", f"stored artifact for digest '{revision}'"),
    }
    artifact = source["status"]["artifact"]
    assert artifact["path"] == f"ocirepository/{NAMESPACE}/charts/{digest}.tar.gz"
    assert artifact["metadata"] == {"org.opencontainers.image.title": "podinfocluster"}
    assert await artifacts.fetch(hub.pod, artifact) == LAYER
    assert source["status"]["url"].endswith(f"/ocirepository/{NAMESPACE}/charts/latest.tar.gz")
    message = f"stored artifact with revision '{revision}' from 'oci://{REPOSITORY}'"
    assert hub.events("charts") == [("Normal", "NewArtifact", message)]


@cluster
async def test_a_layer_is_extracted_and_filtered(hub: Cluster) -> None:
    layer = artifacts.archive({"apps/a.yaml": (b"a", False), "notes.md": (b"n", False)})
    await hub.push(REPOSITORY, "latest", layer, "application/vnd.cncf.flux.content.v1.tar+gzip")
    source = await hub.apply("OCIRepository", "apps", {"url": SPEC["url"], "interval": "5m", "ignore": "*.md"})
    assert await hub.files(source) == {"apps/a.yaml": "a"}


@cluster
async def test_a_range_follows_new_versions_at_the_interval(hub: Cluster) -> None:
    for tag in ("0.1.0", "0.2.0", "0.3.0-beta.1", "1.0.0", "not-one"):
        await hub.push(REPOSITORY, tag, LAYER + tag.encode(), HELM)
    spec = {**SPEC, "ref": {"semver": "0.x"}}
    source = await hub.apply("OCIRepository", "charts", spec)
    assert source["status"]["artifact"]["revision"].startswith("0.2.0@sha256:")
    await hub.push(REPOSITORY, "0.2.1_build5", LAYER + b"!", HELM)
    await hub.advance(301)
    assert hub.get("OCIRepository", "charts")["status"]["artifact"]["revision"].startswith("0.2.1_build5@sha256:")
    filtered = await hub.apply("OCIRepository", "charts", {**SPEC, "ref": {"semver": ">=0.0.0-0", "semverFilter": ".*beta.*"}})
    assert filtered["status"]["artifact"]["revision"].startswith("0.3.0-beta.1@")


@cluster
async def test_a_tag_that_moves_is_followed(hub: Cluster) -> None:
    await hub.push(REPOSITORY, "0.1.0", LAYER, HELM)
    await hub.apply("OCIRepository", "charts", SPEC)
    digest = await hub.push(REPOSITORY, "0.1.0", LAYER + b"2", HELM)
    await hub.advance(301)
    assert hub.get("OCIRepository", "charts")["status"]["artifact"]["revision"] == f"0.1.0@{digest}"


BASE = f"https://{HOST}/v2/charts/podinfocluster"


@pytest.mark.parametrize(
    ("change", "reason", "message"),
    [
        (
            {"ref": {"tag": "9.9.9"}},
            "OCIArtifactPullFailed",
            f"failed to determine artifact digest: GET {BASE}/manifests/9.9.9: "
            "MANIFEST_UNKNOWN: manifest unknown; unknown tag=9.9.9",
        ),
        (
            {"url": f"oci://{HOST}/charts/none"},
            "OCIArtifactPullFailed",
            f"failed to determine artifact digest: GET https://{HOST}/v2/charts/none/manifests/0.1.0: NAME_UNKNOWN: "
            "repository name not known to registry; map[name:charts/none]",
        ),
        (
            {"ref": {"semver": ">=9"}},
            "ReadOperationFailed",
            f"failed to determine the artifact tag for 'oci://{REPOSITORY}': no match found for semver: >=9",
        ),
        (
            {"ref": {"semver": "x.y"}},
            "ReadOperationFailed",
            f"failed to determine the artifact tag for 'oci://{REPOSITORY}': "
            "semver 'x.y' parse error: improper constraint: x.y",
        ),
        (
            {"layerSelector": {"mediaType": "application/other", "operation": "copy"}},
            "OCIArtifactLayerOperationFailed",
            "failed to find layer with media type 'application/other' in artifact",
        ),
        (
            {"url": "oci://nowhere.example/charts/a"},
            "OCIArtifactPullFailed",
            "failed to determine artifact digest: "
            'Get "https://nowhere.example/v2/": dial tcp: lookup nowhere.example: no such host',
        ),
        ({"secretRef": {"name": "pull"}}, "AuthenticationFailed", 'failed to get credential: secrets "pull" not found'),
        (
            {"serviceAccountName": "puller"},
            "AuthenticationFailed",
            'failed to get credential: ServiceAccount "puller" not found',
        ),
    ],
)
@cluster
async def test_failures(hub: Cluster, change: dict[str, object], reason: str, message: str) -> None:
    await hub.push(REPOSITORY, "0.1.0", LAYER, HELM)
    found = conditions(await hub.apply("OCIRepository", "charts", {**SPEC, **change}))
    assert found["Ready"] == ("False", reason, message)
    assert found["FetchFailed"] == ("True", reason, message)
    assert "Stalled" not in found
    assert hub.events("charts")[-1] == ("Warning", reason, message)
    secrets = [("Normal", "AuthenticationFailed", "auth secret 'pull' not found")] if "secretRef" in change else []
    assert hub.events("charts")[:-1] == secrets


@cluster
async def test_a_chart_is_found_once_it_is_pushed(hub: Cluster) -> None:
    mirror(hub.world.sandbox, f"oci://{HOST}", "oci")
    found = conditions(await hub.apply("OCIRepository", "charts", SPEC))
    assert "NAME_UNKNOWN: repository name not known to registry" in found["Ready"][2]
    await hub.push(REPOSITORY, "0.1.0", LAYER, HELM)
    await hub.advance(30)
    assert conditions(hub.get("OCIRepository", "charts"))["Ready"][0] == "True"


@cluster
async def test_an_outage_passes(hub: Cluster) -> None:
    await hub.push(REPOSITORY, "0.1.0", LAYER, HELM)
    hub.world.sandbox.faults.arm("registry-unreachable", f"https://{HOST}", times=1)
    found = conditions(await hub.apply("OCIRepository", "charts", SPEC))
    assert found["Ready"][2] == (
        f'failed to determine artifact digest: Get "https://{HOST}/v2/": dial tcp: lookup {HOST}: i/o timeout'
    )
    await hub.advance(2)
    assert conditions(hub.get("OCIRepository", "charts"))["Ready"][0] == "True"


@cluster
async def test_pull_secrets(hub: Cluster) -> None:
    await hub.push(REPOSITORY, "0.1.0", LAYER, HELM)
    auths = '{"auths": {"%s": {"username": "%s", "password": "%s"}}}'
    hub.secret("pull", **{".dockerconfigjson": auths % (HOST, OPERATOR_CLIENT_ID, "wrong")})
    found = conditions(await hub.apply("OCIRepository", "charts", {**SPEC, "secretRef": {"name": "pull"}}))
    assert "UNAUTHORIZED: authentication required" in found["Ready"][2]
    hub.secret("pull", **{".dockerconfigjson": auths % (HOST, OPERATOR_CLIENT_ID, OPERATOR_SECRET)})
    await hub.advance(10)
    assert conditions(hub.get("OCIRepository", "charts"))["Ready"][0] == "True"


@pytest.mark.parametrize(
    ("change", "reason", "text"),
    [
        ({"verify": {"provider": "cosign"}}, "Unsupported", "the sandbox does not emulate spec.verify"),
        ({"url": f"oci://{REPOSITORY}:0.1.0"}, "URLInvalid", "URL must not contain a tag; remove ':0.1.0'"),
    ],
)
@cluster
async def test_failures_that_only_a_change_can_fix_stall(
    hub: Cluster, change: dict[str, object], reason: str, text: str
) -> None:
    await hub.push(REPOSITORY, "0.1.0", LAYER, HELM)
    source = await hub.apply("OCIRepository", "charts", {**SPEC, **change})
    found = conditions(source)
    assert found["Stalled"][:2] == ("True", reason)
    assert text in found["Ready"][2]
    assert "Reconciling" not in found
    assert source["status"]["observedGeneration"] == 1
