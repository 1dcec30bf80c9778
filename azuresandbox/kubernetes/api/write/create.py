"""Create an object."""

from __future__ import annotations

from azuresandbox.kubernetes.api import admission
from azuresandbox.kubernetes.api.request import Request
from azuresandbox.kubernetes.api.stored import as_version
from azuresandbox.kubernetes.api.write.common import Written, check, fill
from azuresandbox.kubernetes.api.write.initial import initialise
from azuresandbox.kubernetes.api.write.own import after_write, before_write
from azuresandbox.kubernetes.model import errors, fieldmanager, goform
from azuresandbox.kubernetes.model.resources import Resource
from azuresandbox.kubernetes.model.types import Object, dump
from azuresandbox.kubernetes.state import allocation, escalation


def create(request: Request, resource: Resource, obj: Object, namespace: str, *, managed: bool = False) -> Written:
    """Create an accepted object. `managed`: server-side apply has already set its managedFields."""
    cluster, metadata = request.cluster, obj["metadata"]
    admission.check_refused(resource)
    request.warnings += admission.warnings(resource)
    if metadata.get("resourceVersion"):
        raise errors.plain(500, "resourceVersion should not be set on objects to be created")
    generated = not metadata.get("name") and bool(metadata.get("generateName"))
    if generated:
        metadata["name"] = metadata["generateName"][:58] + admission.suffix()
    admission.namespace_lifecycle(cluster, resource, metadata.get("name") or "", namespace)
    fill(cluster, resource, obj)
    if not managed:
        obj = _with_owner(request, resource, obj)
    initialise(cluster, resource, obj)
    admission.on_create(cluster, resource, obj)
    if resource.custom is None:
        goform.form(obj, cluster.schema(resource))
    check(cluster, resource, obj, None)
    escalation.check(cluster.policy, request.user, resource, obj, None)
    key = resource.key(namespace, metadata["name"])
    present = cluster.objects.read(key)
    if present is not None:
        ending = bool(present["metadata"].get("deletionTimestamp"))
        raise errors.already_exists(resource.group, resource.plural, metadata["name"], ending=ending)
    if request.dry_run:
        if (resource.group, resource.kind) == ("", "Service"):
            allocation.assign(cluster, key, obj, None, dry=True)
        return Written(dump(obj), True)
    with cluster.sandbox.store.transaction():
        before_write(cluster, resource, key, obj, None)
        record = cluster.objects.put(resource, key, obj, None, 0)
    after_write(cluster, resource, obj)
    return Written(as_version(record.value, resource), True)


def _with_owner(request: Request, resource: Resource, obj: Object) -> Object:
    """Return the object with managedFields for the fields that the client sent and the defaults.

    Fields that the server sets afterwards have no manager.
    """
    schema = request.cluster.schema(resource)
    before = goform.zero(resource.api_version, resource.kind, schema) if resource.custom is None else None
    sent = {name: member for name, member in obj.items() if name != "status"} if resource.has_status() else obj
    owned = fieldmanager.update(before, sent, request.manager, schema, request.cluster.now())
    return {**obj, "metadata": owned["metadata"]}
