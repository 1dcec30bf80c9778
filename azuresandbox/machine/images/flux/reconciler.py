"""The loop of a controller that applies objects: triggers of a reconciliation, finalizer, suspension.

kustomize-controller and helm-controller share it. Sources have a loop of their own, `source.engine`: they depend on no other
object, one Pod reconciles five kinds, and a suspended source still records requests.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from azuresandbox.machine.controller import Controller, Informers, Key, key_of
from azuresandbox.machine.images.flux import objects
from azuresandbox.machine.images.flux.events import Recorder, log_line, plain_log
from azuresandbox.machine.images.flux.run import Settings
from azuresandbox.machine.node.program import Pod
from azuresandbox.machine.types import Object


class Reconciler(ABC):
    """Watches the objects of one kind and their sources. An object is never reconciled twice at the same time."""

    api_version: ClassVar[str]
    kind: ClassVar[str]
    manager: ClassVar[str]
    sources: ClassVar[Mapping[str, str]]
    """Kind of a source -> its API version."""

    suspended: ClassVar[str]
    """The log line about an object with `spec.suspend`."""

    backoff: ClassVar[tuple[float, float]] = (1.0, 300.0)

    def __init__(self, pod: Pod, informers: Informers) -> None:
        self.pod = pod
        self.settings = Settings.of(pod)
        log = plain_log(pod.clock, pod.log)
        self.recorder = Recorder(pod.kube, pod.clock, self.manager, log)
        workers = int(pod.flag("concurrent", "4"))
        self.controller = Controller(self.manager, informers, pod.clock, log, workers=workers, backoff=self.backoff)
        self.cache = informers.cache(self.api_version, self.kind)
        self.cache.listeners.append(self._changed)
        for kind, api_version in self.sources.items():
            informers.cache(api_version, kind).listeners.append(self._source_changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self.controller.run(self.reconcile, wait_for=[self.cache])

    # --- decisions of a controller -----------------------------------------------------------------------------------

    @abstractmethod
    async def reconcile_object(self, obj: Object) -> float | None:
        """Reconcile an object that has the finalizer. Returns the seconds until the next time, or `None`."""

    @abstractmethod
    async def finalize(self, obj: Object) -> None:
        """Clean up after a deleted object and remove its finalizer."""

    @abstractmethod
    def became_ready(self, obj: Object, old: Object) -> bool:
        """Return whether a change of an object is one that its dependents wait for."""

    @abstractmethod
    def is_new(self, source: Object, old: Object | None) -> bool:
        """Return whether a change of a source may concern the objects that use it."""

    @abstractmethod
    def is_concerned(self, obj: Object, source: Object) -> bool:
        """Return whether an object must be reconciled because its source has changed."""

    # --- triggers ----------------------------------------------------------------------------------------------------

    def _changed(self, obj: Object, old: Object | None) -> None:
        if old is None or objects.triggers(obj) != objects.triggers(old):
            self._wake(obj)
        if old is not None and self.became_ready(obj, old):
            self._wake_dependents(obj)

    def _wake_dependents(self, obj: Object) -> None:
        """Reconcile the objects that depend on this one now, before their timer is over."""
        metadata = obj["metadata"]
        for other in self.cache.list():
            if (metadata["namespace"], metadata["name"]) in objects.dependencies(other):
                self._wake(other)

    def _source_changed(self, source: Object, old: Object | None) -> None:
        if self.is_new(source, old):
            for obj in self.cache.list():
                if self.is_concerned(obj, source):
                    self._wake(obj)

    def _wake(self, obj: Object) -> None:
        self.controller.queue.add(key_of({**obj, "kind": self.kind}))

    # --- one reconciliation ------------------------------------------------------------------------------------------

    async def reconcile(self, key: Key) -> float | None:
        """Reconcile the object of a key. Returns the seconds until the next time, or `None`."""
        found = await self.pod.kube.find(self.api_version, self.kind, key.name, key.namespace)
        if found is None:
            return None
        obj: Object = {**found, "apiVersion": self.api_version, "kind": self.kind}
        if objects.is_deleted(obj):
            if objects.has_finalizer(obj):
                await self.finalize(obj)
            return None
        if not objects.has_finalizer(obj):
            obj = await objects.add_finalizer(self.pod.kube, obj, self.manager)
        if obj["spec"].get("suspend"):
            self.pod.log(log_line(self.pod.clock, obj, self.suspended))
            return None
        return await self.reconcile_object(obj)


async def serve(pod: Pod, reconciler: type[Reconciler]) -> None:
    """Run a controller until its Pod is stopped."""
    informers = Informers(pod.kube, pod.clock, plain_log(pod.clock, pod.log))
    try:
        running = reconciler(pod, informers)
        pod.ready(True)
        await running.run()
    finally:
        await informers.stop()
