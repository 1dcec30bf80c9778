"""Sandboxes on which some stages have run: built once for each session by the stages, then copied for each test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from azuresandbox import lifecycle
from fleetlib.clients.session import Session, connect
from fleetlib.parameters import Parameters
from fleetlib.stages.aso_identity import AsoIdentity
from fleetlib.stages.bootstrap_flux import BootstrapFlux
from fleetlib.stages.control_plane import ControlPlane
from fleetlib.stages.deploy_workloads import DeployWorkloads
from fleetlib.stages.prepare_fleet import PrepareFleet
from fleetlib.stages.prerequisites import Prerequisites
from fleetlib.stages.publish_chart import PublishChart
from fleetlib.stages.stage import Stage

ROOT = Path(__file__).parents[2]
STAGES: dict[str, type[Stage]] = {
    "00": Prerequisites,
    "01": ControlPlane,
    "02": AsoIdentity,
    "03": BootstrapFlux,
    "04": PrepareFleet,
    "05": PublishChart,
    "06": DeployWorkloads,
}
SETTINGS: dict[str, Any] = {
    "staging_cluster_count": 1,
    "prod_cluster_count": 1,
    "timeout_minutes": 1.0,
    "patience_minutes": 0.3,
}


@dataclass
class Fleet:
    """A test's own sandbox, and a session on it."""

    home: Path
    session: Session

    def stage(self, number: str) -> Any:
        return STAGES[number](self.session)

    def run(self, *numbers: str) -> None:
        """Run stages as their notebooks do."""
        for number in numbers:
            stage = self.stage(number)
            stage.preflight()
            stage.apply_all()
            if hasattr(stage, "wait"):
                stage.wait()
            stage.verify()

    def again(self, **changes: Any) -> Fleet:
        """Return the same sandbox with a new session and changed parameters."""
        values = {**self.session.parameters.model_dump(), **changes}
        return Fleet(self.home, connect(Parameters.check(values)))


@pytest.fixture(scope="session")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """Return a function to the home folder of a stopped sandbox on which all stages up to the named one have run."""
    made: dict[str, Path] = {}
    patch = pytest.MonkeyPatch()

    def build(upto: str) -> Path:
        if upto not in made:
            home = tmp_path_factory.mktemp(f"upto-{upto}") / "home"
            previous = f"{int(upto) - 1:02d}"
            if upto != "00":
                shutil.copytree(build(previous), home, symlinks=True)
            patch.setenv("FLEET_HOME", str(home))
            lifecycle.up(home / "sandbox", project=ROOT)
            try:
                Fleet(home, connect(Parameters.check(SETTINGS))).run(upto)
            finally:
                lifecycle.down(home / "sandbox")
            made[upto] = home
        return made[upto]

    yield build
    patch.undo()


@pytest.fixture(scope="module")
def shared(snapshots: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Start a whole fleet that the tests of a module share. Each test must restore it."""
    home = tmp_path_factory.mktemp("shared") / "home"
    shutil.copytree(snapshots("06"), home, symlinks=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLEET_HOME", str(home))
        lifecycle.up(home / "sandbox", project=ROOT)
        try:
            yield Fleet(home, connect(Parameters.check(SETTINGS)))
        finally:
            lifecycle.down(home / "sandbox")


@pytest.fixture
def fleet(
    snapshots: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Fleet]]:
    """Return a function: `fleet("04")` starts a sandbox on which the stages 00 to 04 have run."""
    started: list[Path] = []

    def start(upto: str) -> Fleet:
        source, home = snapshots(upto), tmp_path / "home"
        shutil.copytree(source, home, symlinks=True)
        monkeypatch.setenv("FLEET_HOME", str(home))
        lifecycle.up(home / "sandbox", project=ROOT)
        started.append(home)
        return Fleet(home, connect(Parameters.check(SETTINGS)))

    yield start
    for home in started:
        lifecycle.down(home / "sandbox")
