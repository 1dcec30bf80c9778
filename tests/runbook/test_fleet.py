"""`Fleet` and its commands on a fleet that the stages have built."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from azuresandbox import lifecycle
from fleetlib.clients.azure import managed_clusters, rest
from fleetlib.clients.kube import Kube
from fleetlib.inspect import frames
from fleetlib.inspect.columns import TABLES
from fleetlib.inspect.fleet import MAKERS
from fleetlib.inspect.fleet import Fleet as Tables
from fleetlib.stages.aso_identity import AsoIdentity
from tests.inspect.fleet_documents import at
from tests.processes import started

pytestmark = pytest.mark.xdist_group("runbook")

PROD, STAGING = "podinfo-prod-0-aks", "podinfo-staging-0-aks"
EMPTY_ON_A_HEALTHY_FLEET = {"findings", "drift"}  # test_drift.py and the doctor's test below


def settled(fleet: Any) -> Any:
    """Return the fleet after its Flux has fetched its sources again, which it must after the sandbox's restart."""
    current = fleet("06")
    current.stage("06").wait()
    return current


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the requests to ARM."""
    made: list[str] = []
    send = rest._send

    def counted(azure: Any, method: str, url: str, body: Any = None) -> Any:
        made.append(f"{method} {url.partition('?')[0]}")
        return send(azure, method, url, body)

    monkeypatch.setattr(rest, "_send", counted)
    return made


def test_every_table_of_a_healthy_fleet_with_a_few_requests(fleet: Any, calls: list[str]) -> None:
    now = Tables(settled(fleet).again().session).snapshot()
    calls.clear()
    clusters = now.clusters()
    assert list(clusters.index) == [PROD, STAGING] and set(clusters.status) == {"ok"}, clusters.T.to_string()
    assert set(clusters.compliance) == {"Compliant"} and clusters.revision.notna().all() and clusters.chart.notna().all()
    assert len(calls) in (4, 6, 8), "a kubeconfig, two lists, one query; and two for a cluster that the graph lags behind"
    for name in set(MAKERS) - EMPTY_ON_A_HEALTHY_FLEET:
        frame = getattr(now, name)()
        assert len(frame) and frame.attrs["unread"] == {}, name
        assert {c.name: c.dtype for c in TABLES[name].columns} == {str(key): str(value) for key, value in frame.dtypes.items()}
        assert "status" not in frame or set(frame.status.dropna()) <= {"ok"}, frame.to_string()
    assert len(now.clusters(deep=True).query("workloads_ready == workloads and workloads > 0")) == 2
    assert set(now.kustomizations(deep=True).path.dropna()) >= {"./apps/production", "./apps/staging", "./flux/clusters"}
    assert set(now.sources().index) == set(now.sources(deep=True).index), "Azure and the clusters have the same objects"


def test_versions_costs_and_a_role_that_was_removed(fleet: Any, calls: list[str]) -> None:
    current = settled(fleet)
    now = Tables(current.session).snapshot()
    calls.clear()
    versions, costs = now.versions(), now.costs()
    assert sum("kubernetesVersions" in call for call in calls) == 1, "one request for the region"
    assert versions.supported.dropna().all() and set(versions.xs("aso", level="component").version) == {"v2.13.0"}
    assert versions.xs("flux", level="component").version.str.startswith("source 1.").sum() == 3, "the hub and both clusters"
    assert versions.loc[("asocluster-aks", "cluster-chart/podinfo-prod"), ["version", "declared", "offered"]].nunique() == 1
    assert costs.month.notna().all() and costs.month.sum() > 200, "every size of the runbook has a price"
    needed = now.roles().query("needed")
    assert set(needed.scope) == {"controlplane-rg", "myfleet-rg"} and set(needed.principal) == {"aso-controlplane-identity"}
    gone = needed[needed.scope == "myfleet-rg"].iloc[0]
    current.session.azure.authorization.role_assignments.delete_by_id(gone.id)
    (missing,) = Tables(current.session).roles().query("status == 'broken'").message
    assert "run notebook 04 again" in missing


def test_a_stopped_cluster_and_one_that_does_not_answer(fleet: Any) -> None:
    current = settled(fleet)
    current.session.azure.containers.managed_clusters.begin_stop("myfleet-rg", STAGING).result()
    tables = Tables(current.session)
    stopped = at(tables.clusters(), STAGING)
    assert stopped[["status", "first_broken_layer", "power"]].tolist() == ["stopped", "arm", "Stopped"]
    connect: Callable[[str], Kube] = current.session.workload_cluster

    def elsewhere(name: str) -> Kube:
        found = connect(name)
        found.kubeconfig["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
        return found

    current.session.workload_cluster = elsewhere
    nodes = tables.nodes()
    assert set(nodes.index.get_level_values("cluster")) == {"asocluster-aks", PROD}, "the stopped one is not read"
    (error,) = nodes.error[nodes.index.get_level_values("cluster") == PROD]
    assert "does not answer" in error
    assert set(nodes.status[nodes.index.get_level_values("cluster") == "asocluster-aks"]) == {"ok"}
    unreachable = at(tables.clusters(deep=True), PROD)
    assert unreachable[["status", "first_broken_layer"]].tolist() == ["unreachable", "workloads"]


def command(home: Path, *arguments: str) -> tuple[list[str], dict[str, Any]]:
    settings = ["-p", "staging_cluster_count", "1", "-p", "prod_cluster_count", "1"]
    return [sys.executable, "-m", "fleetlib.cli", *arguments, *settings], {
        "env": {**os.environ, "FLEET_HOME": str(home)},
        "text": True,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    }


def test_the_commands_print_for_people_and_for_programs(fleet: Any) -> None:
    home = settled(fleet).home

    def said(*arguments: str) -> str:
        line, options = command(home, *arguments)
        done = subprocess.run(line, check=False, **options, timeout=300)
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    header, *rows = said("clusters").splitlines()
    assert header.split()[:3] == ["cluster", "environment", "status"] and [row.split()[2] for row in rows] == ["ok", "ok"]
    assert "\x1b" not in header + "".join(rows), "no colours in a pipe"
    assert [row["compliance"] for row in json.loads(said("clusters", "-o", "json"))] == ["Compliant", "Compliant"]
    table = list(csv.DictReader(io.StringIO(said("workloads", "-o", "csv"))))
    assert {row["status"] for row in table} == {"ok"} and {row["cluster"] for row in table} == {PROD, STAGING}
    assert len(said("releases", "--deep", "--wide").splitlines()) > len(said("pools").splitlines())


def test_watch_prints_the_rows_that_change(fleet: Any) -> None:
    current = settled(fleet)
    line, options = command(current.home, "releases", "--watch", "-o", "json")
    with started(line, **options) as watching:
        assert watching.stdout is not None
        first = [json.loads(watching.stdout.readline()) for _ in Tables(current.session).releases().index]
        assert {row["status"] for row in first} == {"ok"}
        current.session.hub.merge(
            "helm.toolkit.fluxcd.io/v2", "HelmRelease", "podinfoprod", "cluster-config", {"spec": {"suspend": True}}
        )
        changed = json.loads(watching.stdout.readline())
        assert (changed["name"], changed["status"], changed["reason"]) == ("podinfoprod", "stopped", "Suspended")
        watching.send_signal(signal.SIGINT)
        assert watching.wait(timeout=30) == 130
        assert watching.stderr is not None and "Traceback" not in watching.stderr.read()


def test_a_notebook_shows_the_brief_table(fleet: Any) -> None:
    frame = Tables(fleet("06").session).clusters()
    assert "<table>" in (frame._repr_html_() or "") and "portal" not in frames.brief(frame)


def test_a_cluster_recreated_with_its_name_is_read_again(fleet: Any) -> None:
    current = settled(fleet)
    tables = Tables(current.session)
    before = tables.nodes().loc[PROD]
    managed_clusters.delete(current.session.azure, "myfleet-rg", PROD, 60).apply()
    current.session.hub.delete("containerservice.azure.com/v1api20240901", "ManagedCluster", PROD, "clusters")
    current.stage("06").wait()
    after = tables.nodes().loc[PROD]
    assert set(after.status) == {"ok"} and set(after.index) != set(before.index)


def test_the_doctor_has_no_findings_on_a_healthy_fleet_and_finds_its_faults(fleet: Any) -> None:
    current = settled(fleet)
    tables = Tables(current.session)
    well = tables.doctor()
    assert len(well) == 0 and well.attrs["unread"] == {}, well.T.to_string()
    p = current.session.parameters
    credential = current.session.azure.identities.federated_identity_credentials
    trusted = credential.get(p.controlplane_group, p.aso_identity, p.aso_federated_credential)
    trusted.issuer = "https://elsewhere.invalid/"
    credential.create_or_update(p.controlplane_group, p.aso_identity, p.aso_federated_credential, trusted)
    flux = ("helm.toolkit.fluxcd.io/v2", "HelmRelease", "podinfoprod", "cluster-config")
    current.session.hub.merge(*flux, {"spec": {"suspend": True}})
    found = tables.doctor().set_index("reason")
    suspended, untrusted = at(found, "Suspended"), at(found, "PromiseNotKept")
    assert suspended.object == "HelmRelease/podinfoprod" and PROD in suspended.meaning
    assert "is https://elsewhere.invalid/, the cluster's tokens say" in untrusted.message
    line, options = command(current.home, "doctor")
    done = subprocess.run(line, check=False, **options, timeout=300)
    assert done.returncode == 1 and "fix:  run 02_create_aso_identity again" in done.stdout
    AsoIdentity(current.session).apply_all()
    current.session.hub.merge(*flux, {"spec": {"suspend": False}})
    current.stage("06").wait()
    assert len(tables.doctor()) == 0


def test_a_throttled_request_is_sent_again_after_the_time_that_azure_names(fleet: Any, calls: list[str]) -> None:
    current = settled(fleet)
    throttle = {"name": "throttled", "target": "*/myfleet-rg/*managedClusters", "times": 1}
    lifecycle.ask(current.home / "sandbox", "POST", "/sandbox/faults", throttle)
    frame = Tables(current.session).clusters()
    assert set(frame.status) == {"ok"} and frame.attrs["unread"] == {}
    left = lifecycle.ask(current.home / "sandbox", "GET", "/sandbox/status")["faults"]
    assert all(fault.get("times") == 0 for fault in left), f"the fault occurred: {left}"
