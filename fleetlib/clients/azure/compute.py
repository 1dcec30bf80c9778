"""Quotas and VM sizes of a region. Source: Microsoft.Compute/locations/usages and /skus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fleetlib.clients.azure.calls import collect
from fleetlib.clients.azure.clients import Azure


def usages(azure: Azure, location: str) -> dict[str, tuple[int, int]]:
    """Quota name (`cores`, `standardDASv5Family`) -> (used, limit) in vCPUs."""
    found = collect(lambda: azure.compute.usage.list(location), location)
    return {item["name"]["value"]: (int(item["currentValue"]), int(item["limit"])) for item in found}


def sizes(azure: Azure, location: str) -> dict[str, dict[str, Any]]:
    """VM size in lower case -> {name, family, vcpus, available}; sizes the region does not know are not there."""
    found = collect(lambda: azure.compute.resource_skus.list(filter=f"location eq '{location}'"), location)
    machines = [item for item in found if item.get("resourceType") == "virtualMachines"]
    return {item["name"].lower(): _size(item) for item in machines}


Quota = tuple[str, int, int, int]
"""(name, vCPUs wanted, vCPUs used, limit); a limit of 0: the region has no such quota."""


def quotas(
    nodes: Mapping[str, int], sizes: Mapping[str, dict[str, Any]], usages: Mapping[str, tuple[int, int]]
) -> Iterator[Quota]:
    """What `nodes` (VM size -> count) want of each VM family's quota, and of `cores`, the region's. Sizes that are not known want none."""
    wanted: dict[str, int] = {}
    for name, count in nodes.items():
        size = sizes.get(name.lower())
        if size:
            wanted[size["family"]] = wanted.get(size["family"], 0) + count * size["vcpus"]
    known = {name.lower(): usage for name, usage in usages.items()}
    for name, vcpus in {**wanted, "cores": sum(wanted.values())}.items():
        yield name, vcpus, *known.get(name.lower(), (0, 0))


def _size(sku: dict[str, Any]) -> dict[str, Any]:
    capabilities = {c["name"]: c["value"] for c in sku.get("capabilities") or []}
    restricted = any(r.get("type") == "Location" for r in sku.get("restrictions") or [])
    return {
        "name": sku["name"],
        "family": sku.get("family", ""),
        "vcpus": int(capabilities.get("vCPUs", 0)),
        "available": not restricted,
    }
