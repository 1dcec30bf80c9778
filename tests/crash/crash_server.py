"""Serves a sandbox again and again: `python crash_server.py STATE CLOCK`, a line on standard input starts one more.

Each start is a fork of this process, which has imported everything already; what the child runs is the server's own `main`.
So a restart costs what the sandbox needs to take up its state, not what Python needs to import it. Prints `pid N`, then the
server prints `ready`.
"""

from __future__ import annotations

import gc
import os
import sys

from azuresandbox import arm, entra, kubernetes, machine, server, sources
from azuresandbox.machine import images

PARTS = (arm, entra, kubernetes, machine, sources, images)


def main() -> None:
    state, clock = sys.argv[1:]
    gc.freeze()
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            sys.argv = ["azuresandbox.server", "--state", state, "--clock", clock]
            server.main()
            os._exit(0)
        print(f"pid {child}", flush=True)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
