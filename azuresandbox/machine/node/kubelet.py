"""The kubelets of a cluster's nodes: a worker for each Pod that is placed there.

The status that a worker reports comes from the programs that really run. A Pod that was running before the sandbox was
restarted is resumed, not restarted. Source of reasons and messages: Kubernetes `pkg/kubelet`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from azuresandbox.machine.client import ApiError
from azuresandbox.machine.cluster import CORE, Cluster
from azuresandbox.machine.controller import Key
from azuresandbox.machine.node import logs
from azuresandbox.machine.node.pod import PlacedPod
from azuresandbox.machine.node.program import Program
from azuresandbox.machine.node.runner import Runner
from azuresandbox.machine.node.status import report
from azuresandbox.machine.node.tokens import Tokens
from azuresandbox.machine.node.volumes import mount
from azuresandbox.machine.objects import is_deleted
from azuresandbox.machine.types import Object
from azuresandbox.store import Store

FabricOf = Callable[[Object], Store | None]
"""Returns the store of goals and reports for a Pod that may use it, else `None`."""


async def run_kubelets(cluster: Cluster, programs: Mapping[str, Program], fabric_of: FabricOf) -> None:
    """Run all Pods that are placed on nodes, until cancelled. `programs`: image repository -> its program."""
    await _Kubelets(cluster, programs, fabric_of).run()


class _Kubelets:
    """The workers of one cluster's Pods, by the Pods' uids."""

    def __init__(self, cluster: Cluster, programs: Mapping[str, Program], fabric_of: FabricOf) -> None:
        self._cluster, self._programs, self._fabric_of = cluster, programs, fabric_of
        self._controller = cluster.controller("kubelet", workers=8)
        self._pods = self._controller.watch(CORE, "Pod")
        self._nodes = cluster.cache(CORE, "Node")
        self._sources = [cluster.cache(CORE, kind) for kind in ("Secret", "ConfigMap", "PersistentVolumeClaim")]
        self._workers: dict[str, Worker] = {}

    async def run(self) -> None:
        for cache in self._sources:
            cache.listeners.append(self._source_changed)
        try:
            await self._controller.run(self._reconcile, wait_for=(self._pods, self._nodes, *self._sources))
        finally:
            await asyncio.gather(*(worker.stop() for worker in self._workers.values()))

    def _source_changed(self, obj: Object, old: Object | None) -> None:
        for worker in self._workers.values():
            if worker.pod.namespace == obj["metadata"].get("namespace"):
                worker.pod.changed.set()

    async def _reconcile(self, key: Key) -> None:
        pod = self._pods.get(key.name, key.namespace)
        uid = pod["metadata"]["uid"] if pod is not None else ""
        await self._stop_former(key, uid)
        if pod is None or not pod["spec"].get("nodeName"):
            return
        if self._nodes.get(pod["spec"]["nodeName"]) is None:
            if uid in self._workers:
                await self._workers.pop(uid).stop()
            await self._cluster.delete(pod, grace=0)
        elif uid in self._workers:
            self._workers[uid].update(pod)
        elif is_deleted(pod):
            await self._cluster.delete(pod, grace=0)
        elif (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
            self._workers[uid] = Worker(PlacedPod(self._cluster, pod), self._programs, self._fabric_of(pod))
            self._workers[uid].start()

    async def _stop_former(self, key: Key, uid: str) -> None:
        """Stop the worker of a former Pod with this name, and drop its logs."""
        for former, worker in list(self._workers.items()):
            if (worker.pod.namespace, worker.pod.name) == (key.namespace, key.name) and former != uid:
                await self._workers.pop(former).stop()
                logs.drop(self._cluster.sandbox.store, logs.prefix(self._cluster.id, key.namespace, key.name))


class Worker:
    """One Pod on its node, from its volumes to its end. Each container is a task."""

    def __init__(self, pod: PlacedPod, programs: Mapping[str, Program], fabric: Store | None) -> None:
        self.pod = pod
        self._tokens = Tokens(pod)
        self._runner = Runner(pod, self._tokens, programs, fabric)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._spawn(report(self.pod))
        self._spawn(self._live())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:
            self.pod.cluster.log(f"kubelet: {self.pod}: {type(error).__name__}: {error}")

    def update(self, obj: Object) -> None:
        """Take up a newer Pod object; terminate the Pod if it is being deleted."""
        self.pod.obj = obj
        if is_deleted(obj) and self._stopping is None:
            self._stopping = asyncio.create_task(self._guarded(self._terminate()))

    async def stop(self) -> None:
        """Stop the containers without a report: the sandbox or the cluster stops, or the Pod no longer exists."""
        tasks = [*self._tasks, *([self._stopping] if self._stopping else [])]
        tasks = [task for task in tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _terminate(self) -> None:
        for item in self.pod.mains:
            if item.running:
                await self.pod.event("Normal", "Killing", f"Stopping container {item.name}", item)
        await self.stop()
        while True:
            try:
                await self.pod.cluster.delete(self.pod.obj, grace=0)
                return
            except ApiError as error:
                self.pod.cluster.log(f"kubelet: deleting {self.pod}: {error}")
                await self.pod.clock.wait(1)

    async def _live(self) -> None:
        self.pod.dirty.set()
        await mount(self.pod, self._tokens)
        for audience, seconds in self._tokens.wanted():
            self._spawn(self._tokens.renew(audience, seconds))
        self.pod.network = True
        for item in self.pod.inits:
            if not await self._runner.initialize(item):
                return
        for item in self.pod.mains:
            self._spawn(self._runner.keep_running(item))
