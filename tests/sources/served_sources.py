"""The sources on a port of the loopback interface, for clients that are separate programs: git, helm."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from azuresandbox.clock import ScaledClock
from azuresandbox.context import OPERATOR_CLIENT_ID
from tests.harness import OPERATOR_SECRET, World

OPERATOR = {"authorization": "Basic " + base64.b64encode(f"{OPERATOR_CLIENT_ID}:{OPERATOR_SECRET}".encode()).decode()}


@dataclass
class Port:
    """A served world and its address, `127.0.0.1:<port>`."""

    world: World
    address: str

    def git_url(self, path: str, *, secret: str | None = OPERATOR_SECRET) -> str:
        credential = f"{OPERATOR_CLIENT_ID}:{secret}@" if secret else ""
        return f"http://{credential}{self.address}/git/{path}"

    async def git(self, *arguments: str | Path, cwd: Path | None = None, check: bool = True) -> str:
        """Run git and return its output, standard error included. Fails the test if git fails, unless not `check`."""
        return await run(["git", *map(str, arguments)], cwd, check)


async def run(command: list[str], cwd: Path | None = None, check: bool = True) -> str:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Test",
        "GIT_AUTHOR_EMAIL": "test@example.invalid",
        "NO_PROXY": "*",
        "LC_ALL": "C",
        "GIT_COMMITTER_NAME": "Test",
        "GIT_COMMITTER_EMAIL": "test@example.invalid",
    }
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        output = (await asyncio.wait_for(process.communicate(), 60))[0].decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert not check or process.returncode == 0, output
    return output


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Port]:
    """Serve the sources of a world whose state is `folder/state`."""
    (folder / "state").mkdir(mode=0o700)
    async with World.open(folder / "state", parts=("sources",), clock=ScaledClock()) as world:
        assert world.wire.app is not None
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(world.wire.app, lifespan="off", log_level="error", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve([listener]))
        while not server.started:
            await asyncio.sleep(0.005)
        try:
            yield Port(world, f"127.0.0.1:{listener.getsockname()[1]}")
        finally:
            server.should_exit = True
            await serving
