"""The scheduler: places Pods on nodes by taints, selectors and requests, and says why it cannot.

Source: Kubernetes `pkg/scheduler` (the messages of its filter plugins). Pods are not preempted.
"""

from __future__ import annotations

from collections import Counter

from azuresandbox.machine import selectors
from azuresandbox.machine.cluster import CORE, Cluster
from azuresandbox.machine.controller import Key
from azuresandbox.machine.objects import is_deleted, set_condition
from azuresandbox.machine.quantities import parse, requests
from azuresandbox.machine.types import Object

SCHEDULER = "default-scheduler"


async def run_scheduler(cluster: Cluster) -> None:
    controller = cluster.controller("scheduler")
    pods = cluster.cache(CORE, "Pod")
    assumed: dict[str, str] = {}
    waiting: set[Key] = set()

    def pending(obj: Object) -> list[Key]:
        metadata = obj["metadata"]
        if obj["spec"].get("nodeName"):
            # When it ends, waiting Pods may fit.
            return list(waiting) if is_deleted(obj) or (obj.get("status") or {}).get("phase") in ("Succeeded", "Failed") else []
        return [Key("Pod", metadata["namespace"], metadata["name"])]

    controller.watch(CORE, "Pod", pending)
    nodes = controller.watch(CORE, "Node", lambda node: list(waiting))

    async def reconcile(key: Key) -> float | None:
        pod = pods.get(key.name, key.namespace)
        waiting.discard(key)
        if pod is None or pod["spec"].get("nodeName") or is_deleted(pod) or pod["metadata"]["uid"] in assumed:
            return None
        if pod["spec"].get("schedulerName", SCHEDULER) != SCHEDULER:
            return None
        for uid in [
            uid
            for uid in assumed
            if not any(p["metadata"]["uid"] == uid and not p["spec"].get("nodeName") for p in pods.list())
        ]:
            del assumed[uid]
        places, reasons = _filter(cluster, pod, list(nodes.list()), assumed)
        if not places:
            waiting.add(key)
            await _unschedulable(cluster, pod, reasons, len(list(nodes.list())))
            return None
        best = max(places, key=lambda item: (item[1], item[0]))[0]
        await _bind(cluster, pod, best)
        assumed[pod["metadata"]["uid"]] = best
        return None

    await controller.run(reconcile, wait_for=(pods, nodes))


def _filter(
    cluster: Cluster, pod: Object, nodes: list[Object], assumed: dict[str, str]
) -> tuple[list[tuple[str, float]], Counter[str]]:
    """Return (node, free share of its CPU) of the nodes that can take the Pod, and the reasons of the others."""
    wanted = requests(pod["spec"])
    places: list[tuple[str, float]] = []
    reasons: Counter[str] = Counter()
    for node in nodes:
        name, room = node["metadata"]["name"], (node.get("status") or {}).get("allocatable") or {}
        placed = [p for p in cluster.pods() if (p["spec"].get("nodeName") or assumed.get(p["metadata"]["uid"])) == name]
        placed = [p for p in placed if (p.get("status") or {}).get("phase") not in ("Succeeded", "Failed")]
        used: Counter[str] = Counter()
        for other in placed:
            used.update(requests(other["spec"]))
        why = _why_not(pod, node, wanted, room, used, len(placed))
        if why:
            reasons.update(why)
            continue
        cpu = parse(room.get("cpu", 1)) or 1.0
        places.append((name, 1.0 - (used["cpu"] + wanted.get("cpu", 0.0)) / cpu - len(placed) / 1000))
    return places, reasons


def _why_not(pod: Object, node: Object, wanted: dict[str, float], room: Object, used: Counter[str], count: int) -> list[str]:
    spec = pod["spec"]
    if node["spec"].get("unschedulable") and not selectors.tolerates(spec, _UNSCHEDULABLE):
        return ["node(s) were unschedulable"]
    taint = selectors.untolerated(spec, node)
    if taint is not None:
        shown = f"{{{taint['key']}: {taint['value']}}}" if taint.get("value") else f"{{{taint['key']}: }}"
        return [f"node(s) had untolerated taint {shown}"]
    if not selectors.node_matches(spec, node):
        return ["node(s) didn't match Pod's node affinity/selector"]
    why = ["Too many pods"] if count + 1 > parse(room.get("pods", 110)) else []
    short = [name for name, amount in wanted.items() if amount > 0 and used[name] + amount > parse(room.get(name, 0)) + 1e-9]
    return why + [f"Insufficient {name}" for name in sorted(short)]


_UNSCHEDULABLE = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


async def _unschedulable(cluster: Cluster, pod: Object, reasons: Counter[str], total: int) -> None:
    if total:
        listed = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
        helpful = sum(
            count for reason, count in reasons.items() if reason.startswith("Insufficient") or reason == "Too many pods"
        )
        useless = max(0, total - helpful)
        parts = [f"{useless} Preemption is not helpful for scheduling"] if useless else []
        parts += [f"{total - useless} No preemption victims found for incoming pod"] if total > useless else []
        text = (
            f"0/{total} nodes are available: {listed}. preemption: 0/{total} nodes are available: {', '.join(sorted(parts))}."
        )
    else:
        text = "no nodes available to schedule pods"
    status = dict(pod.get("status") or {})
    conditions = list(status.get("conditions") or [])
    set_condition(conditions, cluster.now(), "PodScheduled", "False", reason="Unschedulable", message=text)
    if conditions == status.get("conditions"):
        return
    await cluster.status(pod, {**status, "phase": "Pending", "conditions": conditions}, cluster.scheduler)
    await cluster.event(pod, "Warning", "FailedScheduling", text, SCHEDULER)


async def _bind(cluster: Cluster, pod: Object, node: str) -> None:
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    binding = {
        "apiVersion": CORE,
        "kind": "Binding",
        "metadata": {"name": name, "namespace": namespace, "uid": pod["metadata"]["uid"]},
        "target": {"apiVersion": CORE, "kind": "Node", "name": node},
    }
    await cluster.scheduler.raw("POST", f"/api/v1/namespaces/{namespace}/pods/{name}/binding", body=binding)
    await cluster.event(pod, "Normal", "Scheduled", f"Successfully assigned {namespace}/{name} to {node}", SCHEDULER)
