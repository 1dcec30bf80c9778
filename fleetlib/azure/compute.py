"""Quotas and VM sizes of a region. Source: Microsoft.Compute/locations/usages and /skus."""

from __future__ import annotations

from typing import Any

from fleetlib.azure.calls import collect
from fleetlib.azure.clients import Azure


def usages(azure: Azure, location: str) -> dict[str, tuple[int, int]]:
    """Quota name (`cores`, `standardDASv5Family`) -> (used, limit) in vCPUs."""
    found = collect(lambda: azure.compute.usage.list(location), location)
    return {item["name"]["value"]: (int(item["currentValue"]), int(item["limit"])) for item in found}


def sizes(azure: Azure, location: str) -> dict[str, dict[str, Any]]:
    """VM size in lower case -> {name, family, vcpus, available}; sizes the region does not know are not there."""
    found = collect(lambda: azure.compute.resource_skus.list(filter=f"location eq '{location}'"), location)
    machines = [item for item in found if item.get("resourceType") == "virtualMachines"]
    return {item["name"].lower(): _size(item) for item in machines}


def _size(sku: dict[str, Any]) -> dict[str, Any]:
    capabilities = {c["name"]: c["value"] for c in sku.get("capabilities") or []}
    restricted = any(r.get("type") == "Location" for r in sku.get("restrictions") or [])
    return {
        "name": sku["name"],
        "family": sku.get("family", ""),
        "vcpus": int(capabilities.get("vCPUs", 0)),
        "available": not restricted,
    }
