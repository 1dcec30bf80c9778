"""A managed cluster with its pools: how they are stored, and the goal that the data plane gets.

The pools' own records hold their properties. The cluster is stored without `agentPoolProfiles`, which are added when it is
shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from azuresandbox import directory, fabric
from azuresandbox.arm import records
from azuresandbox.arm.compute import sizes
from azuresandbox.arm.containerservice import data, versions
from azuresandbox.arm.records import Resource
from azuresandbox.arm.resource_id import ResourceId
from azuresandbox.context import Sandbox
from azuresandbox.store import Store

Document = dict[str, Any]
PARTS = ("api", "nodes")
"""The reporters of a cluster: its Kubernetes API and the machine that runs its nodes."""


def pools(store: Store, cluster: ResourceId | str) -> list[Resource]:
    """Return the pools of a cluster, by name."""
    return list(records.under(store, f"{cluster}/agentPools", data.POOLS))


def cluster_of(store: Store, pool: ResourceId) -> Resource | None:
    return records.get(store, pool.parent)


def cluster_id(cluster: Resource) -> str:
    """Return the cluster's id in the data plane: short, never reused, the same for its whole life."""
    return str(cluster.properties["resourceUID"])


def profile(cluster: Resource, pool: Resource) -> Document:
    """Return a pool as `agentPoolProfiles` shows it: its properties with its name."""
    return {"name": pool.document["name"], **pool.properties, "provisioningState": pool_state(cluster, pool), "eTag": pool.etag}


def pool_state(cluster: Resource, pool: Resource) -> str:
    """Return the pool's state.

    A pool that a failed or canceled operation of the cluster was about has that operation's state.
    """
    shared = pool.private.get("with_cluster") and cluster.state in ("Failed", "Canceled")
    return cluster.state if shared else pool.state


def shown(store: Store, cluster: Resource) -> Document:
    """Return the cluster's document with its pools."""
    properties = {**cluster.properties, "agentPoolProfiles": [profile(cluster, pool) for pool in pools(store, cluster.id)]}
    return {**cluster.document, "properties": properties}


def clusters(store: Store, subscription: str) -> Iterator[Document]:
    """Yield all clusters of a subscription, as shown."""
    for cluster in list(records.under(store, f"/subscriptions/{subscription}", data.CLUSTERS)):
        yield shown(store, cluster)


def plan_of(properties: Document, tier: str) -> str:
    """Return the support plan that decides which versions a cluster may use."""
    return versions.LTS if tier == "Premium" and properties.get("supportPlan") == versions.LTS else versions.OFFICIAL


def goal(sandbox: Sandbox, cluster: Resource) -> fabric.ClusterGoal:
    """Return the data plane's goal for the cluster as it is stored now."""
    properties = cluster.properties
    issuer = properties["oidcIssuerProfile"]
    security = properties.get("securityProfile") or {}
    running = [pool for pool in pools(sandbox.store, cluster.id) if pool.state != "Deleting"]
    return fabric.ClusterGoal(
        cluster_id=cluster_id(cluster),
        resource_id=str(cluster.id),
        cluster_name=str(cluster.document["name"]),
        location=cluster.location,
        version=str(cluster.private["version"]),
        power=str(properties["powerState"]["code"]),
        oidc_issuer=str(issuer.get("issuerURL", "")) if issuer.get("enabled") else "",
        workload_identity=bool((security.get("workloadIdentity") or {}).get("enabled")),
        node_resource_group=str(properties["nodeResourceGroup"]),
        fqdn=str(properties["fqdn"]),
        pools=[_pool_goal(pool) for pool in running],
    )


def _pool_goal(pool: Resource) -> fabric.AgentPool:
    properties = pool.properties
    size = sizes.find(properties["vmSize"])
    assert size is not None, "rules.size has let only known sizes through"
    stopped = properties["powerState"]["code"] == "Stopped"
    return {
        "name": pool.document["name"],
        "count": 0 if stopped else properties["count"],
        "vm_size": size.name,
        "vcpus": size.vcpus,
        "memory_gb": size.memory_gb,
        "mode": properties["mode"],
        "os_sku": properties["osSKU"],
        "version": pool.private["version"],
        "node_image": properties["nodeImageVersion"],
        "labels": properties.get("nodeLabels") or {},
        "taints": properties.get("nodeTaints") or [],
        "zones": properties.get("availabilityZones") or [],
    }


def forget(sandbox: Sandbox, cluster: Resource) -> None:
    """Delete everything that exists for the cluster beside its own record: goals, node resource group, identities."""
    store, name = sandbox.store, cluster_id(cluster)
    with store.transaction():
        for kind in ("flux", "extension", "cluster"):
            for found in fabric.goals(store, kind, name):
                fabric.drop(store, found)
        records.delete(store, node_group_id(cluster))
        for principal in directory.principals(store):
            if principal.resource_id.lower().startswith((cluster.id.key, node_group_id(cluster).lower() + "/")):
                directory.delete_principal(store, principal.app_id)


def node_group_id(cluster: Resource) -> str:
    return f"/subscriptions/{cluster.id.subscription}/resourceGroups/{cluster.properties['nodeResourceGroup']}"
