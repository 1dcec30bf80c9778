"""The rows that are read from the clusters themselves: nodes, workloads, events.

A cluster that does not answer is a row with its error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from fleetlib.clients.kube import Object
from fleetlib.inspect import layers
from fleetlib.inspect.layers import BROKEN, OK, PROGRESSING, UNREACHABLE, Cluster, State
from fleetlib.inspect.reading import Inside, Reading
from fleetlib.inspect.rows import SEVERITY, Row, cluster_row, state_columns, unreachable

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")


def nodes(reading: Reading) -> Iterator[Row]:
    for cluster, inside in reading.inside(("Node",), hub=True).items():
        if inside.error:
            yield unreachable(reading, cluster, inside.error)
        for obj in inside.objects.get("Node", ()):
            yield {"cluster": cluster, "environment": reading.environment_of(cluster), **_node(obj)}


def _node(obj: Object) -> Row:
    labels, status = obj["metadata"].get("labels") or {}, obj["status"]
    allocatable = status.get("allocatable") or {}
    return {
        "node": obj["metadata"]["name"],
        "pool": labels.get("kubernetes.azure.com/agentpool") or labels.get("agentpool"),
        **state_columns(_node_state(obj)),
        "version": status["nodeInfo"]["kubeletVersion"].removeprefix("v"),
        "image": labels.get("kubernetes.azure.com/node-image-version"),
        "vm_size": labels.get("node.kubernetes.io/instance-type"),
        "zone": labels.get("topology.kubernetes.io/zone"),
        "cpu": quantity(allocatable.get("cpu")),
        "memory": _gib(allocatable.get("memory")),
        "pods": int(allocatable.get("pods") or 0),
        "cordoned": bool(obj["spec"].get("unschedulable")),
        "created": obj["metadata"]["creationTimestamp"],
    }


def _node_state(obj: Object) -> State:
    for condition in obj["status"].get("conditions") or []:
        kind, good = condition["type"], "True" if condition["type"] == "Ready" else "False"
        if condition["status"] != good and (kind == "Ready" or kind.endswith("Pressure") or kind == "NetworkUnavailable"):
            return State(
                "workloads",
                BROKEN,
                condition.get("reason") or kind,
                condition.get("message") or "",
                condition.get("lastTransitionTime"),
            )
    found: dict[str, Any] = next((c for c in obj["status"].get("conditions") or [] if c["type"] == "Ready"), {})
    return State(
        "workloads",
        OK if found else PROGRESSING,
        found.get("reason", ""),
        found.get("message", ""),
        found.get("lastTransitionTime"),
    )


SUFFIXES = {
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "": 1.0,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
    "Pi": 2.0**50,
}


def quantity(text: str | None) -> float | None:
    """Return a Kubernetes quantity as a number; `None` for an empty one."""
    if not text:
        return None
    digits = text.rstrip("numkKMGTPi")
    return float(digits) * SUFFIXES[text[len(digits) :]]


def _gib(text: str | None) -> float | None:
    found = quantity(text)
    return None if found is None else round(found / 2**30, 2)


def workloads(reading: Reading) -> Iterator[Row]:
    for cluster, inside in reading.inside(WORKLOADS).items():
        if inside.error:
            yield unreachable(reading, cluster, inside.error)
            continue
        for kind in WORKLOADS:
            for obj in inside.objects[kind]:
                yield {"cluster": cluster, "environment": reading.environment_of(cluster), "kind": kind, **_workload(kind, obj)}


def _workload(kind: str, obj: Object) -> Row:
    metadata, labels = obj["metadata"], obj["metadata"].get("labels") or {}
    desired, ready = counts(kind, obj)
    owner = next(
        (f"{labels[f'{prefix}/namespace']}/{labels[f'{prefix}/name']}" for prefix in APPLIERS if f"{prefix}/name" in labels),
        None,
    )
    images = [c["image"] for c in obj["spec"]["template"]["spec"]["containers"]]
    return {
        "namespace": metadata["namespace"],
        "workload": metadata["name"],
        "desired": desired,
        "ready": ready,
        **state_columns(_workload_state({**obj, "kind": kind}, desired, ready)),
        "images": ", ".join(images),
        "applied_by": owner,
        "created": metadata["creationTimestamp"],
    }


APPLIERS = ("helm.toolkit.fluxcd.io", "kustomize.toolkit.fluxcd.io")
"""Prefixes of the labels on objects that Flux applies. The first that is found counts: a
HelmRelease may itself have a kustomization's labels."""


def counts(kind: str, obj: Object) -> tuple[int, int]:
    """Return (desired Pods, ready Pods)."""
    status = obj.get("status") or {}
    if kind == "DaemonSet":
        return int(status.get("desiredNumberScheduled") or 0), int(status.get("numberReady") or 0)
    wanted = obj["spec"].get("replicas")
    return int(1 if wanted is None else wanted), int(status.get("readyReplicas") or 0)


