"""The public fleet repository and its public workloads, mirrored unchanged, result in three compliant clusters.

Neither is part of this project: the test uses local clones and skips without them. `docs/public-repositories.md` describes the
same steps by hand.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from azuresandbox import lifecycle
from fleetlib.clients.azure import managed_clusters
from fleetlib.clients.kube import Kube, condition
from fleetlib.clients.session import Session, connect
from fleetlib.environments import read
from fleetlib.parameters import Parameters
from fleetlib.stages.aso_identity import AsoIdentity
from fleetlib.stages.bootstrap_flux import BootstrapFlux
from fleetlib.stages.control_plane import ControlPlane
from fleetlib.stages.prepare_fleet import PrepareFleet
from fleetlib.stages.prerequisites import Prerequisites
from fleetlib.stages.publish_chart import PublishChart
from fleetlib.stages.rollout import await_clusters, await_ready
from fleetlib.stages.stage import Stage

FLEET = "https://github.com/markjgardner/aks-multi-cluster-management"
WORKLOADS = "https://github.com/Azure/gitops-flux2-kustomize-helm-mt"
REGISTRY = "oci://ghcr.io/markjgardner/aks-multi-cluster-management"
CLUSTERS = [f"podinfo-staging-{number}-aks" for number in range(3)]
STAGES: tuple[type[Stage], ...] = (Prerequisites, ControlPlane, AsoIdentity, BootstrapFlux, PrepareFleet, PublishChart)
HELM_RELEASE = ("helm.toolkit.fluxcd.io/v2", "HelmRelease")
FOLDERS = {FLEET: "FLEET_PUBLIC_FLEET", WORKLOADS: "FLEET_PUBLIC_WORKLOADS"}

pytestmark = [
    pytest.mark.slow,
    *(
        pytest.mark.skipif(not os.environ.get(name), reason=f"needs {url}: git clone it and set {name} to the folder")
        for url, name in FOLDERS.items()
    ),
]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """Run the seed's stages on the mirrored repositories, up to compliant clusters. No commit is added."""
    home = tmp_path_factory.mktemp("public") / "home"
    patch = pytest.MonkeyPatch()
    patch.setenv("FLEET_HOME", str(home))
    try:
        lifecycle.up(home / "sandbox")
        for url, variable in FOLDERS.items():
            command = [sys.executable, "-m", "fleetlib.cli", "sandbox", "mirror", url, os.environ[variable]]
            subprocess.run(command, check=True, timeout=300)
        subprocess.run([sys.executable, "-m", "fleetlib.cli", "sandbox", "mirror", REGISTRY], check=True, timeout=300)
        session = connect(
            Parameters.check(
                {
                    "location": "centralus",
                    "fleet_group": "rg-k8s-fleet",
                    "fleet_repository": FLEET,
                    "workloads_repository": WORKLOADS,
                    "chart_registry": REGISTRY,
                    "timeout_minutes": 1.0,
                    "patience_minutes": 2.0,
                }
            )
        )
        for make in STAGES:
            stage = make(session)
            stage.preflight()
            stage.apply_all()
            getattr(stage, "wait", lambda: None)()
            stage.verify()
        await_ready(session, session.hub, HELM_RELEASE, "cluster-config", ["podinfostaging"], "release installed")
        await_clusters(session, CLUSTERS)
        yield session
    finally:
        lifecycle.down(home / "sandbox")
        patch.undo()


@pytest.fixture(params=CLUSTERS)
def cluster(request: pytest.FixtureRequest, session: Session) -> Kube:
    return session.workload_cluster(request.param)


def test_the_repository_declares_what_runs(session: Session) -> None:
    session.repository.sync()
    assert read(session.repository)["podinfo-staging"].clusters() == CLUSTERS


def test_three_clusters_where_the_repository_puts_them(session: Session) -> None:
    found = {item["name"]: item for item in managed_clusters.list_in(session.azure, "rg-k8s-fleet")}
    assert sorted(found) == CLUSTERS
    assert {item["location"] for item in found.values()} == {"centralus"}
    assert {item["properties"]["provisioningState"] for item in found.values()} == {"Succeeded"}
    assert {item["properties"]["agentPoolProfiles"][0]["vmSize"].lower() for item in found.values()} == {"standard_d2as_v6"}


@pytest.mark.parametrize(
    ("release", "version"), [("podinfo", "6."), ("nginx", "4.10.1"), ("redis", "17.")], ids=["podinfo", "nginx", "redis"]
)
def test_releases_have_the_versions_the_repository_asks_for(cluster: Kube, release: str, version: str) -> None:
    found = cluster.get(*HELM_RELEASE, release, "cluster-config")
    assert found is not None and condition(found)[0] == "True", condition(found)
    assert found["status"]["history"][0]["chartVersion"].startswith(version)


@pytest.mark.parametrize("namespace", ["podinfo", "nginx", "redis"])
def test_workloads_run(cluster: Kube, namespace: str) -> None:
    pods = [p for p in cluster.list("v1", "Pod", namespace) if p["status"]["phase"] != "Succeeded"]
    assert pods
    assert {p["metadata"]["name"]: condition(p)[0] for p in pods if condition(p)[0] != "True"} == {}


def test_values_of_the_repository_reach_the_workloads(cluster: Kube) -> None:
    """The overlay's host, the generated ConfigMap under its hashed name, and the values in it."""
    ingress = cluster.get("networking.k8s.io/v1", "Ingress", "podinfo", "podinfo")
    assert ingress is not None and ingress["spec"]["rules"][0]["host"] == "podinfo.staging"
    redis = cluster.get(*HELM_RELEASE, "redis", "cluster-config")
    assert redis is not None
    generated = redis["spec"]["valuesFrom"][0]["name"]
    assert generated.startswith("redis-values-") and cluster.get("v1", "ConfigMap", generated, "cluster-config")
    assert not cluster.list("v1", "PersistentVolumeClaim", "redis"), "persistence is off in the repository's values"
