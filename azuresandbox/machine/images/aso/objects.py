"""Writing ASO's objects: annotations, the Ready condition, events; one change is at most two requests.

Source: `v2/pkg/genruntime/conditions`, `v2/pkg/common/annotations` of Azure/azure-service-operator.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

from azuresandbox.clock import Clock, rfc3339
from azuresandbox.machine.client import ApiError, KubeClient
from azuresandbox.machine.objects import condition
from azuresandbox.machine.types import Object

PREFIX = "serviceoperator.azure.com/"
FINALIZER = f"{PREFIX}finalizer"
RESOURCE_ID, POLICY, OPERATOR = f"{PREFIX}resource-id", f"{PREFIX}reconcile-policy", f"{PREFIX}operator-namespace"
POLL_ID, POLL_TOKEN = f"{PREFIX}poller-resume-id", f"{PREFIX}poller-resume-token"
LAST_VERSION = f"{PREFIX}last-reconciled-version"

RECONCILING = "The resource is in the process of being reconciled by the operator"
DELETING = "The resource is being deleted"
_PRIORITY = {("True", ""): 5, ("False", "Error"): 5, ("False", "Warning"): 5, ("False", "Info"): 4, ("Unknown", ""): 3}


def annotations_of(obj: Object) -> dict[str, str]:
    """Return the annotations of an object, to read or change."""
    found: dict[str, str] = obj["metadata"].setdefault("annotations", {})
    return found


def set_ready(obj: Object, status: str, severity: str, reason: str, message: str, now: datetime) -> None:
    """Set the Ready condition, unless the present one is the same or has a higher priority in the same generation.

    `Deleting` always has priority: a deletion is a generation of its own.
    """
    generation = obj["metadata"].get("generation", 0)
    new: Object = {"type": "Ready", "status": status, "reason": reason, "observedGeneration": generation}
    new |= {key: value for key, value in (("severity", severity), ("message", message)) if value}
    old = condition(obj, "Ready")
    if old is not None and old.get("observedGeneration", 0) >= generation:
        same = {key: value for key, value in old.items() if key != "lastTransitionTime"} == new
        if same or (_priority(new) < _priority(old) and reason != "Deleting"):
            return
    others = [c for c in obj.get("status", {}).get("conditions") or () if c["type"] != "Ready"]
    obj.setdefault("status", {})["conditions"] = [*others, {**new, "lastTransitionTime": rfc3339(now)}]


def _priority(ready: Object) -> int:
    return _PRIORITY.get((ready["status"], ready.get("severity", "")), 0)


class Writer:
    """Writes changes of objects and records events, in one cluster."""

    def __init__(self, kube: KubeClient, clock: Clock, component: str) -> None:
        self._kube, self._clock, self._component = kube, clock, component
        self.own_generations: dict[str, int] = {}
        """uid -> the generation after ASO's own last write of the spec. Reaching it is no reason to reconcile."""
        self._seen: dict[tuple[str, str, str], int] = {}

    async def commit(self, before: Object, after: Object) -> Object:
        """Write the differences: metadata and spec first, then the status. Returns the stored object."""
        current = before
        patch = _difference(before, after)
        if patch:
            patch.setdefault("metadata", {})["resourceVersion"] = before["metadata"]["resourceVersion"]
            current = {**before, **await self._kube.patch(before, patch)}
            self.own_generations[current["metadata"]["uid"]] = current["metadata"].get("generation", 0)
        if after.get("status", {}) != before.get("status", {}) and not _deleted(current):
            current = {**current, **await self._kube.update({**current, "status": after["status"]}, "status")}
        return current

    async def event(self, obj: Object, kind: str, reason: str, message: str) -> None:
        """Record an event; a repeated one counts up. An event that is refused is dropped."""
        metadata, now = obj["metadata"], rfc3339(self._clock.now())
        key = (metadata["uid"], reason, message)
        name = f"{metadata['name']}.{hashlib.sha256('|'.join(key).encode()).hexdigest()[:16]}"
        count = self._seen[key] = self._seen.get(key, 0) + 1
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": metadata["namespace"]},
            "involvedObject": {
                "apiVersion": obj["apiVersion"],
                "kind": obj["kind"],
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            },
            "type": kind,
            "reason": reason,
            "message": message[:1024],
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": "",
        }
        try:
            if count == 1:
                await self._kube.create(event)
            else:
                await self._kube.patch(event, {"count": count, "lastTimestamp": now})
        except ApiError as error:
            if not error.not_found and error.code not in (403, 409):
                raise


def _difference(before: Object, after: Object) -> Object:
    """Return a merge patch of metadata and `spec.azureName`, the parts that ASO writes."""
    patch: Object = {}
    for part in ("annotations", "labels"):
        old, new = before["metadata"].get(part) or {}, after["metadata"].get(part) or {}
        changes = {key: value for key, value in new.items() if old.get(key) != value}
        changes |= {key: None for key in old if key not in new}
        if changes:
            patch.setdefault("metadata", {})[part] = changes
    for part in ("finalizers", "ownerReferences"):
        new_list = after["metadata"].get(part) or []
        if new_list != (before["metadata"].get(part) or []):
            patch.setdefault("metadata", {})[part] = new_list
    name = after["spec"].get("azureName")
    if name != before["spec"].get("azureName"):
        patch["spec"] = {"azureName": name}
    return patch


def _deleted(obj: Object) -> bool:
    """Return whether the last finalizer of a deleted object was removed."""
    return "deletionTimestamp" in obj["metadata"] and not obj["metadata"].get("finalizers")
