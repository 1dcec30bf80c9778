"""The version lists of AKS: the versions of a region, and the possible upgrades of a cluster and of a pool."""

from __future__ import annotations

from typing import Any

from azuresandbox.arm import locations, records
from azuresandbox.arm.containerservice import clusters, state, versions
from azuresandbox.arm.errors import location_not_available, resource_not_found
from azuresandbox.arm.provider import Answer, Document, Request
from azuresandbox.arm.records import Resource
from azuresandbox.arm.resource_id import ResourceId


async def of_region(request: Request) -> Answer:
    """Answer `locations/{location}/kubernetesVersions`."""
    location = locations.normalize(request.id.name)
    if location not in locations.NAMES:
        raise location_not_available(request.id.name, request.type.name, locations.NAMES)
    return Answer(200, {"values": versions.listing(location)})


async def of_cluster(request: Request) -> Answer:
    """Answer `managedClusters/{name}/upgradeProfiles/default`."""
    cluster = clusters.found(request, request.id.parent)
    pools = [_pool(cluster, pool) for pool in state.pools(request.sandbox.store, cluster.id)]
    control_plane = {
        "kubernetesVersion": cluster.private["version"],
        "osType": "Linux",
        "upgrades": _items(cluster, versions.upgrades(cluster.location, cluster.private["version"], _plan(cluster))),
    }
    return Answer(
        200,
        {
            "id": f"{cluster.id}/upgradeprofiles/default",
            "name": "default",
            "type": "Microsoft.ContainerService/managedClusters/upgradeprofiles",
            "properties": {"controlPlaneProfile": control_plane, "agentPoolProfiles": pools},
        },
    )


async def of_pool(request: Request) -> Answer:
    """Answer `agentPools/{name}/upgradeProfiles/default`."""
    pool = records.get(request.sandbox.store, request.id.parent)
    if pool is None:
        raise resource_not_found(request.id.parent.label, request.id.group)
    cluster = clusters.found(request, ResourceId(str(pool.id)).parent)
    entry = _pool(cluster, pool)
    properties = {
        "kubernetesVersion": entry["kubernetesVersion"],
        "osType": entry["osType"],
        "upgrades": entry["upgrades"],
        "latestNodeImageVersion": pool.properties["nodeImageVersion"],
    }
    return Answer(
        200,
        {
            "id": f"{pool.id}/upgradeprofiles/default",
            "name": "default",
            "type": "Microsoft.ContainerService/managedClusters/agentPools/upgradeProfiles",
            "properties": properties,
        },
    )


async def available_for_pools(request: Request) -> Answer:
    """Answer `managedClusters/{name}/availableAgentPoolVersions`."""
    cluster = clusters.found(request)
    control_plane = cluster.private["version"]
    items: list[Document] = [
        {"kubernetesVersion": version, **({"default": True} if version == control_plane else {}), **_preview(cluster, version)}
        for version in versions.pool_versions(cluster.location, control_plane, _plan(cluster))
    ]
    return Answer(
        200,
        {
            "id": f"{cluster.id}/availableagentpoolversions",
            "name": "default",
            "type": "Microsoft.ContainerService/managedClusters/availableAgentpoolVersions",
            "properties": {"agentPoolVersions": items},
        },
    )


def _pool(cluster: Resource, pool: Resource) -> Document:
    """Return a pool's row. A pool's upgrades end at the version of its control plane."""
    version = pool.private["version"]
    open_to_it = versions.pool_versions(cluster.location, cluster.private["version"], _plan(cluster))
    newer = [other for other in open_to_it if versions.parse(other) > versions.parse(version)]
    return {
        "kubernetesVersion": version,
        "osType": pool.properties["osType"],
        "name": pool.document["name"],
        "upgrades": _items(cluster, newer),
    }


def _items(cluster: Resource, found: list[str]) -> list[dict[str, Any]]:
    return [{"kubernetesVersion": version, **_preview(cluster, version)} for version in found]


def _preview(cluster: Resource, version: str) -> Document:
    return {"isPreview": True} if versions.preview(cluster.location, version) else {}


def _plan(cluster: Resource) -> str:
    return state.plan_of(cluster.properties, cluster.document["sku"]["tier"])
