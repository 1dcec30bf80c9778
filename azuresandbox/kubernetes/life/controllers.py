"""The controllers behind the API server: the garbage collector, the namespace controller and the CRD finalizer.

`Cluster.work` is their queue of changes.
"""

from __future__ import annotations

from typing import Any

from azuresandbox import trees
from azuresandbox.kubernetes.api.request import Request
from azuresandbox.kubernetes.api.write.common import pending_finalizers
from azuresandbox.kubernetes.api.write.delete import FOREGROUND, ORPHAN, after_delete, delete
from azuresandbox.kubernetes.model import crds
from azuresandbox.kubernetes.model.resources import BY_PLURAL, Resource
from azuresandbox.kubernetes.model.types import Object
from azuresandbox.kubernetes.state.cluster import Cluster
from azuresandbox.kubernetes.state.objects import Gone
from azuresandbox.kubernetes.state.tokens import User

_SELF = User("system:serviceaccount:kube-system:generic-garbage-collector", ("system:masters",))
_BACKGROUND: Object = {"propagationPolicy": "Background"}


async def run(cluster: Cluster) -> None:
    """Handle the queue of changes until cancelled."""
    settle_all(cluster)
    while True:
        await cluster.wake.wait()
        cluster.wake.clear()
        while cluster.work:
            try:
                settle(cluster, *cluster.work.popleft())
            except Gone:
                continue  # the object changed meanwhile: that change is in the queue


def settle_all(cluster: Cluster) -> None:
    """Queue every object, to continue the work that a restart interrupted."""
    for record in cluster.sandbox.store.list(cluster.objects.partition).records:
        obj = trees.parse(record.value)
        cluster.work.append((record.key, None, obj))
    cluster.wake.set()


def settle(cluster: Cluster, key: str, old: Object | None, new: Object | None) -> None:
    """Handle one change of an object: `old` is `None` if it was created, `new` is `None` if it was deleted."""
    if new is None:
        assert old is not None
        _owner_gone(cluster, old)
        _contents_changed(cluster, key)
        return
    if new["metadata"].get("ownerReferences"):
        _collect(cluster, key)
    if new["metadata"].get("deletionTimestamp"):
        _finish(cluster, key)


# --- garbage collection ----------------------------------------------------------------------------------------------


def _owner_gone(cluster: Cluster, owner: Object) -> None:
    """Collect the dependents of a deleted object, and continue the deletion of its owners."""
    for key in sorted(cluster.objects.dependents.get(owner["metadata"]["uid"], ())):
        _collect(cluster, key)
    for reference in owner["metadata"].get("ownerReferences") or []:
        held = cluster.objects.keys.get(reference.get("uid", ""))
        if held is not None:
            _finish(cluster, held)  # its foreground deletion may wait for this object


def _collect(cluster: Cluster, key: str) -> None:
    """Delete an object whose owners are all deleted; otherwise remove only the references to the deleted ones."""
    record = cluster.objects.get(key)
    if record is None:
        return
    obj: Object = trees.parse(record.value)
    references = obj["metadata"].get("ownerReferences") or []
    if not references or obj["metadata"].get("deletionTimestamp"):
        return
    present = [item for item in references if _exists(cluster, obj, item)]
    if len(present) == len(references):
        if any(_in_foreground_deletion(cluster, item) for item in references):
            _delete(cluster, key, {"propagationPolicy": "Foreground"} if _has_dependents(cluster, obj) else _BACKGROUND)
        return
    if present:
        changed = trees.copy(obj)
        changed["metadata"]["ownerReferences"] = present
        cluster.objects.put(_resource(cluster, key), key, changed, obj, record.revision)
    else:
        _delete(cluster, key, _BACKGROUND)


def _has_dependents(cluster: Cluster, obj: Object) -> bool:
    return bool(cluster.objects.dependents.get(obj["metadata"]["uid"]))


def _exists(cluster: Cluster, obj: Object, reference: Object) -> bool:
    """Return whether the owner exists, by uid, in the same namespace or cluster-wide."""
    key = cluster.objects.keys.get(reference.get("uid", ""))
    if key is None:
        return False
    namespace = key.split("/")[3]
    return namespace in ("", obj["metadata"].get("namespace", ""))


def _in_foreground_deletion(cluster: Cluster, reference: Object) -> bool:
    """Return whether the owner is being deleted in the foreground."""
    owner = cluster.objects.read(cluster.objects.keys[reference["uid"]])
    found = (owner or {}).get("metadata") or {}
    return bool(found.get("deletionTimestamp")) and FOREGROUND in (found.get("finalizers") or [])


