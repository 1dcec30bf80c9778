"""The report of a run or of the fleet: an HTML page for people; JSON, JUnit XML and Markdown for CI.

`model` defines a report, `gather` reads the fleet for it, `page`, `document`, `junit` and `summary` write it.
"""

from __future__ import annotations

from pathlib import Path

from fleetlib.report import document, junit, page, summary
from fleetlib.report.model import Report


def write(report: Report, folder: Path) -> Path:
    """Write `report.html`, `report.json`, `junit.xml` and `summary.md` to the folder, created if missing; return the page's
    path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(document.text(report))
    (folder / "junit.xml").write_text(junit.text(report))
    (folder / "summary.md").write_text(summary.text(report))
    path = folder / "report.html"
    path.write_text(page.text(report))
    return path
