"""`kill -9` of the sandbox during stage 06, then a restart and the stage again: the result is the same, without duplicates."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from azuresandbox import lifecycle
from fleetlib.clients.azure import managed_clusters, roles
from fleetlib.progress import waiting
from fleetlib.stages.rollout import MANAGED_CLUSTER

pytestmark = pytest.mark.xdist_group("runbook")

ROOT = Path(__file__).parents[2]


def test_killed_while_clusters_are_created(fleet: Callable[[str], Any]) -> None:
    current = fleet("05")
    state = current.home / "sandbox"
    lifecycle.down(state)
    lifecycle.up(state, "demo", ROOT)  # creating a cluster now takes seconds: time to kill the sandbox
    stage = current.stage("06")
    stage.apply_all()
    assert stage.changed
    _await_first_cluster(current.session)
    before = managed_clusters.list_in(current.session.azure, current.session.parameters.fleet_group)
    assert any(item["properties"]["provisioningState"] == "Creating" for item in before)
    _kill(state)

    lifecycle.up(state, "instant", ROOT)
    again = current.again()
    resumed = again.stage("06")
    resumed.apply_all()
    assert not resumed.changed, "the commit existed already"
    resumed.wait()
    resumed.verify()
    _assert_nothing_twice(again)


def _await_first_cluster(session: Any) -> None:
    p = session.parameters
    with waiting("a cluster is being created", 60) as wait:
        for objects in session.hub.changes(*MANAGED_CLUSTER, wait, p.cluster_namespace):
            conditions = [c for o in objects.values() for c in (o.get("status") or {}).get("conditions") or []]
            if any(c["type"] == "Ready" and c["reason"] == "Reconciling" for c in conditions):
                return


def _kill(state: Path) -> None:
    process = lifecycle.running(state)
    assert process
    os.kill(process, signal.SIGKILL)
    with open(state / "lock", "r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # granted when the process has ended


def _assert_nothing_twice(fleet: Any) -> None:
    session, p = fleet.session, fleet.session.parameters
    found = [item["name"] for item in managed_clusters.list_in(session.azure, p.fleet_group)]
    assert sorted(found) == ["podinfo-prod-0-aks", "podinfo-staging-0-aks"]
    principal = fleet.stage("02").identity()["properties"]["principalId"]
    scopes = [session.azure.group_id(group) for group in (p.controlplane_group, p.fleet_group)]
    assert [len(roles.assigned(session.azure, scope, principal)) for scope in scopes] == [1, 1]
    releases = session.hub.list("v1", "Secret", p.cluster_namespace, labels="owner=helm")
    names = sorted(secret["metadata"]["name"] for secret in releases)
    expected = [f"sh.helm.release.v1.podinfo-{name}.v{number}" for name in ("prod", "staging") for number in (1, 2)]
    assert names == expected, "an empty installation by notebook 05's chart, and one upgrade for one commit"
