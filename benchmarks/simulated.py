"""A simulated fleet of any size: the stages build one workload cluster, then its records in the store are copied.

The copied records are those that the sandbox has written: the cluster in ARM with its pool, extension and Flux configuration,
the goals and reports, its ASO objects on the control plane, and its Kubernetes API with nodes, Pods and Flux objects. Each copy
has its own names, ids, uids and certificates; every fiftieth is broken. A sandbox without controllers serves the state as usual
(TLS, tokens, roles).
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from azuresandbox import lifecycle, pki
from azuresandbox.kubernetes.life.provision import ADMIN
from azuresandbox.kubernetes.state.cluster import certificate_mark
from fleetlib import environments
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

ROOT = Path(__file__).parent.parent
STAGES: tuple[type[Stage], ...] = (
    Prerequisites,
    ControlPlane,
    AsoIdentity,
    BootstrapFlux,
    PrepareFleet,
    PublishChart,
    DeployWorkloads,
)
PARAMETERS = Parameters.check({"staging_cluster_count": 1, "prod_cluster_count": 0})
FIRST, RELEASE = "podinfo-staging-0", "podinfo-staging"
BROKEN = 50
PER_RELEASE = 100
"""Clusters of one environment: the chart's limit."""


@contextmanager
def home(folder: Path) -> Iterator[None]:
    """Set `FLEET_HOME` during the block."""
    before = os.environ.get("FLEET_HOME")
    os.environ["FLEET_HOME"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["FLEET_HOME"]
        else:
            os.environ["FLEET_HOME"] = before


def build_first(folder: Path) -> None:
    """Build the control plane and one workload cluster by the stages, on a sandbox that is stopped afterwards."""
    with home(folder):
        lifecycle.up(folder / "sandbox", project=ROOT)
        try:
            session = connect(PARAMETERS)
            for kind in STAGES:
                stage = kind(session)
                stage.preflight()
                stage.apply_all()
                if isinstance(stage, BootstrapFlux | DeployWorkloads):
                    stage.wait()
                stage.verify()
        finally:
            lifecycle.down(folder / "sandbox")


@contextmanager
def served(folder: Path, latency: float = 0.0) -> Iterator[Session]:
    """Serve the state of a folder by a sandbox without controllers, and yield a session on it.

    `latency`: seconds for each request.
    """
    state = folder / "sandbox"
    command = [sys.executable, "-m", "azuresandbox.server", "--state", str(state), "--asleep", f"--latency={latency}"]
    with (
        home(folder),
        (state / "bench.log").open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, cwd=ROOT) as process,
    ):
        assert process.stdout is not None
        try:
            if process.stdout.readline().strip() != b"ready":
                raise RuntimeError("the simulated fleet is not served")
            yield connect(PARAMETERS)
        finally:
            process.terminate()
            try:
                process.wait(30)
            finally:
                process.kill()  # the end of the outer block waits for it


def memory_mb(folder: Path) -> int:
    """Return the memory of the process that serves a folder, in MB."""
    return int(lifecycle.ask(folder / "sandbox", "GET", "/sandbox/status")["memory_mb"])


def grow(source: Path, folder: Path, count: int) -> None:
    """Create a fleet of `count` clusters in `folder` from the one that `build_first` has built in `source`."""
    shutil.copytree(source, folder, symlinks=True)
    copies = [Copy(number) for number in range(count - 1)]
    with served(folder) as session:
        before, after = _declare(session, copies)
    database = sqlite3.connect(folder / "sandbox" / "sandbox.db")
    with database:
        _Copying(database, folder / "sandbox", before, after).run(copies)
    database.close()


def _declare(session: Session, copies: list[Copy]) -> tuple[str, str]:
    """Declare the copies' environments in Git. Returns the commits before and after."""
    repository = session.repository
    before = after = repository.sync()
    template = environments.read(repository)[RELEASE]
    for environment in dict.fromkeys(copy.environment for copy in copies):
        count = sum(1 for copy in copies if copy.environment == environment)
        files = environments.add(repository, template, environment, {"clusterCount": count})
        after = repository.commit(files, f"Add the environment {environment}") or after
    return before, after


@dataclass(frozen=True)
class Copy:
    """A copy of the first cluster, by its number."""

    number: int

    @property
    def environment(self) -> str:
        return f"e{self.number // PER_RELEASE:02d}"

    @property
    def id(self) -> str:
        """Its name in the data plane: 24 hexadecimal digits, as ARM gives them."""
        return uuid.uuid5(uuid.NAMESPACE_OID, f"simulated {self.number}").hex[:24]

    @property
    def broken(self) -> bool:
        """Whether it is broken, as every fiftieth copy: its agent reports that a release could not be installed."""
        return self.number % BROKEN == BROKEN - 1

    def renamed(self, value: bytes, of: str) -> bytes:
        """Return the first cluster's bytes with this copy's names; `of` is the first cluster's id."""
        release = f"podinfo-{self.environment}"
        value = value.replace(FIRST.encode(), f"{release}-{self.number % PER_RELEASE}".encode())
        value = value.replace(RELEASE.encode(), release.encode()).replace(of.encode(), self.id.encode())
        return value.replace(b"podinfostaging", f"podinfo{self.environment}".encode())