def _workload_state(obj: Object, desired: int, ready: int) -> State:
    conditions = {c["type"]: c for c in (obj.get("status") or {}).get("conditions") or []}
    stuck, available = conditions.get("Progressing", {}), conditions.get("Available", {})
    if stuck.get("status") == "False" or conditions.get("ReplicaFailure", {}).get("status") == "True":
        return _in_words_of(BROKEN, conditions.get("ReplicaFailure") or stuck)
    updated = _updated(obj, desired)
    if ready >= desired and updated >= desired:
        return _in_words_of(OK, available)
    words = available if available.get("status") == "False" else stuck
    missing = (
        f"{ready} of {desired} Pods are ready" if ready < desired else f"{updated} of {desired} Pods are of the new version"
    )
    found = _in_words_of(PROGRESSING, words)
    return replace(found, reason=found.reason or "PodsNotReady", message=found.message or missing)


def _in_words_of(status: str, condition: Object) -> State:
    since = condition.get("lastTransitionTime")
    return State("workloads", status, condition.get("reason", ""), condition.get("message", ""), since)


def _updated(obj: Object, desired: int) -> int:
    """Return the number of Pods of the newest version; for StatefulSets, whose rollout may be partial by intention,
    `desired`.
    """
    status = obj.get("status") or {}
    if obj["kind"] == "StatefulSet" or "observedGeneration" not in status:
        return desired
    return int(status.get("updatedNumberScheduled" if obj["kind"] == "DaemonSet" else "updatedReplicas") or 0)


def clusters(reading: Reading, deep: bool) -> Iterator[Row]:
    """Yield the rows of the clusters' table; `deep` adds a last layer, the workloads, read from each cluster."""
    found = with_workloads(reading) if deep else ((cluster, {}) for cluster in layers.clusters(reading))
    for cluster, numbers in found:
        yield cluster_row(reading, cluster) | numbers


def with_workloads(reading: Reading) -> Iterator[tuple[Cluster, Row]]:
    """Yield each cluster with its worst workload as the last layer, and its workload counts. A stopped cluster has neither."""
    found = {name: _all_workloads(name, asked) for name, asked in reading.inside(WORKLOADS).items()}
    ill = [name for name, (state, _) in found.items() if not state.well and state.status != UNREACHABLE]
    pods = reading.inside(("Pod",), only=ill)
    for cluster in layers.clusters(reading):
        if cluster.name not in found:
            yield cluster, {}
            continue
        state, numbers = found[cluster.name]
        if cluster.name in pods:
            state = _as_its_pods_say(state, pods[cluster.name])
        yield Cluster(cluster.name, (*cluster.states, state)), numbers


def _all_workloads(cluster: str, inside: Inside) -> tuple[State, Row]:
    """Return the state of a cluster's worst workload and the workload counts; `unreachable` and no counts if it does not
    answer.
    """
    if inside.error:
        return State("workloads", UNREACHABLE, "Unreachable", inside.error, target=cluster), {}
    states, ready = [], 0
    for kind in WORKLOADS:
        for obj in inside.objects[kind]:
            want, there = counts(kind, obj)
            ready += there >= want
            where = f"{cluster}: {kind}/{obj['metadata']['namespace']}/{obj['metadata']['name']}"
            states.append(replace(_workload_state({**obj, "kind": kind}, want, there), target=where))
    worst = min(states, key=lambda state: SEVERITY[state.status], default=State("workloads", OK, target=cluster))
    return worst, {"workloads": len(states), "workloads_ready": ready}


STUCK = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
"""Reasons of a waiting container that do not end by waiting. Source: kubelet, `container/sync_result.go`, `images/types.go`."""


def _as_its_pods_say(state: State, inside: Inside) -> State:
    """Return the state with the reason and message of the workload's Pods: its own conditions say only that Pods
    are missing.
    """
    _, namespace, name = state.target.rsplit("/", 2)
    for pod in inside.objects.get("Pod", ()):
        metadata, status = pod["metadata"], pod.get("status") or {}
        if metadata["namespace"] != namespace or not metadata["name"].startswith(f"{name}-"):
            continue
        for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
            waiting = (container.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") in STUCK:
                since = metadata.get("creationTimestamp")
                return replace(
                    state, status=BROKEN, reason=waiting["reason"], message=waiting.get("message") or "", since=since
                )
        for condition in status.get("conditions") or ():
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                return replace(state, reason=condition.get("reason") or "", message=condition.get("message") or "")
    return state


def events(reading: Reading, deep: bool) -> Iterator[Row]:
    for cluster, inside in reading.inside(("Event",), hub=True, fleet=deep).items():
        if inside.error:
            yield {"time": reading.at, "cluster": cluster, "error": inside.error}
        for obj in inside.objects.get("Event", ()):
            yield {"cluster": cluster, **_event(obj)}


def _event(obj: Object) -> Row:
    involved = obj.get("involvedObject") or {}
    when = obj.get("lastTimestamp") or obj.get("eventTime") or obj.get("firstTimestamp") or obj["metadata"]["creationTimestamp"]
    series = obj.get("series") or {}
    return {
        "time": series.get("lastObservedTime") or when,
        "namespace": involved.get("namespace") or obj["metadata"]["namespace"],
        "kind": involved.get("kind"),
        "name": involved.get("name"),
        "type": obj.get("type"),
        "reason": obj.get("reason"),
        "message": obj.get("message"),
        "count": series.get("count") or obj.get("count"),
        "reporter": (obj.get("source") or {}).get("component") or obj.get("reportingComponent") or None,
    }
