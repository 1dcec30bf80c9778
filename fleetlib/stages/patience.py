"""Patience with errors that waiting does not fix: a wait ends when one of them has lasted for too long.

Most errors of a rollout pass by themselves: a role is replicated, an owner appears. Final errors (see `diagnosis.py`) do not,
but somebody may fix them while the wait goes on. So each is given the same time, counted from when it is first seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from fleetlib.diagnosis import Cause, explain
from fleetlib.errors import VerificationError

LOOK_AGAIN = (1.0, 30.0)
"""The shortest and the longest time between two looks at an object that does not change, in seconds."""


class Patience:
    """The patience of one wait, in seconds."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._since: dict[str, tuple[Cause, float]] = {}

    @property
    def heartbeat(self) -> float:
        """Seconds between two looks while nothing changes, so that patience ends at most a quarter late."""
        shortest, longest = LOOK_AGAIN
        return max(shortest, min(longest, self.seconds / 4))

    def failing(self, target: str, message: str) -> None:
        """Note that `target` fails with this message. Raises `VerificationError` when a final error has lasted for too long."""
        cause = explain(message)
        if cause is None or not cause.final:
            self.fine(target)
            return
        known, since = self._since.get(target, (None, 0.0))
        if known is not cause:
            since = self._clock()
            self._since[target] = (cause, since)
        if self._clock() - since >= self.seconds:
            raise VerificationError(cause.meaning, target=target, said=message, fix=cause.fix)

    def fine(self, target: str) -> None:
        """Note that `target` does not fail, or not with a final error."""
        self._since.pop(target, None)

    def judge(self, target: str, status: str, message: str) -> None:
        """Note a condition's status. `Unknown` and "" are ignored: a controller that tries again has not fixed anything yet."""
        if status == "False":
            self.failing(target, message)
        elif status == "True":
            self.fine(target)
