"""Entra and ARM on a TLS port of the loopback interface, in a thread, for the unmodified SDKs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from azuresandbox import server
from azuresandbox.clock import ScaledClock
from azuresandbox.context import OPERATOR_CLIENT_ID, TENANT_ID
from tests.harness import OPERATOR_SECRET, World


@dataclass
class Served:
    """A running sandbox's address, its CA, and the environment in which DefaultAzureCredential finds the operator."""

    base: str
    ca_file: str
    world: World
    loop: asyncio.AbstractEventLoop

    environment = {"AZURE_TENANT_ID": TENANT_ID, "AZURE_CLIENT_ID": OPERATOR_CLIENT_ID, "AZURE_CLIENT_SECRET": OPERATOR_SECRET}

    def do(self, work: Any) -> Any:
        """Run a coroutine on the sandbox's loop and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)


@contextmanager
def serve(state: Path) -> Iterator[Served]:
    ready, stop, found = threading.Event(), asyncio.Event(), list[Served]()

    async def main() -> None:
        port = server.free_port()
        async with World.open(state, ("entra", "arm"), clock=ScaledClock("instant")) as world:
            world.sandbox.base = world.wire.base = f"https://127.0.0.1:{port}"
            assert world.wire.app is not None
            running = uvicorn.Server(server._config(world.sandbox, world.wire.app, port))
            running.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
            serving = asyncio.create_task(running.serve([server._listen(port)]))
            while not running.started:
                await asyncio.sleep(0.005)
            found.append(Served(world.sandbox.base, str(state / "ca.pem"), world, asyncio.get_running_loop()))
            ready.set()
            await stop.wait()
            for connection in list(running.server_state.connections):  # a TLS goodbye could outlive the loop
                connection.transport.abort()
            running.should_exit = True
            await serving

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    assert ready.wait(30), "the sandbox did not start"
    try:
        yield found[0]
    finally:
        found[0].loop.call_soon_threadsafe(stop.set)
        thread.join(30)
