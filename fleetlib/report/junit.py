"""The report as JUnit XML, which GitHub, Azure Pipelines, GitLab and Jenkins show beside a build.

It has three suites: the stages, the promises that they verified, and the fleet. Source: the Windy Road schema, to which the
documentation of Azure Pipelines' task PublishTestResults refers.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fleetlib.execution.run import uncoloured
from fleetlib.report.model import FAULTS, Report, about

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Case:
    """One test case. `failure` is (first line, whole text) if it failed; `skipped` is the reason if it was not run."""

    suite: str
    name: str
    seconds: float = 0.0
    failure: tuple[str, str] | None = None
    skipped: str = ""


def text(report: Report) -> str:
    """Return the report as JUnit XML."""
    cases = [*_stages(report), *_promises(report), *_findings(report)]
    root = ElementTree.Element("testsuites", name=report.title)
    for suite in dict.fromkeys(case.suite for case in cases):
        _suite(root, suite, [case for case in cases if case.suite == suite], report.made.strftime("%Y-%m-%dT%H:%M:%S"))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _stages(report: Report) -> Iterator[Case]:
    for result in report.run.results if report.run else ():
        failure = (result.sentence, _clean(result.error)) if result.status == "failed" else None
        skipped = result.sentence if result.status == "skipped" else ""
        yield Case("stages", result.notebook, result.seconds, failure, skipped)


def _promises(report: Report) -> Iterator[Case]:
    for result in report.run.results if report.run else ():
        for check in result.checks:
            failure = None if check.kept else (check.evidence, "\n".join(filter(None, (check.evidence, check.fix))))
            yield Case("promises", f"{result.notebook}: {check.promise}", failure=failure)


def _findings(report: Report) -> Iterator[Case]:
    """Yield a case for each cluster, healthy ones too, for each fault that is not of a cluster, and for each unread side."""
    for side, why in report.unread.items():
        yield Case("fleet", f"{side} can be read", failure=(why.splitlines()[0], why))
    clusters = report.table("clusters")
    names = set()
    for row in clusters.records if clusters else ():
        names.add(row["cluster"])
        yield Case("fleet", row["cluster"], failure=_failure(row) if row["status"] in FAULTS else None)
    for finding in report.faults:
        if finding["cluster"] not in names:
            parts = (finding["layer"], finding["reason"], finding["message"], finding["meaning"], finding["fix"])
            first = f"{finding['layer']}: {finding['message'] or finding['reason']}"
            whole = "\n".join(part for part in parts if part)
            yield Case("fleet", f"{about(finding)} ({finding['finding']})", failure=(first, whole))


def _failure(row: dict[str, Any]) -> tuple[str, str]:
    """Return (first line, whole text) for the row of a broken cluster."""
    words = [str(row[name]) for name in ("reason", "message", "next_step") if row[name]]
    return f"{row['first_broken_layer']}: {row['message'] or row['reason']}", "\n".join(
        [str(row["first_broken_layer"]), *words]
    )


def _suite(root: ElementTree.Element, name: str, cases: list[Case], stamp: str) -> None:
    figures = {
        "tests": len(cases),
        "failures": sum(c.failure is not None for c in cases),
        "errors": 0,
        "skipped": sum(bool(c.skipped) for c in cases),
        "time": f"{sum(c.seconds for c in cases):.2f}",
    }
    attributes = {"name": f"fleet.{name}", "timestamp": stamp, "hostname": "fleet", **{k: str(v) for k, v in figures.items()}}
    suite = ElementTree.SubElement(root, "testsuite", attributes)
    for case in cases:
        element = ElementTree.SubElement(
            suite, "testcase", classname=f"fleet.{name}", name=_clean(case.name), time=f"{case.seconds:.2f}"
        )
        if case.failure:
            failure = ElementTree.SubElement(element, "failure", message=_clean(case.failure[0]), type="failure")
            failure.text = _clean(case.failure[1])
        if case.skipped:
            ElementTree.SubElement(element, "skipped", message=case.skipped)


def _clean(text: str) -> str:
    """Remove terminal colours and characters that XML does not allow."""
    return _NOT_XML.sub("", uncoloured(text))
