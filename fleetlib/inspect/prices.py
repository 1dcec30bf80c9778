"""The prices of nodes and control planes an hour. `prices.toml` names their sources and the costs that are not included."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("prices.toml")

HOURS = 730
"""Hours of a month, as Azure's calculator counts them."""


@dataclass(frozen=True)
class Price:
    """A price in USD an hour, as of the day `recorded`."""

    hour: float
    recorded: date


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(FILE.read_text())


@cache
def node(size: str, region: str) -> Price | None:
    """Return the price of a Linux node of the VM size (in any case) in the region; `None` if no price is recorded."""
    series, vcpus = _series(size)
    found = None
    for block in _table()["prices"]:
        if region in block["regions"]:
            hour = _lower(block.get("hour", {})).get(size.lower())
            rate = _lower(block.get("vcpu_hour", {})).get(series)
            if hour is None and rate is not None:
                hour = round(rate * vcpus, 4)
            if hour is not None:
                found = Price(hour, block["recorded"])
    return found


def _lower(prices: dict[str, float]) -> dict[str, float]:
    return {name.lower(): price for name, price in prices.items()}


def _series(size: str) -> tuple[str, int]:
    """Return (series, vCPUs) of a size: (`standard_d{n}as_v5`, 4) for Standard_D4as_v5; (size, 0) for sizes of another form."""
    match = re.fullmatch(r"(standard_[a-z]+)(\d+)([a-z]*(?:_v\d+)?)", size.lower())
    return (f"{match[1]}{{n}}{match[3]}", int(match[2])) if match else (size.lower(), 0)


def tier(name: str) -> Price | None:
    """Return the price of one AKS control plane of a tier (Free, Standard or Premium); `None` if no price is recorded."""
    tiers = _table()["tiers"]
    return Price(tiers[name], tiers["recorded"]) if name in tiers and isinstance(tiers[name], float) else None


def regions() -> list[str]:
    """Return the regions with recorded prices."""
    return sorted({region for block in _table()["prices"] for region in block["regions"]})
