"""DaemonSets: one Pod on every node that takes it. Source: Kubernetes `pkg/controller/daemon`."""

from __future__ import annotations

import copy
import json

from azuresandbox.machine import selectors
from azuresandbox.machine.addresses import safe_hash
from azuresandbox.machine.cluster import APPS, CORE, Cluster, owner_keys
from azuresandbox.machine.controller import Key
from azuresandbox.machine.objects import counts, is_active, is_deleted, is_ready, pod_from_template
from azuresandbox.machine.quantities import percent
from azuresandbox.machine.types import Object, Objects

REVISION = "controller-revision-hash"
COMPONENT = "daemonset-controller"
TOLERATIONS = [
    {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": effect}
    for key, effect in (
        ("not-ready", "NoExecute"),
        ("unreachable", "NoExecute"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
    )
]


async def run_daemon_sets(cluster: Cluster) -> None:
    controller = cluster.controller(COMPONENT)
    sets = controller.watch(APPS, "DaemonSet")
    pods = controller.watch(CORE, "Pod", owner_keys("DaemonSet", sets))
    nodes = controller.watch(
        CORE, "Node", lambda node: [Key("DaemonSet", s["metadata"]["namespace"], s["metadata"]["name"]) for s in sets.list()]
    )

    async def reconcile(key: Key) -> float | None:
        found = sets.get(key.name, key.namespace)
        if found is not None and not is_deleted(found):
            wanted = {n["metadata"]["name"] for n in nodes.list() if not is_deleted(n) and _fits(found, n)}
            await cluster.claim(CORE, "Pod", found, _can_be_adopted)
            await _act(cluster, found, wanted)
            await _status(cluster, found, wanted)
        return None

    await controller.run(reconcile, wait_for=(sets, pods, nodes))


def _fits(found: Object, node: Object) -> bool:
    spec = found["spec"]["template"]["spec"]
    tolerant = {**spec, "tolerations": [*(spec.get("tolerations") or ()), *TOLERATIONS]}
    return selectors.node_matches(spec, node) and selectors.untolerated(tolerant, node) is None


def _revision(found: Object) -> str:
    return safe_hash(json.dumps(found["spec"]["template"], sort_keys=True))


def _can_be_adopted(pod: Object) -> bool:
    """Return whether a Pod is active and placed on a node. The node that a pending Pod is meant for is not known."""
    return bool(pod["spec"].get("nodeName")) and is_active(pod)


def _node_of(pod: Object) -> str:
    """Return the node that a Pod is meant for, placed there or not yet."""
    if pod["spec"].get("nodeName"):
        return str(pod["spec"]["nodeName"])
    terms = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    return str(terms[0]["matchFields"][0]["values"][0])


async def _act(cluster: Cluster, found: Object, wanted: set[str]) -> None:
    pods = cluster.owned(CORE, "Pod", found)
    for pod in pods:
        if _node_of(pod) not in wanted and not is_deleted(pod) or not is_active(pod) and not is_deleted(pod):
            await cluster.delete(pod)
    for node in sorted(wanted - {_node_of(pod) for pod in pods}):
        pod = await cluster.create(_pod(found, node))
        await cluster.event(found, "Normal", "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}", COMPONENT)
    strategy = found["spec"].get("updateStrategy") or {}
    if strategy.get("type") != "OnDelete":
        await _roll(cluster, found, pods, len(wanted), strategy.get("rollingUpdate") or {})


async def _roll(cluster: Cluster, found: Object, pods: Objects, wanted: int, rolling: Object) -> None:
    old = [p for p in pods if not is_deleted(p) and p["metadata"]["labels"].get(REVISION) != _revision(found)]
    allowed = max(1, percent(rolling.get("maxUnavailable", 1), wanted, up=True))
    allowed -= sum(not is_ready(p) or is_deleted(p) for p in pods if p not in old) + max(0, wanted - len(pods))
    for pod in sorted(old, key=is_ready)[: max(0, allowed)]:
        await cluster.delete(pod)
        await cluster.event(found, "Normal", "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}", COMPONENT)


def _pod(found: Object, node: str) -> Object:
    template = copy.deepcopy(found["spec"]["template"])
    spec = template["spec"]
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    spec.setdefault("affinity", {})["nodeAffinity"] = {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}
    }
    spec["tolerations"] = [*(spec.get("tolerations") or ()), *TOLERATIONS]
    return pod_from_template(found, template, generateName=f"{found['metadata']['name']}-", labels={REVISION: _revision(found)})


async def _status(cluster: Cluster, found: Object, wanted: set[str]) -> None:
    pods = [p for p in cluster.owned(CORE, "Pod", found) if not is_deleted(p)]
    ready = sum(is_ready(p) for p in pods)
    status: Object = {
        "observedGeneration": found["metadata"]["generation"],
        "desiredNumberScheduled": len(wanted),
        "currentNumberScheduled": len({_node_of(p) for p in pods} & wanted),
        "numberMisscheduled": 0,
        "numberReady": ready,
        **counts(
            updatedNumberScheduled=sum(p["metadata"]["labels"].get(REVISION) == _revision(found) for p in pods),
            numberAvailable=ready,
            numberUnavailable=max(0, len(wanted) - ready),
        ),
    }
    await cluster.status(found, status)
