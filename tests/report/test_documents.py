"""The JSON document and the JUnit file."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from datetime import timedelta
from pathlib import Path
from typing import Any

from fleetlib import report
from fleetlib.errors import FinalError
from fleetlib.inspect.columns import TABLES
from fleetlib.report import gather
from fleetlib.report.model import Report, about
from tests.inspect.fleet_documents import condition
from tests.report import some_reports


def _cases(folder: Path) -> dict[tuple[str, str], ElementTree.Element]:
    root = ElementTree.parse(folder / "junit.xml").getroot()
    return {(case.get("classname", ""), case.get("name", "")): case for case in root.iter("testcase")}


def _document(folder: Path) -> Any:
    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads((folder / "report.json").read_text(), parse_constant=refuse)


def test_junit_has_a_case_for_each_stage_promise_and_cluster(tmp_path: Path) -> None:
    report.write(some_reports.report(tmp_path, count=4, broken=(2,), failed=True), tmp_path)
    cases = _cases(tmp_path)
    failed = {name for name, case in cases.items() if case.find("failure") is not None}
    assert failed == {
        ("fleet.stages", "07_scale_environments"),
        ("fleet.promises", "07_scale_environments: all compliant"),
        ("fleet.fleet", "podinfo-staging-0-aks"),
    }
    assert cases["fleet.stages", "00_check_prerequisites"].find("skipped") is not None
    assert ("fleet.fleet", "podinfo-dev-0-aks") in cases
    for suite in ElementTree.parse(tmp_path / "junit.xml").getroot().iter("testsuite"):
        inside = list(suite.iter("testcase"))
        assert suite.get("tests") == str(len(inside))
        assert suite.get("failures") == str(sum(case.find("failure") is not None for case in inside))
        assert float(suite.get("time", "-1")) >= 0


def test_junit_has_whole_errors_without_characters_that_xml_forbids(tmp_path: Path) -> None:
    report.write(some_reports.report(tmp_path, failed=True), tmp_path)
    failure = _cases(tmp_path)["fleet.stages", "07_scale_environments"].find("failure")
    assert failure is not None and failure.text
    assert failure.get("message") == "it went wrong (after 1 change)"
    assert some_reports.LONG in failure.text and "\x1b" not in failure.text


def test_the_json_document_is_strict_and_has_the_meanings_of_its_columns(tmp_path: Path) -> None:
    report.write(some_reports.report(tmp_path, count=3, broken=(1,)), tmp_path)
    read = _document(tmp_path)
    assert (read["version"], read["ok"], read["run"]["failed"], read["run"]["changes"]) == (3, False, False, 2)
    assert list(read["tables"]) == list(gather.SHOWN) and read["unread"] == {}
    for name, table in read["tables"].items():
        assert table["title"] == TABLES[name].title and table["read"]
        assert [column["name"] for column in table["columns"]] == [column.name for column in TABLES[name].all]
        assert all(list(record) == [column["name"] for column in table["columns"]] for record in table["records"])
    clusters = read["tables"]["clusters"]["records"]
    assert [(row["cluster"], row["status"]) for row in clusters] == [
        ("podinfo-dev-0-aks", "ok"),
        ("podinfo-prod-0-aks", "broken"),
        ("podinfo-staging-0-aks", "ok"),
    ]
    assert clusters[0]["workloads"] is None and clusters[1]["since"] == "2026-01-02T03:04:00+00:00"
    assert all(list(finding) == [column.name for column in TABLES["findings"].all] for finding in read["findings"])
    assert (read["findings"][0]["cluster"], read["findings"][0]["message"]) == ("podinfo-prod-0-aks", some_reports.LONG)
    assert {"name": "month", "dtype": "Float64", "meaning": "USD for 730 hours"} in read["tables"]["costs"]["columns"]


def test_a_fault_that_many_clusters_share_is_one_finding(tmp_path: Path) -> None:
    documents = some_reports.documents(30)
    for name in documents.clusters:
        documents.configurations[name][0]["properties"]["complianceState"] = "Non-Compliant"
    made = gather.of_fleet(some_reports.fleet(documents))
    (finding,) = made.findings
    assert about(finding) == "podinfo-dev-0-aks/cluster-config"
    assert "and 26 more" in finding["meaning"] and made.bad
    report.write(made, tmp_path)
    failed = [name for name, case in _cases(tmp_path).items() if case.find("failure") is not None]
    assert len(failed) == 30, "each cluster is a case for CI"


def test_the_control_planes_faults_are_findings_without_workload_clusters_too(tmp_path: Path) -> None:
    documents = some_reports.documents(0)
    failed = condition("False", "GitOperationFailed", "failed to checkout: couldn't find remote ref")
    documents.object("GitRepository", "cluster-config")["status"]["conditions"] = [failed]
    fleet = some_reports.fleet(documents)
    reading: Any = fleet._reading
    reading._parts["roles"].assignments.pop()
    made = gather.of_fleet(fleet)
    source, right = made.findings
    assert about(right) == "asocluster-aks: role Contributor on myfleet-rg" and "run notebook 04 again" in right["fix"]
    assert about(source) == "asocluster-aks: GitRepository/cluster-config"
    assert (source["layer"], source["reason"]) == ("source", "GitOperationFailed")
    report.write(made, tmp_path)
    assert len([case for case in _cases(tmp_path).values() if case.find("failure") is not None]) == 2


def test_long_work_in_progress_is_a_warning_and_does_not_stop_ci(tmp_path: Path) -> None:
    documents = some_reports.documents(3)
    documents.clusters["podinfo-dev-0-aks"]["properties"]["provisioningState"] = "Updating"
    made = gather.of_fleet(some_reports.fleet(documents))
    assert made.findings == [] and not made.bad
    documents.hub["ManagedCluster"][0]["status"]["conditions"] = [
        condition("False", "Reconciling", "", severity="Info")  # since long ago
    ]
    made = gather.of_fleet(some_reports.fleet(documents))
    assert len(made.findings) == 1 and not made.faults and not made.bad
    report.write(made, tmp_path)
    assert all(case.find("failure") is None for case in _cases(tmp_path).values())


def test_a_side_that_cannot_be_read_is_named_once_and_hides_no_table(tmp_path: Path) -> None:
    documents = some_reports.documents(3)
    documents.unread["graph"] = FinalError(
        "could not read from Azure", target="Azure Resource Graph", said="AuthorizationFailed: no"
    )
    made = gather.of_fleet(some_reports.fleet(documents))
    assert list(made.unread) == ["graph"] and made.findings == [] and "AuthorizationFailed" in made.unread["graph"]
    assert {table.name for table in made.tables} >= {"clusters", "pools", "costs", "releases"} and made.bad
    assert made.history == [], "it is not known which clusters are compliant"
    page = report.write(made, tmp_path).read_text()
    assert "Not everything could be read" in page and page.count("AuthorizationFailed: no") >= 1
    assert _cases(tmp_path)["fleet.fleet", "graph can be read"].find("failure") is not None
    assert "AuthorizationFailed" in (tmp_path / "summary.md").read_text()


def test_an_unreadable_control_plane_leaves_the_tables_from_azure(tmp_path: Path) -> None:
    documents = some_reports.documents(3)
    documents.unread["hub"] = FinalError("the cluster does not answer", target="asocluster-aks")
    made = gather.of_fleet(some_reports.fleet(documents))
    assert list(made.unread) == ["hub"] and made.table("operations") is None and made.table("pools") is not None
    assert "Provisioning timeline" not in [plot.title for plot in made.plots]


def test_a_fleet_that_cannot_be_read_is_a_failure(tmp_path: Path) -> None:
    def nothing() -> Any:
        raise FinalError("the cluster does not exist", fix="run 01")

    run = some_reports.run(tmp_path)
    report.write(gather.of_run(run, nothing), tmp_path)
    failure = _cases(tmp_path)["fleet.fleet", "fleet can be read"].find("failure")
    assert failure is not None and failure.get("message") == "the cluster does not exist"
    assert "The fleet could not be read" in (tmp_path / "report.html").read_text()


def test_a_report_has_the_history_of_older_reports_on_the_same_fleet(tmp_path: Path) -> None:
    """The older reports are in its own folder and in those of runs."""
    reports, runs = tmp_path / "reports", tmp_path / "runs"

    def made(good: int, minutes: int, into: Path, **parameters: str) -> Report:
        documents = some_reports.documents(3)
        for name in list(documents.clusters)[good:]:
            documents.configurations[name][0]["properties"]["complianceState"] = "Pending"
        found = gather.of_fleet(some_reports.fleet(documents), [reports, runs])
        found.history = [*found.history[:-1], type(found.history[-1])(some_reports.MADE + timedelta(minutes=minutes), 3, good)]
        found.parameters |= parameters
        report.write(found, into)
        return found

    made(0, 0, runs / "one")
    made(1, 10, reports)
    made(2, 15, tmp_path / "runs" / "elsewhere", fleet_group="another-rg")
    (runs / "broken").mkdir()
    (runs / "broken" / "report.json").write_text('{"version": 1')
    last = made(3, 20, reports)
    assert [(point.compliant, point.clusters) for point in last.history] == [(0, 3), (1, 3), (3, 3)]
    assert [point["compliant"] for point in _document(reports)["history"]] == [0, 1, 3]
    again = gather.of_fleet(some_reports.fleet(some_reports.documents(3)), [reports, runs])
    [compliance] = [plot for plot in again.plots if plot.name == "compliance"]
    assert "in 4 readings" in compliance.alt
