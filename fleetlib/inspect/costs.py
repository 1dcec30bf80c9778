"""The table of costs: an estimate of nodes and control planes at list prices."""

from __future__ import annotations

from collections.abc import Iterator

from fleetlib.inspect import prices
from fleetlib.inspect.columns import HUB, NONE
from fleetlib.inspect.prices import HOURS, Price
from fleetlib.inspect.reading import Item, Reading, power
from fleetlib.inspect.rows import Row, limit, pools_of

STOPPED = "it is stopped: only its disks and addresses cost now"


def costs(reading: Reading) -> Iterator[Row]:
    """Yield one row for each node pool and each control plane, of the fleet and of the control-plane cluster."""
    for name, item in {**reading.arm.control_plane, **reading.arm.fleet}.items():
        environment = HUB if name in reading.arm.control_plane else reading.environment_of(name) or NONE
        shared = {"environment": environment, "cluster": name}
        yield shared | _tier(item)
        for pool in pools_of(item):
            yield shared | _pool(item, pool)


def _tier(item: Item) -> Row:
    sku = item.get("sku") or {}
    automatic = str(sku.get("name")) == "Automatic"  # one price for all tiers
    tier = "Automatic" if automatic else str(sku.get("tier") or "")
    price = prices.tier(tier)
    note = "" if price else f"no price is recorded for the tier {tier or '(unknown)'}"
    return {"item": "control plane", "sku": tier or None, **_money(price, 1, 1, note, stopped=power(item) == "Stopped")}


def _pool(item: Item, pool: Item) -> Row:
    size, region = str(pool.get("vmSize") or ""), str(item["location"])
    price, note = _priced(pool, size, region)
    stopped = "Stopped" in (power(item), (pool.get("powerState") or {}).get("code"))
    return {
        "item": f"pool/{pool['name']}",
        "sku": size or None,
        **_money(price, int(pool.get("count") or 0), limit(pool), note, stopped),
    }


def _priced(pool: Item, size: str, region: str) -> tuple[Price | None, str]:
    """Return (price, "") of one node of the pool; (`None`, reason) if no price is recorded."""
    if pool.get("osType") == "Windows":
        return None, "no price is recorded for Windows nodes"
    if pool.get("scaleSetPriority") == "Spot":
        return None, "no price is recorded for spot nodes: it changes all the time"
    if not size:
        return None, "no price is given for a pool whose nodes have several sizes"
    price = prices.node(size, region)
    return price, "" if price else f"no price is recorded for {size} in {region}"


def _money(price: Price | None, units: int, most: int, note: str, stopped: bool) -> Row:
    row: Row = {"units": units, "note": (note or (STOPPED if stopped else "")) or None}
    if price is None:
        return row
    hour = 0.0 if stopped else price.hour * units
    return row | {
        "hour": round(hour, 4),
        "month": round(hour * HOURS, 2),
        "month_max": round(price.hour * most * HOURS, 2),
        "priced": f"{price.recorded}T00:00:00Z",
    }
