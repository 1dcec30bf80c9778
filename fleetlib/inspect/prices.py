"""What a node and a control plane cost an hour: look-ups in `prices.toml`, which says where its figures are from and what is not in them.

May import nothing of the project.
"""

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
    """USD an hour, as it was on the day `recorded`."""

    hour: float
    recorded: date


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(FILE.read_text())


@cache
def node(size: str, region: str) -> Price | None:
    """A Linux node of the VM size in the region; None if no price is recorded. Sizes are spelt in any case, as in ARM."""
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
    """(`standard_d{n}as_v5`, 4) for Standard_D4as_v5; a size of another form is a series of its own."""
    match = re.fullmatch(r"(standard_[a-z]+)(\d+)([a-z]*(?:_v\d+)?)", size.lower())
    return (f"{match[1]}{{n}}{match[3]}", int(match[2])) if match else (size.lower(), 0)


def tier(name: str) -> Price | None:
    """The management of one AKS cluster, by its tier: Free, Standard or Premium."""
    tiers = _table()["tiers"]
    return Price(tiers[name], tiers["recorded"]) if name in tiers and isinstance(tiers[name], float) else None


def regions() -> list[str]:
    """The regions with prices."""
    return sorted({region for block in _table()["prices"] for region in block["regions"]})
