"""Leader election by a Lease, as controller-runtime does it: one of several ASO Pods works, the others wait.

The Lease is renewed rarely: another Pod takes over at once when the leader stops, and after `DURATION` when it was killed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from azuresandbox.clock import Clock, rfc3339_micro
from azuresandbox.machine.client import ApiError, KubeClient
from azuresandbox.machine.types import Object
from azuresandbox.wire import Unreachable

NAME = "controllers-leader-election-azinfra-generated"
LEASE = ("coordination.k8s.io/v1", "Lease")
DURATION, RENEW, RETRY = 3600, 1200, 15


class Leader:
    """One candidate. `identity`: the Pod's name, so that a restarted container keeps its lease."""

    def __init__(self, kube: KubeClient, clock: Clock, namespace: str, identity: str, log: Callable[[str], None]) -> None:
        self._kube, self._clock, self._namespace, self._identity, self._log = kube, clock, namespace, identity, log

    async def acquire(self) -> None:
        """Return when this candidate holds the lease."""
        self._log(f"attempting to acquire leader lease {self._namespace}/{NAME}...")
        while not await self._try():
            await self._clock.wait(RETRY)
        self._log(f"successfully acquired lease {self._namespace}/{NAME}")

    async def hold(self) -> None:
        """Renew the lease until cancelled, then release it. Raises `RuntimeError` if another candidate has taken it."""
        try:
            while True:
                await self._clock.wait(RENEW)
                if not await self._try():
                    raise RuntimeError("leader election lost")
        finally:
            await asyncio.shield(self._release())

    async def _try(self) -> bool:
        now = self._clock.now()
        lease = await self._kube.find(*LEASE, NAME, self._namespace)
        try:
            if lease is None:
                await self._kube.create(self._lease({}, now, now))
                return True
            spec = lease.get("spec", {})
            holder = spec.get("holderIdentity") or ""
            if holder not in ("", self._identity) and not _expired(spec, now):
                return False
            since = spec.get("acquireTime") if holder == self._identity else None
            await self._kube.update(self._lease(lease["metadata"], now, since or now))
        except ApiError as error:
            if error.code == 409:
                return False
            raise
        return True

    async def _release(self) -> None:
        """Release the lease. A failure is only logged: raising it would hide why the container ends, and the lease expires."""
        try:
            await self._give_back()
        except (ApiError, Unreachable) as error:
            self._log(f"failed to release lock: {error}")

    async def _give_back(self) -> None:
        lease = await self._kube.find(*LEASE, NAME, self._namespace)
        if lease is not None and lease.get("spec", {}).get("holderIdentity") == self._identity:
            lease["spec"] = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
            await self._kube.update(lease)

    def _lease(self, metadata: Object, now: datetime, since: datetime | str) -> Object:
        acquired = since if isinstance(since, str) else rfc3339_micro(since)
        return {
            "apiVersion": LEASE[0],
            "kind": LEASE[1],
            "metadata": {"name": NAME, "namespace": self._namespace, **metadata},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": DURATION,
                "acquireTime": acquired,
                "renewTime": rfc3339_micro(now),
            },
        }


def _expired(spec: Object, now: datetime) -> bool:
    renewed = datetime.fromisoformat(spec.get("renewTime") or "1970-01-01T00:00:00+00:00")
    return renewed + timedelta(seconds=spec.get("leaseDurationSeconds", DURATION)) < now
