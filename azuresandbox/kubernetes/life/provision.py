"""API servers for ARM's cluster goals: created, updated, reported to ARM and removed."""

from __future__ import annotations

import asyncio

from azuresandbox import fabric, pki
from azuresandbox.context import Sandbox
from azuresandbox.fabric import ClusterGoal, ClusterReport, Credential
from azuresandbox.kubernetes.life import bootstrap, controllers
from azuresandbox.kubernetes.state import tokens
from azuresandbox.kubernetes.state.cluster import Cluster, certificate_mark, clusters

ADMIN = ("masterclient", ("system:masters",))
"""The user and groups of AKS' admin and user kubeconfigs, on a cluster without Microsoft Entra integration."""

COMPONENT = ("system:kube-controller-manager", ("system:masters",))
_CERTIFICATE = "certificate/"


async def run(sandbox: Sandbox) -> None:
    """Follow the goals until cancelled."""
    background: dict[str, asyncio.Task[None]] = {}
    try:
        async for goal in fabric.watch_goals(sandbox.store, ClusterGoal.KIND):
            assert isinstance(goal, ClusterGoal)
            for task in [task for task in background.values() if task.done()]:
                task.result()
            if goal.deleted:
                _remove(sandbox, goal, background)
                continue
            cluster = await _ensure(sandbox, goal)
            if goal.cluster_id not in background:
                background[goal.cluster_id] = asyncio.create_task(controllers.run(cluster))
            fabric.put_report(sandbox.store, goal, _report(sandbox, goal), "api")
    finally:
        for task in background.values():
            task.cancel()
        await asyncio.gather(*background.values(), return_exceptions=True)


def restore(sandbox: Sandbox) -> None:
    """Load the clusters of earlier runs, so that they answer from the first request on."""
    for goal in fabric.goals(sandbox.store, ClusterGoal.KIND):
        assert isinstance(goal, ClusterGoal)
        key = tokens.stored_signing_key(sandbox.store, goal.cluster_id)
        if key is not None and not goal.deleted:
            _load(sandbox, goal, key)


def _load(sandbox: Sandbox, goal: ClusterGoal, key: tokens.SigningKey) -> Cluster:
    cluster = Cluster(sandbox, goal, key)
    cluster.load()
    bootstrap.furnish_cluster(cluster)
    clusters(sandbox)[goal.cluster_id] = cluster
    return cluster


async def _ensure(sandbox: Sandbox, goal: ClusterGoal) -> Cluster:
    """Return the cluster of a goal; create it, or load it from the store, if it is not in memory."""
    cluster = clusters(sandbox).get(goal.cluster_id)
    if cluster is None:
        key = tokens.stored_signing_key(sandbox.store, goal.cluster_id)
        if key is None:
            pem = await asyncio.to_thread(tokens.new_signing_key_pem)
            key = tokens.store_signing_key(sandbox.store, goal.cluster_id, pem)
        cluster = _load(sandbox, goal, key)
    cluster.set_goal(goal)
    return cluster


def _report(sandbox: Sandbox, goal: ClusterGoal) -> ClusterReport:
    return ClusterReport(goal.revision, "Succeeded", None, _credentials(sandbox, goal.cluster_id))


def _credentials(sandbox: Sandbox, cluster_id: str) -> dict[str, Credential]:
    """Return the credentials of admin, user and components; they are created once."""
    store = sandbox.store
    certificate, key = _certificate(sandbox, cluster_id)
    people = {
        name: Credential(token=tokens.fixed_token(store, cluster_id, name, *ADMIN), cert=certificate, key=key)
        for name in ("admin", "user")
    }
    return people | {"component": Credential(token=tokens.component_token(sandbox, cluster_id, *COMPONENT), cert="", key="")}


def _certificate(sandbox: Sandbox, cluster_id: str) -> tuple[str, str]:
    """Return the administrators' client certificate and its key (PEM); they are created once."""
    store, partition = sandbox.store, tokens.private(cluster_id)
    found = [store.get(partition, _CERTIFICATE + name) for name in ("cert", "key")]
    if found[0] is not None and found[1] is not None:
        return found[0].value.decode(), found[1].value.decode()
    name, groups = ADMIN
    pems = pki.authority(sandbox.state).issue(name, organizations=(*groups, certificate_mark(cluster_id)))
    with store.transaction():
        for member, pem in zip(("cert", "key"), pems, strict=True):
            store.put(partition, _CERTIFICATE + member, pem.encode())
    return pems


def _remove(sandbox: Sandbox, goal: ClusterGoal, background: dict[str, asyncio.Task[None]]) -> None:
    task = background.pop(goal.cluster_id, None)
    if task is not None:
        task.cancel()
    cluster = clusters(sandbox).pop(goal.cluster_id, None)
    if cluster is not None:
        cluster.hang_up()
    sandbox.store.drop(f"cluster:{goal.cluster_id}")
    sandbox.store.drop(tokens.private(goal.cluster_id))
    if fabric.get_goal(sandbox.store, ClusterGoal.KIND, goal.cluster_id) is not None:
        fabric.put_report(sandbox.store, goal, ClusterReport(goal.revision, "Deleted"), "api")
