"""Runs the components of every cluster that ARM wants, each component as a task that ends with the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from azuresandbox import fabric
from azuresandbox.context import Sandbox
from azuresandbox.fabric import ClusterGoal, Report
from azuresandbox.machine import addons, extension
from azuresandbox.machine.cluster import APPS, CORE, Cluster
from azuresandbox.machine.controllers import (
    daemonsets,
    deployments,
    jobs,
    namespaces,
    scheduler,
    services,
    statefulsets,
    volumes,
)
from azuresandbox.machine.images import PROGRAMS
from azuresandbox.machine.node import kubelet, logs
from azuresandbox.machine.node.nodes import Nodes
from azuresandbox.machine.node.program import normalise
from azuresandbox.machine.types import Object
from azuresandbox.store import Store

CONTROLLERS: tuple[Callable[[Cluster], Awaitable[None]], ...] = (
    namespaces.run_namespaces,
    deployments.run_deployments,
    deployments.run_replica_sets,
    statefulsets.run_stateful_sets,
    daemonsets.run_daemon_sets,
    jobs.run_jobs,
    jobs.run_refusals,
    services.run_slices,
    services.run_load_balancers,
    volumes.run_claims,
    volumes.run_budgets,
    scheduler.run_scheduler,
    extension.run_extension_agent,
)


async def run(sandbox: Sandbox) -> None:
    """Follow ARM's goals until cancelled."""
    machines: dict[str, Machine] = {}
    try:
        async for goal in fabric.watch_goals(sandbox.store, "cluster"):
            assert isinstance(goal, ClusterGoal)
            if goal.cluster_id not in machines:
                machines[goal.cluster_id] = Machine(sandbox, goal)
            machines[goal.cluster_id].follow(goal)
            if goal.deleted:
                await machines.pop(goal.cluster_id).gone()
    finally:
        await asyncio.gather(*(machine.stop() for machine in machines.values()))


class Machine:
    """One cluster: its nodes, controllers and kubelets, while its power state is Running."""

    def __init__(self, sandbox: Sandbox, goal: ClusterGoal) -> None:
        self.sandbox, self.goal = sandbox, goal
        self._moved = asyncio.Event()
        self._cluster: Cluster | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._main = asyncio.create_task(self._guarded(self._follow))

    def follow(self, goal: ClusterGoal) -> None:
        self.goal = goal
        self._moved.set()

    async def stop(self) -> None:
        self._main.cancel()
        await asyncio.gather(self._main, return_exceptions=True)
        await self._halt()

    async def gone(self) -> None:
        """Stop a deleted cluster, drop its logs, and report that it is deleted."""
        await self.stop()
        logs.drop(self.sandbox.store, logs.prefix(self.goal.cluster_id))
        if fabric.get_goal(self.sandbox.store, "cluster", self.goal.cluster_id) is not None:
            self._report(Report(self.goal.revision, "Deleted"))

    def _report(self, report: Report) -> None:
        fabric.put_report(self.sandbox.store, self.goal, report, part="nodes")

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run a component; if it raises, log the error and start it again, as a real control plane does."""
        while True:
            try:
                await work()
                return
            except Exception as error:
                text = f"{getattr(work, '__name__', 'component')}: {type(error).__name__}: {error}"
                self.sandbox.log("machine", f"{self.goal.cluster_name or self.goal.cluster_id}: {text}")
                await self.sandbox.clock.wait(5)

    async def _follow(self) -> None:
        while True:
            self._moved.clear()
            if self.goal.power != "Running":
                await self._halt()
                self._report(Report(self.goal.revision, "Succeeded", details={"pools": {}}))
            elif self._cluster is None:
                await self._begin()
            if self.goal.power == "Running" and self._cluster is not None:
                goal = self.goal
                self._cluster.goal = goal
                nodes = Nodes(self._cluster)
                await self._cluster.cache(CORE, "Node").synced.wait()
                await nodes.reconcile()
                await addons.install(self._cluster)
                fabric.put_report(
                    self.sandbox.store,
                    goal,
                    Report(goal.revision, "Succeeded", details={"pools": nodes.report()}),
                    part="nodes",
                )
            await self._moved.wait()

    async def _begin(self) -> None:
        token = await self._credential()
        self._cluster = cluster = Cluster(self.sandbox, self.goal, token)
        for kind in ("Pod", "Node"):
            await cluster.cache(CORE, kind).synced.wait()
        cluster.cache(APPS, "Deployment")
        for controller in CONTROLLERS:
            self._start(controller, cluster)
        self._tasks.append(asyncio.create_task(self._guarded(lambda: kubelet.run_kubelets(cluster, PROGRAMS, self._fabric_of))))

    def _start(self, controller: Callable[[Cluster], Awaitable[None]], cluster: Cluster) -> None:
        async def work() -> None:
            await controller(cluster)

        work.__name__ = controller.__name__
        self._tasks.append(asyncio.create_task(self._guarded(work)))

    def _fabric_of(self, pod: Object) -> Store | None:
        """Return the store of goals and reports for Azure's own agent, `None` for all other Pods."""
        agents = [normalise(item["image"]) for item in pod["spec"]["containers"]]
        if pod["metadata"]["namespace"] == extension.NAMESPACE and extension.AGENT_IMAGE in agents:
            return self.sandbox.store
        return None

    async def _halt(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._cluster is not None:
            await self._cluster.informers.stop()
            self._cluster = None

    async def _credential(self) -> str:
        """Return the credential of the components, as soon as the API server is up."""
        store, key = self.sandbox.store, fabric.report_key("cluster", self.goal.cluster_id)
        watch = store.watch(fabric.PARTITION, key)
        try:
            while True:
                report = fabric.get_cluster_report(store, self.goal.cluster_id)
                if report is not None and report.state == "Succeeded" and report.credentials.get("component"):
                    return report.credentials["component"]["token"]
                await anext(watch)
        finally:
            watch.close()
