"""The context that every part of the sandbox is given, and the constants of its tenant."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from azuresandbox.clock import Clock
from azuresandbox.faults import Faults
from azuresandbox.store import Store
from azuresandbox.wire import Wire

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

TENANT_ID = "72f9d2f5-8d5e-4c0e-9a53-5a6d3f1e0b11"
SUBSCRIPTION_ID = "1f0c3c2e-5d1b-4a27-8f7a-0e9b6a4d2c10"
SUBSCRIPTION_NAME = "Fleet Sandbox"
OPERATOR_CLIENT_ID = "0b7a5f6e-2c39-4d18-9a64-c1d2e3f4a5b6"
OPERATOR_OBJECT_ID = "5e4d3c2b-1a09-4f8e-8d7c-6b5a49382716"
OPERATOR_NAME = "fleet-operator"


@dataclass
class Sandbox:
    """The shared context: one a process.

    `base` is the only address (`https://127.0.0.1:PORT`), `state` the folder of all files that are kept, `ca_pem` the CA that
    signed the server's certificate. `log(part, text)` writes a line of the sandbox's own log, which never holds secrets.
    """

    store: Store
    clock: Clock
    faults: Faults
    wire: Wire
    base: str
    state: Path
    ca_pem: str
    log: Callable[[str, str], None]
    tenant_id: str = TENANT_ID
    subscription_id: str = SUBSCRIPTION_ID
    kept: dict[Memory[Any], Any] = field(default_factory=dict, repr=False)
    """Only `Memory` reads and writes it."""


T = TypeVar("T")


class Memory(Generic[T]):
    """A value that one module keeps in memory for each sandbox of the process.

    It is a constant of the module that owns it, so that its users have to import that module:

        _WRITING = Memory[set[str]](lambda sandbox: set())
        ...
        _WRITING.of(sandbox).add(key)
    """

    def __init__(self, make: Callable[[Sandbox], T]) -> None:
        self._make = make

    def of(self, sandbox: Sandbox) -> T:
        """Return the sandbox's value. The first call creates it."""
        if self not in sandbox.kept:
            sandbox.kept[self] = self._make(sandbox)
        found: T = sandbox.kept[self]
        return found
