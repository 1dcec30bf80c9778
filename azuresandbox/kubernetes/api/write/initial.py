"""The initial state of an object: the metadata and the status that the API server sets itself."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from azuresandbox.kubernetes.model import crds, defaults
from azuresandbox.kubernetes.model.resources import Resource
from azuresandbox.kubernetes.model.types import Object
from azuresandbox.kubernetes.state.cluster import Cluster


def initialise(cluster: Cluster, resource: Resource, obj: Object) -> None:
    """Set, in place, the metadata that belongs to the server, and replace a status that the client sent."""
    metadata = obj["metadata"]
    for name in ("resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"):
        metadata.pop(name, None)
    metadata["uid"] = str(uuid.uuid4())
    metadata["creationTimestamp"] = cluster.now()
    if resource.generation:
        metadata["generation"] = 1
    if resource.has_status() and resource.kind != "Node":
        obj.pop("status", None)
    if resource.custom is None:
        function = _INITIAL.get(resource.kind)
        if function:
            function(cluster, obj)


def _initial_pod(cluster: Cluster, obj: Object) -> None:
    obj["status"] = {"phase": "Pending", "qosClass": qos_class(obj.get("spec") or {})}


def qos_class(spec: Object) -> str:
    """Return Guaranteed, Burstable or BestEffort, by the CPU and memory requests and limits of a Pod's spec."""
    pairs = [
        ((item.get("resources") or {}).get("requests") or {}, (item.get("resources") or {}).get("limits") or {})
        for item in defaults.containers(spec)
    ]
    if not any(requests or limits for requests, limits in pairs):
        return "BestEffort"
    names = ("cpu", "memory")
    whole = all(limits.get(n) and requests.get(n, limits[n]) == limits[n] for requests, limits in pairs for n in names)
    return "Guaranteed" if whole else "Burstable"


def _initial_namespace(cluster: Cluster, obj: Object) -> None:
    obj["spec"] = {"finalizers": ["kubernetes"]}
    obj["status"] = {"phase": "Active"}


def _initial_volume(cluster: Cluster, obj: Object) -> None:
    obj["status"] = {"phase": "Pending", "lastPhaseTransitionTime": cluster.now()}


def _initial_claim(cluster: Cluster, obj: Object) -> None:
    obj["status"] = {"phase": "Pending"}


def _initial_job(cluster: Cluster, obj: Object) -> None:
    """Let the Job select its Pods by its own uid, unless manualSelector is set."""
    spec, metadata = obj.get("spec"), obj["metadata"]
    if not isinstance(spec, dict) or spec.get("manualSelector") or not isinstance(spec.get("template"), dict):
        return
    labels = spec["template"].setdefault("metadata", {}).setdefault("labels", {})
    for prefix in ("", "batch.kubernetes.io/"):
        labels[prefix + "controller-uid"] = metadata["uid"]
        labels[prefix + "job-name"] = metadata["name"]
    spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": metadata["uid"]}}


def _initial_crd(cluster: Cluster, obj: Object) -> None:
    finalizers = obj["metadata"].setdefault("finalizers", [])
    if crds.CLEANUP not in finalizers:
        finalizers.append(crds.CLEANUP)


_INITIAL: dict[str, Callable[[Cluster, Object], None]] = {
    "Pod": _initial_pod,
    "Namespace": _initial_namespace,
    "Job": _initial_job,
    "PersistentVolume": _initial_volume,
    "PersistentVolumeClaim": _initial_claim,
    "CustomResourceDefinition": _initial_crd,
}
"""Built-in kind -> the function that sets its initial state in place."""
