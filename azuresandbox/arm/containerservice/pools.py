"""PUT and DELETE of an agent pool."""

from __future__ import annotations

from azuresandbox.arm import models, operation_records
from azuresandbox.arm.containerservice import clusters, errors, quota, state
from azuresandbox.arm.errors import ArmError
from azuresandbox.arm.operation_records import Operation
from azuresandbox.arm.provider import Document, Request, Write
from azuresandbox.arm.records import Resource


def prepare(write: Write) -> None:
    """Check a PUT and complete the pool's document. The cluster must be idle and running."""
    cluster = idle_cluster(write.request)
    if cluster.properties["powerState"]["code"] == "Stopped":
        raise errors.stopped("updating agent pools")
    given = write.document.get("properties") or {}
    version = clusters.complete_pool(
        write, write.document, models.without_nulls(given), write.current, str(cluster.private["version"]), write.id.name
    )
    _keep_a_system_pool(write, cluster)
    write.private["version"] = version
    write.private.pop("with_cluster", None)
    quota.check(write, [Resource(write.id, write.document, write.private)], cluster.location)
    if write.current is not None:
        write.private["nodes"] = write.current.private.get("nodes", 0)


def idle_cluster(request: Request) -> Resource:
    """Return the pool's cluster. Raises AKS's 409 if an operation runs on it or on another of its pools."""
    cluster = state.cluster_of(request.sandbox.store, request.id)
    assert cluster is not None, "the core has checked that the parent exists"
    for running in operation_records.active(request.sandbox.store, str(cluster.id)):
        if running.type.lower().startswith("microsoft.containerservice/"):
            raise clusters.busy(cluster, running)
    return cluster


def _keep_a_system_pool(write: Write, cluster: Resource) -> None:
    if write.properties["mode"] == "System":
        return
    others = [pool for pool in state.pools(write.sandbox.store, cluster.id) if pool.id.key != write.id.key]
    if not any(pool.properties["mode"] == "System" for pool in others):
        raise errors.no_system_pool()


def check_delete(request: Request, pool: Resource) -> Document:
    """Raise unless a system pool remains and the cluster is idle. Return the empty input of the runner."""
    others = [other for other in state.pools(request.sandbox.store, pool.id.parent) if other.id.key != pool.id.key]
    if pool.properties["mode"] == "System" and not any(other.properties["mode"] == "System" for other in others):
        raise errors.last_system_pool()
    idle_cluster(request)
    return {}


def show(request: Request, pool: Resource) -> Document:
    """Return the document. A pool that the cluster's own operation was about shares the operation's state."""
    cluster = state.cluster_of(request.sandbox.store, pool.id)
    if cluster is None:
        return pool.document
    properties = {**pool.properties, "provisioningState": state.pool_state(cluster, pool), "eTag": pool.etag}
    return {**pool.document, "properties": properties}


def busy(resource: Resource, operation: Operation) -> ArmError:
    return clusters.busy(resource, operation)
