"""Child processes that are gone when a test has ended, however it ends."""

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
    """A child for as long as the block: killed and reaped then, if it has not ended, and its pipes closed."""
    with _interrupts():
        process = subprocess.Popen(command, **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with suppress(OSError):  # what was written and not read yet
                    pipe.close()


@contextmanager
def _interrupts() -> Iterator[None]:
    """A block whose children can be interrupted, also if this process cannot: a shell's `command &` in a script ignores SIGINT.

    A program inherits what is ignored, and `fleet` goes on ignoring it; a handler it does not inherit.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
