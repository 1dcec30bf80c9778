"""Waits until objects are reconciled, by kstatus. Source: fluxcd/pkg/ssa, manager_wait.go."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from azuresandbox.clock import Clock
from azuresandbox.machine.client import ApiError, KubeClient, NoMatch
from azuresandbox.machine.images.flux.ssa import kstatus
from azuresandbox.machine.images.flux.ssa.refs import Ref, api_version, ref_of
from azuresandbox.machine.types import Object


class ApplyError(Exception):
    """Objects could not be applied, deleted or waited for. The text is that of fluxcd/pkg/ssa."""


class Wait:
    """Watches objects (ref -> API version) until all are Current, or until waiting is pointless."""

    def __init__(self, kube: KubeClient, clock: Clock, refs: Mapping[Ref, str], fail_fast: bool) -> None:
        self.kube, self.clock, self.refs, self.fail_fast = kube, clock, refs, fail_fast
        self.states: dict[Ref, kstatus.Status] = {}
        self.changed = asyncio.Event()

    async def run(self, timeout: float) -> None:
        """Wait at most `timeout` seconds. Raises `ApplyError` if an object has failed or is not Current in time."""
        for ref in self.refs:
            self.states[ref] = await self._read(ref)
        if not self._decided():
            await self._follow(timeout)
        self._raise_if_failed(timed_out=not self._decided())

    async def _read(self, ref: Ref) -> kstatus.Status:
        try:
            found = await self.kube.find(self._api_version(ref), ref.kind, ref.name, ref.namespace)
        except (NoMatch, ApiError):
            return kstatus.Status(kstatus.NOT_FOUND)
        return kstatus.compute({**found, "apiVersion": self._api_version(ref), "kind": ref.kind} if found else None)

    def _api_version(self, ref: Ref) -> str:
        return api_version(ref, self.refs[ref])

    def _decided(self) -> bool:
        states = {status.state for status in self.states.values()}
        return states <= {kstatus.CURRENT, kstatus.FAILED} or (self.fail_fast and kstatus.FAILED in states)

    async def _follow(self, timeout: float) -> None:
        open_refs = [ref for ref, status in self.states.items() if status.state != kstatus.CURRENT]
        groups = {(self._api_version(ref), ref.kind, ref.namespace) for ref in open_refs}
        tasks = [asyncio.create_task(self._watch(*group)) for group in groups]
        timer = asyncio.create_task(self.clock.wait(timeout))
        try:
            while not self._decided() and not timer.done():
                self.changed.clear()
                waiting = asyncio.create_task(self.changed.wait())
                await asyncio.wait({waiting, timer}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
        finally:
            for task in (*tasks, timer):
                task.cancel()
            await asyncio.gather(*tasks, timer, return_exceptions=True)

    async def _watch(self, version: str, kind: str, namespace: str) -> None:
        while True:
            try:
                async for change, obj in self.kube.watch(version, kind, namespace):
                    if change in ("ADDED", "MODIFIED", "DELETED"):
                        self._seen({**obj, "apiVersion": version, "kind": kind}, change)
            except (ApiError, NoMatch):
                await self.clock.wait(5)
                self.kube.forget_mappings()

    def _seen(self, obj: Object, change: str) -> None:
        ref = ref_of(obj)
        if ref in self.states:
            self.states[ref] = kstatus.compute(None if change == "DELETED" else obj)
            self.changed.set()

    def _raise_if_failed(self, timed_out: bool) -> None:
        bad = [
            f"{ref.subject} status: '{status.state}'"
            for ref, status in self.states.items()
            if status.state == kstatus.FAILED or (timed_out and status.state != kstatus.CURRENT)
        ]
        if bad:
            problem = "timeout waiting for" if timed_out else "failed early due to stalled resources"
            raise ApplyError(f"{problem}: [{', '.join(bad)}]")