def _finish(cluster: Cluster, key: str) -> None:
    """Continue the deletion of one object, by its first finalizer that is Kubernetes' own."""
    record = cluster.objects.get(key)
    if record is None:
        return
    obj: Object = trees.parse(record.value)
    metadata = obj["metadata"]
    finalizers = metadata.get("finalizers") or []
    if not metadata.get("deletionTimestamp"):
        return
    if ORPHAN in finalizers:
        _orphan(cluster, metadata["uid"])
        _drop_finalizer(cluster, key, ORPHAN)
    elif FOREGROUND in finalizers:
        if not _delete_dependents(cluster, metadata["uid"]):
            _drop_finalizer(cluster, key, FOREGROUND)
    elif key.startswith("//namespaces/"):
        _empty_namespace(cluster, key, obj)
    elif key.startswith(crds.PREFIX) and crds.CLEANUP in finalizers:
        _empty_definition(cluster, key, obj)


def _orphan(cluster: Cluster, uid: str) -> None:
    """Remove the references to an owner from its dependents."""
    for key in sorted(cluster.objects.dependents.get(uid, ())):
        record = cluster.objects.get(key)
        if record is None:
            continue
        obj: Object = trees.parse(record.value)
        changed = trees.copy(obj)
        left = [item for item in obj["metadata"]["ownerReferences"] if item["uid"] != uid]
        changed["metadata"]["ownerReferences"] = left
        if not left:
            del changed["metadata"]["ownerReferences"]
        cluster.objects.put(_resource(cluster, key), key, changed, obj, record.revision)


def _delete_dependents(cluster: Cluster, uid: str) -> bool:
    """Delete the dependents of an owner. Returns whether one that blocks the owner's deletion is left."""
    for key in sorted(cluster.objects.dependents.get(uid, ())):
        obj = cluster.objects.read(key)
        if obj is not None and not obj["metadata"].get("deletionTimestamp"):
            _delete(cluster, key, {"propagationPolicy": "Foreground"} if _has_dependents(cluster, obj) else _BACKGROUND)
    for key in cluster.objects.dependents.get(uid, ()):
        obj = cluster.objects.read(key) or {"metadata": {}}
        references = obj["metadata"].get("ownerReferences") or []
        if any(item["uid"] == uid and item.get("blockOwnerDeletion") for item in references):
            return True
    return False


def _drop_finalizer(cluster: Cluster, key: str, finalizer: str) -> None:
    """Remove a finalizer from an object that is being deleted; delete the object if it was the last."""
    record = cluster.objects.get(key)
    if record is None:
        return
    resource = _resource(cluster, key)
    obj: Object = trees.parse(record.value)
    changed = trees.copy(obj)
    left = [item for item in obj["metadata"].get("finalizers") or [] if item != finalizer]
    changed["metadata"]["finalizers"] = left
    if not left:
        del changed["metadata"]["finalizers"]
    if pending_finalizers(resource, changed):
        cluster.objects.put(resource, key, changed, obj, record.revision)
    else:
        cluster.objects.remove(key, changed, record.revision)
        after_delete(cluster, resource, changed)


def _resource(cluster: Cluster, key: str) -> Resource:
    """Return the resource of a stored object; raise `Gone` if it is no longer served."""
    _, group, plural, _ = key.split("/", 3)
    found = BY_PLURAL.get((group, plural))
    if found is None:
        found = next((item for item in cluster.registry.stored() if (item.group, item.plural) == (group, plural)), None)
    if found is None:
        raise Gone(key)
    return found


def _delete(cluster: Cluster, key: str, options: Object) -> None:
    record = cluster.objects.get(key)
    if record is not None:
        delete(_request(cluster), _resource(cluster, key), record, dict(options))


def _request(cluster: Cluster) -> Request:
    """Return a request of the garbage collector's own, which has no client to read from or answer."""

    async def never(*_: Any) -> Any:
        raise AssertionError("the garbage collector has no client")

    return Request(cluster, "DELETE", "", {}, {}, _SELF, never, never)


# --- namespaces and CRDs ---------------------------------------------------------------------------------------------


