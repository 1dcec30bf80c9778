"""A restart of the sandbox resumes AKS's work and does not repeat any."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from azuresandbox import directory, fabric
from azuresandbox.arm import operations
from azuresandbox.clock import VirtualClock
from azuresandbox.context import SUBSCRIPTION_ID, Sandbox
from azuresandbox.store import Store
from tests.arm_aks.azure_world import BASE, GROUP, Credential, DataPlane, cluster_body, new_sandbox, prepare, resource_manager

CLUSTER = f"/subscriptions/{SUBSCRIPTION_ID}/resourceGroups/{GROUP}/providers/Microsoft.ContainerService/managedClusters/aks"


@asynccontextmanager
async def running(state: Path, store: Store) -> AsyncIterator[Sandbox]:
    """Run a sandbox process over a store that outlives it."""
    sandbox = new_sandbox(state, store)
    arm = resource_manager(sandbox)
    tasks = [asyncio.create_task(operations.run(sandbox, arm.type_of)), asyncio.create_task(DataPlane(sandbox).run())]
    try:
        yield sandbox
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def clock(sandbox: Sandbox) -> VirtualClock:
    assert isinstance(sandbox.clock, VirtualClock)
    return sandbox.clock


async def _call(sandbox: Sandbox, method: str, path: str, body: bytes = b"") -> Any:
    headers = {"authorization": f"Bearer {Credential().get_token().token}"}
    answer = await sandbox.wire.request(method, f"{BASE}{path}?api-version=2025-08-01", headers=headers, body=body)
    return answer.json() if answer.body else {"status": answer.status}


async def test_a_creation_and_a_deletion_outlive_the_process(tmp_path: Path) -> None:
    store = Store()
    async with running(tmp_path, store) as first:
        prepare(first)
        await _call(first, "PUT", CLUSTER, json.dumps(cluster_body()).encode())
        await clock(first).advance(100)
        assert (await _call(first, "GET", CLUSTER))["properties"]["provisioningState"] == "Creating"
    identities = {one.object_id for one in directory.principals(store)}
    async with running(tmp_path, store) as second:
        await clock(second).advance(400)
        assert (await _call(second, "GET", CLUSTER))["properties"]["provisioningState"] == "Succeeded"
        assert {one.object_id for one in directory.principals(store)} == identities
        await _call(second, "DELETE", CLUSTER)
        await clock(second).advance(100)
    async with running(tmp_path, store) as third:
        await clock(third).advance(400)
        assert (await _call(third, "GET", CLUSTER))["error"]["code"] == "ResourceNotFound"
        assert not fabric.goals(store, "cluster") and not directory.principals(store)
    store.close()
