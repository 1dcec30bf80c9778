"""End a program on Ctrl-C at any moment, with exit status 130.

Python's own exception is not enough. `KeyboardInterrupt` is lost when it is raised in a `__del__`, in a callback of C code,
or in C code that clears every error: numpy does so when it compares a dtype with an object (`arraydescr_richcompare`), and
pandas compares dtypes in every table. While the main thread waits for a lock, no exception is raised at all if another thread
received the signal, or if the signal came just before the wait began.

Therefore the interrupt is remembered, and a thread sends the signal to the main thread again until the program ends: an
exception that was swallowed is raised once more, and a wait ends. An exception that is being handled is not disturbed, so
cleanup can finish. If the program has not ended `GRACE` seconds later, the thread runs the acts registered with `if_stuck`
and ends the process.

If the parent process ignores SIGINT (`nohup`, `trap "" INT`, `command &` in a script), this program ignores it, too. Before
`run` is called, Python's own rules hold: the signal ends the process while Python starts, and prints a traceback while it
finds this module.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STATUS = 130
"""The exit status of a program that was interrupted, as shells have it: 128 and the signal's number."""

GRACE = 3.0
"""Seconds in which an interrupted program cleans up and ends by itself."""

_AGAIN = 0.2
"""Seconds after which the main thread gets the signal again."""

_LAST_ACTS = 1.0
"""Seconds for the acts registered with `if_stuck`: they may block like the main thread, such as on a pipe that is not read."""


class _Interrupts:
    """The state of the process: whether an interrupt came, and whether its exception may be raised now."""

    def __init__(self) -> None:
        self.came = False
        self.raising = False
        self.held = 0
        self.last_acts: list[Callable[[], None]] = []

    def handle(self, number: int, frame: object) -> None:
        """Handle SIGINT in the main thread: the first signal, and those that the watching thread sends after it."""
        self.came = True
        self.check()

    def check(self) -> None:
        """Raise `KeyboardInterrupt` if an interrupt came and its exception is not being handled already."""
        if self.came and self.raising and not self.held and not _unwinding():
            raise KeyboardInterrupt


_interrupts = _Interrupts()


def _unwinding() -> bool:
    """Return whether a `KeyboardInterrupt` is being handled, so that this code is part of the cleanup."""
    error = sys.exc_info()[1]
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__context__
    return False


def run(command: Callable[[], object]) -> None:
    """Run `command`, which is the whole program. An interrupt ends the process with `STATUS`."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        command()
        return
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(STATUS))  # no cleanup is needed yet
    _install()
    try:
        try:
            _interrupts.raising = True
            command()
        finally:
            _interrupts.raising = False
    except BaseException:
        _interrupts.raising = False
        if not _interrupts.came:
            raise
    if _interrupts.came:
        sys.exit(STATUS)


def _install() -> None:
    import atexit
    import threading

    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    sys.unraisablehook = _quiet(sys.unraisablehook)
    atexit.register(_end)  # the first to be registered is the last to be called
    main = threading.get_ident()
    threading.Thread(target=_watch, args=(reader, main), daemon=True, name="interrupts").start()
    signal.signal(signal.SIGINT, _interrupts.handle)


def _quiet(report: Callable[[sys.UnraisableHookArgs], object]) -> Callable[[sys.UnraisableHookArgs], None]:
    """Return a hook that does not report a swallowed interrupt, since it is raised again."""

    def hook(args: sys.UnraisableHookArgs) -> None:
        if not issubclass(args.exc_type, KeyboardInterrupt):
            report(args)

    return hook


def _watch(reader: int, main: int) -> None:
    """Wait for an interrupt, which any thread of the process may have received, then end the process."""
    while signal.SIGINT not in os.read(reader, 512):  # other signals with a handler write here, too
        pass
    end = time.monotonic() + GRACE
    while time.monotonic() < end:
        time.sleep(_AGAIN)
        signal.pthread_kill(main, signal.SIGINT)
    _do_last_acts()
    os._exit(STATUS)


def _do_last_acts() -> None:
    import threading

    acts = [threading.Thread(target=act, daemon=True) for act in reversed(_interrupts.last_acts)]
    for thread in acts:
        thread.start()
    end = time.monotonic() + _LAST_ACTS
    for thread in acts:
        thread.join(max(0.0, end - time.monotonic()))


def _end() -> None:
    """Flush the output while the thread still watches, so that an interrupted program cannot hang at its very end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass  # Python tries again and reports the error
    if _interrupts.came:
        os._exit(STATUS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the exit status is known: a signal in Python's last moments would change it


@contextmanager
def held() -> Iterator[None]:
    """Delay an interrupt until the block, run in the main thread, is done: for steps that must not stop halfway.

    Keep the block short: the process ends `GRACE` seconds after the interrupt, even in the block. Without `run` this has no
    effect.
    """
    _interrupts.held += 1
    try:
        yield
    finally:
        _interrupts.held -= 1
        _interrupts.check()


@contextmanager
def if_stuck(act: Callable[[], None]) -> Iterator[None]:
    """Call `act`, in another thread, if the process is ended while it is still in the block."""
    _interrupts.last_acts.append(act)
    try:
        yield
    finally:
        _interrupts.last_acts.remove(act)
