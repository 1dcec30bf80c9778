"""Executable runbooks for fleets of AKS clusters: the package behind the notebooks.

The names in `__all__` are its public interface. Each is imported when it is first used: importing the
clients and pandas takes a second.

>>> from fleetlib import Fleet
>>> Fleet.connect("parameters/sandbox.yaml").clusters()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fleetlib.clients.session import Session, connect
    from fleetlib.errors import (
        FinalError,
        FleetError,
        ParameterError,
        PreflightError,
        RetryableError,
        TimeoutExpired,
        VerificationError,
    )
    from fleetlib.inspect.fleet import Fleet
    from fleetlib.parameters import Parameters

__version__ = "0.1.0"

__all__ = [
    "FinalError",
    "Fleet",
    "FleetError",
    "ParameterError",
    "Parameters",
    "PreflightError",
    "RetryableError",
    "Session",
    "TimeoutExpired",
    "VerificationError",
    "connect",
]

_MODULES = {
    "Fleet": "fleetlib.inspect.fleet",
    "Parameters": "fleetlib.parameters",
    "Session": "fleetlib.clients.session",
    "connect": "fleetlib.clients.session",
}
"""Public name -> its module; the errors are in `fleetlib.errors`."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module 'fleetlib' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES.get(name, "fleetlib.errors")), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
