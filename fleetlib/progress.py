"""Waiting with a progress bar, a timeout, and the last state seen as the explanation."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape

from fleetlib.errors import TimeoutExpired


class Wait:
    """One wait: `update` moves its bar, `remaining` gives the seconds left of the timeout."""

    def __init__(self, title: str, timeout: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.title = title
        self.heartbeat = 30.0  # seconds after which a watch without events is started again
        self._clock = clock
        self._end = clock() + timeout
        self._bar: _Silent | _Notebook | _Terminal | None = None
        self.last = ""

    def update(self, done: int, total: int, text: str = "") -> None:
        """Move the bar to `done` of `total`; `text` is the state of the others in the system's words."""
        self.last = text or self.last
        if self._bar is None:
            self._bar = _bar(self.title)
        self._bar.show(done, total, text)

    def remaining(self) -> float:
        """Seconds left, always positive. Raises `TimeoutExpired` at the end."""
        left = self._end - self._clock()
        if left <= 0:
            raise TimeoutExpired(
                f"gave up waiting: {self.title}", said=self.last, fix="look at the last state above; run again to wait on"
            )
        return left

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class _Silent:
    """No bar: output goes to a file or a pipe, or `FLEET_PROGRESS=off`."""

    def show(self, done: int, total: int, text: str) -> None:
        """Print no bar."""

    def close(self) -> None:
        """Leave the output as it is."""


class _Notebook:
    """A bar in the cell's output, removed at the end."""

    def __init__(self, title: str) -> None:
        from IPython.display import HTML, display

        self._title, self._html = title, HTML
        self._handle = display(HTML(""), display_id=True)

    def show(self, done: int, total: int, text: str) -> None:
        bar = f"<progress value='{done}' max='{max(total, 1)}'></progress>"
        self._handle.update(self._html(f"{escape(self._title)} {bar} {done}/{total} <small>{escape(text[:160])}</small>"))

    def close(self) -> None:
        from IPython.display import clear_output

        clear_output()


class _Terminal:
    """A bar on standard error."""

    def __init__(self, title: str) -> None:
        from tqdm import tqdm

        self._bar = tqdm(desc=title, leave=False, bar_format="{desc}: {n}/{total} {bar} {elapsed} {postfix}")

    def show(self, done: int, total: int, text: str) -> None:
        self._bar.total, self._bar.n = total, done
        self._bar.set_postfix_str(text[:60], refresh=True)

    def close(self) -> None:
        self._bar.close()


def _bar(title: str) -> _Silent | _Notebook | _Terminal:
    if os.environ.get("FLEET_PROGRESS") == "off":
        return _Silent()
    if _in_a_kernel():
        return _Notebook(title)
    return _Terminal(title) if sys.stderr.isatty() else _Silent()


def _in_a_kernel() -> bool:
    """Whether this code runs in a notebook's kernel; to import IPython is not enough."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")


@contextmanager
def waiting(title: str, timeout: float) -> Iterator[Wait]:
    """A `Wait` whose bar is removed when the block ends: stored outputs of notebooks must not depend on time."""
    wait = Wait(title, timeout)
    try:
        yield wait
    finally:
        wait.close()
