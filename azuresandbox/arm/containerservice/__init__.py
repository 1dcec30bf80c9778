"""Microsoft.ContainerService: AKS.

`versions`, `defaults`, `rules`, `errors`, `data` are data and pure functions. `clusters`, `pools`, `upgrades`, `credentials`
answer requests, and `work` runs the operations that they start. `state` stores a cluster and writes its goal.
"""

from __future__ import annotations

from azuresandbox.arm.containerservice import clusters, data, errors, pools, upgrades, work
from azuresandbox.arm.provider import Provider, ResourceType, refuse

ALL = frozenset({"GET", "LIST", "PUT", "PATCH", "DELETE"})


def provider() -> Provider:
    return Provider(data.NAMESPACE, (_CLUSTERS, _POOLS, *_COMPUTED, *(_refused(*row) for row in data.REFUSED_TYPES.items())))


_CLUSTERS = ResourceType(
    name="managedClusters",
    api_versions=data.API_VERSIONS,
    model="containerservice.ManagedCluster",
    prepare=clusters.prepare,
    show=clusters.show,
    busy=clusters.busy,
    malformed=errors.malformed,
    rank=20,
    etag_at="eTag",
    runners=(work.PUT_CLUSTER, work.DELETE_CLUSTER, work.START_CLUSTER, work.STOP_CLUSTER),
    actions={
        "start": clusters.start,
        "stop": clusters.stop,
        "abort": clusters.abort,
        "listclusteradmincredential": clusters.credential("admin"),
        "listclusterusercredential": clusters.credential("user"),
        "listclustermonitoringusercredential": clusters.credential("user"),
        **{action: refuse(what) for action, what in data.REFUSED_ACTIONS.items()},
    },
)

_POOLS = ResourceType(
    name="managedClusters/agentPools",
    api_versions=data.API_VERSIONS,
    model="containerservice.AgentPool",
    tracked=False,
    verbs=frozenset({"GET", "LIST", "PUT", "DELETE"}),
    prepare=pools.prepare,
    show=pools.show,
    busy=pools.busy,
    malformed=errors.malformed,
    check_delete=pools.check_delete,
    rank=30,
    runners=(work.PUT_POOL, work.DELETE_POOL),
    actions={action: refuse(what) for action, what in data.REFUSED_POOL_ACTIONS.items()},
)

_COMPUTED = (
    ResourceType(
        name="locations/kubernetesVersions",
        api_versions=data.API_VERSIONS,
        tracked=False,
        verbs=frozenset({"LIST"}),
        lists=upgrades.of_region,
    ),
    ResourceType(
        name="managedClusters/upgradeProfiles",
        api_versions=data.API_VERSIONS,
        tracked=False,
        verbs=frozenset({"GET"}),
        get=upgrades.of_cluster,
    ),
    ResourceType(
        name="managedClusters/agentPools/upgradeProfiles",
        api_versions=data.API_VERSIONS,
        tracked=False,
        verbs=frozenset({"GET"}),
        get=upgrades.of_pool,
    ),
    ResourceType(
        name="managedClusters/availableAgentPoolVersions",
        api_versions=data.API_VERSIONS,
        tracked=False,
        verbs=frozenset({"LIST"}),
        lists=upgrades.available_for_pools,
    ),
)


def _refused(name: str, what: str) -> ResourceType:
    """Return a type that Azure has and the sandbox does not emulate: every call is refused by name."""
    handler = refuse(what)
    return ResourceType(name=name, api_versions=data.API_VERSIONS, tracked=False, verbs=ALL, whole=handler, lists=handler)
