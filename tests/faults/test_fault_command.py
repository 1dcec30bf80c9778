"""`fleet sandbox fault`: arm, list, disarm; invalid input is refused with the valid values."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from azuresandbox import lifecycle
from azuresandbox.faults import KNOWN
from tests.faults.fault_cloud import Cloud

pytestmark = pytest.mark.xdist_group("faults")


def fleet(cloud: Cloud, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "FLEET_HOME": str(cloud.state.parent)}
    command = [sys.executable, "-m", "fleetlib.cli", "sandbox", "fault", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_each_fault_can_be_armed_and_disarmed(cloud: Cloud, name: str) -> None:
    lifecycle.ask(cloud.state, "POST", "/sandbox/faults", {"name": name, "target": "nothing"})
    assert cloud.armed() == [name]
    assert lifecycle.ask(cloud.state, "DELETE", "/sandbox/faults", {"name": name}) == {"disarmed": 1}


def test_the_command_arms_lists_and_disarms(cloud: Cloud) -> None:
    done = fleet(cloud, "finalizer-stuck", "--target", "*/managedClusters/x", "--times", "2")
    assert done.returncode == 0, done.stderr
    armed = lifecycle.ask(cloud.state, "GET", "/sandbox/faults")["armed"]
    assert armed == [{"name": "finalizer-stuck", "target": "*/managedClusters/x", "times": 2, "detail": ""}]
    listed = fleet(cloud)
    assert listed.returncode == 0 and all(name in listed.stdout for name in KNOWN)
    assert fleet(cloud, "finalizer-stuck", "--disarm").returncode == 0
    assert not cloud.armed()


def test_invalid_faults_are_refused(cloud: Cloud) -> None:
    done = fleet(cloud, "meteor")
    assert done.returncode == 2 and "no fault is named 'meteor'" in done.stderr + done.stdout
    done = fleet(cloud, "throttled", "--times", "0")
    assert done.returncode == 2 and "strikes once or more" in done.stderr + done.stdout
    with pytest.raises(lifecycle.SandboxError, match="unexpected keyword argument 'colour'"):
        lifecycle.ask(cloud.state, "POST", "/sandbox/faults", {"name": "throttled", "colour": "red"})
    assert not cloud.armed()
