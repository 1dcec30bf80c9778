"""Kernels started ahead: while one notebook runs, the next one's kernel starts and imports what every stage imports.

Half of a short stage's time is a kernel's start. Used by `run`; may import nothing of the project.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jupyter_client.manager import AsyncKernelManager

PRELOADED = (
    "fleetlib.session",
    "fleetlib.stages.stage",
    "fleetlib.inspect.tables",
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


def start(folder: Path, environment: Mapping[str, str]) -> AsyncKernelManager:
    """A kernel that is starting, in `folder`, with these variables besides the process's own. `stop` it, whatever happens."""
    from jupyter_client.manager import AsyncKernelManager

    manager = AsyncKernelManager(kernel_name="python3")
    asyncio.run(manager.start_kernel(extra_arguments=list(ARGUMENTS), cwd=str(folder), env={**os.environ, **environment}))
    return manager


def stop(kernel: AsyncKernelManager) -> None:
    """End it at once: its notebook is executed and saved, or will not be."""
    asyncio.run(kernel.shutdown_kernel(now=True))
