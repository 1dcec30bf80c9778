"""Resource Graph's own limit: a number of queries of one principal in a window of seconds.

Source: "Guidance for throttled requests in Azure Resource Graph": 15 queries within 5 seconds, in two headers of every answer;
Azure/azure-cli-extensions#3325 for the 429. The seconds are scaled as those of pollers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from azuresandbox.context import Sandbox

QUERIES, SECONDS = 15, 5.0


class Exhausted(Exception):
    """No query is left in this window; `headers` say when it ends."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__("the quota is used up")
        self.headers = headers


@dataclass
class _Window:
    ends: datetime
    left: int = QUERIES


class Quota:
    """The windows of all principals, in memory only: five seconds are shorter than a restart."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._clock = sandbox.clock
        self._windows: dict[str, _Window] = {}

    def take(self, principal: str) -> dict[str, str]:
        """Count one query and return the headers with the remaining ones. Raises `Exhausted`."""
        now, length = self._clock.now(), timedelta(seconds=self._seconds())
        window = self._windows.get(principal)
        if window is None or window.ends <= now:
            window = self._windows[principal] = _Window(now + length)
        remaining = min(SECONDS, (window.ends - now) / length * SECONDS)
        headers = {
            "x-ms-user-quota-remaining": str(max(0, window.left - 1)),
            "x-ms-user-quota-resets-after": f"00:00:{remaining:02.0f}",
        }
        if window.left < 1:
            delay = self._clock.poll_after(remaining)
            after = {"Retry-After": str(round(delay))} if delay >= 1 else {"retry-after-ms": str(round(delay * 1000))}
            raise Exhausted(headers | after)
        window.left -= 1
        return headers

    def _seconds(self) -> float:
        """Return the length of a window by the sandbox's clock: where clients may poll sooner, it ends sooner."""
        return min(SECONDS, self._clock.poll_after(SECONDS))
