"""What programs read: the JSON document and the JUnit file."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pandas
import some_reports

from fleetlib import report
from fleetlib.report.model import Report, Table


def _cases(folder: Path) -> dict[tuple[str, str], ElementTree.Element]:
    root = ElementTree.parse(folder / "junit.xml").getroot()
    return {(case.get("classname", ""), case.get("name", "")): case for case in root.iter("testcase")}


def test_junit_has_a_case_a_stage_a_promise_and_a_cluster(tmp_path: Path) -> None:
    report.write(some_reports.report(tmp_path, count=4, broken=(2,), failed=True), tmp_path)
    cases = _cases(tmp_path)
    failed = {name for name, case in cases.items() if case.find("failure") is not None}
    assert failed == {
        ("fleet.stages", "07_scale_environments"), ("fleet.promises", "07_scale_environments: all compliant"), ("fleet.fleet", "podinfo-2-aks"),
    }  # fmt: skip
    assert cases["fleet.stages", "00_check_prerequisites"].find("skipped") is not None
    assert ("fleet.fleet", "podinfo-0-aks") in cases
    for suite in ElementTree.parse(tmp_path / "junit.xml").getroot().iter("testsuite"):
        inside = list(suite.iter("testcase"))
        assert suite.get("tests") == str(len(inside))
        assert suite.get("failures") == str(sum(case.find("failure") is not None for case in inside))
        assert float(suite.get("time", "-1")) >= 0


def test_junit_quotes_errors_whole_and_without_what_xml_cannot_hold(tmp_path: Path) -> None:
    report.write(some_reports.report(tmp_path, failed=True), tmp_path)
    failure = _cases(tmp_path)["fleet.stages", "07_scale_environments"].find("failure")
    assert failure is not None and failure.text
    assert failure.get("message") == "it went wrong (after 1 change)"
    assert some_reports.LONG in failure.text and "\x1b" not in failure.text


def test_the_json_document_is_strict_and_complete(tmp_path: Path) -> None:
    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is not JSON")

    made = some_reports.report(tmp_path, count=3, broken=(1,))
    made.tables[0].frame.loc["podinfo-1-aks", ["nodes", "version"]] = [float("nan"), None]
    report.write(made, tmp_path)
    read = json.loads((tmp_path / "report.json").read_text(), parse_constant=refuse)
    assert (read["version"], read["ok"], read["run"]["failed"], read["run"]["changes"]) == (1, False, False, 2)
    assert [row["cluster"] for row in read["tables"]["clusters"]] == ["podinfo-0-aks", "podinfo-1-aks", "podinfo-2-aks"]
    assert read["tables"]["clusters"][1]["nodes"] is None and read["tables"]["clusters"][1]["version"] is None
    assert read["findings"][0]["target"] == "podinfo-1-aks" and read["findings"][0]["message"] == some_reports.LONG


def test_frames_with_times_and_nullable_columns_are_written(tmp_path: Path) -> None:
    frame = pandas.DataFrame(
        {"n": pandas.array([1, None], dtype="Int64"), "since": pandas.to_datetime(["2026-11-23T12:00:00Z", None]),
         "state": pandas.Categorical(["good", None])}, index=pandas.Index(["a", "b"], name="cluster"),
    )  # fmt: skip
    made = Report(some_reports.MADE, {"cloud": "sandbox", "location": "eastus2"}, tables=[Table("clusters", "Clusters", frame)])
    report.write(made, tmp_path)
    rows = json.loads((tmp_path / "report.json").read_text())["tables"]["clusters"]
    assert rows == [
        {"cluster": "a", "n": 1, "since": "2026-11-23T12:00:00+00:00", "state": "good"}, {"cluster": "b", "n": None, "since": None, "state": None},
    ]  # fmt: skip
    assert "NaT" not in (tmp_path / "report.html").read_text()


def test_a_fleet_that_cannot_be_read_is_a_failure_not_a_blank(tmp_path: Path) -> None:
    report.write(
        Report(
            some_reports.MADE, {"cloud": "sandbox", "location": "eastus2"}, unread="the cluster does not exist\n  fix: run 01"
        ),
        tmp_path,
    )
    failure = _cases(tmp_path)["fleet.fleet", "the fleet can be read"].find("failure")
    assert failure is not None and failure.get("message") == "the cluster does not exist"
    assert "The fleet could not be read" in (tmp_path / "report.html").read_text()
