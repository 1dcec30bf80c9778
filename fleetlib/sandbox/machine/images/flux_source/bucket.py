"""Bucket: object storage, which the sandbox has none of. May import the engine."""

from __future__ import annotations

from fleetlib.sandbox.machine.images import flux_common as flux
from fleetlib.sandbox.machine.images.flux_source import engine
from fleetlib.sandbox.machine.images.flux_source.engine import Run, Stored, unsupported


async def read(run: Run) -> Stored:
    where = f"{run.spec['endpoint']}/{run.spec['bucketName']}"
    raise unsupported(f"object storage (Bucket {where})", "use a GitRepository or an OCIRepository")


KIND = engine.Kind(
    "Bucket", read,
    conditions=(engine.STORAGE_FAILED, engine.FETCH_FAILED, engine.OUTDATED, engine.IN_STORAGE, flux.STALLED,
                flux.RECONCILING),
    failures=(engine.FETCH_FAILED, engine.STORAGE_FAILED),
)  # fmt: skip
