"""Replace an object, its status or its scale."""

from __future__ import annotations

from azuresandbox import trees
from azuresandbox.kubernetes.api.request import Request
from azuresandbox.kubernetes.api.stored import as_version, load
from azuresandbox.kubernetes.api.write.common import Written, check, fill, pending_finalizers
from azuresandbox.kubernetes.api.write.delete import after_delete
from azuresandbox.kubernetes.api.write.own import after_write, before_write
from azuresandbox.kubernetes.model import defaults, errors, fieldmanager
from azuresandbox.kubernetes.model.resources import Resource
from azuresandbox.kubernetes.model.types import Object, dump
from azuresandbox.kubernetes.state import escalation
from azuresandbox.store import Record


def update(
    request: Request, resource: Resource, record: Record, new: Object, subresource: str = "", *, managed: bool = False
) -> Written:
    """Replace the stored object by an accepted one. `subresource`: "", "status" or "scale"; `managed`: see `create`."""
    cluster = request.cluster
    old = load(record.value, resource)
    _check_preconditions(resource, old, new)
    new = _prepared(resource, old, new, subresource)
    if subresource != "status":
        fill(cluster, resource, new)
    if resource.custom is None:
        _follow_template(resource, old, new)
    try:
        check(cluster, resource, new, old)
    except errors.StatusError as error:
        raise _of_status(resource, error) if subresource == "status" and resource.custom is not None else error from None
    escalation.check(cluster.policy, request.user, resource, new, old)
    followed = new["metadata"].get("managedFields") or old["metadata"].get("managedFields")
    if not managed and (request.forget_managers or not followed):
        new["metadata"].pop("managedFields", None)  # managers are tracked again after the next apply
    elif not managed:
        time = "" if subresource == "scale" else cluster.now()  # a Scale has no managedFields to show it in
        new = fieldmanager.update(old, new, request.manager, cluster.schema(resource), time, subresource)
    return _replace(request, resource, record, old, new, status=subresource == "status")


def _of_status(resource: Resource, error: errors.StatusError) -> errors.StatusError:
    """Shorten field names in the causes: a custom resource's status is validated by itself, so paths begin inside it."""
    details = error.details or {}
    causes: errors.Causes = []
    for item in details.get("causes", []):
        path = item["field"]
        message = item["message"].replace(f"{path} in body", f"{path.removeprefix('status.')} in body")
        causes.append({"reason": item["reason"], "message": message, "field": path})
    return errors.invalid(resource.group, resource.kind, details.get("name", ""), causes)


def _follow_template(resource: Resource, old: Object, new: Object) -> None:
    """Count the changes of a DaemonSet's template in its annotation, in place."""
    if resource.kind == "DaemonSet":
        count = int(old["metadata"]["annotations"].get(defaults.TEMPLATE_GENERATION) or 1)
        count += old["spec"].get("template") != new["spec"].get("template")
        new["metadata"].setdefault("annotations", {})[defaults.TEMPLATE_GENERATION] = str(count)


_STORED_AS = {
    "services": "services/specs",
    "endpoints": "services/endpoints",
    "nodes": "minions",
    "ingresses": "ingress",
    "replicationcontrollers": "controllers",
}
"""Plural -> the kind's directory in etcd, where it is not the plural. Source: kubernetes, `pkg/kubeapiserver`."""


_GROUPED = ("apiextensions.k8s.io", "apiregistration.k8s.io")


def _precondition(resource: Resource, uid: str, found: Object) -> str:
    """Return the message of a failed UID precondition, with the object's key in etcd."""
    place = _STORED_AS.get(resource.plural, resource.plural)
    if resource.custom is not None or resource.group in _GROUPED:
        place = f"{resource.group}/{place}"
    place = "/".join(filter(None, (place, found.get("namespace", ""), found["name"])))
    return (
        f"StorageError: invalid object, Code: 4, Key: /registry/{place}, ResourceVersion: 0, AdditionalErrorMsg: "
        f"Precondition failed: UID in precondition: {uid}, UID in object meta: {found['uid']}"
    )


def _check_preconditions(resource: Resource, old: Object, new: Object) -> None:
    """Raise 409 Conflict if the new object names another uid or resourceVersion than the stored one."""
    wanted, found = new["metadata"], old["metadata"]
    if wanted.get("uid") and wanted["uid"] != found["uid"]:
        raise errors.conflict(resource.group, resource.plural, found["name"], _precondition(resource, wanted["uid"], found))
    version = wanted.get("resourceVersion")
    if version and not version.isdigit():
        raise errors.plain(500, f'strconv.ParseUint: parsing "{version}": invalid syntax')
    if not version and resource.custom is not None:
        causes = [
            errors.cause("FieldValueInvalid", "Invalid value: 0: must be specified for an update", "metadata.resourceVersion")
        ]
        raise errors.invalid(resource.group, resource.plural, found["name"], causes)
    if version and version != found["resourceVersion"]:
        raise errors.conflict(resource.group, resource.plural, found["name"])


