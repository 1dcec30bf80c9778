"""Kernels started in advance: while one notebook runs, the kernels of the next ones start and import the packages of every
stage.

Starting a kernel takes longer than running a short stage.
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
"""The modules that notebooks import first, by name, since fleetlib.execution itself does not need them."""

ARGUMENTS = (
    "--IPKernelApp.log_level=50",  # the kernel's log is not part of the stage's output
    "--HistoryManager.enabled=False",  # a run's cells do not belong in the user's IPython history
    f"--IPKernelApp.exec_lines=[__import__(name) for name in {PRELOADED}] and None",
)


def preload() -> None:
    """Import the same modules in this process in the background: the run needs them at its end, to read the fleet."""
    threading.Thread(target=lambda: [importlib.import_module(name) for name in PRELOADED], daemon=True).start()


class _Client(AsyncKernelClient):  # type: ignore[misc]  # jupyter_client is untyped here
    """A client that is ready as soon as the kernel reports it; the library's client waits another 0.2 s for every notebook."""

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Wait for the answer to a request and for its "idle": messages of the start must not become a cell's output.

        Raises `RuntimeError` if the kernel died, or after `timeout` seconds (60 by default).
        """
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
        """Return whether "idle" came; `False` if the output channel was connected too late to receive it."""
        return await _arrives(
            self.get_iopub_msg, lambda message: message["content"].get("execution_state") == "idle", request, wait=0.2
        )


async def _arrives(receive: Callable[..., Awaitable[Any]], wanted: Callable[[Any], bool], request: str, *, wait: float) -> bool:
    """Return whether a wanted answer to the request comes before `wait` seconds without a message."""
    try:
        while True:
            message = await receive(timeout=wait)
            if message["parent_header"].get("msg_id") == request and wanted(message):
                return True
    except Empty:
        return False


class Kernel(AsyncKernelManager):  # type: ignore[misc]
    """A kernel reached through Unix sockets in a folder of its own. `stop` closes its client's channels.

    With TCP ports, the library chooses five free ports and the kernel binds them a second later, when another program may have
    taken them ("Address already in use", "Kernel died before replying to kernel_info"). Other users of the machine cannot
    connect either.
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
        """Kill the kernel and delete its folder. Its notebook has been saved, or has failed."""
        if self._connected is not None:
            self._connected.stop_channels()
        self.kill()  # its manager interrupts a kernel before it kills it, and one that still starts would print a traceback
        asyncio.run(self.shutdown_kernel(now=True))

    def kill(self) -> None:
        """Kill the kernel without its manager, which another thread may be using, and delete its folder."""
        process = getattr(self.provisioner, "process", None)
        if process is not None and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # a kernel leads a process group of its own
        shutil.rmtree(self._folder, ignore_errors=True)


def _short_folder() -> str:
    """Create a private folder with a path below 70 bytes: the path of a Unix socket may have about 100 bytes."""
    temporary = tempfile.gettempdir()
    return tempfile.mkdtemp(prefix="fleet-kernel-", dir=temporary if len(os.fsencode(temporary)) < 70 else "/tmp")


def start(folder: Path, environment: Mapping[str, str]) -> Kernel:
    """Start a kernel in `folder`, with these variables added to the process's own, and return it. The caller must `stop` it."""
    kernel = Kernel(kernel_name="python3", client_factory=_Client)
    asyncio.run(kernel.start_kernel(extra_arguments=list(ARGUMENTS), cwd=str(folder), env={**os.environ, **environment}))
    return kernel
