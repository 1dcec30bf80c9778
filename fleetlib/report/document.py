"""The report as one JSON document, for programs. Its shape is stable: `version` grows when a field changes its meaning."""

from __future__ import annotations

from typing import Any, TypedDict

from fleetlib.execution.run import StageResult
from fleetlib.inspect.finding import FindingRow
from fleetlib.report.model import ColumnDocument, Report, Table

VERSION = 3
"""3: findings are the rows of the table `findings`, by its columns' names. 2: a table is `columns` and `records`; `unread` is a
mapping; `history` is new. 1: a table was a list of records."""


class TableDocument(TypedDict):
    """A table. `read` is the time of reading (ISO 8601, null if unknown), `columns` starts with the index."""

    title: str
    read: str | None
    columns: list[ColumnDocument]
    records: list[dict[str, Any]]


class StageDocument(TypedDict):
    """A stage of the run; see `fleetlib.execution.run.StageResult`."""

    notebook: str
    status: str
    seconds: float
    output: str
    error: str
    changes: list[list[str]]
    checks: list[list[str | bool]]


class RunDocument(TypedDict):
    """The run. `name` is the name of its folder, `changes` the number of changes."""

    name: str
    failed: bool
    changes: int
    seconds: float
    stages: list[StageDocument]


class PointDocument(TypedDict):
    """The fleet at a time (ISO 8601): clusters, and compliant ones."""

    time: str
    clusters: int
    compliant: int


class Document(TypedDict):
    """The whole document. `made` is ISO 8601, `run` is null for a report on the fleet alone, `unread` is side -> error."""

    version: int
    made: str
    ok: bool
    parameters: dict[str, Any]
    run: RunDocument | None
    tables: dict[str, TableDocument]
    findings: list[FindingRow]
    history: list[PointDocument]
    unread: dict[str, str]


def document(report: Report) -> Document:
    """Return the report as values that JSON can hold."""
    return {
        "version": VERSION,
        "made": report.made.isoformat(timespec="seconds"),
        "ok": not report.bad,
        "parameters": report.parameters,
        "run": _run(report),
        "tables": {table.name: _table(table) for table in report.tables},
        "findings": report.findings,
        "history": [
            {"time": point.time.isoformat(timespec="seconds"), "clusters": point.clusters, "compliant": point.compliant}
            for point in report.history
        ],
        "unread": report.unread,
    }


def _table(table: Table) -> TableDocument:
    read = table.frame.attrs.get("read")
    return {
        "title": table.meaning,
        "read": read.isoformat(timespec="seconds") if read else None,
        "columns": table.columns,
        "records": table.records,
    }


def _run(report: Report) -> RunDocument | None:
    if report.run is None:
        return None
    return {
        "name": report.run.folder.name,
        "failed": report.run.failed,
        "changes": report.run.changes,
        "seconds": round(report.run.seconds, 2),
        "stages": [_stage(result) for result in report.run.results],
    }


def _stage(result: StageResult) -> StageDocument:
    return {
        "notebook": result.notebook,
        "status": result.status,
        "seconds": result.seconds,
        "output": result.output,
        "error": result.error,
        "changes": [list(change) for change in result.changes],
        "checks": [list(check) for check in result.checks],
    }


def text(report: Report) -> str:
    """Return the document as JSON text."""
    import orjson

    return orjson.dumps(document(report), option=orjson.OPT_INDENT_2, default=str).decode() + "\n"
