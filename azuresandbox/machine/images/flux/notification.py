"""The notification, image-reflector and image-automation controllers: they run, so that a cluster has all of Flux's Pods.

Alerts and Providers (which have no status since v1beta3) are accepted and send no notifications, because the sandbox sends
nothing outside. Receivers need a public address and are refused by name. The image controllers have no CRDs here and idle.
"""

from __future__ import annotations

import asyncio

from azuresandbox.machine.controller import Controller, Informers, Key
from azuresandbox.machine.images.flux import conditions, objects, registries
from azuresandbox.machine.node.program import Pod, image
from azuresandbox.machine.types import Object

API, KIND, MANAGER = "notification.toolkit.fluxcd.io/v1", "Receiver", "notification-controller"
_REFUSAL = (
    "the sandbox does not support Receivers, because it cannot be called from outside: "
    "annotate the object with reconcile.fluxcd.io/requestedAt instead"
)


@image(*registries.images("notification-controller"))
async def notification(pod: Pod) -> None:
    """Run until the Pod is stopped, and refuse Receivers."""
    informers = Informers(pod.kube, pod.clock, pod.log)
    controller = Controller(MANAGER, informers, pod.clock, pod.log, workers=1)
    cache = controller.watch(API, KIND)

    async def reconcile(key: Key) -> float | None:
        found = cache.get(key.name, key.namespace)
        if found is None or objects.is_deleted(found):
            return None
        before: Object = {**found, "apiVersion": API, "kind": KIND}
        after = objects.draft(before)
        now = pod.clock.now()
        conditions.mark(after, conditions.READY, "False", "Unsupported", _REFUSAL, now)
        conditions.mark_stalled(after, "Unsupported", _REFUSAL, now)
        after["status"]["observedGeneration"] = after["metadata"].get("generation", 0)
        await objects.write_status(pod.kube, before, after, MANAGER)
        return None

    try:
        pod.ready(True)
        await controller.run(reconcile)
    finally:
        await informers.stop()


@image(*registries.images("image-reflector-controller"), *registries.images("image-automation-controller"))
async def idle(pod: Pod) -> None:
    """Idle until the Pod is stopped: the sandbox has no image kinds."""
    pod.log("the sandbox serves no image kinds, so this controller idles")
    pod.ready(True)
    await asyncio.Event().wait()
