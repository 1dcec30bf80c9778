"""A pytest plugin for nbval's process: kernels are reached through Unix sockets, not TCP ports.

nbval chooses free ports that a kernel binds a second later; meanwhile a test of another worker may have taken one of them.
`fleetlib.execution.kernels` does the same for `fleet run`.
"""

from __future__ import annotations

import tempfile
from itertools import count
from typing import Any

import nbval.kernel  # type: ignore[import-untyped]
from jupyter_client.manager import KernelManager

FOLDER = tempfile.TemporaryDirectory(prefix="fleet-nbval-", ignore_cleanup_errors=True)
NUMBERS = count()


def _manager(**settings: Any) -> KernelManager:
    return KernelManager(transport="ipc", ip=f"{FOLDER.name}/{next(NUMBERS)}", **settings)


nbval.kernel.KernelManager = _manager
