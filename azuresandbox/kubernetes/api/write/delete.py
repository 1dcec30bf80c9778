"""Delete an object, or mark it as being deleted while finalizers or a grace period delay its deletion."""

from __future__ import annotations

import json

from azuresandbox import trees
from azuresandbox.kubernetes.api import admission
from azuresandbox.kubernetes.api.request import Request
from azuresandbox.kubernetes.api.stored import as_version, load
from azuresandbox.kubernetes.api.write.common import pending_finalizers
from azuresandbox.kubernetes.api.write.own import aggregate
from azuresandbox.kubernetes.model import errors
from azuresandbox.kubernetes.model.resources import Resource
from azuresandbox.kubernetes.model.types import Object
from azuresandbox.kubernetes.state import allocation, rbac
from azuresandbox.kubernetes.state.cluster import Cluster
from azuresandbox.store import Record

RETURNED = {
    *(
        ("", name)
        for name in (
            "pods",
            "services",
            "serviceaccounts",
            "podtemplates",
            "persistentvolumes",
            "persistentvolumeclaims",
            "resourcequotas",
        )
    ),
    *(("storage.k8s.io", name) for name in ("csidrivers", "csinodes", "storageclasses", "volumeattachments")),
}
"""(group, plural) of the kinds whose deletion is answered with the object, not a Status. Source: `ReturnDeletedObject`
in pkg/registry."""


FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"


def warn_of_orphans(request: Request, resource: Resource, options: Object) -> None:
    """Warn the client that deleting a Job without a propagation policy keeps its Pods."""
    if resource.kind == "Job" and resource.group == "batch" and not _policy(options):
        request.warnings.append(
            "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set "
            "propagationPolicy=Orphan to suppress this warning"
        )


def delete(request: Request, resource: Resource, record: Record, options: Object) -> tuple[int, bytes]:
    """Delete the object, or mark it as being deleted. Returns the answer's status code and body."""
    cluster, obj = request.cluster, load(record.value, resource)
    metadata = obj["metadata"]
    _check_delete(resource, obj, options)
    dry = request.dry_run or options.get("dryRun") == ["All"]
    old = trees.copy(obj)
    _set_policy_finalizers(resource, metadata, options)
    grace = _grace(resource, obj, options)
    if not pending_finalizers(resource, {**obj, "metadata": {**metadata, "deletionGracePeriodSeconds": 0}}) and not grace:
        if (resource.group, resource.kind) == ("", "Pod"):
            if not metadata.get("deletionTimestamp"):
                metadata["generation"] = metadata.get("generation", 0) + 1
            metadata |= {"deletionTimestamp": cluster.now(), "deletionGracePeriodSeconds": 0}
        if not dry:
            removed = cluster.objects.remove(record.key, obj, record.revision)
            after_delete(cluster, resource, obj)
            record = removed
        if (resource.group, resource.plural) in RETURNED:
            return 200, as_version(record.value, resource)
        return 200, _deleted_status(resource, obj)
    if not metadata.get("deletionTimestamp") or grace < metadata.get("deletionGracePeriodSeconds", 0):
        metadata["deletionTimestamp"] = cluster.later(grace)
        metadata["deletionGracePeriodSeconds"] = grace
        if "generation" in metadata and not old["metadata"].get("deletionTimestamp"):
            metadata["generation"] += 1
        if resource.kind == "Namespace" and resource.group == "":
            obj.setdefault("status", {})["phase"] = "Terminating"
            metadata.pop("deletionGracePeriodSeconds")
    if obj != old and not dry:
        record = cluster.objects.put(resource, record.key, obj, old, record.revision)
    return 200, as_version(record.value, resource)


def _check_delete(resource: Resource, obj: Object, options: Object) -> None:
    """Refuse a deletion whose preconditions do not hold, or of a namespace that every cluster must have."""
    metadata, wanted = obj["metadata"], options.get("preconditions") or {}
    for member, text, happened in (
        ("uid", "UID", "deleted and then recreated"),
        ("resourceVersion", "ResourceVersion", "modified"),
    ):
        found = metadata[member]
        if wanted.get(member) and wanted[member] != found:
            why = f"the {text} in the precondition ({wanted[member]}) does not match the {text} in record ({found}). "
            why += f"The object might have been {happened}"
            raise errors.conflict(resource.group, resource.kind, metadata["name"], why)
    if resource.kind == "Namespace" and resource.group == "" and metadata["name"] in admission.IMMORTAL:
        raise errors.forbidden("", "namespaces", metadata["name"], "this namespace may not be deleted")


def _policy(options: Object) -> str:
    """Return Background, Foreground or Orphan, or "" if the options name no propagation policy."""
    policy = options.get("propagationPolicy")
    if options.get("orphanDependents") is not None:
        if policy is not None:
            text = f"Invalid value: {json.dumps(policy)}: orphanDependents and deletionPropagation cannot be both set"
            causes = [errors.cause("FieldValueInvalid", text, "propagationPolicy")]
            raise errors.invalid("meta.k8s.io", "DeleteOptions", "", causes)
        return "Orphan" if options["orphanDependents"] else "Background"
    if policy is None:
        return ""
    if policy not in ("Background", "Foreground", "Orphan"):
        text = f'Unsupported value: "{policy}": supported values: "Foreground", "Background", "Orphan", "nil"'
        causes = [errors.cause("FieldValueNotSupported", text, "propagationPolicy")]
        raise errors.invalid("meta.k8s.io", "DeleteOptions", "", causes)
    return str(policy)


def _set_policy_finalizers(resource: Resource, metadata: Object, options: Object) -> None:
    """Set, in place, the finalizer by which the garbage collector knows the propagation policy."""
    policy = _policy(options)
    finalizers = list(metadata.get("finalizers") or [])
    if not policy:
        if FOREGROUND in finalizers or ORPHAN in finalizers:
            return
        policy = "Orphan" if (resource.group, resource.kind) == ("batch", "Job") else "Background"
    kept = [item for item in finalizers if item not in (FOREGROUND, ORPHAN)]
    added = {"Orphan": [ORPHAN], "Foreground": [FOREGROUND]}.get(policy, [])
    if kept + added:
        metadata["finalizers"] = kept + added
    else:
        metadata.pop("finalizers", None)


def _grace(resource: Resource, obj: Object, options: Object) -> int:
    """Return the seconds a Pod may still run, after which its kubelet deletes it with a grace period of 0."""
    if resource.kind != "Pod" or resource.group != "":
        return 0
    asked = options.get("gracePeriodSeconds")
    seconds = int(obj["spec"].get("terminationGracePeriodSeconds") or 0) if asked is None else int(asked)
    unscheduled = not obj["spec"].get("nodeName")
    finished = (obj.get("status") or {}).get("phase") in ("Failed", "Succeeded")
    if unscheduled or finished:
        return 0
    pending = obj["metadata"].get("deletionGracePeriodSeconds")
    return seconds if pending is None else min(seconds, pending)


def _deleted_status(resource: Resource, obj: Object) -> bytes:
    details = {"name": obj["metadata"]["name"]}
    if resource.group:
        details["group"] = resource.group
    details |= {"kind": resource.plural, "uid": obj["metadata"]["uid"]}
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
    return json.dumps(status).encode()


def after_delete(cluster: Cluster, resource: Resource, obj: Object) -> None:
    """Apply the immediate effects of a deletion: release a Service's addresses, aggregate ClusterRoles."""
    if resource.kind == "Service" and resource.group == "":
        allocation.release(cluster, obj)
    elif resource.kind == "ClusterRole" and resource.group == rbac.GROUP:
        aggregate(cluster, resource)
