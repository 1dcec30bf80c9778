"""vCPU quotas of a subscription's regions: the use of all clusters' pools, and the limits.

Azure counts vCPUs twice, against the region and against the size's family; only machines that run (or are allocated) count.
Source: "vCPU quotas", Microsoft.Compute/locations/usages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from fnmatch import fnmatch
from typing import Any

from azuresandbox.arm.compute import sizes
from azuresandbox.context import Sandbox

REGIONAL = "cores"
REGIONAL_LIMIT = 1000
FAMILY_LIMIT = 500
"""A subscription's initial limits: enough for fleets of a hundred small clusters."""

OTHERS = {
    "availabilitySets": ("Availability Sets", 2500),
    "virtualMachines": ("Virtual Machines", 25000),
    "virtualMachineScaleSets": ("Virtual Machine Scale Sets", 2500),
    "lowPriorityCores": ("Total Regional Spot vCPUs", 100),
}


def used(clusters: Iterable[dict[str, Any]], location: str) -> Counter[str]:
    """Return the vCPUs (under `cores` and under each family) and the machines that the clusters of the region use."""
    total: Counter[str] = Counter()
    for cluster in clusters:
        if cluster["location"] == location:
            total.update(of_pools(cluster["properties"]))
    return total


def of_pools(properties: dict[str, Any]) -> Counter[str]:
    """Return the use of one cluster's pools; stopped pools use no quota."""
    total: Counter[str] = Counter()
    for pool in properties.get("agentPoolProfiles") or []:
        size = sizes.find(pool["vmSize"])
        if size is None or "Stopped" in (_power(properties), _power(pool)):
            continue
        total[REGIONAL] += pool["count"] * size.vcpus
        total[size.family] += pool["count"] * size.vcpus
        total["virtualMachines"] += pool["count"]
        total["virtualMachineScaleSets"] += 1
    return total


def _power(document: dict[str, Any]) -> str:
    return str((document.get("powerState") or {}).get("code", "Running"))


def families() -> list[str]:
    return sorted({size.family for size in sizes.all_sizes().values()}, key=str.lower)


def limit(name: str, limits: dict[str, int]) -> int:
    """Return the limit of `cores` or of a family. `limits` are the changed ones."""
    return limits.get(name, REGIONAL_LIMIT if name == REGIONAL else FAMILY_LIMIT)


def listing(total: Counter[str], limits: dict[str, int]) -> list[dict[str, Any]]:
    """Return the usages of a region as Compute lists them."""
    rows = [(REGIONAL, "Total Regional vCPUs", limit(REGIONAL, limits))]
    rows += [(name, text, limits.get(name, most)) for name, (text, most) in OTHERS.items()]
    rows += [(family, f"{display(family)} vCPUs", limit(family, limits)) for family in families()]
    return [
        {"unit": "Count", "currentValue": total[name], "limit": most, "name": {"value": name, "localizedValue": text}}
        for name, text, most in rows
    ]


def display(family: str) -> str:
    """Return a family's display name: `standardDASv5Family` becomes `Standard DASv5 Family`."""
    core = family[len("standard") :].removesuffix("Family")
    return f"Standard {core} Family"


def parse(detail: str) -> dict[str, int]:
    """Return the limits in a fault's detail: `8` (regional vCPUs) or `standardDASv5Family=4,cores=8`."""
    if detail.strip().isdigit():
        return {REGIONAL: int(detail)}
    pairs = (part.partition("=") for part in detail.split(",") if "=" in part)
    names = {name.lower(): name for name in (REGIONAL, *families())}
    return {names[name.strip().lower()]: int(value) for name, _, value in pairs if name.strip().lower() in names}


def limits(sandbox: Sandbox, subscription: str, location: str) -> dict[str, int]:
    """Return the region's lowered limits: those of `vcpu-quota` faults that are armed for it with a detail (see `parse`)."""
    scope = f"/subscriptions/{subscription}/providers/microsoft.compute/locations/{location}"
    found: dict[str, int] = {}
    for fault in sandbox.faults.armed():
        if fault.name == "vcpu-quota" and fault.detail and fnmatch(scope, fault.target.lower()):
            found |= parse(fault.detail)
    return found
