"""What a PUT or DELETE of an agent pool means. May import `arm`'s core and this folder."""

from __future__ import annotations

from fleetlib.sandbox.arm import operations
from fleetlib.sandbox.arm.containerservice import clusters, defaults, errors, quota, state, work
from fleetlib.sandbox.arm.errors import ArmError
from fleetlib.sandbox.arm.operations import Operation, Work
from fleetlib.sandbox.arm.provider import Write
from fleetlib.sandbox.arm.records import Resource


def prepare(write: Write) -> None:
    """Check a PUT and complete the pool's document. The cluster must be idle and running."""
    cluster = idle_cluster(write)
    if cluster.properties["powerState"]["code"] == "Stopped":
        raise errors.stopped("updating agent pools")
    given = write.document.get("properties") or {}
    version = clusters.complete_pool(
        write, write.document, defaults.without_nulls(given), write.current, str(cluster.private["version"]), write.id.name
    )
    _keep_a_system_pool(write, cluster)
    quota.check(write, [Resource(write.id, write.document)], cluster.location)
    write.private["version"] = version
    if write.current is not None:
        write.private["nodes"] = write.current.private.get("nodes", 0)


def idle_cluster(write: Write) -> Resource:
    """The pool's cluster. Raises AKS's 409 if an operation runs on it or on another of its pools."""
    cluster = state.cluster_of(write.sandbox.store, write.id)
    assert cluster is not None, "the core has checked that the parent exists"
    for running in operations.active(write.sandbox.store, str(cluster.id)):
        if running.type.lower().startswith("microsoft.containerservice/"):
            raise clusters.busy(cluster, running)
    return cluster


def _keep_a_system_pool(write: Write, cluster: Resource) -> None:
    if write.properties["mode"] == "System":
        return
    others = [pool for pool in state.pools(write.sandbox.store, cluster.id) if pool.id.key != write.id.key]
    if not any(pool.properties["mode"] == "System" for pool in others):
        raise errors.no_system_pool()


async def delete(job: Work) -> None:
    """Remove the pool; the last system pool stays."""
    pool = job.resource()
    others = [other for other in state.pools(job.sandbox.store, pool.id.parent) if other.id.key != pool.id.key]
    if pool.properties["mode"] == "System" and not any(other.properties["mode"] == "System" for other in others):
        raise errors.last_system_pool()
    await work.delete_pool(job)


def busy(resource: Resource, operation: Operation) -> ArmError:
    return clusters.busy(resource, operation)

