"""Reads the fleet for a report, once. A side that cannot be read is named in the report and does not hide the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

from fleetlib.clients.session import Session
from fleetlib.errors import FleetError
from fleetlib.execution.run import Run
from fleetlib.inspect import plots
from fleetlib.inspect.drawing import Plot
from fleetlib.inspect.finding import FindingRow
from fleetlib.inspect.fleet import Fleet
from fleetlib.report import history
from fleetlib.report.model import Report, Table

if TYPE_CHECKING:
    import pandas

BEFORE_THE_FLEET = ("00", "01", "02", "03", "04", "05")
"""Stages after which the fleet has no clusters yet."""

SHOWN = (
    "clusters",
    "environments",
    "pools",
    "sources",
    "kustomizations",
    "releases",
    "extensions",
    "versions",
    "costs",
    "roles",
    "operations",
)
"""The tables of a report, in their order."""


def of_run(run: Run, connect: Callable[[], Session], earlier: Iterable[Path] = ()) -> Report:
    """Return the report on a run; with the fleet, if the run has reached the stages that create clusters.

    `connect()` returns the session; it is called only to read the fleet. `earlier`: folders with older reports, for the
    history.
    """
    report = Report(datetime.now(UTC), run.parameters, run)
    names = {result.notebook[:2] for result in run.results}
    if names - set(BEFORE_THE_FLEET) and "99" not in names:
        _add_fleet(report, lambda: Fleet(connect()), [run.folder.parent, *earlier])
    return report


def of_fleet(fleet: Fleet, earlier: Iterable[Path] = ()) -> Report:
    """Return the report on the current fleet. `earlier`: folders with older reports, for the history."""
    report = Report(datetime.now(UTC), fleet.session.parameters.model_dump())
    _add_fleet(report, lambda: fleet, earlier)
    return report


def _add_fleet(report: Report, connect: Callable[[], Fleet], earlier: Iterable[Path]) -> None:
    try:
        now = connect().snapshot()
    except FleetError as error:
        report.unread["fleet"] = str(error)
        return
    frames = {name: frame for name in SHOWN if (frame := _read(report, now, name)) is not None}
    report.tables = [Table(frame) for frame in frames.values()]
    if "clusters" in frames:
        found = _read(report, now, "doctor")
        report.findings = [] if found is None else cast(list[FindingRow], Table(found).records)
        point = history.now(frames["clusters"], report.made)
        report.history = [*history.collect(earlier, report.parameters), *([point] if point else [])]
    report.plots = _plots(report, now, frames)


def _read(report: Report, now: Fleet, name: str) -> pandas.DataFrame | None:
    """Read one table, and add each side that could not be read to `report.unread` once.

    Returns `None` if the table cannot be read.
    """
    try:
        frame: pandas.DataFrame = getattr(now, name)()
    except FleetError as error:
        if str(error) not in report.unread.values():
            report.unread[name] = str(error)
        return None
    for side, why in frame.attrs["unread"].items():
        report.unread = {key: text for key, text in report.unread.items() if text != why} | {side: why}
    return frame


def _plots(report: Report, now: Fleet, frames: dict[str, pandas.DataFrame]) -> list[Plot]:
    hub = now.session.parameters.controlplane_cluster
    drawn: list[tuple[str, Callable[[pandas.DataFrame], Plot]]] = [
        ("clusters", lambda frame: plots.topology(hub, frame, frames.get("sources"))),
        ("clusters", plots.environments),
        ("operations", plots.provisioning),
        ("versions", plots.versions),
        ("pools", plots.nodes),
        ("costs", plots.cost),
        ("clusters", lambda _: plots.compliance(history.frame(report))),
    ]
    return [draw(frames[name]) for name, draw in drawn if name in frames]
