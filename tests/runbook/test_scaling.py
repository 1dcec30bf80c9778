"""Notebook 07: a commit that changes one number creates or deletes clusters, and the plan names the deleted ones before."""

from __future__ import annotations

from typing import Any

import pytest

from fleetlib.clients.azure import managed_clusters
from fleetlib.stages.scale_environments import ScaleEnvironments

pytestmark = pytest.mark.xdist_group("runbook")


def clusters(session: Any) -> set[str]:
    return {item["name"] for item in managed_clusters.list_in(session.azure, session.parameters.fleet_group)}


def changed_lines(before: str, after: str) -> list[tuple[str, str]]:
    """Return the pairs of different lines in two texts of the same number of lines."""
    assert len(before.splitlines()) == len(after.splitlines())
    return [pair for pair in zip(before.splitlines(), after.splitlines(), strict=True) if pair[0] != pair[1]]


def test_scaling_up_a_new_environment_and_scaling_down(fleet: Any) -> None:
    """One sandbox for all steps, as in the notebook: each step starts from the result of the previous one."""
    current = fleet("06").again(prod_cluster_count_scaled=2, new_environment="dev", new_environment_cluster_count=1)
    session = current.session
    stage = ScaleEnvironments(session)
    stage.preflight()
    prod = stage.rollout.environments()["podinfo-prod"]
    path = prod.file
    before = session.repository.read(path)
    assert "#" in before, "the file must have comments, which an edit keeps"

    impact = stage.impact("podinfo-prod", 2)
    assert [(name, effect) for name, effect, _ in impact.rows] == [("podinfo-prod-1-aks", "created")]
    assert clusters(session) == {"podinfo-prod-0-aks", "podinfo-staging-0-aks"}, "a plan changes nothing"

    stage.apply("scale up")
    stage.wait()
    assert clusters(session) >= {"podinfo-prod-0-aks", "podinfo-prod-1-aks"}
    [(was, now)] = changed_lines(before, session.repository.read(path))
    assert was.replace("1", "2") == now and "clusterCount" in was

    stage.apply("add environment")
    stage.wait()
    assert clusters(session) >= {"podinfo-dev-0-aks", "podinfo-dev-1-aks"}

    impact = stage.impact("podinfo-dev", 1)
    assert impact.deleted == ["podinfo-dev-1-aks"]
    assert "1 nodes" in str(impact) and "podinfo-dev-1-aks" in clusters(session), "the plan names it before it is deleted"
    stage.apply("scale down")
    stage.wait()
    stage.verify()
    assert clusters(session) == {"podinfo-prod-0-aks", "podinfo-prod-1-aks", "podinfo-staging-0-aks", "podinfo-dev-0-aks"}

    head = session.repository.head()
    second = ScaleEnvironments(current.again().session)
    second.preflight()
    assert not second.plan(), str(second.plan())
    second.apply_all()
    second.verify()
    assert not second.changed and second.session.repository.head() == head


def test_an_unchanged_count_changes_no_cluster(fleet: Any) -> None:
    stage = ScaleEnvironments(fleet("06").session)
    assert stage.impact("podinfo-prod", 1).rows == ()
    assert "no cluster is created or deleted" in str(stage.impact("podinfo-prod", 1))
