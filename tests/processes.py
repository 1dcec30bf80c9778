"""Child processes that do not outlive their test, even if it fails."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def started(command: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """Start a child for the block. Afterwards it is killed if it still runs, it is reaped, and its pipes are closed."""
    with _interrupts():
        process = subprocess.Popen(command, **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with suppress(OSError):  # closing flushes input that the child did not read
                    pipe.close()


@contextmanager
def _interrupts() -> Iterator[None]:
    """Let children started in the block be interrupted, even if this process ignores SIGINT, as `command &` in a script does.

    A child inherits ignored signals, and `fleet` continues to ignore them; it does not inherit handlers.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
