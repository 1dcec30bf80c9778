"""A sandbox for tests: the named parts over one in-memory store, without sockets, and with a clock that tests advance.

async with World.open(tmp_path, parts=("entra", "arm")) as world:
    response = await world.wire.request("GET", world.url("/subscriptions?api-version=2022-12-01"), headers=...)
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azuresandbox import directory, pki, server
from azuresandbox.clock import Clock, VirtualClock
from azuresandbox.context import OPERATOR_CLIENT_ID, OPERATOR_NAME, OPERATOR_OBJECT_ID, Sandbox
from azuresandbox.faults import Faults
from azuresandbox.http import send_json
from azuresandbox.store import Store
from azuresandbox.wire import Wire

OPERATOR_SECRET = "not-a-secret-of-any-real-tenant"
BASE = "https://127.0.0.1:8443"


@dataclass
class World:
    """A sandbox in this process."""

    sandbox: Sandbox
    errors: list[BaseException]

    @property
    def wire(self) -> Wire:
        return self.sandbox.wire

    @property
    def clock(self) -> VirtualClock:
        assert isinstance(self.sandbox.clock, VirtualClock)
        return self.sandbox.clock

    def url(self, path: str) -> str:
        return BASE + path

    @classmethod
    @asynccontextmanager
    async def open(
        cls, state: Path, parts: tuple[str, ...], *, clock: Clock | None = None, store: Store | None = None
    ) -> AsyncIterator[World]:
        """Run the named parts (arm, entra, kubernetes, sources, machine) until the block ends."""
        memory = store or Store()
        wire = Wire(memory)
        sandbox = Sandbox(
            store=memory,
            clock=clock or VirtualClock(),
            faults=Faults(memory),
            wire=wire,
            base=BASE,
            state=state,
            ca_pem=pki.authority(state).pem,
            log=lambda part, text: None,
        )
        operator = directory.Principal(
            OPERATOR_CLIENT_ID, OPERATOR_OBJECT_ID, OPERATOR_NAME, secret_hash=directory.hash_secret(OPERATOR_SECRET)
        )
        directory.put_principal(memory, operator)
        modules: dict[str, Any] = {name: importlib.import_module(f"azuresandbox.{name}") for name in parts}
        apps = {name: module.app(sandbox) for name, module in modules.items() if hasattr(module, "app")}

        async def application(scope: Any, receive: Any, send: Any) -> None:
            part = server.ROUTES.get(scope["path"].split("/", 2)[1].lower(), "entra")
            if part in apps:
                await apps[part](scope, receive, send)
            else:
                await send_json(send, 404, {"error": f"part {part} is not in this world"})

        wire.app, wire.base, wire.egress_headers = application, BASE, server._egress(memory)
        world = cls(sandbox, [])
        tasks = [asyncio.create_task(module.run(sandbox)) for module in modules.values() if hasattr(module, "run")]
        try:
            yield world
        finally:
            for task in tasks:
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                    world.errors.append(result)
            if store is None:
                memory.close()
        if world.errors:
            raise world.errors[0]
