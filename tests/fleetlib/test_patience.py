"""The time limit for an error that does not end by itself: it starts when the error first appears."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from azuresandbox import lifecycle
from azuresandbox.clock import MODES
from fleetlib.clients.cloud import Cloud
from fleetlib.clients.session import Session
from fleetlib.errors import VerificationError
from fleetlib.parameters import Parameters
from fleetlib.stages.patience import Patience

DENIED = "AuthorizationFailed: The client does not have authorization to perform action"
QUOTA = "ErrCode_InsufficientVCPUQuota: left 0, needed 4"
OWNER = "WaitingForOwner: Owner clusters/myfleet-rg cannot be found"


class Watch:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def patience(watch: Watch) -> Patience:
    return Patience(120, watch)


def test_a_late_error_gets_its_whole_patience(watch: Watch, patience: Patience) -> None:
    watch.now = 600  # a cluster has been created meanwhile
    patience.judge("Extension/a", "False", DENIED)
    watch.now += 119
    patience.judge("Extension/a", "False", DENIED)
    watch.now += 1
    with pytest.raises(VerificationError, match="lacks a role") as error:
        patience.judge("Extension/a", "False", DENIED)
    assert (error.value.target, error.value.said) == ("Extension/a", DENIED)


def test_an_error_that_returns_gets_its_whole_patience_again(watch: Watch, patience: Patience) -> None:
    for status in ("False", "True", "False"):
        patience.judge("a", status, DENIED)
        watch.now += 100
    patience.judge("a", "True", "")
    patience.judge("a", "False", DENIED)


def test_another_try_of_the_controller_does_not_reset_the_patience(watch: Watch, patience: Patience) -> None:
    patience.judge("a", "False", DENIED)
    watch.now = 60
    patience.judge("a", "Unknown", "Progressing: reconciliation in progress")
    watch.now = 120
    with pytest.raises(VerificationError):
        patience.judge("a", "False", DENIED)


def test_each_error_of_each_object_has_its_own_patience(watch: Watch, patience: Patience) -> None:
    patience.judge("a", "False", DENIED)
    watch.now = 119
    patience.judge("b", "False", DENIED)
    patience.judge("a", "False", QUOTA)
    watch.now = 238
    patience.judge("a", "False", QUOTA)
    with pytest.raises(VerificationError):
        watch.now = 239
        patience.judge("b", "False", DENIED)


def test_unknown_errors_and_those_that_end_by_themselves_are_waited_for(watch: Watch, patience: Patience) -> None:
    for message in (OWNER, "something new"):
        patience.judge("a", "False", message)
        watch.now += 1e6


def test_without_patience_the_first_error_ends_the_wait(watch: Watch) -> None:
    with pytest.raises(VerificationError):
        Patience(0, watch).judge("a", "False", QUOTA)


@pytest.mark.parametrize(("seconds", "expected"), [(0, 1), (12, 3), (120, 30), (7200, 30)])
def test_the_heartbeat_follows_the_patience(seconds: float, expected: float) -> None:
    assert Patience(seconds).heartbeat == expected


@pytest.mark.parametrize(("pace", "seconds"), [(1.0, 120), (0.1, 12)])
def test_patience_is_on_the_clouds_clock(tmp_path: Path, pace: float, seconds: float) -> None:
    cloud = Cloud(name="any", resource_manager="https://arm", authority="https://entra", home=tmp_path, pace=pace)
    session = Session(Parameters(), cloud)
    assert session.patience == pytest.approx(seconds)


@pytest.mark.parametrize("mode", ["instant", "realistic"])
def test_the_sandbox_reports_its_pace_and_keeps_its_port(tmp_path: Path, mode: str) -> None:
    state = tmp_path / "sandbox"
    first = lifecycle.up(state)
    lifecycle.down(state)
    try:
        again = lifecycle.up(state, mode)
    finally:
        lifecycle.down(state)
    assert (again.pace, again.base) == (MODES[mode].wait, first.base)
    assert json.loads((state / "settings.json").read_text()).keys() == {"port", "pace"}
