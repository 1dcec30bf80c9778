"""A sandbox with one cluster, and the unmodified clients that get the errors: Azure's SDKs, kubectl, git."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from azuresandbox import lifecycle
from fleetlib.clients.azure import calls, groups, identities, managed_clusters, providers
from fleetlib.clients.session import Session, connect
from fleetlib.parameters import Parameters

ROOT = Path(__file__).parents[2]
GROUP, CLUSTER, IDENTITY = "faults-rg", "faults-aks", "faults-id"


@dataclass
class Cloud:
    """The running sandbox. `arm` arms a fault as `fleet sandbox fault` does."""

    state: Path
    session: Session

    @property
    def azure(self) -> Any:
        return self.session.azure

    @property
    def cluster_id(self) -> str:
        return f"{self.azure.group_id(GROUP)}/providers/Microsoft.ContainerService/managedClusters/{CLUSTER}"

    def arm(self, name: str, target: str = "*", times: int = 1, detail: str = "") -> None:
        fault = {"name": name, "target": target, "times": times, "detail": detail}
        assert lifecycle.ask(self.state, "POST", "/sandbox/faults", fault)["name"] == name

    def armed(self) -> list[str]:
        return [fault["name"] for fault in lifecycle.ask(self.state, "GET", "/sandbox/faults")["armed"]]

    def cluster(self, name: str = CLUSTER, version: str = "") -> Any:
        """Return the path of the managed cluster."""
        p = self.session.parameters
        body = managed_clusters.desired(name, p.location, version, p.controlplane_vm_size, 1)
        return managed_clusters.ensure(self.azure, GROUP, name, body, 60)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    home = tmp_path_factory.mktemp("faults") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLEET_HOME", str(home))
        lifecycle.up(home / "sandbox", project=ROOT)
        try:
            session = connect(Parameters.check({"timeout_minutes": 1.0}))
            cloud = Cloud(home / "sandbox", session)
            for namespace in providers.NEEDED:
                providers.ensure(session.azure, namespace, 60).apply()
            groups.ensure(session.azure, GROUP, session.parameters.location).apply()
            identities.ensure(session.azure, GROUP, IDENTITY, session.parameters.location).apply()
            cloud.cluster().apply()
            yield cloud
        finally:
            lifecycle.down(home / "sandbox")


@pytest.fixture
def cloud(started: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """Yield the sandbox without armed faults, and disarm them afterwards. fleetlib waits only briefly between its tries."""
    monkeypatch.setattr(calls, "DELAYS", (0.01, 0.01))
    yield started
    lifecycle.ask(started.state, "DELETE", "/sandbox/faults", {})


@pytest.fixture
def git(started: Cloud, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return the real git, with the settings of `fleet sandbox env`."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        import os

        environment = {**os.environ, **started.session.cloud.git_environment(), "LC_ALL": "C"}
        return subprocess.run(
            ["git", *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300
        )

    return run
