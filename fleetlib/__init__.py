"""Executable runbooks for fleets of AKS clusters: the package behind the notebooks."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`from fleetlib import Fleet`: imported when it is asked for, since it brings the clients with it."""
    if name == "Fleet":
        from fleetlib.inspect.fleet import Fleet

        return Fleet
    raise AttributeError(f"module 'fleetlib' has no attribute {name!r}")
