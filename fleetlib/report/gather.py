"""Reads the fleet for a report, once. What cannot be read becomes a sentence in the report, never an exception that hides the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleetlib import diagnosis
from fleetlib.errors import FleetError
from fleetlib.inspect import plots
from fleetlib.inspect.drawing import Plot
from fleetlib.inspect.fleet import MAKERS, Fleet
from fleetlib.report import history
from fleetlib.report.model import Finding, Report, Table
from fleetlib.run import Run
from fleetlib.session import Session

if TYPE_CHECKING:
    import pandas

BEFORE_THE_FLEET = ("00", "01", "02", "03", "04", "05")
"""Stages after which there is no fleet to show yet."""

SHOWN = (
    "clusters", "environments", "pools", "sources", "kustomizations", "releases", "extensions", "versions", "costs", "roles", "operations",
)  # fmt: skip
"""The tables of a report, in this order."""


def of_run(run: Run, connect: Callable[[], Session], earlier: Iterable[Path] = ()) -> Report:
    """The report on a run; with the fleet, if the run got as far as having one. `connect()` gives the session; `earlier` as below."""
    report = Report(datetime.now(UTC), run.parameters, run)
    names = {result.notebook[:2] for result in run.results}
    if names - set(BEFORE_THE_FLEET) and "99" not in names:
        _add_fleet(report, lambda: Fleet(connect()), [run.folder.parent, *earlier])
    return report


def of_fleet(fleet: Fleet, earlier: Iterable[Path] = ()) -> Report:
    """The report on the fleet as it is now. `earlier`: folders with reports that were made before, for the history."""
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
        report.findings = _doctor(report, now, frames)
        point = history.now(frames["clusters"], report.made)
        report.history = [*history.collect(earlier, report.parameters), *([point] if point else [])]
    report.plots = _plots(report, now, frames)


def _read(report: Report, now: Fleet, name: str) -> pandas.DataFrame | None:
    """One table; what of it could not be read goes to `report.unread`, once."""
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
        ("clusters", plots.environments), ("operations", plots.provisioning), ("versions", plots.versions), ("pools", plots.nodes),
        ("costs", plots.cost), ("clusters", lambda _: plots.compliance(history.frame(report))),
    ]  # fmt: skip
    return [draw(frames[name]) for name, draw in drawn if name in frames]


def _doctor(report: Report, now: Fleet, frames: dict[str, pandas.DataFrame]) -> list[Finding]:
    if "findings" not in MAKERS:
        return findings(frames, now.session.parameters.controlplane_cluster)
    frame = _read(report, now, "doctor")
    return [] if frame is None else [_found(row) for _, row in frame.iterrows()]


ERRORS = ("broken", "unreachable")


def _found(row: Any) -> Finding:
    """A row of the table `findings`."""
    target = ": ".join(part for part in (_text(row.cluster), _text(row.object)) if part)
    commands = tuple(_text(row.look).splitlines())
    severity = "error" if row.status in ERRORS else "warning"
    return Finding(
        target, _text(row.layer), _text(row.message), _text(row.reason), _text(row.meaning), _text(row.fix), commands, severity
    )


def _text(value: Any) -> str:
    from fleetlib.inspect import frames

    return frames.text(value)


OWN = {"sources": "source", "kustomizations": "kustomization", "releases": "release"}
"""Tables that have the control plane's own Flux objects -> their layer."""


def findings(frames: dict[str, pandas.DataFrame], hub: str) -> list[Finding]:
    """What is not well: the control plane's own first, as it may be the cause of the rest; clusters with the same fault are one finding."""
    found = [_missing(row) for _, row in frames["roles"].query("status == 'broken'").iterrows()] if "roles" in frames else []
    for name, layer in OWN.items():
        rows = frames[name].reset_index() if name in frames else None
        if rows is not None:
            broken = rows[(rows.cluster.astype(str) == hub) & (rows.status == "broken")]
            found += [_own(layer, row) for _, row in broken.iterrows()]
    return found + _by_fault(frames["clusters"])


def _missing(row: Any) -> Finding:
    return Finding(f"{_text(row.scope)}: {_text(row.role)} of {_text(row.principal)}", "aso", _text(row.message), "Missing")


def _own(layer: str, row: Any) -> Finding:
    cause = diagnosis.explain(f"{_text(row.reason)}: {_text(row.message)}")
    target = f"{_text(row.cluster)}: {_text(row['name'])}"
    return Finding(
        target, layer, _text(row.message), _text(row.reason), cause.meaning if cause else "", cause.fix if cause else ""
    )


def _by_fault(clusters: pandas.DataFrame) -> list[Finding]:
    """Worst first. What could not be read is no finding: it is said apart."""
    rows = clusters[(clusters.status != "ok") & (clusters.reason.astype(str) != "Unread")].sort_values("status", kind="stable")
    found: dict[tuple[str, str, str], list[Any]] = {}
    for name, row in rows.iterrows():
        found.setdefault((_text(row.first_broken_layer), _text(row.reason), _text(row.message)), []).append((str(name), row))
    return [_explained(layer, reason, message, members) for (layer, reason, message), members in found.items()]


def _explained(layer: str, reason: str, message: str, members: list[tuple[str, Any]]) -> Finding:
    cause = diagnosis.explain(f"{reason}: {message}")
    others = f" and {len(members) - 1} more" if len(members) > 1 else ""
    name, row = members[0]
    severity = "error" if row.status in ERRORS else "warning"
    return Finding(
        f"{name}{others}", layer, message, reason, cause.meaning if cause else "", _text(row.next_step), severity=severity
    )
