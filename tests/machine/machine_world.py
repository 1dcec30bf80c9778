"""One cluster for a test: its goal, its client, and waiting for what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from azuresandbox import fabric
from azuresandbox.fabric import ClusterGoal
from azuresandbox.machine.client import KubeClient
from tests.harness import World

ID = "c1"
POOL = {
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
Body = Callable[[World, KubeClient], Awaitable[None]]


def goal(**changes: Any) -> ClusterGoal:
    base: dict[str, Any] = {
        "cluster_id": ID,
        "cluster_name": "one-aks",
        "location": "eastus2",
        "version": "1.33.3",
        "node_resource_group": "MC_rg_one-aks_eastus2",
        "pools": [POOL],
    }
    return ClusterGoal(**{**base, **changes})


async def until(world: World, done: Callable[[], Awaitable[bool]], seconds: float = 300) -> None:
    """Let time pass, in steps, until it is so."""
    for _ in range(int(seconds)):
        if await done():
            return
        await world.clock.advance(1)
        await asyncio.sleep(0.001)
    raise AssertionError("it did not come to that")


def run(tmp_path: Path, body: Body, parts: tuple[str, ...] = ("kubernetes", "machine"), **changes: Any) -> None:
    async def main() -> None:
        async with World.open(tmp_path, parts) as world:
            fabric.put_goal(world.sandbox.store, goal(**changes))

            async def up() -> bool:
                report = fabric.get_report(world.sandbox.store, "cluster", ID, "", "nodes")
                return report is not None and report.state == "Succeeded"

            await until(world, up)
            credentials = fabric.get_cluster_report(world.sandbox.store, ID)
            assert credentials is not None
            await body(
                world, KubeClient(world.wire, world.url(f"/clusters/{ID}"), credentials.credentials["component"]["token"])
            )

    asyncio.run(main())


def deployment(name: str, image: str, replicas: int = 1, **spec: Any) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": image, **spec}]}},
        },
    }


async def available(kube: KubeClient, name: str, namespace: str = "default") -> int:
    found = await kube.get("apps/v1", "Deployment", name, namespace)
    return int((found.get("status") or {}).get("availableReplicas", 0))
