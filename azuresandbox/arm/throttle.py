"""ARM's limits: a token bucket for each principal, subscription and kind of request.

Source: "Understand how Azure Resource Manager throttles requests": buckets of 250 reads (25 refilled a second), 200 writes and
200 deletes (10 a second) for a service principal and subscription. A second is one of the modelled system: where the clock
runs faster, clients poll more often and the buckets fill faster, by the same factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from azuresandbox.arm import retry
from azuresandbox.arm.errors import ArmError
from azuresandbox.context import Sandbox

LIMITS = {"reads": (250, 25), "writes": (200, 10), "deletes": (200, 10)}
"""Kind -> (bucket size, refilled a second)."""

KINDS = {"GET": "reads", "HEAD": "reads", "DELETE": "deletes"}


@dataclass
class _Bucket:
    left: float
    at: datetime


class Throttle:
    """The buckets, in memory only: they refill faster than a restart takes."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._buckets: dict[tuple[str, str, str], _Bucket] = {}

    def take(self, principal: str, subscription: str, method: str) -> dict[str, str]:
        """Count one request and return the header with the remaining ones.

        Raises 429 with Retry-After when the bucket is empty.
        """
        kind = KINDS.get(method, "writes")
        size, refill = LIMITS[kind]
        clock = self._sandbox.clock
        rate = refill * max(1.0, 15 / clock.poll_after(15))
        bucket = self._buckets.setdefault((principal, subscription, kind), _Bucket(size, clock.now()))
        now = clock.now()
        bucket.left = min(size, bucket.left + rate * (now - bucket.at).total_seconds())
        bucket.at = now
        if bucket.left < 1:
            raise self.refused(principal, subscription, kind)
        bucket.left -= 1
        return {f"x-ms-ratelimit-remaining-subscription-{kind}": str(int(bucket.left))}

    def refused(self, principal: str, subscription: str, kind: str, seconds: float = 1) -> ArmError:
        """Return the 429 of an exhausted bucket."""
        message = (
            f"Number of '{kind.removesuffix('s')}' requests for subscription '{subscription}' actor '{principal}' exceeded. "
            f"Please try again after '{max(1, round(seconds))}' seconds after additional tokens are available. Refer to "
            "https://aka.ms/arm-throttling for additional information."
        )
        return ArmError(429, "SubscriptionRequestsThrottled", message, headers=retry.after(self._sandbox, seconds))
