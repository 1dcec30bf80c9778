"""Released, Remediated and Ready: how the outcome of an action becomes the status of a HelmRelease."""

from __future__ import annotations

from azuresandbox.machine.images.flux import conditions
from azuresandbox.machine.images.flux.conditions import READY
from azuresandbox.machine.images.flux.helm import snapshots
from azuresandbox.machine.images.flux.helm.run import RELEASED, REMEDIATED, Run
from azuresandbox.machine.images.flux.texts import Said


def released(run: Run, status: str, said: Said) -> None:
    """Set Released and summarize it in Ready."""
    run.mark(RELEASED, status, *said)
    summarize(run)


async def remediated(run: Run, status: str, said: Said, annotations: dict[str, str]) -> None:
    """Set Remediated, summarize it in Ready and record the event."""
    run.mark(REMEDIATED, status, *said)
    if status == "False":
        run.count("failures")
    summarize(run)
    await run.recorder.event(run.obj, "Normal" if status == "True" else "Warning", *said, annotations)


def summarize(run: Run) -> None:
    """Set Ready to Remediated or Released, whichever was observed last; a remediated release is not ready."""
    found = [c for kind in (REMEDIATED, RELEASED) if (c := conditions.find(run.obj, kind)) is not None]
    found.sort(key=lambda condition: -condition.get("observedGeneration", 0))
    if found:
        top = found[0]
        status = "False" if top["type"] == REMEDIATED else top["status"]
        if status == "True":
            conditions.remove(run.obj, conditions.STALLED)
        run.mark(READY, status, top["reason"], top["message"])
    digest = snapshots.renderers_digest(run.spec)
    if digest:
        run.status["observedPostRenderersDigest"] = digest
    else:
        run.status.pop("observedPostRenderersDigest", None)
