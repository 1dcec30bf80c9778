"""The history of the fleet, from older reports: each `report.json` contains the history up to its own time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleetlib.report.model import Point, Report

if TYPE_CHECKING:
    import pandas

READ = 3
"""The number of newest reports that are read. Each contains the history of the ones before it."""

KEPT = 500
"""The number of newest points that are kept."""

SAME = ("cloud", "subscription_id", "controlplane_group", "fleet_group")
"""The parameters that identify a fleet."""


def now(clusters: pandas.DataFrame, at: datetime) -> Point | None:
    """Return the point for the current fleet; `None` if no cluster's compliance is known."""
    if len(clusters) and clusters.compliance.isna().all():
        return None
    return Point(at, len(clusters), int((clusters.compliance.astype(str) == "Compliant").sum()))


def collect(folders: Iterable[Path], parameters: dict[str, Any]) -> list[Point]:
    """Return the history of the same fleet, oldest point first, from the reports in these folders and their subfolders."""
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
    except (OSError, ValueError, KeyError, TypeError):  # an incomplete file, or one of an older version
        return []


def frame(report: Report) -> pandas.DataFrame:
    """Return the history as a DataFrame with the columns `time`, `clusters` and `compliant`."""
    import pandas

    columns = {name: [getattr(point, name) for point in report.history] for name in ("time", "clusters", "compliant")}
    return pandas.DataFrame(columns).assign(time=lambda f: pandas.to_datetime(f.time, utc=True))
