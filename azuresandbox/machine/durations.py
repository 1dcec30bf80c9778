"""Durations as Go programs read and print them (`5m`, `1h30m0s`), as numbers of seconds. Pure.

Source: Go's `time.ParseDuration` and `Duration.String`; `metav1.Duration` in Kubernetes objects uses both.
"""

from __future__ import annotations

import re

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


def seconds(duration: str) -> float:
    """Parse a duration: "1h30m" -> 5400.0. Raises `ValueError` with Go's message."""
    if duration == "0":
        return 0.0
    if not re.fullmatch(f"(?:{_PART.pattern})+", duration):
        raise ValueError(f'time: invalid duration "{duration}"')
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(duration))


def go_duration(value: float) -> str:
    """Print a duration of a second or more: 5400 -> "1h30m0s"."""
    hours, rest = divmod(value, 3600)
    minutes, rest = divmod(rest, 60)
    text = f"{rest:.9f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours:.0f}h{minutes:.0f}m{text}"
    return f"{minutes:.0f}m{text}" if minutes else text
