"""The report as JUnit XML, which GitHub, Azure Pipelines, GitLab and Jenkins show beside a build.

Three suites: the stages (one case each), the promises they verified, and the findings on the fleet. Source of the format: the
Windy Road schema that Azure Pipelines' PublishTestResults task documents.
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
    """One test case. `failure`: (first line, whole text) if it failed; `skipped`: why it was not run."""

    suite: str
    name: str
    seconds: float = 0.0
    failure: tuple[str, str] | None = None
    skipped: str = ""


def text(report: Report) -> str:
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
        for promise, evidence, kept, fix in result.checks:
            failure = None if kept else (str(evidence), "\n".join(filter(None, (str(evidence), str(fix)))))
            yield Case("promises", f"{result.notebook}: {promise}", failure=failure)


def _findings(report: Report) -> Iterator[Case]:
    """A case a cluster, so that the healthy ones are counted as well, and one for each finding that is about no single cluster."""
    for side, why in report.unread.items():
        yield Case("fleet", f"{side} can be read", failure=(why.splitlines()[0], why))
    clusters = report.table("clusters")
    names = set()
    for row in clusters.records if clusters else ():
        names.add(row["cluster"])
        yield Case("fleet", row["cluster"], failure=_failure(row) if row["status"] in FAULTS else None)
    for finding in report.faults:
        if finding["cluster"] not in names:
            words = [str(finding[name]) for name in ("layer", "reason", "message", "meaning", "fix") if finding[name]]
            first = f"{finding['layer']}: {finding['message'] or finding['reason']}"
            yield Case("fleet", f"{about(finding)} ({finding['finding']})", failure=(first, "\n".join(words)))


def _failure(row: dict[str, Any]) -> tuple[str, str]:
    """(first line, whole text) of a cluster's row."""
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
    """Without terminal colours and what XML cannot hold."""
    return _NOT_XML.sub("", uncoloured(text))
