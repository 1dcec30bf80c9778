"""Jobs. CronJobs and HorizontalPodAutoscalers are not run: an event says so and names an alternative.

Source: Kubernetes `pkg/controller/job`.
"""

from __future__ import annotations

import copy
from datetime import datetime

from azuresandbox.machine.cluster import BATCH, CORE, Cluster, owner_keys
from azuresandbox.machine.controller import Key
from azuresandbox.machine.objects import condition, counts, is_active, is_deleted, is_ready, pod_from_template, set_condition
from azuresandbox.machine.types import Object, Objects

COMPONENT = "job-controller"
REFUSED = {
    (BATCH, "CronJob"): "the sandbox runs no CronJobs: create a Job from it (kubectl create job NAME --from=cronjob/{name})",
    ("autoscaling/v2", "HorizontalPodAutoscaler"): "the sandbox measures no load: set the replicas of the target yourself",
}


async def run_refusals(cluster: Cluster) -> None:
    """Record one event about each object of a kind that is not run."""
    controller = cluster.controller("refusals")
    events = cluster.cache(CORE, "Event")
    caches = {kind: controller.watch(version, kind) for version, kind in REFUSED}
    texts = {kind: text for (_, kind), text in REFUSED.items()}

    async def reconcile(key: Key) -> float | None:
        found = caches[key.kind].get(key.name, key.namespace)
        if found is None or is_deleted(found):
            return None
        uid = found["metadata"]["uid"]
        if not any(e["reason"] == "NotEmulated" and e["involvedObject"].get("uid") == uid for e in events.list(key.namespace)):
            await cluster.event(found, "Warning", "NotEmulated", texts[key.kind].format(name=key.name), "sandbox")
        return None

    await controller.run(reconcile, wait_for=(*caches.values(), events))


async def run_jobs(cluster: Cluster) -> None:
    controller = cluster.controller(COMPONENT)
    jobs = controller.watch(BATCH, "Job")
    pods = controller.watch(CORE, "Pod", owner_keys("Job"))

    async def reconcile(key: Key) -> float | None:
        job = jobs.get(key.name, key.namespace)
        if job is None or is_deleted(job):
            return None
        if _finished(job):
            return await _expire(cluster, job)
        return await _act(cluster, job)

    await controller.run(reconcile, wait_for=(jobs, pods))


def _finished(job: Object) -> bool:
    return any((found := condition(job, kind)) is not None and found["status"] == "True" for kind in ("Complete", "Failed"))


async def _expire(cluster: Cluster, job: Object) -> float | None:
    """Delete a finished Job after its time to live. Returns the seconds until then, or `None`."""
    ttl = job["spec"].get("ttlSecondsAfterFinished")
    if ttl is None:
        return None
    ended = next(c for c in job["status"]["conditions"] if c["type"] in ("Complete", "Failed"))
    left = ttl - (cluster.clock.now() - datetime.fromisoformat(ended["lastTransitionTime"])).total_seconds()
    if left > 0:
        return float(left)
    await cluster.delete(job)
    return None


def _in_phase(pods: Objects, phase: str) -> Objects:
    return [pod for pod in pods if (pod.get("status") or {}).get("phase") == phase]


async def _act(cluster: Cluster, job: Object) -> float | None:
    spec, now = job["spec"], cluster.now()
    pods = cluster.owned(CORE, "Pod", job)
    succeeded, failed = len(_in_phase(pods, "Succeeded")), len(_in_phase(pods, "Failed"))
    active = [pod for pod in pods if is_active(pod)]
    restarts = sum(item["restartCount"] for pod in active for item in (pod.get("status") or {}).get("containerStatuses") or ())
    limit, wanted = int(spec.get("backoffLimit", 6)), int(spec.get("completions") or 1)
    status: Object = {**(job.get("status") or {}), "startTime": (job.get("status") or {}).get("startTime", now)}
    conditions = copy.deepcopy(status.get("conditions") or [])
    delay: float | None = None
    if failed > limit or restarts > limit:
        active = await _fail(cluster, job, active, conditions)
        failed += 1 if restarts > limit else 0
    elif succeeded >= wanted:
        text = "Reached expected number of succeeded pods"
        for kind in ("SuccessCriteriaMet", "Complete"):
            set_condition(conditions, now, kind, "True", reason="CompletionsReached", message=text)
        status["completionTime"] = now
        await cluster.event(job, "Normal", "Completed", "Job completed", COMPONENT)
    elif not spec.get("suspend"):
        delay = _delay(cluster, pods, failed)
        if delay is None:
            active += await _start(cluster, job, min(int(spec.get("parallelism", 1)), wanted - succeeded) - len(active))
    for name in ("active", "succeeded", "failed", "ready"):
        status.pop(name, None)
    status |= counts(active=len(active), succeeded=succeeded, failed=failed) | {"ready": sum(is_ready(pod) for pod in active)}
    status |= {"uncountedTerminatedPods": {}, "terminating": sum(is_deleted(pod) for pod in pods)}
    if conditions:
        status["conditions"] = conditions
    await cluster.status(job, status)
    return delay


def _delay(cluster: Cluster, pods: Objects, failed: int) -> float | None:
    """Return the seconds before the next attempt (10, doubled with each failure, at most 6 minutes), or `None`."""
    if not failed or any(is_active(pod) for pod in pods):
        return None
    ends = [
        item["state"]["terminated"]["finishedAt"]
        for pod in _in_phase(pods, "Failed")
        for item in pod["status"].get("containerStatuses") or ()
        if "terminated" in item["state"]
    ]
    if not ends:
        return None
    passed = (cluster.clock.now() - datetime.fromisoformat(max(ends))).total_seconds()
    left = float(min(10 * 2 ** (failed - 1), 360)) - passed
    return left if left > 0 else None


async def _fail(cluster: Cluster, job: Object, active: Objects, conditions: Objects) -> Objects:
    text = "Job has reached the specified backoff limit"
    for pod in active:
        await cluster.delete(pod)
    for kind in ("FailureTarget", "Failed"):
        set_condition(conditions, cluster.now(), kind, "True", reason="BackoffLimitExceeded", message=text)
    await cluster.event(job, "Warning", "BackoffLimitExceeded", text, COMPONENT)
    return []


async def _start(cluster: Cluster, job: Object, number: int) -> Objects:
    made = []
    for _ in range(number):
        pod = await cluster.create(pod_from_template(job, job["spec"]["template"], generateName=f"{job['metadata']['name']}-"))
        await cluster.event(job, "Normal", "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}", COMPONENT)
        made.append(pod)
    return made
