"""StatefulSets: Pods with stable names, created one after the other, each with its claims.

Source: Kubernetes `pkg/controller/statefulset`. Claims are kept when the set is scaled down.
"""

from __future__ import annotations

import copy
import json

from azuresandbox.machine.addresses import safe_hash
from azuresandbox.machine.client import ApiError
from azuresandbox.machine.cluster import APPS, CORE, Cluster, owner_keys
from azuresandbox.machine.controller import Key
from azuresandbox.machine.objects import counts, is_deleted, is_ready, pod_from_template
from azuresandbox.machine.types import Object

REVISION = "controller-revision-hash"
COMPONENT = "statefulset-controller"


async def run_stateful_sets(cluster: Cluster) -> None:
    controller = cluster.controller(COMPONENT)
    sets = controller.watch(APPS, "StatefulSet")
    pods = controller.watch(CORE, "Pod", owner_keys("StatefulSet", sets))

    async def reconcile(key: Key) -> float | None:
        found = sets.get(key.name, key.namespace)
        if found is not None and not is_deleted(found):
            await cluster.claim(CORE, "Pod", found, lambda pod: _is_member(pod, found))
            await _act(cluster, found)
            await _status(cluster, found)
        return None

    await controller.run(reconcile, wait_for=(sets, pods))


def _is_member(pod: Object, found: Object) -> bool:
    """Return whether the Pod has a name of the set: `<set>-<number>`."""
    parent, _, ordinal = pod["metadata"]["name"].rpartition("-")
    return bool(parent == found["metadata"]["name"] and ordinal.isdigit())


def _pods(cluster: Cluster, found: Object) -> dict[int, Object]:
    return {int(pod["metadata"]["name"].rpartition("-")[2]): pod for pod in cluster.owned(CORE, "Pod", found)}


def _revision(found: Object) -> str:
    return f"{found['metadata']['name']}-{safe_hash(json.dumps(found['spec']['template'], sort_keys=True))}"


async def _act(cluster: Cluster, found: Object) -> None:
    """Do the next step: create missing Pods, delete ended ones, delete those beyond the replicas, then roll."""
    spec, pods = found["spec"], _pods(cluster, found)
    ordered = spec.get("podManagementPolicy", "OrderedReady") == "OrderedReady"
    wanted = int(spec.get("replicas", 1))
    for ordinal in range(wanted):
        pod = pods.get(ordinal)
        if pod is None:
            await _create(cluster, found, ordinal)
        elif (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded") and not is_deleted(pod):
            await cluster.delete(pod)
        if ordered and (pod is None or is_deleted(pod) or not is_ready(pod)):
            return
    for ordinal in sorted((number for number in pods if number >= wanted), reverse=True):
        if not is_deleted(pods[ordinal]):
            await _remove(cluster, found, pods[ordinal])
        if ordered:
            return
    await _roll(cluster, found, pods)


async def _roll(cluster: Cluster, found: Object, pods: dict[int, Object]) -> None:
    strategy = found["spec"].get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return
    partition = int((strategy.get("rollingUpdate") or {}).get("partition", 0))
    for ordinal in sorted((number for number in pods if number >= partition), reverse=True):
        pod = pods[ordinal]
        if is_deleted(pod):
            return
        if pod["metadata"]["labels"].get(REVISION) != _revision(found):
            await _remove(cluster, found, pod)
            return
        if not is_ready(pod):
            return


async def _remove(cluster: Cluster, found: Object, pod: Object) -> None:
    await cluster.delete(pod)
    text = f"delete Pod {pod['metadata']['name']} in StatefulSet {found['metadata']['name']} successful"
    await cluster.event(found, "Normal", "SuccessfulDelete", text, COMPONENT)


async def _create(cluster: Cluster, found: Object, ordinal: int) -> None:
    owner, spec = found["metadata"]["name"], found["spec"]
    name = f"{owner}-{ordinal}"
    labels = {
        REVISION: _revision(found),
        "statefulset.kubernetes.io/pod-name": name,
        "apps.kubernetes.io/pod-index": str(ordinal),
    }
    template = copy.deepcopy(spec["template"])
    volumes = template["spec"].setdefault("volumes", [])
    for claim in spec.get("volumeClaimTemplates") or ():
        await _claim(cluster, found, claim, f"{claim['metadata']['name']}-{name}")
        volumes[:] = [item for item in volumes if item["name"] != claim["metadata"]["name"]]
        reference = {"claimName": f"{claim['metadata']['name']}-{name}"}
        volumes.append({"name": claim["metadata"]["name"], "persistentVolumeClaim": reference})
    template["spec"] |= {"hostname": name, **({"subdomain": spec["serviceName"]} if spec.get("serviceName") else {})}
    try:
        await cluster.create(pod_from_template(found, template, name=name, labels=labels))
    except ApiError as error:
        text = f"create Pod {name} in StatefulSet {owner} failed error: {error}"
        await cluster.event(found, "Warning", "FailedCreate", text, COMPONENT)
        raise
    await cluster.event(found, "Normal", "SuccessfulCreate", f"create Pod {name} in StatefulSet {owner} successful", COMPONENT)


async def _claim(cluster: Cluster, found: Object, template: Object, name: str) -> None:
    metadata = {
        "name": name,
        "namespace": found["metadata"]["namespace"],
        "labels": (found["spec"]["selector"].get("matchLabels") or {}),
    }
    await cluster.ensure({"apiVersion": CORE, "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": template["spec"]})


async def _status(cluster: Cluster, found: Object) -> None:
    pods = [pod for pod in _pods(cluster, found).values() if not is_deleted(pod)]
    before, target = found.get("status") or {}, _revision(found)
    updated = [pod for pod in pods if pod["metadata"]["labels"].get(REVISION) == target]
    ready = sum(is_ready(pod) for pod in pods)
    through = len(updated) == len(pods) == int(found["spec"].get("replicas", 1)) == ready
    current = target if through or not before.get("currentRevision") else before["currentRevision"]
    status: Object = {
        "observedGeneration": found["metadata"]["generation"],
        "replicas": len(pods),
        "availableReplicas": ready,
        "currentRevision": current,
        "updateRevision": target,
        "collisionCount": 0,
        **counts(
            readyReplicas=ready,
            updatedReplicas=len(updated),
            currentReplicas=sum(pod["metadata"]["labels"].get(REVISION) == current for pod in pods),
        ),
    }
    await cluster.status(found, status)
