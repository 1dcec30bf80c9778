"""Waiting that a person can watch: a bar, a timeout, and a diagnosis instead of silence. May import `errors` only."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fleetlib.errors import TimeoutExpired


class Wait:
    """One wait: `update(done, total, text)` moves its bar; `remaining()` is what is left of the timeout, in seconds."""

    def __init__(self, title: str, timeout: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.title = title
        self.heartbeat = 30.0  # seconds after which a silent watch is looked at again
        self._clock = clock
        self._start = clock()
        self._end = self._start + timeout
        self._bar: Any = None
        self.last = ""

    def update(self, done: int, total: int, text: str = "") -> None:
        self.last = text or self.last
        if self._bar is None and self._interactive():
            from tqdm.auto import tqdm

            self._bar = tqdm(total=total, desc=self.title, unit="", leave=False, bar_format="{desc}: {n}/{total} {bar} {elapsed} {postfix}")
        if self._bar is not None:
            self._bar.total = total
            self._bar.n = done
            self._bar.set_postfix_str(text[:60], refresh=True)

    @staticmethod
    def _interactive() -> bool:
        return "ipykernel" in sys.modules or sys.stderr.isatty()

    def remaining(self) -> float:
        """Seconds left. Raises `TimeoutExpired` when there are none."""
        left = self._end - self._clock()
        if left <= 0:
            raise TimeoutExpired(
                f"gave up waiting: {self.title}", said=self.last, fix="look at the last state above; run again to wait on"
            )
        return left

    def elapsed(self) -> float:
        """Seconds since the wait began."""
        return self._clock() - self._start

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


@contextmanager
def waiting(title: str, timeout: float) -> Iterator[Wait]:
    """A `Wait` whose bar is gone when the block ends, so that stored notebook outputs do not depend on time."""
    wait = Wait(title, timeout)
    try:
        yield wait
    finally:
        wait.close()
