"""A small fleet, built once by the stages for the session, and the unmodified kubectl on its clusters.

Other clients use its kubeconfigs.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from azuresandbox import lifecycle
from fleetlib.clients.azure import managed_clusters
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
from tests.processes import started

ROOT = Path(__file__).parents[2]
STAGES: tuple[type[Stage], ...] = (
    Prerequisites,
    ControlPlane,
    AsoIdentity,
    BootstrapFlux,
    PrepareFleet,
    PublishChart,
    DeployWorkloads,
)
KUBECTL = shutil.which("kubectl")


@dataclass(frozen=True)
class Kubectl:
    """kubectl with one cluster's kubeconfig, as a user's shell would run it."""

    config: Path

    def run(self, *arguments: str, text: str | None = None, editor: str = "") -> subprocess.CompletedProcess[str]:
        """Run kubectl and return the result, whether it succeeds or not."""
        assert KUBECTL is not None
        home = self.config.parent
        command = [KUBECTL, f"--kubeconfig={self.config}", f"--cache-dir={home / 'cache'}", *arguments]
        environment = {"PATH": os.environ["PATH"], "HOME": str(home), "NO_PROXY": "127.0.0.1", "KUBE_EDITOR": editor}
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, env=environment, check=False)

    def __call__(self, *arguments: str, text: str | None = None, editor: str = "") -> str:
        """Return the output. Fails the test if kubectl fails."""
        done = self.run(*arguments, text=text, editor=editor)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr or done.stdout}"
        return done.stdout

    def fails(self, *arguments: str, text: str | None = None) -> str:
        """Return the error output. Fails the test if kubectl succeeds."""
        done = self.run(*arguments, text=text)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def objects(self, *arguments: str) -> Any:
        return yaml.safe_load(self("get", *arguments, "-o", "json"))

    def table(self, *arguments: str) -> list[dict[str, str]]:
        """Return the rows that `get` prints, by column. Columns begin where their headings do."""
        heading, *rows = self("get", *arguments).rstrip("\n").split("\n")
        columns = list(re.finditer(r"\S+(?: \S+)*", heading))
        names, starts = [column.group() for column in columns], [column.start() for column in columns]
        ends = [*starts[1:], None]
        return [{n: row[a:b].strip() for n, a, b in zip(names, starts, ends, strict=True)} for row in rows]

    @contextmanager
    def watching(self, *arguments: str) -> Iterator[Iterator[str]]:
        """Yield the lines that kubectl prints while it runs; stop it at the block's end. Ends after 20 seconds."""
        assert KUBECTL is not None
        command = [KUBECTL, f"--kubeconfig={self.config}", f"--cache-dir={self.config.parent / 'cache'}", *arguments]
        with started(command, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
            guard = threading.Timer(20, process.kill)
            guard.start()
            try:
                assert process.stdout is not None
                yield (line.rstrip("\n") for line in process.stdout)
            finally:
                guard.cancel()

    def reconcile(self, kind: str, name: str, namespace: str = "cluster-config", *, force: bool = False) -> None:
        """Ask a Flux controller to reconcile now, as `flux reconcile [--force]` does, and wait until it has."""
        found = [kind, name, "-n", namespace]
        token = self.objects(*found)["metadata"]["resourceVersion"]
        asked = [f"reconcile.fluxcd.io/requestedAt={token}", *([f"reconcile.fluxcd.io/forceAt={token}"] if force else [])]
        self("annotate", *found, "--overwrite", *asked)
        self("wait", *found, f"--for=jsonpath={{.status.lastHandledReconcileAt}}={token}", "--timeout=30s")


@dataclass(frozen=True)
class Fleet:
    """The fleet's clusters by name. A kubeconfig is fetched each time, as by `fleet kubeconfig`, because clusters change."""

    session: Session
    home: Path

    def _kubectl(self, group: str, name: str) -> Kubectl:
        path = self.home / f"{name}.yaml"
        path.write_text(yaml.safe_dump(managed_clusters.kubeconfig(self.session.azure, group, name)))
        return Kubectl(path)

    @property
    def hub(self) -> Kubectl:
        return self._kubectl(self.session.parameters.controlplane_group, self.session.parameters.controlplane_cluster)

    def cluster(self, name: str) -> Kubectl:
        return self._kubectl(self.session.parameters.fleet_group, name)


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Build the control plane, podinfo-staging-0-aks and podinfo-prod-0-aks. Tests delete the objects that they create."""
    home = tmp_path_factory.mktemp("fleet") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLEET_HOME", str(home))
        try:
            lifecycle.up(home / "sandbox", project=ROOT)
            settings = {"staging_cluster_count": 1, "prod_cluster_count": 1, "timeout_minutes": 1.0}
            session = connect(Parameters.check(settings))
            for make in STAGES:
                stage = make(session)
                stage.apply_all()
                getattr(stage, "wait", lambda: None)()
            stage.verify()

            yield Fleet(session, home)
        finally:
            lifecycle.down(home / "sandbox")


@pytest.fixture
def kubectl_is_here() -> None:
    if KUBECTL is None:
        pytest.skip("kubectl is not installed: see https://kubernetes.io/docs/tasks/tools/")


@pytest.fixture
def hub(kubectl_is_here: None, fleet: Fleet) -> Kubectl:
    return fleet.hub


@pytest.fixture
def prod(kubectl_is_here: None, fleet: Fleet) -> Kubectl:
    return fleet.cluster("podinfo-prod-0-aks")


@pytest.fixture
def staging(kubectl_is_here: None, fleet: Fleet) -> Kubectl:
    return fleet.cluster("podinfo-staging-0-aks")


@pytest.fixture
def hub_config(fleet: Fleet) -> Path:
    """Return the control plane's kubeconfig, for clients other than kubectl."""
    return fleet.hub.config


@pytest.fixture
def prod_config(fleet: Fleet) -> Path:
    return fleet.cluster("podinfo-prod-0-aks").config
