"""The runners of AKS's long-running operations.

Every runner continues its own half-done work, so that a restart of the sandbox resumes it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from azuresandbox import fabric
from azuresandbox.arm import records, reports
from azuresandbox.arm.containerservice import errors, state
from azuresandbox.arm.containerservice.data import DURATIONS, PATIENCE
from azuresandbox.arm.errors import ArmError
from azuresandbox.arm.provider import Runner, Work, delete, put
from azuresandbox.arm.records import Resource
from azuresandbox.arm.resource_id import ResourceId

Document = dict[str, Any]


async def _put_cluster(work: Work) -> None:
    """Create or update the cluster as its document says: control plane, then nodes."""
    cluster = work.resource()
    creating = not cluster.private.get("made")
    if creating:
        make_node_group(work, cluster)
    revision = reports.ask(work.sandbox, state.goal(work.sandbox, cluster), state.PARTS)
    await work.sandbox.clock.work(_cluster_duration(cluster, creating) + _nodes_duration(work, cluster.id))
    await _reported(work, cluster, revision)
    work.update(_made)
    settle_pools(work, cluster.id)


def _cluster_duration(cluster: Resource, creating: bool) -> float:
    if creating:
        return DURATIONS["cluster create"]
    upgrading = cluster.properties.get("currentKubernetesVersion") != cluster.private["version"]
    return DURATIONS["cluster upgrade" if upgrading else "cluster update"]


def _nodes_duration(work: Work, cluster: ResourceId) -> float:
    """Return the seconds that the changed nodes take: pools in parallel, the nodes of a pool one after the other."""
    changed = [_changed_nodes(pool) for pool in state.pools(work.sandbox.store, cluster)]
    return DURATIONS["node"] * max(changed, default=0)


def _changed_nodes(pool: Resource) -> int:
    count = int(pool.properties["count"])
    if pool.properties.get("currentOrchestratorVersion") != pool.private["version"]:
        return count
    return max(0, count - int(pool.private.get("nodes", 0)))


def _made(cluster: Resource) -> None:
    cluster.private["made"] = True
    cluster.properties["currentKubernetesVersion"] = cluster.private["version"]


def settle_pools(work: Work, cluster: ResourceId) -> None:
    """Record that the pools are as their documents say."""
    for pool in state.pools(work.sandbox.store, cluster):
        records.update(work.sandbox.store, pool.id, _pool_made)


def _pool_made(pool: Resource) -> None:
    if pool.state == "Deleting":
        return
    pool.private["nodes"] = pool.properties["count"]
    pool.private.pop("with_cluster", None)
    pool.properties["currentOrchestratorVersion"] = pool.private["version"]
    pool.properties["provisioningState"] = "Succeeded"


async def _reported(work: Work, cluster: Resource, revision: int) -> None:
    """Wait for the data plane's reports. A failure of the data plane fails the operation."""
    goal = fabric.ClusterGoal(cluster_id=state.cluster_id(cluster))
    try:
        report = await reports.wait(work.sandbox, goal, revision, parts=state.PARTS, patience=PATIENCE)
    except TimeoutError:
        raise errors.provisioning_failed("The control plane and the nodes did not become ready in time.") from None
    if report is None:
        raise errors.provisioning_failed("The managed cluster was deleted while the operation was running.")
    if report.state == "Failed":
        error = report.error or fabric.Failure(code="", message="The control plane did not become ready.")
        raise errors.provisioning_failed(error["message"], error["code"])


def make_node_group(work: Work, cluster: Resource) -> None:
    """Create the node resource group with the kubelet's identity in it, unless they exist."""
    store, group_id = work.sandbox.store, state.node_group_id(cluster)
    if records.get(store, group_id) is None:
        name = str(cluster.properties["nodeResourceGroup"])
        tags = {"aks-managed-cluster-name": str(cluster.document["name"]), "aks-managed-cluster-rg": cluster.id.group}
        records.put(store, records.group(cluster.id.subscription, name, cluster.location, tags, str(cluster.id)))
    identity = cluster.properties["identityProfile"]["kubeletidentity"]
    document = {
        "id": identity["resourceId"],
        "name": identity["resourceId"].rpartition("/")[2],
        "type": "Microsoft.ManagedIdentity/userAssignedIdentities",
        "location": cluster.location,
        "tags": {},
        "properties": {
            "tenantId": work.sandbox.tenant_id,
            "principalId": identity["objectId"],
            "clientId": identity["clientId"],
        },
    }
    if records.get(store, document["id"]) is None:
        records.put(store, Resource(ResourceId(document["id"]), document))


async def _delete_cluster(work: Work) -> None:
    """Delete the cluster: its API and nodes first, then its resources in ARM and its identities in the directory."""
    cluster, store = work.resource(), work.sandbox.store
    goal = fabric.get_goal(store, "cluster", state.cluster_id(cluster))
    if goal is not None:
        goal.deleted = True
        revision = fabric.put_goal(store, goal)
        await work.sandbox.clock.work(DURATIONS["cluster delete"])
        try:
            await reports.wait(work.sandbox, goal, revision, parts=state.PARTS, patience=PATIENCE)
        except TimeoutError:
            raise errors.provisioning_failed("The control plane and the nodes could not be removed in time.") from None
    state.forget(work.sandbox, cluster)


def _power(code: str, duration: str) -> Callable[[Work], Awaitable[None]]:
    async def run(work: Work) -> None:
        """Start or stop the cluster and all of its pools."""
        cluster = work.update(lambda found: found.properties.update(powerState={"code": code}))
        revision = reports.ask(work.sandbox, state.goal(work.sandbox, cluster), state.PARTS)
        await work.sandbox.clock.work(DURATIONS[duration])
        await _reported(work, cluster, revision)
        for pool in state.pools(work.sandbox.store, cluster.id):
            records.update(work.sandbox.store, pool.id, lambda found: found.properties.update(powerState={"code": code}))
        settle_pools(work, cluster.id)

    return run


async def _put_pool(work: Work) -> None:
    """Create a pool or update it to its document: scale, upgrade, label."""
    pool = work.resource()
    cluster = _cluster(work, pool)
    revision = reports.ask(work.sandbox, state.goal(work.sandbox, cluster), state.PARTS)
    base = DURATIONS["pool create" if work.operation.creates else "pool update"]
    await work.sandbox.clock.work(base + DURATIONS["node"] * _changed_nodes(pool))
    await _reported(work, cluster, revision)
    work.update(_pool_made)


async def _delete_pool(work: Work) -> None:
    """Remove a pool and its nodes."""
    pool = work.resource()
    cluster = _cluster(work, pool)
    revision = reports.ask(work.sandbox, state.goal(work.sandbox, cluster), state.PARTS)
    await work.sandbox.clock.work(DURATIONS["pool delete"])
    await _reported(work, cluster, revision)


def _cluster(work: Work, pool: Resource) -> Resource:
    cluster = state.cluster_of(work.sandbox.store, pool.id)
    if cluster is None:
        raise ArmError(404, "ParentResourceNotFound", f"The managed cluster of the pool '{pool.id.name}' is gone.")
    return cluster


PUT_CLUSTER, DELETE_CLUSTER = put(_put_cluster), delete(_delete_cluster)
START_CLUSTER = Runner("start", _power("Running", "cluster start"))
STOP_CLUSTER = Runner("stop", _power("Stopped", "cluster stop"))
PUT_POOL, DELETE_POOL = put(_put_pool), delete(_delete_pool)
