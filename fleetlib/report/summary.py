"""The report as a short Markdown text, which GitHub and Azure Pipelines show on a build's page."""

from __future__ import annotations

from fleetlib.report.model import Report, about

MOST = 20
"""The most findings shown; the JSON document has all."""


def text(report: Report) -> str:
    """Return the report as Markdown."""
    lines = [f"## {'✗' if report.bad else '✓'} {report.title}", ""]
    if report.run:
        lines += ["| stage | result | what it did | seconds |", "|---|---|---|---:|"]
        lines += [f"| {r.notebook} | {r.status} | {_cell(r.sentence)} | {r.seconds:.1f} |" for r in report.run.results]
        lines += [""]
        for result in report.run.results:
            if result.status == "failed":
                lines += [f"### {result.notebook} failed", "", *("    " + line for line in result.error.splitlines()), ""]
    if report.unread:
        lines += ["Not everything could be read:", ""]
        lines += ["    " + line for why in report.unread.values() for line in why.splitlines()] + [""]
    clusters = report.table("clusters")
    if clusters:
        lines += [f"{len(clusters)} clusters, {len(report.findings)} findings.", ""]
    lines += [
        f"- **{_cell(about(f))}** {_cell(f['layer'])}: {_cell(f['message'] or f['reason'])}" for f in report.findings[:MOST]
    ]
    if len(report.findings) > MOST:
        lines.append(f"- and {len(report.findings) - MOST} more: see the report")
    return "\n".join(lines).rstrip() + "\n"


def _cell(text: str | None) -> str:
    """Return the text on one line, with the characters escaped that Markdown or HTML would interpret."""
    flat = " ".join((text or "").split())
    return flat.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("`", "'")
