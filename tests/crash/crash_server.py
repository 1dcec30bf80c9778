"""Serve a sandbox again and again: `python crash_server.py STATE CLOCK`; each line on standard input starts it once more.

Each start is a fork of this process, which has imported everything already; the child runs the server's own `main`. So a
restart takes as long as the sandbox needs to load its state, without Python's imports. Prints `pid N`, then the server prints
`ready`.
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
