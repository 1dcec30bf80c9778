"""Deployments and ReplicaSets, as kube-controller-manager rolls them out.

Source: Kubernetes `pkg/controller/deployment` and `pkg/controller/replicaset`.
"""

from __future__ import annotations

import json
from datetime import datetime

from azuresandbox import trees
from azuresandbox.machine.addresses import safe_hash
from azuresandbox.machine.client import ApiError
from azuresandbox.machine.cluster import APPS, CORE, Cluster, owner_keys
from azuresandbox.machine.controller import Key
from azuresandbox.machine.objects import (
    condition,
    counts,
    is_active,
    is_deleted,
    is_ready,
    owner_reference,
    pod_from_template,
    set_condition,
)
from azuresandbox.machine.quantities import percent
from azuresandbox.machine.types import Object, Objects

HASH = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
DESIRED, MAXIMUM = "deployment.kubernetes.io/desired-replicas", "deployment.kubernetes.io/max-replicas"
_OWN_ANNOTATIONS = (REVISION, DESIRED, MAXIMUM, "kubectl.kubernetes.io/last-applied-configuration")


async def run_deployments(cluster: Cluster) -> None:
    controller = cluster.controller("deployment-controller")
    cache = controller.watch(APPS, "Deployment")
    sets = controller.watch(APPS, "ReplicaSet", owner_keys("Deployment", cache))

    async def reconcile(key: Key) -> float | None:
        deployment = cache.get(key.name, key.namespace)
        if deployment is None or is_deleted(deployment):
            return None
        await cluster.claim(APPS, "ReplicaSet", deployment)
        return await _Rollout(cluster, deployment).run()

    await controller.run(reconcile, wait_for=(cache, sets))


