"""The report as one JSON document, for programs. Its shape is stable: `version` grows when a field changes its meaning."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fleetlib.report.model import Report, Table

VERSION = 3
"""3: findings are the rows of the table `findings`, by its columns' names. 2: a table is `columns` and `records`; `unread` is a mapping; `history` is new. 1: a table was a list of records."""


def document(report: Report) -> dict[str, Any]:
    """`version`, `made` (ISO 8601), `ok`, `parameters`, `run` (or null), `tables` by name, `findings` (rows of that table), `history`, `unread`."""
    return {
        "version": VERSION,
        "made": report.made.isoformat(timespec="seconds"),
        "ok": not report.bad,
        "parameters": report.parameters,
        "run": _run(report),
        "tables": {table.name: _table(table) for table in report.tables},
        "findings": report.findings,
        "history": [{**asdict(point), "time": point.time.isoformat(timespec="seconds")} for point in report.history],
        "unread": report.unread,
    }


def _table(table: Table) -> dict[str, Any]:
    """`title`, `read` (when), `columns` (name, dtype, meaning; the index first) and `records`."""
    read = table.frame.attrs.get("read")
    return {
        "title": table.meaning,
        "read": read.isoformat(timespec="seconds") if read else None,
        "columns": table.columns,
        "records": table.records,
    }


def _run(report: Report) -> dict[str, Any] | None:
    if report.run is None:
        return None
    return {
        "name": report.run.folder.name,
        "failed": report.run.failed,
        "changes": report.run.changes,
        "seconds": round(report.run.seconds, 2),
        "stages": [asdict(result) for result in report.run.results],
    }


def text(report: Report) -> str:
    import orjson

    return orjson.dumps(document(report), option=orjson.OPT_INDENT_2, default=str).decode() + "\n"
