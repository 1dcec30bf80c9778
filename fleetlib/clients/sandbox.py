"""Access to the sandbox: the only module of fleetlib that imports `azuresandbox`, and only when a function is called.

`azuresandbox` is a distribution of its own (`fleetlib[sandbox]`). Where it is not installed, every function here raises a
`ParameterError` that says what to install; everything else in fleetlib works without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleetlib.errors import FinalError, ParameterError

if TYPE_CHECKING:
    from azuresandbox.lifecycle import Endpoint

CLOCKS = ("instant", "demo", "realistic")
"""How long operations take: no time, seconds (to watch them), or minutes as on Azure."""


@contextmanager
def _errors() -> Iterator[None]:
    """Turn the sandbox's errors into fleetlib's; raise `ParameterError` if `azuresandbox` is not installed."""
    try:
        from azuresandbox.lifecycle import Refused, SandboxError
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "azuresandbox":
            raise
        raise ParameterError(
            "the sandbox is not installed",
            target="cloud: sandbox",
            said=str(error),
            fix="pip install 'fleetlib[sandbox]', or name another cloud in the parameters (cloud: AzureCloud)",
        ) from None
    try:
        yield
    except Refused as error:
        raise ParameterError("the sandbox refuses the request", said=str(error)) from None
    except SandboxError as error:
        raise FinalError("the sandbox is not available", said=str(error), fix="read its log: fleet sandbox logs") from error


def require() -> None:
    """Raise `ParameterError` where the sandbox is not installed."""
    with _errors():
        pass


def up(state: Path, clock: str = "instant", project: Path | None = None) -> Endpoint:
    """Start the sandbox of the folder `state` unless it already runs, and return its endpoint."""
    with _errors():
        from azuresandbox import lifecycle

        return lifecycle.up(state, clock, project)


def runs(state: Path) -> bool:
    """Return whether a process serves the sandbox of this folder."""
    with _errors():
        from azuresandbox import lifecycle

        return lifecycle.running(state) is not None


def down(state: Path) -> bool:
    """Stop the sandbox and keep its state. Returns whether it was running."""
    with _errors():
        from azuresandbox import lifecycle

        return lifecycle.down(state)


def reset(state: Path) -> None:
    """Stop the sandbox and delete its state."""
    with _errors():
        from azuresandbox import lifecycle

        lifecycle.reset(state)


def ask(state: Path, method: str, path: str, body: Any = None) -> Any:
    """Send one request to the operator's interface of a running sandbox (`/sandbox/...`) and return its JSON.

    Raises `ParameterError` if the sandbox refuses the request, `FinalError` if it does not run.
    """
    with _errors():
        from azuresandbox import lifecycle

        return lifecycle.ask(state, method, path, body)


def shell_lines(state: Path, environment: Mapping[str, str]) -> list[str]:
    """Return lines for a POSIX shell to evaluate, after which its `az`, SDKs, `kubectl` and `curl` use the sandbox."""
    with _errors():
        from azuresandbox import lifecycle, shell

        return shell.lines(state, lifecycle.endpoint(state), environment)
