"""What a run leaves behind and what `fleet report` writes: one page to read, one JSON document and one JUnit file for CI.

`model` says what a report holds, `gather` reads the fleet for it, `page`, `document` and `junit` write it. May import `run`, `inspect`.
"""

from __future__ import annotations

from pathlib import Path

from fleetlib.report import document, junit, page, summary
from fleetlib.report.model import Report


def write(report: Report, folder: Path) -> Path:
    """`report.html`, `report.json`, `junit.xml` and `summary.md` in the folder, which is made; the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(document.text(report))
    (folder / "junit.xml").write_text(junit.text(report))
    (folder / "summary.md").write_text(summary.text(report))
    path = folder / "report.html"
    path.write_text(page.text(report))
    return path
