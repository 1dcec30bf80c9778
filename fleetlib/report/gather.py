"""Reads the fleet for a report. What cannot be read becomes a sentence in the report, never an exception that hides the rest."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fleetlib import diagnosis
from fleetlib.errors import FleetError
from fleetlib.inspect import plots, tables
from fleetlib.report.model import Finding, Report, Table
from fleetlib.run import Run
from fleetlib.session import Session

if TYPE_CHECKING:
    import pandas

BEFORE_THE_FLEET = ("00", "01", "02", "03", "04", "05")
"""Stages after which there is no fleet to show yet."""


def of_run(run: Run, connect: Any) -> Report:
    """The report on a run; with the fleet, if the run got as far as having one. `connect()` gives the session."""
    report = Report(datetime.now(UTC), run.parameters, run)
    names = {result.notebook[:2] for result in run.results}
    if names - set(BEFORE_THE_FLEET) and "99" not in names:
        _add_fleet(report, connect)
    return report


def of_fleet(session: Session) -> Report:
    """The report on the fleet as it is now."""
    report = Report(datetime.now(UTC), session.parameters.model_dump())
    _add_fleet(report, lambda: session)
    return report


def _add_fleet(report: Report, connect: Any) -> None:
    try:
        session = connect()
        clusters, sources = tables.clusters(session), tables.sources(session)
        environments = tables.environments_table(session)
    except FleetError as error:
        report.unread = str(error)
        return
    report.tables = [
        Table(
            "clusters",
            "Clusters",
            worst_first(clusters),
            "One row a workload cluster, joined from Git, the hub and Azure; worst first.",
        ),
        Table("environments", "Environments", environments, "One row a release of the cluster chart."),
        Table("sources", "Sources and releases", sources, "What the control plane's Flux reads and applies."),
    ]
    report.findings = findings(clusters, sources)
    report.plots = [plots.topology(session.parameters.controlplane_cluster, clusters, sources)]
    if len(clusters):
        report.plots += [plots.environments(clusters), plots.versions(clusters)]


def findings(clusters: pandas.DataFrame, sources: pandas.DataFrame) -> list[Finding]:
    """What is not as declared, the control plane's first: it may be the cause of the rest."""
    found = [
        _explained(str(name), str(row.kind), str(row.reason), str(row.message))
        for name, row in sources[~sources.ready].iterrows()
    ]
    for name, row in clusters.iterrows():
        layer = _broken_layer(row)
        if layer:
            found.append(_explained(str(name), layer, "", str(row.message or "")))
    return found


def worst_first(clusters: pandas.DataFrame) -> pandas.DataFrame:
    """The clusters that are not as declared before those that are, otherwise in their order."""
    good = [not _broken_layer(row) for _, row in clusters.iterrows()]
    return clusters.iloc[sorted(range(len(clusters)), key=good.__getitem__)]


def _broken_layer(row: Any) -> str:
    if not row.declared:
        return "not declared in Git"
    if row.aso != "Succeeded":
        return f"ASO object: {row.aso}"
    if row.provisioning != "Succeeded":
        return f"Azure: {row.provisioning}"
    return "" if row.compliance == "Compliant" else f"Flux on the cluster: {row.compliance}"


def _explained(target: str, layer: str, reason: str, message: str) -> Finding:
    cause = diagnosis.explain(message)
    return Finding(target, layer, message, reason, cause.meaning if cause else "", cause.fix if cause else "")
