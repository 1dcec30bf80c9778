"""A managed cluster's credentials and issuer lead to its Kubernetes API, until it is stopped or deleted."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import yaml

from azuresandbox import fabric
from tests.arm_aks.azure_world import cluster_body
from tests.arm_aks.test_with_the_rest_of_arm import AKS, CLUSTER, operator, ready
from tests.harness import World


async def nodes(world: World) -> None:
    """Report, in place of the machine, that all nodes are as the goal wants them."""
    store = world.sandbox.store
    async for goal in fabric.watch_goals(store, "cluster"):
        if store.get(fabric.PARTITION, goal.key):
            fabric.put_report(store, goal, fabric.Report(goal.revision, "Deleted" if goal.deleted else "Succeeded"), "nodes")


async def api_reported(world: World) -> None:
    """Wait until the API server has answered the goal. It makes its keys in a thread, outside the virtual clock."""
    store = world.sandbox.store
    watch = store.watch(fabric.PARTITION, "report/cluster/")
    while not [record for record in store.list(fabric.PARTITION, "report/cluster/").records if record.key.endswith("#api")]:
        await anext(watch)
    watch.close()


async def kubeconfig(client: Any) -> dict[str, Any]:
    status, answer = await client.call("POST", f"{CLUSTER}/listClusterAdminCredential", AKS)
    assert status == 200, answer
    found: dict[str, Any] = yaml.safe_load(base64.b64decode(answer["kubeconfigs"][0]["value"]))
    return found


async def test_kubeconfig_and_issuer_lead_to_the_clusters_api(tmp_path: Path) -> None:
    async with World.open(tmp_path, parts=("entra", "arm", "kubernetes")) as world:
        task, client = asyncio.create_task(nodes(world)), await operator(world)
        await ready(client)
        assert (await client.call("PUT", CLUSTER, AKS, cluster_body()))[0] == 201
        await world.clock.settle()
        await api_reported(world)
        await world.clock.advance(600)
        cluster = (await client.call("GET", CLUSTER, AKS))[1]["properties"]
        assert cluster["provisioningState"] == "Succeeded"

        config = await kubeconfig(client)
        server, token = config["clusters"][0]["cluster"]["server"], config["users"][0]["user"]["token"]
        headers = {"authorization": f"Bearer {token}"}
        version = await world.wire.request("GET", f"{server}/version", headers=headers)
        assert version.json()["gitVersion"] == f"v{cluster['currentKubernetesVersion']}"
        issuer = cluster["oidcIssuerProfile"]["issuerURL"]
        discovery = await world.wire.request("GET", f"{issuer}.well-known/openid-configuration")
        assert discovery.json()["issuer"] == issuer

        await client.call("POST", f"{CLUSTER}/stop", AKS)
        await world.clock.advance(300)
        assert (await world.wire.request("GET", f"{server}/version", headers=headers)).status == 503
        await client.call("DELETE", CLUSTER, AKS)
        await world.clock.advance(600)
        assert (await client.call("GET", CLUSTER, AKS))[0] == 404
        assert (await world.wire.request("GET", f"{server}/version", headers=headers)).status == 404
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