class _Rollout:
    """One reconciliation of one Deployment."""

    def __init__(self, cluster: Cluster, deployment: Object) -> None:
        self.cluster = cluster
        self.deployment = deployment
        self.spec = deployment["spec"]
        self.wanted = int(self.spec.get("replicas", 1))
        found = cluster.owned(APPS, "ReplicaSet", deployment)
        self.sets = sorted(found, key=lambda item: (item["metadata"]["creationTimestamp"], item["metadata"]["name"]))
        self.new = next((item for item in self.sets if _same_template(item, self.spec["template"])), None)
        self.message = ""

    @property
    def old(self) -> Objects:
        return [item for item in self.sets if item is not self.new]

    async def run(self) -> float | None:
        if not self.spec.get("paused"):
            if self.spec["strategy"]["type"] == "Recreate":
                await self._recreate()
            else:
                await self._ensure_new(self._room(0))
                await self._roll()
        elif self.new is not None and self.new["spec"]["replicas"] != self.wanted and not any(_size(s) for s in self.old):
            await self._scale(self.new, self.wanted)
        await self._clean_up()
        return await self._status()

    # --- rolling -----------------------------------------------------------------------------------------------------

    @property
    def _limits(self) -> tuple[int, int]:
        """Return (maxSurge, maxUnavailable) in Pods."""
        rolling = self.spec["strategy"].get("rollingUpdate") or {}
        surge = percent(rolling.get("maxSurge", "25%"), self.wanted, up=True)
        unavailable = percent(rolling.get("maxUnavailable", "25%"), self.wanted, up=False)
        return surge, unavailable if surge or unavailable else 1

    def _room(self, current: int) -> int:
        """Return how many replicas the new ReplicaSet may have now."""
        if current >= self.wanted:
            return self.wanted
        others = sum(_size(item) for item in self.old)
        return min(self.wanted, max(current, self.wanted + self._limits[0] - others))

    async def _ensure_new(self, size: int) -> None:
        if self.new is not None:
            await self._promote(self.new)
            return
        template = trees.copy(self.spec["template"])
        mark = safe_hash(json.dumps(template, sort_keys=True))
        template.setdefault("metadata", {}).setdefault("labels", {})[HASH] = mark
        labels = template["metadata"]["labels"]
        selector = trees.copy(self.spec["selector"])
        selector.setdefault("matchLabels", {})[HASH] = mark
        metadata = self.deployment["metadata"]
        obj: Object = {
            "apiVersion": APPS,
            "kind": "ReplicaSet",
            "metadata": {
                "name": f"{metadata['name']}-{mark}",
                "namespace": metadata["namespace"],
                "labels": labels,
                "annotations": {**_copied(metadata), REVISION: str(self._revision() + 1), **self._size_annotations()},
                "ownerReferences": [owner_reference(self.deployment)],
            },
            "spec": {"replicas": size, "selector": selector, "template": template},
        }
        if self.spec.get("minReadySeconds"):
            obj["spec"]["minReadySeconds"] = self.spec["minReadySeconds"]
        self.new = await self.cluster.create(obj)
        self.sets.append(self.new)
        self.message = f'Created new replica set "{self.new["metadata"]["name"]}"'
        if size:
            await self._tell_scaled(self.new, 0, size)

    def _revision(self) -> int:
        return max((_revision(item) for item in self.sets), default=0)

    def _size_annotations(self) -> dict[str, str]:
        surge = self._limits[0] if self.spec["strategy"]["type"] == "RollingUpdate" else 0
        return {DESIRED: str(self.wanted), MAXIMUM: str(self.wanted + surge)}

    async def _promote(self, found: Object) -> None:
        """Update the new ReplicaSet's annotations; an older template that is used again becomes the newest revision."""
        highest = max((_revision(item) for item in self.old), default=0)
        annotations = {**(found["metadata"].get("annotations") or {}), **_copied(self.deployment["metadata"])}
        annotations |= self._size_annotations()
        if _revision(found) <= highest:
            annotations[REVISION] = str(highest + 1)
        if annotations != found["metadata"].get("annotations"):
            await self._replace(found, {**found, "metadata": {**found["metadata"], "annotations": annotations}})

    async def _replace(self, old: Object, new: Object) -> Object:
        written = await self.cluster.update(new)
        self.sets[self.sets.index(old)] = written
        if old is self.new:
            self.new = written
        return written

    async def _scale(self, found: Object, size: int) -> None:
        before = _size(found)
        if before == size:
            return
        annotations = {**(found["metadata"].get("annotations") or {}), **self._size_annotations()}
        metadata = {**found["metadata"], "annotations": annotations}
        written = await self._replace(found, {**found, "metadata": metadata, "spec": {**found["spec"], "replicas": size}})
        await self._tell_scaled(written, before, size)

    async def _tell_scaled(self, found: Object, before: int, size: int) -> None:
        way = "up" if size > before else "down"
        text = f"Scaled {way} replica set {found['metadata']['name']} from {before} to {size}"
        await self.cluster.event(self.deployment, "Normal", "ScalingReplicaSet", text, "deployment-controller")

    async def _roll(self) -> None:
        assert self.new is not None
        await self._scale(self.new, self._room(_size(self.new)))
        total = sum(_size(item) for item in self.sets)
        least = self.wanted - self._limits[1]
        unavailable_new = _size(self.new) - _available(self.new)
        spare = total - least - unavailable_new
        for item in [old for old in self.old if _size(old)]:
            # Unavailable replicas are removed first: that costs no availability.
            broken = min(max(0, spare), _size(item) - _available(item))
            if broken > 0:
                await self._scale(item, _size(item) - broken)
                spare -= broken
        spare = min(spare, sum(_available(item) for item in self.sets) - least)
        for item in [old for old in self.old if _size(old)]:
            less = min(max(0, spare), _size(item))
            if less > 0:
                await self._scale(item, _size(item) - less)
                spare -= less

    async def _recreate(self) -> None:
        for item in [old for old in self.old if _size(old)]:
            await self._scale(item, 0)
        if any((item.get("status") or {}).get("replicas") for item in self.old):
            return
        uids = {item["metadata"]["uid"] for item in self.old}
        for pod in self.cluster.pods(self.deployment["metadata"]["namespace"]):
            if any(ref["uid"] in uids for ref in pod["metadata"].get("ownerReferences") or ()):
                return
        await self._ensure_new(self.wanted)
        assert self.new is not None
        await self._scale(self.new, self.wanted)

    async def _clean_up(self) -> None:
        """Delete old ReplicaSets without Pods beyond the history limit, oldest first."""
        limit = int(self.spec.get("revisionHistoryLimit", 10))
        idle = [
            item
            for item in self.old
            if not _size(item) and not (item.get("status") or {}).get("replicas") and not is_deleted(item)
        ]
        for item in sorted(idle, key=_revision)[: max(0, len(idle) - limit)]:
            await self.cluster.delete(item)
            self.sets.remove(item)

    # --- status ------------------------------------------------------------------------------------------------------

    async def _status(self) -> float | None:
        await self._annotate()
        before = self.deployment.get("status") or {}
        total = _sum(self.sets, "replicas")
        available = _sum(self.sets, "availableReplicas")
        status: Object = {
            "observedGeneration": self.deployment["metadata"]["generation"],
            **counts(
                replicas=total,
                updatedReplicas=_sum([self.new] if self.new else [], "replicas"),
                readyReplicas=_sum(self.sets, "readyReplicas"),
                availableReplicas=available,
                unavailableReplicas=max(0, sum(_size(item) for item in self.sets) - available),
            ),
        }
        conditions: Objects = trees.copy(before.get("conditions") or [])
        again = self._progressing(conditions, before, status)
        self._available_condition(conditions, available)
        self._failure(conditions)
        if conditions:
            status["conditions"] = conditions
        await self.cluster.status(self.deployment, status)
        return again

    async def _annotate(self) -> None:
        if self.new is None:
            return
        revision = str(_revision(self.new))
        annotations = self.deployment["metadata"].get("annotations") or {}
        if annotations.get(REVISION) != revision:
            metadata = {**self.deployment["metadata"], "annotations": {**annotations, REVISION: revision}}
            self.deployment = await self.cluster.annotate({**self.deployment, "metadata": metadata})

    def _available_condition(self, conditions: Objects, available: int) -> None:
        enough = available >= self.wanted - (self._limits[1] if self.spec["strategy"]["type"] == "RollingUpdate" else 0)
        reason, text = (
            ("MinimumReplicasAvailable", "Deployment has minimum availability.")
            if enough
            else ("MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
        )
        self._set(conditions, "Available", "True" if enough else "False", reason, text)

    def _failure(self, conditions: Objects) -> None:
        failing = next((found for item in self.sets if (found := condition(item, "ReplicaFailure"))), None)
        conditions[:] = [item for item in conditions if item["type"] != "ReplicaFailure"]
        if failing is not None:
            self._set(conditions, "ReplicaFailure", "True", failing["reason"], failing["message"])

    def _progressing(self, conditions: Objects, before: Object, status: Object) -> float | None:
        """Set the Progressing condition. Returns the seconds until its deadline, or `None` if there is no deadline."""
        if self.spec.get("paused"):
            self._set(conditions, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused")
            return None
        old = next((item for item in conditions if item["type"] == "Progressing"), None)
        if self.new is None:
            return None
        name = self.new["metadata"]["name"]
        complete = (
            status.get("updatedReplicas", 0) == status.get("replicas", 0) == status.get("availableReplicas", 0) == self.wanted
        )
        if self.message:
            self._set(conditions, "Progressing", "True", "NewReplicaSetCreated", self.message, moved=True)
        elif complete:
            self._set(
                conditions, "Progressing", "True", "NewReplicaSetAvailable", f'ReplicaSet "{name}" has successfully progressed.'
            )
            return None
        elif old is None or _progressed(before, status):
            text = f'ReplicaSet "{name}" is progressing.'
            self._set(conditions, "Progressing", "True", "ReplicaSetUpdated", text, moved=True)
        elif old["reason"] == "NewReplicaSetAvailable":
            return None
        elif old["reason"] != "ProgressDeadlineExceeded" and self._left(old) <= 0:
            text = f'ReplicaSet "{name}" has timed out progressing.'
            self._set(conditions, "Progressing", "False", "ProgressDeadlineExceeded", text)
            return None
        current = next(item for item in conditions if item["type"] == "Progressing")
        return self._left(current) + 1 if current["status"] == "True" else None

    def _left(self, progressing: Object) -> float:
        since = datetime.fromisoformat(progressing["lastUpdateTime"])
        passed = (self.cluster.clock.now() - since).total_seconds()
        return float(self.spec.get("progressDeadlineSeconds", 600)) - passed

    def _set(self, conditions: Objects, kind: str, status: str, reason: str, text: str, *, moved: bool = False) -> None:
        old = next((item for item in conditions if item["type"] == kind), None)
        same = old is not None and (old["status"], old["reason"], old["message"]) == (status, reason, text)
        updated = old["lastUpdateTime"] if old is not None and same and not moved else self.cluster.now()
        set_condition(conditions, self.cluster.now(), kind, status, reason=reason, message=text, lastUpdateTime=updated)


def _copied(metadata: Object) -> dict[str, str]:
    return {k: v for k, v in (metadata.get("annotations") or {}).items() if k not in _OWN_ANNOTATIONS}


def _same_template(found: Object, template: Object) -> bool:
    mine = trees.copy(found["spec"]["template"])
    (mine.get("metadata", {}).get("labels") or {}).pop(HASH, None)
    theirs = {**template, "metadata": {k: v for k, v in (template.get("metadata") or {}).items() if k != "creationTimestamp"}}
    mine["metadata"] = {k: v for k, v in (mine.get("metadata") or {}).items() if k != "creationTimestamp"}
    return bool(mine == theirs)


def _revision(found: Object) -> int:
    return int((found["metadata"].get("annotations") or {}).get(REVISION, 0))


def _size(found: Object) -> int:
    return int(found["spec"].get("replicas", 1))


def _available(found: Object) -> int:
    return int((found.get("status") or {}).get("availableReplicas", 0))


def _sum(sets: Objects, name: str) -> int:
    return sum(int((item.get("status") or {}).get(name, 0)) for item in sets)


def _progressed(before: Object, status: Object) -> bool:
    def more(name: str) -> bool:
        return bool(status.get(name, 0) > before.get(name, 0))

    fewer_old = status.get("replicas", 0) - status.get("updatedReplicas", 0) < before.get("replicas", 0) - before.get(
        "updatedReplicas", 0
    )
    return more("updatedReplicas") or more("readyReplicas") or more("availableReplicas") or fewer_old


# --- ReplicaSets -----------------------------------------------------------------------------------------------------


async def run_replica_sets(cluster: Cluster) -> None:
    controller = cluster.controller("replicaset-controller")
    cache = controller.watch(APPS, "ReplicaSet")
    pods = controller.watch(CORE, "Pod", owner_keys("ReplicaSet", cache))

    async def reconcile(key: Key) -> float | None:
        found = cache.get(key.name, key.namespace)
        if found is None or is_deleted(found):
            return None
        await cluster.claim(CORE, "Pod", found, is_active)
        failure = await _scale(cluster, found)
        return await _replica_set_status(cluster, found, failure)

    await controller.run(reconcile, wait_for=(cache, pods))


async def _scale(cluster: Cluster, found: Object) -> tuple[str, str] | None:
    """Create or delete Pods. Returns (reason, message) of a failure, else `None`."""
    pods = [pod for pod in cluster.owned(CORE, "Pod", found) if is_active(pod)]
    missing = _size(found) - len(pods)
    for _ in range(missing):
        try:
            name = found["metadata"]["name"] + "-"
            pod = await cluster.create(pod_from_template(found, found["spec"]["template"], generateName=name))
        except ApiError as error:
            if error.code == 403 and "is being terminated" in str(error):
                return None
            await cluster.event(found, "Warning", "FailedCreate", f"Error creating: {error}", "replicaset-controller")
            return "FailedCreate", str(error)
        text = f"Created pod: {pod['metadata']['name']}"
        await cluster.event(found, "Normal", "SuccessfulCreate", text, "replicaset-controller")
    for pod in sorted(pods, key=_worth)[: max(0, -missing)]:
        await cluster.delete(pod)
        text = f"Deleted pod: {pod['metadata']['name']}"
        await cluster.event(found, "Normal", "SuccessfulDelete", text, "replicaset-controller")
    return None


def _worth(pod: Object) -> tuple[bool, bool, bool, float]:
    """Return a Pod's rank when there are too many: the first to delete are not placed, not running, not ready, young."""
    phase = (pod.get("status") or {}).get("phase")
    created = datetime.fromisoformat(pod["metadata"]["creationTimestamp"]).timestamp()
    return bool(pod["spec"].get("nodeName")), phase == "Running", is_ready(pod), -created


async def _replica_set_status(cluster: Cluster, found: Object, failure: tuple[str, str] | None) -> float | None:
    pods = [pod for pod in cluster.owned(CORE, "Pod", found) if is_active(pod)]
    least = int(found["spec"].get("minReadySeconds", 0))
    waits = [wait for pod in pods if (wait := until_available(cluster, pod, least)) is not None]
    labels = (found["spec"]["template"].get("metadata") or {}).get("labels") or {}
    labelled = [pod for pod in pods if labels.items() <= (pod["metadata"].get("labels") or {}).items()]
    status: Object = {
        "replicas": len(pods),
        "observedGeneration": found["metadata"]["generation"],
        **counts(
            fullyLabeledReplicas=len(labelled),
            readyReplicas=sum(is_ready(pod) for pod in pods),
            availableReplicas=sum(wait <= 0 for wait in waits),
        ),
    }
    if failure is not None:
        conditions = trees.copy((found.get("status") or {}).get("conditions") or [])
        set_condition(conditions, cluster.now(), "ReplicaFailure", "True", reason=failure[0], message=failure[1])
        status["conditions"] = conditions
    await cluster.status(found, status)
    if failure is not None:
        return 10
    return min((wait for wait in waits if wait > 0), default=None)


def until_available(cluster: Cluster, pod: Object, least: int) -> float | None:
    """Return the seconds until a ready Pod counts as available (0 or less: it does), or `None` while it is not ready."""
    ready = condition(pod, "Ready")
    if ready is None or ready["status"] != "True":
        return None
    since = datetime.fromisoformat(ready["lastTransitionTime"])
    return least - (cluster.clock.now() - since).total_seconds() if least else 0.0
