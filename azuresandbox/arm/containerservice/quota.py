"""vCPU quota where AKS checks it: before it accepts a cluster or a pool."""

from __future__ import annotations

from collections import Counter
from math import ceil
from typing import Any

from azuresandbox.arm import records
from azuresandbox.arm.compute import quota, sizes
from azuresandbox.arm.containerservice import data, errors, state
from azuresandbox.arm.provider import Write
from azuresandbox.arm.records import Resource


def check(write: Write, pools: list[Resource], location: str = "") -> None:
    """Refuse pools that need more vCPUs than the region has left. `pools`: the changed pools in their wanted state."""
    where = location or str(write.document["location"])
    subscription, sandbox = write.id.subscription, write.sandbox
    total = quota.used(state.clusters(sandbox.store, subscription), where)
    added = _added(write, pools)
    limits = quota.limits(sandbox, subscription, where)
    struck = sandbox.faults.take("vcpu-quota", str(write.id)) if added else None
    if struck is not None:
        limits = {**limits, **(quota.parse(struck.detail) or {quota.REGIONAL: total[quota.REGIONAL]})}
    for name, requested in added.items():
        left = max(0, quota.limit(name, limits) - total[name])
        if requested > left and name == quota.REGIONAL:
            raise errors.regional_quota(where, left, requested)
        if requested > left and name in quota.families():
            raise errors.family_quota(name, where, left, requested)


def default_size(write: Write, location: str, count: int) -> str:
    """Return the size of a pool that names no size; "" if the region has none of the table's sizes.

    AKS chooses by capacity and quota (Azure/azure-cli#31424). The order is the sandbox's own.
    """
    total = quota.used(state.clusters(write.sandbox.store, write.id.subscription), location)
    limits = quota.limits(write.sandbox, write.id.subscription, location)
    named = [found for found in map(sizes.find, data.DEFAULT_SIZES) if found is not None]
    usable = [found for found in named if sizes.offered(found, location) and not sizes.restricted(found, location)]
    fitting = (f.name for f in usable if count * f.vcpus <= quota.limit(f.family, limits) - total[f.family])
    return next(fitting, usable[0].name if usable else "")


def _added(write: Write, pools: list[Resource]) -> Counter[str]:
    """Return the quota that the change needs in addition to its pools' present use; an upgrade also needs its surge nodes."""
    before = [records.get(write.sandbox.store, pool.id) for pool in pools]
    surge = [_surge(old, new) for old, new in zip(before, pools, strict=True) if old is not None]
    now = quota.of_pools({"agentPoolProfiles": [pool.properties for pool in before if pool is not None]})
    then = quota.of_pools({"agentPoolProfiles": [pool.properties for pool in pools]})
    then.subtract(now)
    then.update(quota.of_pools({"agentPoolProfiles": surge}))
    return Counter({name: number for name, number in then.items() if number > 0})


def _surge(old: Resource, new: Resource) -> dict[str, Any]:
    """Return the surge nodes of a pool's upgrade, as a pool. `maxSurge` is a number or a percentage."""
    if old.private["version"] == new.private.get("version", old.private["version"]):
        return {**new.properties, "count": 0}
    allowed = str((new.properties.get("upgradeSettings") or {}).get("maxSurge") or "1")
    count = int(new.properties["count"])
    nodes = ceil(count * float(allowed.rstrip("%")) / 100) if allowed.endswith("%") else int(allowed)
    return {**new.properties, "count": nodes}
