"""The report as one JSON document, for programs. Its shape is stable: `version` grows when a field changes its meaning."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from fleetlib.report.model import Report

VERSION = 1


def document(report: Report) -> dict[str, Any]:
    """`version`, `made` (ISO 8601), `parameters`, `run` (or null), `tables` (name -> rows), `findings`, `unread`."""
    return {
        "version": VERSION, "made": report.made.isoformat(timespec="seconds"), "ok": not report.bad, "parameters": report.parameters,
        "run": _run(report), "tables": {table.name: table.records() for table in report.tables},
        "findings": [asdict(finding) for finding in report.findings], "unread": report.unread,
    }  # fmt: skip


def _run(report: Report) -> dict[str, Any] | None:
    if report.run is None:
        return None
    return {
        "name": report.run.folder.name, "failed": report.run.failed, "changes": report.run.changes,
        "seconds": round(report.run.seconds, 2), "stages": [asdict(result) for result in report.run.results],
    }  # fmt: skip


def text(report: Report) -> str:
    return json.dumps(document(report), indent=1, default=str) + "\n"
