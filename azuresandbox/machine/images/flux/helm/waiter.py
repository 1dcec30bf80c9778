"""How helm-controller waits for the objects of a release: by kstatus, as Flux's other controllers do."""

from __future__ import annotations

from azuresandbox.clock import Clock
from azuresandbox.machine.client import KubeClient
from azuresandbox.machine.helm.resources import HelmFailure
from azuresandbox.machine.images.flux.helm.run import GROUP, MANAGER
from azuresandbox.machine.images.flux.ssa.manager import ResourceManager
from azuresandbox.machine.images.flux.ssa.refs import Ref, ref_of
from azuresandbox.machine.images.flux.ssa.wait import ApplyError
from azuresandbox.machine.types import Object


class KstatusWaiter:
    """The `machine.helm.actions.Waiter` of helm-controller."""

    def __init__(self, kube: KubeClient, clock: Clock) -> None:
        self._manager = ResourceManager(kube, clock, MANAGER, GROUP)

    async def ready(self, objects: list[Object], timeout: float, jobs: bool) -> None:
        waited = [obj for obj in objects if jobs or obj["kind"] != "Job"]
        await self._wait(waited, timeout, fail_fast=True)

    async def hook(self, objects: list[Object], timeout: float) -> None:
        """Wait until Jobs and Pods have ended; other objects are not waited for."""
        await self._wait([obj for obj in objects if obj["kind"] in ("Job", "Pod")], timeout, fail_fast=False)

    async def gone(self, objects: list[Object], timeout: float) -> None:
        try:
            await self._manager.wait_gone(_refs(objects), timeout)
        except ApplyError as error:
            raise HelmFailure(str(error)) from error

    async def _wait(self, objects: list[Object], timeout: float, fail_fast: bool) -> None:
        refs = _refs(objects)
        try:
            await self._manager.wait(refs, refs, timeout, fail_fast=fail_fast)
        except ApplyError as error:
            raise HelmFailure(str(error)) from error


def _refs(objects: list[Object]) -> dict[Ref, str]:
    return {ref_of(obj): obj["apiVersion"].rpartition("/")[2] for obj in objects}