def _empty_namespace(cluster: Cluster, key: str, obj: Object) -> None:
    """Delete the objects in a namespace; when it is empty, remove the namespace's own finalizer."""
    name, namespaces = obj["metadata"]["name"], BY_PLURAL["", "namespaces"]
    remaining = _delete_contents(cluster, name)
    current = cluster.objects.get(key)
    if current is None:
        return
    obj = trees.parse(current.value)
    changed = trees.copy(obj)
    if remaining:
        changed["status"] = {"phase": "Terminating", "conditions": _conditions(cluster, remaining, obj)}
        if changed != obj:
            cluster.objects.put(namespaces, key, changed, obj, current.revision)
        return
    changed["spec"] = {"finalizers": [item for item in obj["spec"].get("finalizers") or [] if item != "kubernetes"]}
    if pending_finalizers(namespaces, changed):
        if changed != obj:
            cluster.objects.put(namespaces, key, changed, obj, current.revision)
    else:
        cluster.objects.remove(key, changed, current.revision)


def _delete_contents(cluster: Cluster, namespace: str) -> list[tuple[Resource, Object]]:
    """Delete the objects in a namespace. Returns those that are still there."""
    remaining = []
    for resource in cluster.registry.stored():
        if not resource.namespaced:
            continue
        for record in cluster.sandbox.store.list(cluster.objects.partition, f"{resource.prefix}{namespace}/").records:
            obj: Object = trees.parse(record.value)
            if not obj["metadata"].get("deletionTimestamp"):
                _delete(cluster, record.key, _BACKGROUND)
            left = cluster.objects.read(record.key)
            if left is not None:
                remaining.append((resource, left))
    return remaining


_PASSED = (
    ("NamespaceDeletionDiscoveryFailure", "False", "ResourcesDiscovered", "All resources successfully discovered"),
    (
        "NamespaceDeletionGroupVersionParsingFailure",
        "False",
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    (
        "NamespaceDeletionContentFailure",
        "False",
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
)
"""Conditions (type, status, reason, message) of steps that never fail here."""


def _finalizers_remaining(held: str) -> tuple[str, str, str, str]:
    if held:
        text = f"Some content in the namespace has finalizers remaining: {held}"
        return "NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain", text
    return "NamespaceFinalizersRemaining", "False", "ContentHasNoFinalizers", "All content-preserving finalizers finished"


def _conditions(cluster: Cluster, remaining: list[tuple[Resource, Object]], obj: Object) -> list[Object]:
    """Return the namespace controller's conditions: the objects that are left, and the finalizers that hold them."""
    kinds: dict[str, int] = {}
    finalizers: dict[str, int] = {}
    for resource, item in remaining:
        name = f"{resource.plural}.{resource.group}"
        kinds[name] = kinds.get(name, 0) + 1
        for finalizer in item["metadata"].get("finalizers") or []:
            finalizers[finalizer] = finalizers.get(finalizer, 0) + 1
    content = ", ".join(f"{name} has {count} resource instances" for name, count in sorted(kinds.items()))
    held = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(finalizers.items()))
    wanted = [
        *_PASSED,
        ("NamespaceContentRemaining", "True", "SomeResourcesRemain", f"Some resources are remaining: {content}"),
        _finalizers_remaining(held),
    ]
    before = {item["type"]: item for item in (obj.get("status") or {}).get("conditions") or []}
    found = []
    for kind, status, reason, message in wanted:
        old = before.get(kind) or {}
        moment = old["lastTransitionTime"] if old.get("status") == status else cluster.now()
        found.append({"type": kind, "status": status, "lastTransitionTime": moment, "reason": reason, "message": message})
    return found


def _empty_definition(cluster: Cluster, key: str, obj: Object) -> None:
    """Delete the custom resources of a definition; after the last one, remove its finalizer."""
    spec = obj["spec"]
    left = 0
    for record in cluster.sandbox.store.list(cluster.objects.partition, f"/{spec['group']}/{spec['names']['plural']}/").records:
        _delete(cluster, record.key, _BACKGROUND)
        left += cluster.objects.get(record.key) is not None
    if not left:
        _drop_finalizer(cluster, key, crds.CLEANUP)


def _contents_changed(cluster: Cluster, key: str) -> None:
    """Continue the deletion of the namespace or the definition of a deleted object, which may have waited for it."""
    _, group, plural, rest = key.split("/", 3)
    namespace = rest.split("/")[0]
    if namespace:
        _finish(cluster, f"//namespaces//{namespace}")
    if (group, plural) not in BY_PLURAL:
        _finish(cluster, f"{crds.PREFIX}/{plural}.{group}")
