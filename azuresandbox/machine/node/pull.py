"""Pulling images: an image can be pulled if a program stands in for it. Source: Kubernetes `pkg/kubelet/images`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from azuresandbox.context import Memory
from azuresandbox.machine.addresses import number
from azuresandbox.machine.node.containers import Container, full_reference
from azuresandbox.machine.node.pod import PlacedPod
from azuresandbox.machine.node.program import Program, normalise

SECONDS = 3.0
BACKOFF = (10.0, 300.0)
"""First and longest wait after a failed pull, in seconds."""

_PRESENT = Memory[set[tuple[str, str, str]]](lambda sandbox: set())
"""(cluster, node, image) of the images that nodes have pulled."""


async def pull(pod: PlacedPod, item: Container, programs: Mapping[str, Program], *, quiet: bool) -> Program:
    """Return the container's program once its image is on the node. `quiet`: the container ran before, so no events."""
    image = item.image
    present, place = _PRESENT.of(pod.cluster.sandbox), (pod.cluster.id, pod.node, image)
    delay = BACKOFF[0]
    while True:
        program = programs.get(normalise(image))
        if quiet and program is not None:
            present.add(place)
            return program
        if program is not None and place in present and item.spec.get("imagePullPolicy") != "Always":
            await pod.event("Normal", "Pulled", f'Container image "{image}" already present on machine', item)
            return program
        await pod.event("Normal", "Pulling", f'Pulling image "{image}"', item)
        if program is not None:
            await pod.clock.work(SECONDS)
            present.add(place)
            took = f"{SECONDS:g}s"
            size = 20_000_000 + number(image, 80_000_000)
            text = f'Successfully pulled image "{image}" in {took} ({took} including waiting). Image size: {size} bytes.'
            await pod.event("Normal", "Pulled", text, item)
            return program
        delay = await _failed(pod, item, delay)


async def _failed(pod: PlacedPod, item: Container, delay: float) -> float:
    """Report the failure and wait `delay` seconds; return the next delay."""
    image, full = item.image, full_reference(item.image)
    error = (
        f'failed to pull and unpack image "{full}": failed to resolve reference "{full}": {full}: not found '
        f"(no program in the sandbox stands in for it)"
    )
    text = f"rpc error: code = NotFound desc = {error}"
    await pod.event("Warning", "Failed", f'Failed to pull image "{image}": {text}', item)
    await pod.event("Warning", "Failed", "Error: ErrImagePull", item)
    item.wait("ErrImagePull", text)
    pod.dirty.set()
    await asyncio.sleep(0)
    back_off = f'Back-off pulling image "{image}"'
    await pod.event("Normal", "BackOff", back_off, item)
    await pod.event("Warning", "Failed", "Error: ImagePullBackOff", item)
    item.wait("ImagePullBackOff", f"{back_off}: ErrImagePull: {text}")
    pod.dirty.set()
    await pod.clock.wait(delay)
    return min(delay * 2, BACKOFF[1])
