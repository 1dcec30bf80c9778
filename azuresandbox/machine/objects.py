"""Reading and writing the parts that all objects have: owner references, conditions, the marks of deletion."""

from __future__ import annotations

from typing import Any

from azuresandbox.machine.types import Object, Objects

READY = "Ready"


def controller_of(obj: Object) -> Object | None:
    """Return the owner reference of the object's controller, or `None`."""
    return next((ref for ref in obj["metadata"].get("ownerReferences") or () if ref.get("controller")), None)


def controller_uid(obj: Object) -> str:
    """Return the uid of the object's controller, or ""."""
    found = controller_of(obj)
    return found["uid"] if found else ""


def owner_reference(owner: Object) -> Object:
    """Return a reference to the controller of an object."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def is_deleted(obj: Object) -> bool:
    return "deletionTimestamp" in obj["metadata"]


def condition(obj: Object, kind: str) -> Object | None:
    """Return the condition of that type, or `None`."""
    return next((item for item in (obj.get("status") or {}).get("conditions") or () if item["type"] == kind), None)


def is_ready(obj: Object) -> bool:
    found = condition(obj, READY)
    return found is not None and found["status"] == "True"


def is_established(crd: Object) -> bool:
    """Return whether the API server serves the kind of a CustomResourceDefinition."""
    found = condition(crd, "Established")
    return found is not None and found["status"] == "True"


def is_active(pod: Object) -> bool:
    """Return whether a Pod counts as a replica."""
    return not is_deleted(pod) and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def set_condition(conditions: Objects, now: str, kind: str, status: str, **fields: str) -> None:
    """Set a condition in a list, in place. Its transition time changes only with its status."""
    old = next((item for item in conditions if item["type"] == kind), None)
    since = old["lastTransitionTime"] if old is not None and old["status"] == status else now
    new = {"type": kind, "status": status, "lastTransitionTime": since, **{k: v for k, v in fields.items() if v}}
    if old is None:
        conditions.append(new)
    else:
        conditions[conditions.index(old)] = new


def counts(**numbers: int) -> Object:
    """Return the counts of a status without those that are 0, as Go's omitempty does."""
    return {name: value for name, value in numbers.items() if value}


def pod_from_template(owner: Object, template: Object, **metadata: Any) -> Object:
    """Return the Pod to create for a controller. `metadata`: name or generateName, and labels to add."""
    found = template.get("metadata") or {}
    labels = {**(found.get("labels") or {}), **metadata.pop("labels", {})}
    pod: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **metadata,
            "namespace": owner["metadata"]["namespace"],
            "labels": labels,
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": template["spec"],
    }
    for name in ("annotations", "finalizers"):
        if found.get(name):
            pod["metadata"][name] = found[name]
    return pod
