"""Microsoft.Compute, as far as clusters need it: quotas and sizes. `sizes` and `quota` are data and pure functions.

Usage is counted from the stored managed clusters; no second count is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from azuresandbox.arm import locations, records
from azuresandbox.arm.compute import quota, sizes
from azuresandbox.arm.compute.sizes import Size
from azuresandbox.arm.errors import ArmError, location_not_available
from azuresandbox.arm.provider import Answer, Document, Provider, Request, ResourceType

NAMESPACE = "Microsoft.Compute"

SKUS_VERSIONS = ("2021-07-01", "2019-04-01", "2017-09-01")
VERSIONS = (
    "2026-04-01",
    "2026-03-03",
    "2026-03-02",
    "2025-11-01",
    "2025-04-01",
    "2024-11-01",
    "2024-07-01",
    "2024-03-01",
    "2023-09-01",
    "2023-07-01",
    "2023-03-01",
    "2022-11-01",
    "2022-08-01",
    "2022-03-01",
    "2021-11-01",
    "2021-07-01",
    "2021-03-01",
    "2020-12-01",
    "2020-06-01",
    "2019-12-01",
    "2019-07-01",
    "2019-03-01",
)

FILTER = re.compile(r"\s*location\s+eq\s+'([^']+)'\s*$", re.IGNORECASE)


def provider() -> Provider:
    computed: dict[str, Any] = {"tracked": False, "verbs": frozenset({"LIST"})}
    return Provider(
        NAMESPACE,
        (
            ResourceType(name="locations/usages", api_versions=VERSIONS, lists=usages, **computed),
            ResourceType(name="locations/vmSizes", api_versions=VERSIONS, lists=vm_sizes, **computed),
            ResourceType(name="skus", api_versions=(*SKUS_VERSIONS, *VERSIONS), lists=skus, **computed),
        ),
    )


def _location(request: Request) -> str:
    location = locations.normalize(request.id.name)
    if location not in locations.NAMES:
        raise location_not_available(request.id.name, f"{NAMESPACE}/{request.type.name}", locations.NAMES)
    return location


async def usages(request: Request) -> Answer:
    """Answer `locations/{location}/usages`: vCPUs in use and allowed, of the region and of each family."""
    location, subscription = _location(request), request.id.subscription
    total = quota.used(clusters(request, subscription), location)
    limits = quota.limits(request.sandbox, subscription, location)
    return Answer(200, {"value": quota.listing(total, limits)})


def clusters(request: Request, subscription: str) -> Iterator[Document]:
    """Yield all managed clusters of the subscription with their pools, reduced to the members that quotas use."""
    store, scope = request.sandbox.store, f"/subscriptions/{subscription}"
    pools: dict[str, list[Document]] = {}
    for pool in list(records.under(store, scope, "Microsoft.ContainerService/managedClusters/agentPools")):
        pools.setdefault(pool.id.parent.key, []).append(pool.properties)
    for cluster in list(records.under(store, scope, "Microsoft.ContainerService/managedClusters")):
        yield {
            "location": cluster.location,
            "properties": {**cluster.properties, "agentPoolProfiles": pools.get(cluster.id.key, [])},
        }


async def vm_sizes(request: Request) -> Answer:
    """Answer `locations/{location}/vmSizes`."""
    found = [size for size in sizes.all_sizes().values() if sizes.offered(size, _location(request))]
    return Answer(200, {"value": [_vm_size(size) for size in found]})


def _vm_size(size: Size) -> Document:
    return {
        "name": size.name,
        "numberOfCores": size.vcpus,
        "osDiskSizeInMB": 1047552,
        "resourceDiskSizeInMB": size.resource_disk_gb * 1024,
        "memoryInMB": int(size.memory_gb * 1024),
        "maxDataDiskCount": size.max_data_disks,
    }


async def skus(request: Request) -> Answer:
    """Answer `skus`: every size in every region, or in the one that `$filter=location eq '...'` names."""
    places = _filtered(request.query.get("filter", ""))
    found = [
        _sku(size, place, request.id.subscription)
        for size in sizes.all_sizes().values()
        for place in places
        if sizes.offered(size, place)
    ]
    return Answer(200, {"value": found})


def _filtered(expression: str) -> tuple[str, ...]:
    if not expression:
        return locations.NAMES
    match = FILTER.match(expression)
    if match is None:
        raise ArmError(
            400, "InvalidParameter", f"The filter '{expression}' is not supported: only location eq '...' is.", target="$filter"
        )
    location = locations.normalize(match[1])
    return (location,) if location in locations.NAMES else ()


def _sku(size: Size, location: str, subscription: str) -> Document:
    zones = sizes.zones(location)
    capabilities = {
        "vCPUs": size.vcpus,
        "vCPUsAvailable": size.vcpus,
        "MemoryGB": f"{size.memory_gb:g}",
        "MaxDataDiskCount": size.max_data_disks,
        "CpuArchitectureType": size.architecture,
        "HyperVGenerations": size.generations,
        "PremiumIO": size.premium,
        "AcceleratedNetworkingEnabled": size.vcpus > 1,
        "EphemeralOSDiskSupported": size.resource_disk_gb > 0,
        "OSVhdSizeMB": 1047552,
        "MaxResourceVolumeMB": size.resource_disk_gb * 1024,
    }
    return {
        "resourceType": "virtualMachines",
        "name": size.name,
        "tier": "Standard",
        "size": size.name.removeprefix("Standard_"),
        "family": size.family,
        "locations": [location],
        "locationInfo": [{"location": location, "zones": zones, "zoneDetails": []}],
        "capabilities": [{"name": name, "value": str(value)} for name, value in capabilities.items()],
        "restrictions": _restrictions(size, location, zones),
    }


def _restrictions(size: Size, location: str, zones: list[str]) -> list[Document]:
    if not sizes.restricted(size, location):
        return []
    return [
        {
            "type": "Location",
            "values": [location],
            "restrictionInfo": {"locations": [location], "zones": zones},
            "reasonCode": "NotAvailableForSubscription",
        }
    ]
