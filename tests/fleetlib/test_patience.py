"""An error that waiting does not mend is given its patience from the moment it appears, whatever came before."""

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
    """A clock moved by hand."""

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


def test_an_error_that_comes_late_gets_all_of_its_patience(watch: Watch, patience: Patience) -> None:
    watch.now = 600  # a cluster has been created meanwhile
    patience.judge("Extension/a", "False", DENIED)
    watch.now += 119
    patience.judge("Extension/a", "False", DENIED)
    watch.now += 1
    with pytest.raises(VerificationError, match="lacks a role") as error:
        patience.judge("Extension/a", "False", DENIED)
    assert (error.value.target, error.value.said) == ("Extension/a", DENIED)


def test_an_error_that_goes_and_comes_back_starts_anew(watch: Watch, patience: Patience) -> None:
    for status in ("False", "True", "False"):
        patience.judge("a", status, DENIED)
        watch.now += 100
    patience.judge("a", "True", "")
    patience.judge("a", "False", DENIED)


def test_a_controller_that_tries_again_has_mended_nothing(watch: Watch, patience: Patience) -> None:
    patience.judge("a", "False", DENIED)
    watch.now = 60
    patience.judge("a", "Unknown", "Progressing: reconciliation in progress")
    watch.now = 120
    with pytest.raises(VerificationError):
        patience.judge("a", "False", DENIED)


def test_another_error_and_another_object_have_a_patience_of_their_own(watch: Watch, patience: Patience) -> None:
    patience.judge("a", "False", DENIED)
    watch.now = 119
    patience.judge("b", "False", DENIED)
    patience.judge("a", "False", QUOTA)
    watch.now = 238
    patience.judge("a", "False", QUOTA)
    with pytest.raises(VerificationError):
        watch.now = 239
        patience.judge("b", "False", DENIED)


def test_what_waiting_mends_and_what_nobody_knows_is_waited_for(watch: Watch, patience: Patience) -> None:
    for message in (OWNER, "something new"):
        patience.judge("a", "False", message)
        watch.now += 1e6


def test_none_at_all_ends_at_the_first_sight(watch: Watch) -> None:
    with pytest.raises(VerificationError):
        Patience(0, watch).judge("a", "False", QUOTA)


@pytest.mark.parametrize(("seconds", "expected"), [(0, 1), (12, 3), (120, 30), (7200, 30)])
def test_how_often_is_looked_again(seconds: float, expected: float) -> None:
    assert Patience(seconds).heartbeat == expected


@pytest.mark.parametrize(("pace", "seconds"), [(1.0, 120), (0.1, 12)])
def test_patience_is_in_the_clouds_own_time(tmp_path: Path, pace: float, seconds: float) -> None:
    session = Session(Parameters(), Cloud("any", "https://arm", "https://entra", tmp_path, pace=pace))
    assert session.patience == pytest.approx(seconds)


@pytest.mark.parametrize("mode", ["instant", "realistic"])
def test_the_sandbox_says_how_fast_its_clock_is_and_keeps_its_port(tmp_path: Path, mode: str) -> None:
    state = tmp_path / "sandbox"
    first = lifecycle.up(state)
    lifecycle.down(state)
    try:
        again = lifecycle.up(state, mode)
    finally:
        lifecycle.down(state)
    assert (again.pace, again.base) == (MODES[mode].wait, first.base)
    assert json.loads((state / "settings.json").read_text()).keys() == {"port", "pace"}
