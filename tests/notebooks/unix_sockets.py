"""A pytest plugin for nbval's own process: its kernels are reached through files, not ports.

The library chooses free TCP ports that the kernel binds a second later; beside the tests of other workers somebody else has
one of them now and then. `fleetlib.execution.kernels` does the same for `fleet run`.
"""

from __future__ import annotations

import tempfile
from itertools import count
from typing import Any

import nbval.kernel
from jupyter_client.manager import KernelManager

FOLDER = tempfile.TemporaryDirectory(prefix="fleet-nbval-", ignore_cleanup_errors=True)
NUMBERS = count()


def _manager(**settings: Any) -> KernelManager:
    return KernelManager(transport="ipc", ip=f"{FOLDER.name}/{next(NUMBERS)}", **settings)


nbval.kernel.KernelManager = _manager
