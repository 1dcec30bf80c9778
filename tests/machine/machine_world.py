"""One cluster for a test: its goal, its client, and waiting for its state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from azuresandbox import fabric
from azuresandbox.fabric import AgentPool, ClusterGoal
from azuresandbox.machine.client import KubeClient
from azuresandbox.machine.types import Object
from tests.harness import World

ID = "c1"
POOL: AgentPool = {
    "name": "system",
    "count": 1,
    "vm_size": "Standard_D2as_v6",
    "vcpus": 2,
    "memory_gb": 8,
    "mode": "System",
    "os_sku": "AzureLinux",
    "version": "1.33.3",
    "node_image": "AKSAzureLinux-V3gen2-202510.1.0",
    "labels": {},
    "taints": [],
    "zones": [],
}


def goal(*, count: int = POOL["count"], version: str = POOL["version"]) -> ClusterGoal:
    """Return the goal of a cluster with one pool, `POOL` with another count or version of its nodes."""
    return ClusterGoal(
        cluster_id=ID,
        cluster_name="one-aks",
        location="eastus2",
        version="1.33.3",
        node_resource_group="MC_rg_one-aks_eastus2",
        pools=[{**POOL, "count": count, "version": version}],
    )


async def until(world: World, done: Callable[[], Awaitable[bool]], seconds: int = 300) -> None:
    """Move time on, second by second, until `done()` is true; at most `seconds`."""
    for _ in range(seconds):
        if await done():
            return
        await world.clock.advance(1)
        await asyncio.sleep(0.001)
    raise AssertionError(f"{done.__name__} is not true after {seconds} seconds")


async def until_nodes_are_ready(world: World) -> None:
    async def reported() -> bool:
        report = fabric.get_report(world.sandbox.store, "cluster", ID, "", "nodes")
        return report is not None and report.state == "Succeeded"

    await until(world, reported)


@asynccontextmanager
async def running(state: Path, parts: tuple[str, ...] = ("kubernetes", "machine")) -> AsyncIterator[tuple[World, KubeClient]]:
    """Run a sandbox with one cluster whose nodes are ready; yield it and a client of the cluster."""
    async with World.open(state, parts) as world:
        fabric.put_goal(world.sandbox.store, goal())
        await until_nodes_are_ready(world)
        report = fabric.get_cluster_report(world.sandbox.store, ID)
        assert report is not None
        yield world, KubeClient(world.wire, world.url(f"/clusters/{ID}"), report.credentials["component"]["token"])


def deployment(name: str, image: str, replicas: int = 1, **container: Any) -> Object:
    """Return a Deployment of one container. `container`: its other members."""
    labels = {"app": name}
    pod = {"containers": [{"name": "main", "image": image, **container}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


async def available(kube: KubeClient, name: str, namespace: str = "default") -> int:
    """Return a Deployment's available replicas."""
    found = await kube.get("apps/v1", "Deployment", name, namespace)
    return int((found.get("status") or {}).get("availableReplicas", 0))


async def until_available(world: World, kube: KubeClient, replicas: int, name: str, namespace: str = "default") -> None:
    """Wait until a Deployment has that many available replicas."""

    async def done() -> bool:
        return await available(kube, name, namespace) == replicas

    await until(world, done)
