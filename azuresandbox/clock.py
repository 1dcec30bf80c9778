"""The sandbox's clocks: real time scaled by a mode, or in tests a time that moves only when the test advances it.

Two kinds of time pass in the sandbox. *Work* is the time that the real system needs for a task (Azure creating a cluster);
*waits* are timers (a retry, an interval). A mode scales the two separately. Tests advance a `VirtualClock` themselves, so that
no part of the sandbox sleeps on its own.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Rates:
    """Seconds of real time for one second of the modelled system's time."""

    work: float
    wait: float


MODES = {
    "instant": Rates(work=0.0, wait=0.1),
    "demo": Rates(work=1 / 60, wait=0.2),
    "realistic": Rates(work=1.0, wait=1.0),
}


class Clock(Protocol):
    """The clock that the parts of the sandbox are given. All durations are in seconds of the modelled system."""

    def now(self) -> datetime:
        """Return the current time, timezone-aware, UTC."""

    async def work(self, seconds: float) -> None:
        """Wait for the time that the real system needs for a task."""

    async def wait(self, seconds: float) -> None:
        """Wait for a timer: an interval, a backoff, a timeout."""

    def poll_after(self, seconds: float) -> float:
        """Return how many real seconds a client should wait where the real system says `Retry-After: seconds`."""


class ScaledClock:
    """The wall clock, with work and waits shortened by the mode's rates."""

    def __init__(self, mode: str = "instant") -> None:
        if mode not in MODES:
            raise ValueError(f"unknown clock mode {mode!r}: choose one of {', '.join(MODES)}")
        self.mode = mode
        self.rates = MODES[mode]

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def work(self, seconds: float) -> None:
        await asyncio.sleep(seconds * self.rates.work)

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds * self.rates.wait)

    def poll_after(self, seconds: float) -> float:
        return max(0.02, seconds * self.rates.work)


class VirtualClock:
    """Time that moves only by `advance`, which wakes, in order, the sleepers that become due."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = start
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> datetime:
        return self._now

    async def work(self, seconds: float) -> None:
        await self.wait(seconds)

    async def wait(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + timedelta(seconds=seconds), next(self._order), future))
        await future

    def poll_after(self, seconds: float) -> float:
        return 0.02

    async def settle(self, rounds: int = 200) -> None:
        """Run all tasks that can run without time passing."""
        for _ in range(rounds):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        end = self._now + timedelta(seconds=seconds)
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, future = heapq.heappop(self._sleepers)
            self._now = max(self._now, due)
            if not future.done():
                future.set_result(None)
            await self.settle()
        self._now = end
        await self.settle()


def rfc3339(moment: datetime) -> str:
    """Return a Kubernetes timestamp: whole seconds, `Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_micro(moment: datetime) -> str:
    """Return a Kubernetes MicroTime, which is also ARM's precision: microseconds, `Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
