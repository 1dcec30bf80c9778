"""When an object counts as reconciled: the rules of kstatus, by which Flux and Helm wait. Pure.

Source: sigs.k8s.io/cli-utils pkg/kstatus/status, with Flux's own rule for Jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

CURRENT, IN_PROGRESS, FAILED, TERMINATING, NOT_FOUND, UNKNOWN = (
    "Current",
    "InProgress",
    "Failed",
    "Terminating",
    "NotFound",
    "Unknown",
)

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Status:
    """One of the states above, and the message of kstatus about it."""

    state: str
    message: str = ""


def compute(obj: Object | None) -> Status:
    """Return the status of an object as read from the API. `None` stands for an object that does not exist."""
    if obj is None:
        return Status(NOT_FOUND, "Resource not found")
    return _generic(obj) or _specific(obj) or _ready_condition(obj) or Status(CURRENT, "Resource is current")


def _generic(obj: Object) -> Status | None:
    metadata, status = obj["metadata"], obj.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return Status(TERMINATING, "Resource scheduled for deletion")
    observed, generation = status.get("observedGeneration"), metadata.get("generation", 0)
    if observed is not None and observed != generation:
        return Status(IN_PROGRESS, f"{obj['kind']} generation is {generation}, but latest observed generation is {observed}")
    for found in status.get("conditions") or ():
        if found.get("status") == "True":
            if found.get("type") == "Reconciling":
                return Status(IN_PROGRESS, found.get("message", ""))
            if found.get("type") == "Stalled":
                return Status(FAILED, found.get("message", ""))
    return None


def _ready_condition(obj: Object) -> Status | None:
    found = _condition(obj, "Ready")
    if found is None:
        return None
    if found.get("status") == "True":
        return Status(CURRENT, "Resource is Ready")
    return Status(IN_PROGRESS, found.get("message", ""))


def _specific(obj: Object) -> Status | None:
    group = obj["apiVersion"].rpartition("/")[0]
    rule = _RULES.get((group, obj["kind"]))
    return rule(obj) if rule else None


def _condition(obj: Object, kind: str) -> Object | None:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((found for found in conditions if found.get("type") == kind), None)


def _is_true(obj: Object, kind: str) -> bool:
    found = _condition(obj, kind)
    return found is not None and found.get("status") == "True"


def _replicas(obj: Object) -> int:
    wanted = (obj.get("spec") or {}).get("replicas")
    return 1 if wanted is None else int(wanted)


def _behind(obj: Object, wanted: int, *fields: tuple[str, str]) -> Status | None:
    """Return InProgress if one of the counts in the status is less than `wanted`, else `None`."""
    status = obj.get("status") or {}
    for name, label in fields:
        if int(status.get(name) or 0) < wanted:
            return Status(IN_PROGRESS, f"{label}: {int(status.get(name) or 0)}/{wanted}")
    return None


def _deployment(obj: Object) -> Status:
    wanted, status = _replicas(obj), obj.get("status") or {}
    progressing = _condition(obj, "Progressing")
    if progressing is not None and progressing.get("reason") == "ProgressDeadlineExceeded":
        return Status(FAILED, "Progress deadline exceeded")
    if "observedGeneration" not in status:
        return Status(IN_PROGRESS, "Deployment generation has not been observed")
    behind = _behind(obj, wanted, ("replicas", "Replicas"), ("updatedReplicas", "Updated"))
    if behind:
        return behind
    extra = int(status.get("replicas") or 0) - int(status.get("updatedReplicas") or 0)
    if extra > 0:
        return Status(IN_PROGRESS, f"Pending termination: {extra}")
    behind = _behind(obj, wanted, ("availableReplicas", "Available"), ("readyReplicas", "Ready"))
    if behind:
        return behind
    if progressing is not None and progressing.get("reason") not in ("NewReplicaSetAvailable", None):
        return Status(IN_PROGRESS, "ReplicaSet not Available")
    if not _is_true(obj, "Available"):
        return Status(IN_PROGRESS, "Deployment not Available")
    return Status(CURRENT, f"Deployment is available. Replicas: {status.get('replicas', 0)}")


def _stateful_set(obj: Object) -> Status:
    wanted, status = _replicas(obj), obj.get("status") or {}
    strategy = (obj.get("spec") or {}).get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return Status(CURRENT, "StatefulSet is using the ondelete update strategy")
    behind = _behind(obj, wanted, ("replicas", "Replicas"), ("readyReplicas", "Ready"))
    if behind:
        return behind
    partition = int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
    behind = _behind(obj, max(0, wanted - partition), ("updatedReplicas", "Updated"))
    if behind:
        return behind
    if not partition and status.get("currentRevision") != status.get("updateRevision"):
        return Status(IN_PROGRESS, "Waiting for updated revision to match current")
    return Status(CURRENT, f"All replicas scheduled as expected. Replicas: {wanted}")


def _daemon_set(obj: Object) -> Status:
    status = obj.get("status") or {}
    if "observedGeneration" not in status:
        return Status(IN_PROGRESS, "Daemonset generation has not been observed")
    wanted = int(status.get("desiredNumberScheduled") or 0)
    fields = (
        ("currentNumberScheduled", "Current"),
        ("updatedNumberScheduled", "Updated"),
        ("numberAvailable", "Available"),
        ("numberReady", "Ready"),
    )
    return _behind(obj, wanted, *fields) or Status(CURRENT, f"All replicas scheduled as expected. Replicas: {wanted}")


def _replica_set(obj: Object) -> Status:
    wanted = _replicas(obj)
    fields = (("fullyLabeledReplicas", "Labelled"), ("availableReplicas", "Available"), ("readyReplicas", "Ready"))
    return _behind(obj, wanted, *fields) or Status(CURRENT, f"ReplicaSet is available. Replicas: {wanted}")


def _pod(obj: Object) -> Status:
    phase = (obj.get("status") or {}).get("phase", "")
    if phase == "Succeeded":
        return Status(CURRENT, "Pod has completed successfully")
    if phase == "Failed":
        return Status(FAILED, "Pod has completed, but not successfully")
    if phase == "Running" and _is_true(obj, "Ready"):
        return Status(CURRENT, "Pod is Ready")
    for container in (obj.get("status") or {}).get("containerStatuses") or ():
        if ((container.get("state") or {}).get("waiting") or {}).get("reason") == "CrashLoopBackOff":
            return Status(FAILED, f"Containers in CrashLoop state: {container.get('name')}")
    return Status(IN_PROGRESS, "Pod phase not available" if not phase else "Pod is running but is not Ready")


def _job(obj: Object) -> Status:
    """Flux waits until a Job is complete; for kstatus a running Job is current."""
    if _is_true(obj, "Complete"):
        return Status(CURRENT, "Job Completed")
    if _is_true(obj, "Failed"):
        return Status(FAILED, "Job Failed")
    return Status(IN_PROGRESS, "Job in progress")


def _claim(obj: Object) -> Status:
    phase = (obj.get("status") or {}).get("phase", "unknown")
    return Status(CURRENT, "PVC is Bound") if phase == "Bound" else Status(IN_PROGRESS, f"PVC is not Bound. phase: {phase}")


def _crd(obj: Object) -> Status:
    names = _condition(obj, "NamesAccepted")
    if names is not None and names.get("status") == "False":
        return Status(FAILED, names.get("message", ""))
    established = _condition(obj, "Established")
    if established is not None and established.get("status") == "True":
        return Status(CURRENT, "CRD is established")
    return Status(IN_PROGRESS, "Install in progress")


def _service(obj: Object) -> Status:
    spec = obj.get("spec") or {}
    if spec.get("type") == "LoadBalancer" and not spec.get("clusterIP"):
        return Status(IN_PROGRESS, "ClusterIP not set. Service type: LoadBalancer")
    return Status(CURRENT, "Service is ready")


def _always(obj: Object) -> Status:
    return Status(CURRENT, "Resource is always ready")


_RULES: dict[tuple[str, str], Callable[[Object], Status]] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "ReplicaSet"): _replica_set,
    ("", "Pod"): _pod,
    ("batch", "Job"): _job,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "Service"): _service,
    ("", "ConfigMap"): _always,
    ("", "Secret"): _always,
    ("batch", "CronJob"): _always,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _crd,
}
