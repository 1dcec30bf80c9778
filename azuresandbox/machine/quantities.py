"""Kubernetes quantities (`100m`, `1Gi`, `2`) as numbers.

Source: apimachinery `pkg/api/resource`, as far as CPU, memory and counts need it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SUFFIXES = {
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "Pi": 2**50,
    "Ei": 2**60,
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "E": 1e18,
}


def parse(quantity: str | int | float) -> float:
    """Return the number that a quantity stands for. Raises `ValueError` for a malformed one."""
    if not isinstance(quantity, str):
        return float(quantity)
    for suffix, factor in _SUFFIXES.items():
        if quantity.endswith(suffix):
            return float(quantity[: -len(suffix)]) * factor
    return float(quantity)


def requests(spec: Mapping[str, Any]) -> dict[str, float]:
    """Return a Pod's requests by resource: the sum of its containers, or its largest init container if that is more."""
    total: dict[str, float] = {}
    for container in spec.get("containers") or ():
        for name, value in _requests(container).items():
            total[name] = total.get(name, 0.0) + parse(value)
    for container in spec.get("initContainers") or ():
        for name, value in _requests(container).items():
            total[name] = max(total.get(name, 0.0), parse(value))
    return total


def _requests(container: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (container.get("resources") or {}).get("requests") or {}
    return found


def percent(value: int | str, whole: int, *, up: bool) -> int:
    """Return an int, or a percentage of `whole`, rounded up or down."""
    if isinstance(value, int):
        return value
    if not value.endswith("%"):
        return int(value)
    exact = int(value[:-1]) * whole
    return -(-exact // 100) if up else exact // 100