class _Copying:
    """Copies the first cluster's rows in the store's file for each copy."""

    def __init__(self, database: sqlite3.Connection, state: Path, before: str, after: str) -> None:
        self._database = database
        self._authority = pki.authority(state)
        self._before, self._after = before.encode(), after.encode()
        goals = self._rows("fabric", "goal/cluster/%")
        ids = {json.loads(value)["cluster_name"]: key.split("/")[2] for key, _, value in goals}
        self._first, self._hub = ids[f"{FIRST}-aks"], ids[PARAMETERS.controlplane_cluster]

    def _rows(self, partition: str, like: str = "%") -> list[tuple[str, int, bytes]]:
        sql = "SELECT key, revision, value FROM records WHERE partition=? AND key LIKE ? ORDER BY key"
        return self._database.execute(sql, (partition, like)).fetchall()

    def run(self, copies: list[Copy]) -> None:
        hub = f"cluster:{self._hub}"
        self._reconciled(hub)
        shared = {
            "arm": [row for row in self._rows("arm", "/%") if FIRST in row[0]],
            "fabric": [row for row in self._rows("fabric") if f"/{self._first}/" in row[0]],
            hub: [row for row in self._rows(hub) if FIRST in row[0]],
        }
        releases = [row for row in self._rows(hub) if row[0].endswith("/helmreleases/cluster-config/podinfostaging")]
        own = {name: self._rows(f"{name}:{self._first}") for name in ("cluster", "apiserver")}
        for copy in copies:
            certificate = self._certificate(copy)
            for name, rows in own.items():
                self._insert(
                    f"{name}:{copy.id}", self._copied(copy, rows, certificate), self._revision(f"{name}:{self._first}")
                )
            for partition, rows in shared.items():
                first = copy.number % PER_RELEASE == 0 and partition == hub
                self._append(partition, self._copied(copy, [*rows, *releases] if first else rows, certificate))

    def _reconciled(self, hub: str) -> None:
        """Write the new commit into Flux's objects on the control plane and into the agent's reports."""
        for partition in (hub, "fabric", "arm"):
            changed = [(value.replace(self._before, self._after), partition, key) for key, _, value in self._rows(partition)]
            self._database.executemany("UPDATE records SET value=? WHERE partition=? AND key=?", changed)

    def _certificate(self, copy: Copy) -> tuple[str, str]:
        name, groups = ADMIN
        return self._authority.issue(name, organizations=(*groups, certificate_mark(copy.id)))

    def _copied(
        self, copy: Copy, rows: list[tuple[str, int, bytes]], certificate: tuple[str, str]
    ) -> Iterator[tuple[str, int, bytes]]:
        for key, revision, value in rows:
            name = copy.renamed(key.encode(), self._first).decode()
            if key in ("certificate/cert", "certificate/key"):
                yield name, revision, certificate[key.endswith("key")].encode()
            elif key.startswith("report/cluster/") and key.endswith("#api"):
                report = json.loads(value)
                for person in ("admin", "user"):
                    report["credentials"][person] |= {"cert": certificate[0], "key": certificate[1]}
                yield name, revision, json.dumps(report, separators=(",", ":")).encode()
            elif key.startswith("report/flux/") and copy.broken:
                yield name, revision, _not_compliant(copy.renamed(value, self._first))
            else:
                yield name, revision, copy.renamed(value, self._first)

    def _revision(self, partition: str) -> int:
        (found,) = self._database.execute("SELECT revision FROM partitions WHERE name=?", (partition,)).fetchone()
        return int(found)

    def _insert(self, partition: str, rows: Iterator[tuple[str, int, bytes]], revision: int) -> None:
        """Insert a partition of the copy: same keys, same revisions, no history."""
        self._database.execute(
            "INSERT INTO partitions (name, revision, oldest) VALUES (?,?,?)", (partition, revision, revision)
        )
        self._write(partition, rows)

    def _append(self, partition: str, rows: Iterator[tuple[str, int, bytes]]) -> None:
        """Append records to an existing partition, each with its own revision; API objects also get their own uid."""
        revision, fresh = self._revision(partition), []
        for key, _, value in rows:
            revision += 1
            if partition.startswith("cluster:"):
                obj = json.loads(value)
                obj["metadata"] |= {"uid": str(uuid.uuid5(uuid.NAMESPACE_OID, key)), "resourceVersion": str(revision)}
                value = json.dumps(obj, separators=(",", ":")).encode()
            fresh.append((key, revision, value))
        self._write(partition, iter(fresh))
        self._database.execute("UPDATE partitions SET revision=?, oldest=? WHERE name=?", (revision, revision, partition))

    def _write(self, partition: str, rows: Iterator[tuple[str, int, bytes]]) -> None:
        self._database.executemany(
            "INSERT INTO records (partition, key, revision, created, value) VALUES (?,?,?,?,?)",
            ((partition, key, revision, revision, value) for key, revision, value in rows),
        )


def _not_compliant(value: bytes) -> bytes:
    """Return the agent's report with one release that Flux cannot install."""
    report = json.loads(value)
    details = report["details"]
    status = next(one for one in details["statuses"] if one["kind"] == "HelmRelease")
    message = f"Helm install failed for release {status['name']}: timed out waiting for the condition"
    status["complianceState"] = details["complianceState"] = "Non-Compliant"
    status["statusConditions"][0] |= {"status": "False", "reason": "InstallFailed", "message": message}
    details["errorMessage"] = message
    report |= {"state": "Failed", "error": {"code": "NonCompliant", "message": message}}
    return json.dumps(report, separators=(",", ":")).encode()
