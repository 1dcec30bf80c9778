"""The drills of notebooks 02, 04 and 06: the fault shows, the step fixes it, and the next run fixes an interrupted drill."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fleetlib.clients.kube import condition
from fleetlib.errors import PreflightError, VerificationError
from fleetlib.stages.aso_identity import DRILL
from fleetlib.stages.practice import NOT_NOW, Drill, ForgottenRole, Spoiling, WrongSize, WrongSubject
from fleetlib.stages.rollout import RESOURCE_GROUP

pytestmark = pytest.mark.xdist_group("runbook")

ACCOUNT = ("v1", "ServiceAccount", "azureserviceoperator-default", "azureserviceoperator-system")


def test_a_wrong_subject_is_refused_by_entra_and_fixed_by_the_step(fleet: Callable[[str], Any]) -> None:
    current = fleet("01")
    stage = current.stage("02")
    stage.apply_all()
    drill = WrongSubject(stage)
    assert drill.active
    drill.spoil()
    fault = drill.fault()
    assert "AADSTS700213" in fault.said
    assert [row[3] for row in fault.rows] == ["✓", "✗ differs", "✓"]
    assert [change.step for change in stage.plan().changes if change] == ["federated credential"]
    stage.apply("trust")
    assert drill.proof().said == "access token issued"
    drill.end()
    assert current.session.hub.get(*ACCOUNT) is None
    stage.verify()
    current.run("03")


def test_a_drill_with_the_trust_that_was_interrupted_is_fixed_by_the_next_run(fleet: Callable[[str], Any]) -> None:
    current = fleet("01")
    stage = current.stage("02")
    stage.apply_all()
    drill = WrongSubject(stage)
    drill.spoil()
    drill.fault()
    left = current.session.hub.get(*ACCOUNT)
    assert DRILL.items() <= left["metadata"]["labels"].items()
    with pytest.raises(PreflightError, match="02_create_aso_identity"):
        current.stage("03").preflight()
    again = current.stage("02")
    again.apply_all()
    assert WrongSubject(again).active
    with pytest.raises(VerificationError, match="an interrupted drill has left one"):
        again.verify()
    WrongSubject(again).end()
    again.verify()
    current.run("03")


def test_a_forgotten_role_shows_in_the_groups_condition(fleet: Callable[[str], Any]) -> None:
    current = fleet("03")
    stage = current.stage("04")
    stage.apply("group")
    drill = ForgottenRole(stage)
    assert drill.active
    stage.apply("kustomization")
    fault = drill.fault()
    assert "AuthorizationFailed" in fault.said
    assert fault.gist.startswith("AuthorizationFailed: The client ")
    stage.apply("role")
    stage.wait()
    p = current.session.parameters
    assert condition(current.session.hub.get(*RESOURCE_GROUP, p.fleet_group, p.cluster_namespace))[0] == "True"
    stage.verify()


def test_a_wrong_size_shows_in_the_clusters_condition_and_the_next_commit_fixes_it(fleet: Callable[[str], Any]) -> None:
    current = fleet("05")
    drill = WrongSize(current.stage("06"))
    assert drill.active
    drill.spoil()
    fault = drill.fault()
    assert drill.size in fault.said
    assert len(fault.gist) < 400 < len(fault.said)
    interrupted = current.stage("06")
    assert WrongSize(interrupted).active, "the next run of the notebook finds the drill as it was left"
    assert interrupted.plan().changes[0].differences == (f"vmSize: {drill.size} -> Standard_D2as_v6",)
    current.run("06")
    assert not WrongSize(current.stage("06")).active


def test_there_is_no_drill_on_a_second_run(fleet: Callable[[str], Any]) -> None:
    current = fleet("06")
    for number, drill in (("02", WrongSubject), ("04", ForgottenRole), ("06", WrongSize)):
        _assert_inactive(drill(current.stage(number)))


def test_there_is_no_drill_without_practice(fleet: Callable[[str], Any]) -> None:
    current = fleet("05").again(practice=False)
    _assert_inactive(WrongSize(current.stage("06")))


def _assert_inactive(drill: Drill) -> None:
    assert not drill.active
    assert repr(drill) == repr(drill.fault()) == NOT_NOW
    if isinstance(drill, Spoiling):
        assert not drill.spoil()
        assert repr(drill.show()) == NOT_NOW
