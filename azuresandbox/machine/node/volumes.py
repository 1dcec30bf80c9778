"""Setting up the volumes of a Pod: tried again until everything that they refer to exists."""

from __future__ import annotations

import asyncio

from azuresandbox.machine.client import ApiError
from azuresandbox.machine.node import mounts
from azuresandbox.machine.node.pod import PlacedPod
from azuresandbox.machine.node.tokens import Tokens


async def mount(pod: PlacedPod, tokens: Tokens) -> None:
    """Return when all volumes can be read. Each failure is recorded once, as a FailedMount event."""
    told: set[str] = set()
    while True:
        pod.changed.clear()
        failure = await _try_mount(pod, tokens)
        if failure is None:
            return
        if failure not in told:
            told.add(failure)
            await pod.event("Warning", "FailedMount", failure)
        await _changed_or_after(pod, 2.0 ** min(len(told), 7))


async def _try_mount(pod: PlacedPod, tokens: Tokens) -> str | None:
    """Return the message of the first failure, or `None`."""
    volumes = pod.obj["spec"].get("volumes") or ()
    try:
        for audience, seconds in tokens.wanted():
            await tokens.request(audience, seconds)
    except ApiError as error:
        name = next(volume["name"] for volume in volumes if "projected" in volume)
        return f'MountVolume.SetUp failed for volume "{name}" : failed to fetch token: {error}'
    for volume in volumes:
        try:
            mounts.contents(pod.cluster, pod.obj, volume, tokens)
        except mounts.NotMounted as error:
            return f'MountVolume.SetUp failed for volume "{volume["name"]}" : {error}'
    return None


async def _changed_or_after(pod: PlacedPod, seconds: float) -> None:
    """Wait until a Secret, ConfigMap or claim changes, at most `seconds`."""
    timer = asyncio.create_task(pod.clock.wait(seconds))
    change = asyncio.create_task(pod.changed.wait())
    try:
        await asyncio.wait({timer, change}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()
        change.cancel()