_KEPT = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "selfLink",
    "name",
    "namespace",
)


def _prepared(resource: Resource, old: Object, new: Object, subresource: str) -> Object:
    """Return the new object, with everything that this request may not change taken from the old one."""
    before, after = old["metadata"], new["metadata"]
    if subresource == "status":
        return _with_new_status(resource, old, new)
    if after.get("deletionTimestamp") and not before.get("deletionTimestamp"):
        text = f'Invalid value: "{after["deletionTimestamp"]}": field is immutable'
        causes = [errors.cause("FieldValueInvalid", text, "metadata.deletionTimestamp")]
        raise errors.invalid(resource.group, resource.kind, before["name"], causes)
    for name in _KEPT:
        after.pop(name, None)
        if name in before:
            after[name] = before[name]
    after["resourceVersion"] = before["resourceVersion"]
    if "managedFields" not in after and "managedFields" in before:
        after["managedFields"] = before["managedFields"]
    if resource.has_status():
        new.pop("status", None)
        if "status" in old:
            new["status"] = old["status"]
    if resource.kind == "Namespace" and resource.group == "":
        new["spec"] = old.get("spec") or {}
    if resource.kind == "Service" and resource.group == "" and isinstance(new.get("spec"), dict):
        for name in ("clusterIP", "clusterIPs"):
            if not new["spec"].get(name) and (old["spec"].get(name)) and new["spec"].get("type") != "ExternalName":
                new["spec"][name] = old["spec"][name]
    return new


def _with_new_status(resource: Resource, old: Object, new: Object) -> Object:
    """Return the old object with the new status, and with the metadata that a write of the status may change."""
    before, after = old["metadata"], new["metadata"]
    kept = dict(before)
    if resource.custom is None:
        names = ("annotations",) if resource.kind == "Deployment" else ("labels", "annotations")
        kept |= {name: after[name] for name in names if name in after}
    kept["managedFields"] = after.get("managedFields", before.get("managedFields", []))
    result = {**old, "metadata": kept}
    result.pop("status", None)
    return result | ({"status": new["status"]} if "status" in new else {})


def _content(obj: Object, *, status: bool) -> Object:
    """Return the members whose change counts as a new generation. `status`: the status counts too."""
    skipped = ("apiVersion", "kind", "metadata") if status else ("apiVersion", "kind", "metadata", "status")
    return {name: value for name, value in obj.items() if name not in skipped}


def _replace(
    request: Request, resource: Resource, record: Record, old: Object, new: Object, *, status: bool = False
) -> Written:
    """Store the new object unless nothing changed; remove it if its last finalizer is gone and it is being deleted."""
    cluster, metadata = request.cluster, new["metadata"]
    if resource.generation:
        with_status = resource.custom is not None and not resource.has_status()
        counted = {"EndpointSlice": "labels", "Deployment": "annotations"}.get(resource.kind, "")
        relabelled = bool(counted) and not status and old["metadata"].get(counted) != metadata.get(counted)
        if relabelled or _content(old, status=with_status) != _content(new, status=with_status):
            metadata["generation"] = old["metadata"].get("generation", 0) + 1
    if not metadata.get("finalizers"):
        metadata.pop("finalizers", None)
    if metadata.get("deletionTimestamp") and not pending_finalizers(resource, new) and pending_finalizers(resource, old):
        if not request.dry_run:
            cluster.objects.remove(record.key, trees.copy(new), record.revision)
            after_delete(cluster, resource, new)
        return Written(dump(new | {"apiVersion": resource.api_version}))
    if _same(old, new):
        return Written(as_version(record.value, resource))
    if request.dry_run:
        return Written(dump(new))
    with cluster.sandbox.store.transaction():
        before_write(cluster, resource, record.key, new, old)
        stored = cluster.objects.put(resource, record.key, new, old, record.revision)
    after_write(cluster, resource, new)
    return Written(as_version(stored.value, resource))


def _same(old: Object, new: Object) -> bool:
    """Return whether the objects differ at most in the times of managedFields."""
    if {**old, "metadata": None} != {**new, "metadata": None}:
        return False
    sides = [
        {**side["metadata"], "managedFields": [{**m, "time": ""} for m in side["metadata"].get("managedFields") or []]}
        for side in (old, new)
    ]
    return sides[0] == sides[1]
