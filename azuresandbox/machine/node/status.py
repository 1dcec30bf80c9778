"""The status of a Pod: its phase and conditions, from its containers' states. Source: Kubernetes `pkg/kubelet/status`."""

from __future__ import annotations

import asyncio

from azuresandbox import trees
from azuresandbox.machine.client import ApiError
from azuresandbox.machine.cluster import CORE
from azuresandbox.machine.node.pod import PlacedPod
from azuresandbox.machine.objects import set_condition
from azuresandbox.machine.types import Object, Objects


async def report(pod: PlacedPod) -> None:
    """Write the status whenever it has changed; several changes in one turn of the event loop make one write.

    Returns when the Pod no longer exists.
    """
    while True:
        await pod.dirty.wait()
        await asyncio.sleep(0)
        pod.dirty.clear()
        try:
            current = pod.cluster.cache(CORE, "Pod").get(pod.name, pod.namespace)
            if current is None or current["metadata"]["uid"] != pod.uid:
                return
            await pod.cluster.status(current, pod_status(pod, current.get("status") or {}), pod.cluster.kubelet)
        except ApiError as error:
            if error.not_found:
                return
            if not error.conflict:
                pod.cluster.log(f"kubelet: status of {pod}: {error}")
                await pod.clock.wait(1)
            pod.dirty.set()


def pod_status(pod: PlacedPod, before: Object) -> Object:
    """Return the status to write. `before` is the stored one: fields that the kubelet does not set are kept (qosClass)."""
    status: Object = {name: value for name, value in before.items() if name not in ("message", "reason")}
    status |= {
        "phase": _phase(pod),
        "hostIP": pod.host_ip,
        "hostIPs": [{"ip": pod.host_ip}],
        "startTime": pod.start_time,
    }
    if pod.network:
        status |= {"podIP": pod.ip, "podIPs": [{"ip": pod.ip}]}
    status["conditions"] = _conditions(pod, trees.copy(before.get("conditions") or []), status["phase"])
    if pod.inits:
        status["initContainerStatuses"] = [item.status() for item in pod.inits]
    status["containerStatuses"] = [item.status() for item in pod.mains]
    return status


def _phase(pod: PlacedPod) -> str:
    policy = pod.obj["spec"].get("restartPolicy", "Always")
    if policy == "Never" and any(item.failed for item in pod.inits):
        return "Failed"
    if policy != "Always" and all(item.ended for item in pod.mains):
        if not any(item.failed for item in pod.mains):
            return "Succeeded"
        if policy == "Never":
            return "Failed"
    begun = any(item.running or item.ended or item.restarts for item in pod.mains)
    return "Running" if begun and all(item.container_id for item in pod.mains) else "Pending"


def _conditions(pod: PlacedPod, conditions: Objects, phase: str) -> Objects:
    now, over = pod.cluster.now(), phase in ("Succeeded", "Failed")
    started = "True" if pod.network and not over else "False"
    set_condition(conditions, now, "PodReadyToStartContainers", started)
    waiting = [item.name for item in pod.inits if not item.ended or item.failed]
    message = f"containers with incomplete status: [{' '.join(waiting)}]"
    _set(conditions, now, "Initialized", not waiting, "ContainersNotInitialized", message)
    unready = [item.name for item in pod.mains if not item.ready]
    message = f"containers with unready status: [{' '.join(unready)}]"
    for kind in ("Ready", "ContainersReady"):
        if over:
            done = "PodCompleted" if phase == "Succeeded" else "PodFailed"
            set_condition(conditions, now, kind, "False", reason=done)
            if phase == "Succeeded":
                set_condition(conditions, now, "Initialized", "True", reason=done)
        else:
            _set(conditions, now, kind, not unready, "ContainersNotReady", message)
    return conditions


def _set(conditions: Objects, now: str, kind: str, good: bool, reason: str, message: str) -> None:
    if good:
        set_condition(conditions, now, kind, "True")
    else:
        set_condition(conditions, now, kind, "False", reason=reason, message=message)
