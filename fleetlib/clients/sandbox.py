"""The sandbox, started and asked from outside: the only module of fleetlib that imports `azuresandbox`, and only when called.

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
"""How fast the sandbox's timers run: at once, in seconds worth watching, or in minutes as on Azure."""


@contextmanager
def _errors() -> Iterator[None]:
    """Turn the sandbox's errors, and its absence, into the ones that `fleet` and the notebooks show."""
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
        raise FinalError("the sandbox is not available", said=str(error), fix="see `fleet sandbox logs`") from error


def require() -> None:
    """Raise `ParameterError` where the sandbox is not installed."""
    with _errors():
        pass


def up(state: Path, clock: str = "instant", project: Path | None = None) -> Endpoint:
    """Start the sandbox of the folder `state` unless it runs already, and return how it is reached."""
    with _errors():
        from azuresandbox import lifecycle

        return lifecycle.up(state, clock, project)


def runs(state: Path) -> bool:
    """Whether a process serves the sandbox of this folder."""
    with _errors():
        from azuresandbox import lifecycle

        return lifecycle.running(state) is not None


def down(state: Path) -> bool:
    """Stop the sandbox and keep its state; returns whether it was running."""
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

    A request that makes no sense to the sandbox is a `ParameterError`.
    """
    with _errors():
        from azuresandbox import lifecycle

        return lifecycle.ask(state, method, path, body)


def shell_lines(state: Path, environment: Mapping[str, str]) -> list[str]:
    """The lines that a POSIX shell evaluates so that its `az`, SDKs, `kubectl` and `curl` use the sandbox."""
    with _errors():
        from azuresandbox import lifecycle, shell

        return shell.lines(state, lifecycle.endpoint(state), environment)
