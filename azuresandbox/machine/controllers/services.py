"""EndpointSlices of Services, and the addresses of load balancers.

Source: Kubernetes `pkg/controller/endpointslice`, cloud-provider-azure.
"""

from __future__ import annotations

from azuresandbox.machine import selectors
from azuresandbox.machine.addresses import public_ip, safe_hash
from azuresandbox.machine.cluster import CORE, Cluster
from azuresandbox.machine.controller import Key
from azuresandbox.machine.objects import is_deleted, is_ready, owner_reference
from azuresandbox.machine.types import Object, Objects

DISCOVERY = "discovery.k8s.io/v1"


async def run_slices(cluster: Cluster) -> None:
    controller = cluster.controller("endpointslice-controller")
    services = controller.watch(CORE, "Service")

    def concerned(pod: Object) -> list[Key]:
        labels = pod["metadata"].get("labels") or {}
        return [
            Key("Service", s["metadata"]["namespace"], s["metadata"]["name"])
            for s in services.list(pod["metadata"]["namespace"])
            if s["spec"].get("selector") and selectors.matches({"matchLabels": s["spec"]["selector"]}, labels)
        ]

    pods = controller.watch(CORE, "Pod", concerned)
    slices = cluster.cache(DISCOVERY, "EndpointSlice")

    async def reconcile(key: Key) -> float | None:
        service = services.get(key.name, key.namespace)
        if service is None or is_deleted(service) or not service["spec"].get("selector"):
            return None
        wanted = _slice(service, [p for p in pods.list(key.namespace) if _selected(service, p)])
        current = slices.get(wanted["metadata"]["name"], key.namespace)
        if current is None:
            await cluster.create(wanted)
        elif any((current.get(part) or []) != wanted[part] for part in ("endpoints", "ports")):
            await cluster.update({**current, "endpoints": wanted["endpoints"], "ports": wanted["ports"]})
        return None

    await controller.run(reconcile, wait_for=(services, pods, slices))


def _selected(service: Object, pod: Object) -> bool:
    selector = {"matchLabels": service["spec"]["selector"]}
    return bool((pod.get("status") or {}).get("podIP")) and selectors.matches(selector, pod["metadata"].get("labels") or {})


def _slice(service: Object, pods: Objects) -> Object:
    metadata = service["metadata"]
    endpoints = [_endpoint(pod) for pod in sorted(pods, key=lambda p: str(p["metadata"]["name"])) if _serves(pod)]
    return {
        "apiVersion": DISCOVERY,
        "kind": "EndpointSlice",
        "addressType": "IPv4",
        "metadata": {
            "name": f"{metadata['name']}-{safe_hash(metadata['uid'], 5)}",
            "namespace": metadata["namespace"],
            "labels": {
                **(metadata.get("labels") or {}),
                "kubernetes.io/service-name": metadata["name"],
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            },
            "ownerReferences": [owner_reference(service)],
        },
        "endpoints": endpoints,
        "ports": [_port(port, pods) for port in service["spec"].get("ports") or ()],
    }


def _serves(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def _endpoint(pod: Object) -> Object:
    metadata, going = pod["metadata"], is_deleted(pod)
    target = {"kind": "Pod", "name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]}
    conditions = {"ready": is_ready(pod) and not going, "serving": is_ready(pod), "terminating": going}
    return {
        "addresses": [pod["status"]["podIP"]],
        "conditions": conditions,
        "nodeName": pod["spec"]["nodeName"],
        "targetRef": target,
    }


def _port(port: Object, pods: Objects) -> Object:
    target = port.get("targetPort", port["port"])
    if isinstance(target, str):
        named = (
            p["containerPort"]
            for pod in pods
            for container in pod["spec"]["containers"]
            for p in container.get("ports") or ()
            if p.get("name") == target
        )
        target = next(named, port["port"])
    return {"name": port.get("name", ""), "port": target, "protocol": port.get("protocol", "TCP")}


async def run_load_balancers(cluster: Cluster) -> None:
    controller = cluster.controller("service-controller")
    services = controller.watch(CORE, "Service")

    async def reconcile(key: Key) -> float | None:
        service = services.get(key.name, key.namespace)
        if service is None or is_deleted(service) or service["spec"].get("type") != "LoadBalancer":
            return None
        if ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress"):
            return None
        await cluster.event(service, "Normal", "EnsuringLoadBalancer", "Ensuring load balancer", "service-controller")
        address = public_ip(f"{cluster.id}/{service['metadata']['uid']}")
        status = {**(service.get("status") or {}), "loadBalancer": {"ingress": [{"ip": address, "ipMode": "VIP"}]}}
        await cluster.status(service, status)
        await cluster.event(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer", "service-controller")
        return None

    await controller.run(reconcile, wait_for=(services,))
