"""How long errors that waiting does not mend have stood, and when that is enough. May import `diagnosis` and `errors`.

Most errors of a rollout pass by themselves: a role is replicated, an owner appears. Those of `diagnosis.py` that are final do not,
but may still be mended while the wait goes on. So each is given patience from the moment it is first seen, whenever in the wait that is.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from fleetlib.diagnosis import Cause, explain
from fleetlib.errors import VerificationError

LOOK_AGAIN = (1.0, 30.0)
"""Seconds: the shortest and the longest time between two looks at what does not change by itself."""


class Patience:
    """The patience of one wait, in `seconds`."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._since: dict[str, tuple[Cause, float]] = {}

    @property
    def heartbeat(self) -> float:
        """How often to look while nothing changes, so that patience ends at most a quarter late."""
        shortest, longest = LOOK_AGAIN
        return max(shortest, min(longest, self.seconds / 4))

    def failing(self, target: str, message: str) -> None:
        """`target` fails with this message now. Raises `VerificationError` when the same final error has stood for too long."""
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
        """`target` does not fail, or no longer for a reason that stays."""
        self._since.pop(target, None)

    def judge(self, target: str, status: str, message: str) -> None:
        """By a condition's status. `Unknown` and "" change nothing: a controller that tries again has not mended anything yet."""
        if status == "False":
            self.failing(target, message)
        elif status == "True":
            self.fine(target)
