"""Kernels started ahead: while one notebook runs, the next ones' kernels start and import what every stage imports.

Most of a short stage's time is a kernel's start. Imported by `run` when it runs; may import nothing of the project.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from queue import Empty
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.manager import AsyncKernelManager

PRELOADED = (
    "fleetlib.clients.session",
    "fleetlib.stages.stage",
    "fleetlib.inspect.fleet",
    "fleetlib.inspect.frames",
    "azure.identity",
    "azure.core.pipeline.transport._requests_basic",
    "azure.mgmt.containerservice",
    "azure.mgmt.resource",
    "kubernetes.client",
    "kubernetes.dynamic",
    "pandas",
)
"""What notebooks import first, by name. A waiting kernel has them in memory; the notebook's own import finds them there."""

ARGUMENTS = (
    "--IPKernelApp.log_level=50",  # the kernel's own remarks are not the stage's
    "--HistoryManager.enabled=False",  # what a run types is nobody's history
    f"--IPKernelApp.exec_lines=[__import__(name) for name in {PRELOADED}] and None",
)


def preload() -> None:
    """The same for this process, in the background: a run reads the fleet in the end, and waits most of the time before."""
    threading.Thread(target=lambda: [importlib.import_module(name) for name in PRELOADED], daemon=True).start()


class _Client(AsyncKernelClient):  # type: ignore[misc]  # jupyter_client is untyped here
    """Ready as soon as the kernel says so. The library's client listens for another fifth of a second, for every notebook."""

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Until a request is answered and its "idle" heard, so that nothing of the start is taken for a cell's output."""
        end = time.monotonic() + (timeout or 60)
        while time.monotonic() < end:
            request = self.kernel_info()
            if await self._answered(request) and await self._heard_idle(request):
                return
            if not await self.is_alive():
                raise RuntimeError("Kernel died before replying to kernel_info")
        raise RuntimeError(f"Kernel didn't respond in {timeout or 60:.0f} seconds")

    async def _answered(self, request: str) -> bool:
        return await _arrives(self.get_shell_msg, lambda message: message["msg_type"] == "kernel_info_reply", request, wait=1)

    async def _heard_idle(self, request: str) -> bool:
        """False if the output channel was not connected yet when the kernel spoke."""
        return await _arrives(
            self.get_iopub_msg, lambda message: message["content"].get("execution_state") == "idle", request, wait=0.2
        )


async def _arrives(receive: Callable[..., Awaitable[Any]], wanted: Callable[[Any], bool], request: str, *, wait: float) -> bool:
    """Whether a wanted message comes in answer to the request before `wait` seconds of silence."""
    try:
        while True:
            message = await receive(timeout=wait)
            if message["parent_header"].get("msg_id") == request and wanted(message):
                return True
    except Empty:
        return False


class Kernel(AsyncKernelManager):  # type: ignore[misc]
    """A kernel that is talked to through sockets in a folder of its own, and that remembers who is connected, to hang up in the end.

    Not through TCP ports: the library chooses five that are free and the kernel binds them a second later, when another program may
    have them ("Address already in use", "Kernel died before replying to kernel_info"). Nor can another user of the machine connect.
    """

    _connected: _Client | None = None

    def __init__(self, **settings: Any) -> None:
        self._folder = _short_folder()
        sockets = os.path.join(self._folder, "socket")
        super().__init__(transport="ipc", ip=sockets, connection_file=os.path.join(self._folder, "kernel.json"), **settings)

    def client(self, **settings: Any) -> _Client:
        self._connected = super().client(**settings)
        return self._connected

    def stop(self) -> None:
        """End it at once: its notebook is executed and saved, or will not be."""
        if self._connected is not None:
            self._connected.stop_channels()
        asyncio.run(self.shutdown_kernel(now=True))
        shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self) -> None:
        """End it without its manager, which another thread may be using."""
        process = getattr(self.provisioner, "process", None)
        if process is not None and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # a kernel leads a process group of its own
        shutil.rmtree(self._folder, ignore_errors=True)


def _short_folder() -> str:
    """A new folder that only the user can open, with a path that leaves room for a socket's name: systems allow some 100 bytes in all."""
    temporary = tempfile.gettempdir()
    return tempfile.mkdtemp(prefix="fleet-kernel-", dir=temporary if len(os.fsencode(temporary)) < 70 else "/tmp")


def start(folder: Path, environment: Mapping[str, str]) -> Kernel:
    """A kernel that is starting, in `folder`, with these variables besides the process's own. `stop` it, whatever happens."""
    kernel = Kernel(kernel_name="python3", client_factory=_Client)
    asyncio.run(kernel.start_kernel(extra_arguments=list(ARGUMENTS), cwd=str(folder), env={**os.environ, **environment}))
    return kernel
