"""A cluster comes back as it was sent, with the server's defaults, and can be sent again, by the unmodified SDKs."""

from __future__ import annotations

from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError

from tests.arm_aks.azure_world import GROUP, Azure, cluster_body

NAME = "aks"
POOL = {"name": "system", "mode": "System", "vmSize": "Standard_D2as_v5", "count": 1}
RICH: dict[str, Any] = {
    "agentPoolProfiles": [
        {
            **POOL,
            "osDiskSizeGB": 64,
            "maxPods": 40,
            "nodeLabels": {"a": "b"},
            "nodeTaints": ["x=y:NoSchedule"],
            "tags": {"t": "1"},
            "availabilityZones": ["1", "2"],
            "upgradeSettings": {"maxSurge": "33%"},
        }
    ],
    "networkProfile": {"podCidr": "10.10.0.0/16", "serviceCidr": "10.20.0.0/16", "dnsServiceIP": "10.20.0.10"},
    "oidcIssuerProfile": {"enabled": True},
    "securityProfile": {"workloadIdentity": {"enabled": True}},
    "autoUpgradeProfile": {"upgradeChannel": "patch"},
}


def put(azure: Azure, body: Any) -> dict[str, Any]:
    found: dict[str, Any] = azure.clusters.begin_create_or_update(GROUP, NAME, body).result().as_dict()
    return found


def missing(sent: Any, back: Any, path: str = "") -> list[str]:
    """Return the paths where `back` does not hold the sent values."""
    if isinstance(sent, dict):
        if not isinstance(back, dict):
            return [path]
        return [place for key, value in sent.items() for place in missing(value, back.get(key), f"{path}.{key}")]
    if isinstance(sent, list) and isinstance(back, list) and len(sent) == len(back):
        pairs = enumerate(zip(sent, back, strict=True))
        return [place for number, (one, other) in pairs for place in missing(one, other, f"{path}[{number}]")]
    return [] if sent == back else [path]


def test_a_cluster_comes_back_as_sent(azure: Azure) -> None:
    back = put(azure, cluster_body(**RICH))
    assert missing(RICH, back["properties"]) == []
    assert back["properties"]["networkProfile"]["networkPlugin"] == "azure"  # the server sets the members that were not sent
    assert back["properties"]["agentPoolProfiles"][0]["osDiskType"] == "Managed"
    assert azure.clusters.get(GROUP, NAME).as_dict() == back


def test_a_returned_cluster_can_be_sent_again_without_change(azure: Azure) -> None:
    """Read, change and write the whole model back, read-only members included, as `az aks update` does."""
    put(azure, cluster_body(**RICH))
    before = azure.clusters.get(GROUP, NAME)
    after = put(azure, before)
    changed = missing(before.as_dict(), after)
    assert {place.rpartition(".")[2] for place in changed} <= {"eTag", "lastModifiedAt"}
    pool = azure.pools.get(GROUP, NAME, "system")
    again = azure.pools.begin_create_or_update(GROUP, NAME, "system", pool).result()
    assert {place.rpartition(".")[2] for place in missing(pool.as_dict(), again.as_dict())} <= {"eTag", "lastModifiedAt"}


def test_every_write_changes_the_etag(azure: Azure) -> None:
    put(azure, cluster_body(agentPoolProfiles=[POOL]))
    cluster, pool = azure.clusters.get(GROUP, NAME), azure.pools.get(GROUP, NAME, "system")
    assert cluster.e_tag and pool.properties.e_tag
    assert "eTag" not in pool.as_dict()
    assert cluster.properties.agent_pool_profiles[0].e_tag == pool.properties.e_tag
    azure.pools.begin_create_or_update(GROUP, NAME, "system", {"properties": {"nodeLabels": {"c": "d"}}}).result()
    assert azure.pools.get(GROUP, NAME, "system").properties.e_tag != pool.properties.e_tag


def test_a_pool_without_a_size_gets_one_that_quota_allows(azure: Azure) -> None:
    unsized = {key: value for key, value in POOL.items() if key != "vmSize"}
    chosen = put(azure, cluster_body(agentPoolProfiles=[unsized]))["properties"]["agentPoolProfiles"][0]["vmSize"]
    assert chosen == "Standard_D2s_v5"
    azure.sandbox.faults.arm("vcpu-quota", times=-1, detail="standardDSv5Family=2")
    more = azure.pools.begin_create_or_update(GROUP, NAME, "more", {"properties": {"count": 1, "mode": "User"}}).result()
    assert more.properties.vm_size == "Standard_D2as_v5"
    azure.pools.begin_create_or_update(GROUP, NAME, "more", {"properties": {"count": 2}}).result()
    assert azure.pools.get(GROUP, NAME, "more").properties.vm_size == "Standard_D2as_v5"  # it keeps its values


def test_an_upgrade_profile_of_a_missing_cluster_is_not_found(azure: Azure) -> None:
    for group, code in ((GROUP, "ResourceNotFound"), ("none", "ResourceGroupNotFound")):
        with pytest.raises(HttpResponseError) as caught:
            azure.clusters.get_upgrade_profile(group, "none")
        assert caught.value.error is not None
        assert caught.value.error.code == code


AT = (GROUP, "Microsoft.ContainerService", "managedClusters", NAME)
EXTENSION: dict[str, Any] = {
    "extensionType": "microsoft.flux",
    "autoUpgradeMinorVersion": False,
    "version": "1.18.2",
    "releaseTrain": "Stable",
    "scope": {"cluster": {"releaseNamespace": "flux-system"}},
    "configurationSettings": {"helm-controller.enabled": "true"},
}
CONFIGURATION: dict[str, Any] = {
    "scope": "cluster",
    "namespace": "cluster-config",
    "sourceKind": "GitRepository",
    "suspend": False,
    "gitRepository": {
        "url": "https://example.org/fleet.git",
        "repositoryRef": {"branch": "main"},
        "syncIntervalInSeconds": 120,
        "timeoutInSeconds": 90,
    },
    "kustomizations": {
        "infra": {"path": "./infrastructure", "prune": True, "wait": False, "retryIntervalInSeconds": 30},
        "apps": {"path": "./apps", "dependsOn": ["infra"], "postBuild": {"substitute": {"a": "b"}}, "force": True},
    },
}
READ_ONLY = {"lastModifiedAt", "statusUpdatedAt", "sourceUpdatedAt"}


@pytest.mark.parametrize("kind", ["extension", "configuration"])
def test_flux_comes_back_as_sent_and_may_be_sent_again(azure: Azure, kind: str) -> None:
    put(azure, cluster_body(agentPoolProfiles=[POOL]))
    flux: Any = azure.extensions.begin_create if kind == "extension" else azure.flux.begin_create_or_update
    sent = EXTENSION if kind == "extension" else CONFIGURATION
    azure.extensions.begin_create(*AT, "flux", {"properties": EXTENSION}).result()
    back = flux(*AT, "flux", {"properties": sent}).result()
    assert missing(sent, back.as_dict()["properties"]) == []
    again = flux(*AT, "flux", back).result()
    assert {place.rpartition(".")[2] for place in missing(back.as_dict(), again.as_dict())} <= READ_ONLY
