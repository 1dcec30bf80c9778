"""How the fleet was over time, from the reports that are there: each `report.json` carries the history on that was known when it was made.

May import `model`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleetlib.report.model import Point, Report

if TYPE_CHECKING:
    import pandas

READ = 3
"""So many of a folder's newest reports are read: each knows what those before it knew."""

KEPT = 500
"""So many points are kept, the newest."""

SAME = ("cloud", "subscription_id", "controlplane_group", "fleet_group")
"""The parameters that make it the same fleet."""


def now(clusters: pandas.DataFrame, at: datetime) -> Point | None:
    """The fleet as it is; None if it is not known which clusters are compliant."""
    if len(clusters) and clusters.compliance.isna().all():
        return None
    return Point(at, len(clusters), int((clusters.compliance.astype(str) == "Compliant").sum()))


def collect(folders: Iterable[Path], parameters: dict[str, Any]) -> list[Point]:
    """What the reports in these folders, and in the folders in them, say of the same fleet, oldest first."""
    files = {
        file.resolve() for folder in folders for pattern in ("report.json", "*/report.json") for file in folder.glob(pattern)
    }
    newest = sorted(files, key=lambda file: file.stat().st_mtime, reverse=True)[:READ]
    found = {point.time: point for file in newest for point in _points(file, parameters)}
    return [found[time] for time in sorted(found)][-KEPT:]


def _points(file: Path, parameters: dict[str, Any]) -> list[Point]:
    import orjson

    try:
        stored = orjson.loads(file.read_bytes())
        if any(stored["parameters"].get(name) != parameters.get(name) for name in SAME):
            return []
        return [Point(datetime.fromisoformat(item["time"]), item["clusters"], item["compliant"]) for item in stored["history"]]
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
    ):  # half a file, or one of an older version: its points are lost, the report is not
        return []


def frame(report: Report) -> pandas.DataFrame:
    """The history as a table: `time`, `clusters`, `compliant`."""
    import pandas

    columns = {name: [getattr(point, name) for point in report.history] for name in ("time", "clusters", "compliant")}
    return pandas.DataFrame(columns).assign(time=lambda f: pandas.to_datetime(f.time, utc=True))
