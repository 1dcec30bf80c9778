"""Bucket: refused, because the sandbox has no object storage."""

from __future__ import annotations

from azuresandbox.machine.images.flux.source import engine
from azuresandbox.machine.images.flux.source.engine import Run, Stored, unsupported


async def read(run: Run) -> Stored:
    """Raise `SourceError`, always."""
    where = f"{run.spec['endpoint']}/{run.spec['bucketName']}"
    raise unsupported(f"object storage (Bucket {where})", "use a GitRepository or an OCIRepository")


KIND = engine.Kind(
    "Bucket",
    read,
    conditions=engine.FETCHED,
    failures=(engine.FETCH_FAILED, engine.STORAGE_FAILED),
)
