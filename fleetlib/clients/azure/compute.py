"""Quotas and VM sizes of a region. Source: Microsoft.Compute/locations/usages and /skus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypedDict

from fleetlib.clients.azure.calls import collect
from fleetlib.clients.azure.clients import Azure


def usages(azure: Azure, location: str) -> dict[str, tuple[int, int]]:
    """Return quota name (`cores`, `standardDASv5Family`) -> (used, limit), in vCPUs."""
    found = collect(lambda: azure.compute.usage.list(location), location)
    return {item["name"]["value"]: (int(item["currentValue"]), int(item["limit"])) for item in found}


class Size(TypedDict):
    """A VM size of a region; `family` is the name of its quota."""

    name: str
    family: str
    vcpus: int
    available: bool


def sizes(azure: Azure, location: str) -> dict[str, Size]:
    """Return VM size in lower case -> `Size`, for the sizes that the region lists."""
    found = collect(lambda: azure.compute.resource_skus.list(filter=f"location eq '{location}'"), location)
    machines = [item for item in found if item.get("resourceType") == "virtualMachines"]
    return {item["name"].lower(): _size(item) for item in machines}


Quota = tuple[str, int, int, int]
"""(name, vCPUs wanted, vCPUs used, limit); the limit is 0 if the region does not have this quota."""


def quotas(nodes: Mapping[str, int], sizes: Mapping[str, Size], usages: Mapping[str, tuple[int, int]]) -> Iterator[Quota]:
    """Yield the quotas that `nodes` (VM size -> count) need: of each VM family, and `cores`, the region's.

    Unknown sizes count as 0 vCPUs.
    """
    wanted: dict[str, int] = {}
    for name, count in nodes.items():
        size = sizes.get(name.lower())
        if size:
            wanted[size["family"]] = wanted.get(size["family"], 0) + count * size["vcpus"]
    known = {name.lower(): usage for name, usage in usages.items()}
    for name, vcpus in {**wanted, "cores": sum(wanted.values())}.items():
        yield name, vcpus, *known.get(name.lower(), (0, 0))


def _size(sku: dict[str, Any]) -> Size:
    capabilities = {c["name"]: c["value"] for c in sku.get("capabilities") or []}
    restricted = any(r.get("type") == "Location" for r in sku.get("restrictions") or [])
    return {
        "name": sku["name"],
        "family": sku.get("family", ""),
        "vcpus": int(capabilities.get("vCPUs", 0)),
        "available": not restricted,
    }
