"""Pools and versions of a cluster through the unmodified SDK."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError

from tests.arm_aks.azure_world import GROUP, Azure, cluster_body

NAME = "aks"


def create(azure: Azure, **properties: Any) -> dict[str, Any]:
    found: dict[str, Any] = azure.clusters.begin_create_or_update(GROUP, NAME, cluster_body(**properties)).result().as_dict()
    return found


def put_pool(azure: Azure, name: str, **properties: Any) -> dict[str, Any]:
    given = {"vmSize": "Standard_D4as_v5", "mode": "User", "count": 2, **properties}
    found: dict[str, Any] = azure.pools.begin_create_or_update(GROUP, NAME, name, {"properties": given}).result().as_dict()
    return found


def test_a_pool_is_created_scaled_and_deleted(azure: Azure) -> None:
    create(azure)
    assert put_pool(azure, "apps", nodeLabels={"app": "yes"})["properties"]["provisioningState"] == "Succeeded"
    goal = azure.plane.last("cluster")
    assert [(pool["name"], pool["count"], pool["labels"]) for pool in goal.pools] == [
        ("apps", 2, {"app": "yes"}),
        ("system", 1, {}),
    ]
    put_pool(azure, "apps", count=4)
    assert {pool.name: pool.count for pool in azure.clusters.get(GROUP, NAME).properties.agent_pool_profiles} == {
        "apps": 4,
        "system": 1,
    }
    assert [pool.name for pool in azure.pools.list(GROUP, NAME)] == ["apps", "system"]
    azure.pools.begin_delete(GROUP, NAME, "apps").result()
    assert [pool["name"] for pool in azure.plane.last("cluster").pools] == ["system"]


def test_a_put_of_the_cluster_keeps_pools_that_it_does_not_name(azure: Azure) -> None:
    create(azure)
    put_pool(azure, "apps")
    names = [pool["name"] for pool in create(azure)["properties"]["agentPoolProfiles"]]
    assert names == ["apps", "system"]


def test_the_last_system_pool_stays(azure: Azure) -> None:
    create(azure)
    with pytest.raises(HttpResponseError, match="at least one system agent pool"):
        azure.pools.begin_delete(GROUP, NAME, "system").result()
    with pytest.raises(HttpResponseError, match="at least one system pool"):
        put_pool(azure, "system", vmSize="Standard_D2as_v6")
    assert azure.pools.get(GROUP, NAME, "system").properties.mode == "System"


def test_a_pool_waits_for_its_cluster(azure: Azure) -> None:
    create(azure)
    azure.plane.silent.add("cluster")
    path = f"{azure.cluster_id(NAME)}/agentPools/apps?api-version=2025-08-01"
    assert azure.raw("PUT", path, b'{"properties": {"vmSize": "Standard_D2as_v6", "count": 1}}').status == 201
    with pytest.raises(HttpResponseError) as caught:
        put_pool(azure, "more")
    assert "Another operation (apps - Creating) is in progress" in str(caught.value)
    with pytest.raises(HttpResponseError, match=r"\(apps - Creating\)"):
        create(azure)


def test_versions_of_a_region(azure: Azure) -> None:
    listed = azure.clusters.list_kubernetes_versions("eastus2").as_dict()["values"]
    assert [(v["version"], v.get("isDefault"), v.get("isPreview")) for v in listed][:3] == [
        ("1.37", None, True),
        ("1.36", None, None),
        ("1.35", True, None),
    ]
    assert listed[2]["patchVersions"]["1.35.7"]["upgrades"] == ["1.35.8", "1.36.3", "1.36.4"]
    assert listed[-1]["capabilities"]["supportPlan"] == ["AKSLongTermSupport"]
    assert "1.37" not in [v["version"] for v in azure.clusters.list_kubernetes_versions("westcentralus").as_dict()["values"]]


def test_a_cluster_is_upgraded_one_minor_version_at_a_time(azure: Azure) -> None:
    create(azure, kubernetesVersion="1.34.8")
    profile = azure.clusters.get_upgrade_profile(GROUP, NAME).properties.control_plane_profile
    assert [item.kubernetes_version for item in profile.upgrades] == ["1.35.8", "1.35.7", "1.34.9"]
    with pytest.raises(HttpResponseError) as caught:
        create(azure, kubernetesVersion="1.36.4")
    assert "Upgrading Kubernetes version 1.34.8 to 1.36.4 is not allowed. Available upgrades: [1.35.8 1.35.7 1.34.9]" in str(
        caught.value
    )
    upgraded = create(azure, kubernetesVersion="1.35.8")["properties"]
    assert upgraded["currentKubernetesVersion"] == "1.35.8"
    assert upgraded["agentPoolProfiles"][0]["currentOrchestratorVersion"] == "1.35.8"
    with pytest.raises(HttpResponseError, match=r"1\.35\.8 to 1\.34\.9 is not allowed"):
        create(azure, kubernetesVersion="1.34.9")


def test_pools_follow_their_control_plane(azure: Azure) -> None:
    create(azure, kubernetesVersion="1.34.9")
    put_pool(azure, "apps", orchestratorVersion="1.34.9")
    create(azure, kubernetesVersion="1.35.7")
    upgrades = azure.pools.get_upgrade_profile(GROUP, NAME, "apps").properties
    assert (upgrades.kubernetes_version, [u.kubernetes_version for u in upgrades.upgrades]) == ("1.34.9", ["1.35.7"])
    versions = azure.pools.get_available_agent_pool_versions(GROUP, NAME).as_dict()["properties"]["agentPoolVersions"]
    assert [v["kubernetesVersion"] for v in versions if v.get("default")] == ["1.35.7"]
    with pytest.raises(HttpResponseError, match="NodePoolMcVersionIncompatible"):
        put_pool(azure, "apps", orchestratorVersion="1.36.3")
    put_pool(azure, "apps", orchestratorVersion="1.35.7")
    assert {pool["version"] for pool in azure.plane.last("cluster").pools} == {"1.35.7"}


def test_features_not_emulated_are_refused_by_name(azure: Azure) -> None:
    create(azure)
    calls: list[tuple[Callable[[], Any], str]] = [
        (lambda: azure.clusters.begin_run_command(GROUP, NAME, {"command": "ls"}), "az aks command invoke"),
        (lambda: azure.clusters.begin_rotate_cluster_certificates(GROUP, NAME), "rotating a cluster's certificates"),
        (lambda: azure.pools.begin_upgrade_node_image_version(GROUP, NAME, "system"), "newer node images"),
    ]
    for call, words in calls:
        with pytest.raises(HttpResponseError) as caught:
            call()
        assert caught.value.status_code == 501 and words in str(caught.value)
    answer = azure.raw("GET", f"{azure.cluster_id(NAME)}/maintenanceConfigurations?api-version=2025-08-01")
    assert answer.status == 501 and "planned maintenance" in answer.text
