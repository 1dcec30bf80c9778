"""Runs every stage on the cloud that the file named on the command line describes, in a Python without azuresandbox."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

from fleetlib.clients.cloud import Cloud
from fleetlib.clients.session import Session
from fleetlib.parameters import Parameters
from fleetlib.stages.aso_identity import AsoIdentity
from fleetlib.stages.bootstrap_flux import BootstrapFlux
from fleetlib.stages.control_plane import ControlPlane
from fleetlib.stages.deploy_workloads import DeployWorkloads
from fleetlib.stages.prepare_fleet import PrepareFleet
from fleetlib.stages.prerequisites import Prerequisites
from fleetlib.stages.publish_chart import PublishChart
from fleetlib.stages.scale_environments import ScaleEnvironments
from fleetlib.stages.stage import Stage
from fleetlib.stages.tear_down import TearDown

STAGES: tuple[type[Stage], ...] = (
    Prerequisites,
    ControlPlane,
    AsoIdentity,
    BootstrapFlux,
    PrepareFleet,
    PublishChart,
    DeployWorkloads,
    ScaleEnvironments,
    TearDown,
)


def main(description: Path) -> None:
    """Apply and verify the stages in order; print the name of each verified stage."""
    assert importlib.util.find_spec("azuresandbox") is None, "this Python was to have no azuresandbox"
    given = json.loads(description.read_text())
    cloud = Cloud(**{**given["cloud"], "home": Path(given["cloud"]["home"]), "ca_file": Path(given["cloud"]["ca_file"])})
    for make in STAGES:
        stage = make(Session(Parameters.check(given["parameters"]), cloud))
        stage.preflight()
        stage.apply_all()
        getattr(stage, "wait", lambda: None)()
        stage.verify()
        print(make.__name__, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
