"""PersistentVolumeClaims, which are bound at once, and the status of PodDisruptionBudgets."""

from __future__ import annotations

import copy

from azuresandbox.machine import selectors
from azuresandbox.machine.cluster import CORE, Cluster
from azuresandbox.machine.controller import Key
from azuresandbox.machine.objects import is_active, is_deleted, is_ready, set_condition
from azuresandbox.machine.quantities import percent
from azuresandbox.machine.types import Object


async def run_claims(cluster: Cluster) -> None:
    controller = cluster.controller("persistentvolume-binder")
    claims = controller.watch(CORE, "PersistentVolumeClaim")

    async def reconcile(key: Key) -> float | None:
        claim = claims.get(key.name, key.namespace)
        if claim is None or is_deleted(claim) or (claim.get("status") or {}).get("phase") == "Bound":
            return None
        name = claim["spec"].get("volumeName") or f"pvc-{claim['metadata']['uid']}"
        size = claim["spec"]["resources"]["requests"]
        if not claim["spec"].get("volumeName"):
            await cluster.ensure(_volume(claim, name))
            claim = await cluster.update({**claim, "spec": {**claim["spec"], "volumeName": name}})
        status = {"phase": "Bound", "accessModes": claim["spec"]["accessModes"], "capacity": size}
        await cluster.status(claim, status)
        text = f"Successfully provisioned volume {name}"
        await cluster.event(claim, "Normal", "ProvisioningSucceeded", text, "disk.csi.azure.com")
        return None

    await controller.run(reconcile, wait_for=(claims,))


def _volume(claim: Object, name: str) -> Object:
    metadata, spec = claim["metadata"], claim["spec"]
    reference = {
        "apiVersion": CORE,
        "kind": "PersistentVolumeClaim",
        **{key: metadata[key] for key in ("name", "namespace", "uid")},
    }
    return {
        "apiVersion": CORE,
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "accessModes": spec["accessModes"],
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "claimRef": reference,
            "csi": {"driver": "disk.csi.azure.com", "volumeHandle": name},
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": spec.get("storageClassName") or "default",
        },
    }


async def run_budgets(cluster: Cluster) -> None:
    controller = cluster.controller("disruption-controller")
    budgets = controller.watch("policy/v1", "PodDisruptionBudget")

    def concerned(pod: Object) -> list[Key]:
        labels = pod["metadata"].get("labels") or {}
        return [
            Key("PodDisruptionBudget", b["metadata"]["namespace"], b["metadata"]["name"])
            for b in budgets.list(pod["metadata"]["namespace"])
            if selectors.matches(b["spec"].get("selector"), labels)
        ]

    pods = controller.watch(CORE, "Pod", concerned)

    async def reconcile(key: Key) -> float | None:
        budget = budgets.get(key.name, key.namespace)
        if budget is None or is_deleted(budget):
            return None
        selector = budget["spec"].get("selector")
        found = [
            p
            for p in pods.list(key.namespace)
            if is_active(p) and selectors.matches(selector, p["metadata"].get("labels") or {})
        ]
        await cluster.status(budget, _budget_status(cluster, budget, len(found), sum(is_ready(p) for p in found)))
        return None

    await controller.run(reconcile, wait_for=(budgets, pods))


def _budget_status(cluster: Cluster, budget: Object, expected: int, healthy: int) -> Object:
    spec = budget["spec"]
    if spec.get("maxUnavailable") is not None:
        desired = max(0, expected - percent(spec["maxUnavailable"], expected, up=True))
    else:
        desired = percent(spec.get("minAvailable", 1), expected, up=True)
    allowed = max(0, healthy - desired) if expected else 0
    conditions = copy.deepcopy((budget.get("status") or {}).get("conditions") or [])
    reason = "SufficientPods" if allowed else "InsufficientPods"
    generation = budget["metadata"]["generation"]
    set_condition(conditions, cluster.now(), "DisruptionAllowed", "True" if allowed else "False", reason=reason)
    conditions[0] |= {"message": "", "observedGeneration": generation}
    return {
        "observedGeneration": generation,
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": expected,
        "disruptionsAllowed": allowed,
        "conditions": conditions,
    }
