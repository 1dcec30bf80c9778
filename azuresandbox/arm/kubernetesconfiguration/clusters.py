"""The managed cluster of an extension or a flux configuration."""

from __future__ import annotations

from azuresandbox.arm import records
from azuresandbox.arm.kubernetesconfiguration import data, errors
from azuresandbox.arm.provider import Write
from azuresandbox.arm.records import Resource
from azuresandbox.arm.resource_id import ResourceId
from azuresandbox.store import Store

CLUSTERS = "Microsoft.ContainerService/managedClusters"


def of(store: Store, resource_id: ResourceId) -> Resource | None:
    """Return the cluster that an extension or a configuration extends; `None` if it does not exist."""
    return records.get(store, resource_id.scope)


def name_in_fabric(cluster: Resource) -> str:
    """Return the cluster's id in the data plane."""
    return str(cluster.properties["resourceUID"])


def ready(write: Write) -> Resource:
    """Return the cluster if it can take an extension or a configuration now. Raises `ArmError` otherwise."""
    cluster = of(write.sandbox.store, write.id)
    assert cluster is not None, "the core has checked that the extended resource exists"
    if cluster.state in ("Creating", "Deleting"):
        raise errors.cluster_not_ready(cluster.state)
    if cluster.properties["powerState"]["code"] == "Stopped":
        raise errors.cluster_stopped()
    return cluster


def extensions(store: Store, cluster: ResourceId) -> list[Resource]:
    return list(records.under(store, cluster, f"{data.NAMESPACE}/extensions"))


def flux_extension(store: Store, cluster: ResourceId) -> Resource | None:
    """Return the cluster's microsoft.flux extension in any state; `None` if it is not installed."""
    found = (one for one in extensions(store, cluster) if str(one.properties.get("extensionType", "")).lower() == data.FLUX)
    return next(found, None)
