"""Quotas and sizes of regions through the unmodified SDK, counted from the existing clusters."""

from __future__ import annotations

from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError

from tests.arm_aks.azure_world import GROUP, Azure, cluster_body


def usage(azure: Azure, location: str = "eastus2") -> dict[str, tuple[int, int]]:
    return {item.name.value: (item.current_value, item.limit) for item in azure.compute.usage.list(location)}


def create(azure: Azure, name: str, count: int = 1, **more: Any) -> Any:
    pool = {"name": "system", "mode": "System", "vmSize": "Standard_D4as_v5", "count": count}
    body = cluster_body(dnsPrefix=name, agentPoolProfiles=[pool], **more)
    return azure.clusters.begin_create_or_update(GROUP, name, body).result()


def test_usage_counts_the_clusters_vcpus(azure: Azure) -> None:
    assert usage(azure)["cores"] == (0, 1000)
    create(azure, "a", 3)
    create(azure, "b", 2)
    used = usage(azure)
    assert (used["cores"], used["standardDASv5Family"], used["virtualMachines"][0]) == ((20, 1000), (20, 500), 5)
    assert usage(azure, "westus2")["cores"][0] == 0
    azure.clusters.begin_stop(GROUP, "a").result()
    assert usage(azure)["cores"][0] == 8
    azure.clusters.begin_delete(GROUP, "b").result()
    assert usage(azure)["cores"][0] == 0


def test_a_cluster_beyond_the_family_quota_is_refused(azure: Azure) -> None:
    with pytest.raises(HttpResponseError) as caught:
        create(azure, "big", 126)
    assert caught.value.error.code == "ErrCode_InsufficientVCPUQuota"
    assert "Insufficient vcpu quota requested 504, remaining 500 for family standardDASv5Family for region eastus2" in str(
        caught.value
    )


def test_a_lowered_quota_counts_present_use(azure: Azure) -> None:
    azure.sandbox.faults.arm("vcpu-quota", times=-1, detail="10")
    assert usage(azure)["cores"] == (0, 10)
    create(azure, "a", 2)
    with pytest.raises(HttpResponseError) as caught:
        create(azure, "b", 1)
    assert "left regional vcpu quota 2, requested quota 4" in str(caught.value)
    with pytest.raises(HttpResponseError, match="ErrCode_InsufficientVCPUQuota"):
        azure.pools.begin_create_or_update(GROUP, "a", "more", {"properties": {"vmSize": "Standard_D4as_v5", "count": 1}})
    azure.sandbox.faults.disarm("vcpu-quota")
    create(azure, "b", 1)


def test_the_quota_fault_refuses_one_cluster(azure: Azure) -> None:
    azure.sandbox.faults.arm("vcpu-quota", "*/b")
    create(azure, "a")
    with pytest.raises(HttpResponseError, match="left regional vcpu quota 0, requested quota 4"):
        create(azure, "b")
    create(azure, "b")


def test_sizes_of_a_region(azure: Azure) -> None:
    skus = {sku.name: sku for sku in azure.compute.resource_skus.list(filter="location eq 'eastus2'")}
    size = skus["Standard_D2as_v6"]
    capabilities = {c.name: c.value for c in size.capabilities}
    assert (size.family, capabilities["vCPUs"], capabilities["MemoryGB"]) == ("StandardDasv6Family", "2", "8")
    assert size.location_info[0].zones == ["1", "2", "3"] and not size.restrictions
    assert len(skus) > 70
    west = {sku.name for sku in azure.compute.resource_skus.list(filter="location eq 'westus'")}
    assert "Standard_D2as_v6" not in west and "Standard_D2as_v5" in west
    east = {sku.name: sku for sku in azure.compute.resource_skus.list(filter="location eq 'eastus'")}
    assert east["Standard_DS2_v2"].restrictions[0].reason_code == "NotAvailableForSubscription"
    listed = {size.name: size.number_of_cores for size in azure.compute.virtual_machine_sizes.list("eastus2")}
    assert listed["Standard_D2as_v6"] == 2


def test_an_upgrade_needs_room_for_its_surge_nodes(azure: Azure) -> None:
    create(azure, "a", 2, kubernetesVersion="1.34.9")
    azure.sandbox.faults.arm("vcpu-quota", times=-1, detail="8")
    with pytest.raises(HttpResponseError, match="left regional vcpu quota 0, requested quota 4"):
        create(azure, "a", 2, kubernetesVersion="1.35.7")
    azure.sandbox.faults.arm("vcpu-quota", times=-1, detail="12")
    create(azure, "a", 2, kubernetesVersion="1.35.7")
