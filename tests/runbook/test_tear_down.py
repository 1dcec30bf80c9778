"""Notebook 99 deletes everything in a possible order, also if a part is already deleted or broken, and proves it."""

from __future__ import annotations

from typing import Any

import pytest

from azuresandbox import lifecycle
from fleetlib.clients.azure import groups, managed_clusters
from fleetlib.errors import VerificationError
from fleetlib.stages.tear_down import TearDown

pytestmark = pytest.mark.xdist_group("runbook")


def tear_down(session: Any) -> TearDown:
    stage = TearDown(session)
    stage.apply_all()
    stage.verify()
    return stage


def left(session: Any) -> list[str]:
    return [group["name"] for group in groups.list_all(session.azure)]


def test_a_second_tear_down_makes_no_changes(fleet: Any) -> None:
    current = fleet("06")
    inventory = TearDown(current.session).inventory()
    assert any("managedClusters/podinfo-prod-0-aks" in item for item in inventory["myfleet-rg"])
    first = tear_down(current.session)
    assert first.changed and left(current.session) == []
    second = tear_down(current.again().session)
    assert not second.changed, second.outcome()
    assert TearDown(current.again().session).inventory() == {}


def test_a_cluster_that_was_deleted_before(fleet: Any) -> None:
    current = fleet("06")
    managed_clusters.delete(
        current.session.azure, "myfleet-rg", "podinfo-prod-0-aks", 60
    ).apply()  # waits for ASO's own operations
    tear_down(current.session)
    assert left(current.session) == []


def test_a_control_plane_without_workload_clusters(fleet: Any) -> None:
    current = fleet("03")
    assert managed_clusters.list_in(current.session.azure, "controlplane-rg")
    tear_down(current.session)
    assert left(current.session) == []


def test_a_fleet_whose_deployment_failed(fleet: Any) -> None:
    current = fleet("05")
    quota = {"name": "vcpu-quota", "times": -1, "detail": "standardDASv6Family=0"}
    lifecycle.ask(current.home / "sandbox", "POST", "/sandbox/faults", quota)
    stage = current.stage("06")
    stage.apply_all()
    with pytest.raises(VerificationError, match="quota"):
        stage.wait()
    tear_down(current.session)
    assert left(current.session) == []
