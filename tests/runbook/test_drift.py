"""Drift on a running fleet: a change in Azure, on the control plane or in a cluster is a row with its place and its writer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest
import yaml

from azuresandbox import lifecycle
from fleetlib.clients.azure import managed_clusters
from fleetlib.clients.session import connect
from fleetlib.inspect.fleet import Fleet as Tables
from fleetlib.stages.rollout import HELM_RELEASE, MANAGED_CLUSTER

pytestmark = pytest.mark.xdist_group("runbook")

PROD, STAGING = "podinfo-prod-0-aks", "podinfo-staging-0-aks"
FIELDS = ["cluster", "layer", "object", "kind", "field", "declared", "actual"]


def values(frame: pandas.DataFrame) -> list[list[Any]]:
    """Return the cells of each row; `None` for missing values."""
    return [[None if pandas.isna(value) else value for value in row] for row in frame.astype(object).to_numpy().tolist()]


def rows(tables: Tables, **options: Any) -> list[list[Any]]:
    frame = tables.drift(**options)
    assert frame.attrs["unread"] == {}
    return values(frame[FIELDS])


def test_changes_in_azure_and_on_the_control_plane(fleet: Any) -> None:
    current = fleet("06")
    current.stage("06").wait()
    session, hub = current.session, current.session.hub
    tables = Tables(session)
    assert rows(tables) == [], "a fleet without changes"

    hub.merge(*HELM_RELEASE, "podinfoprod", "cluster-config", {"spec": {"suspend": True}})
    hub.merge(
        *MANAGED_CLUSTER,
        PROD,
        "clusters",
        {"metadata": {"annotations": {"serviceoperator.azure.com/reconcile-policy": "skip"}}},
    )
    clusters = session.azure.containers.managed_clusters
    found = clusters.get("myfleet-rg", PROD)
    found.tags["owner"], found.tags["environment"] = "somebody", "elsewhere"
    found.agent_pool_profiles[0].max_count = 9
    clusters.begin_create_or_update("myfleet-rg", PROD, found).result()
    assert rows(tables, deep=False) == [
        [PROD, "arm", f"ManagedCluster/{PROD}", "changed", "agentPoolProfiles.system.maxCount", "3", "9"],
        [PROD, "arm", f"ManagedCluster/{PROD}", "changed", "tags.environment", "podinfo-prod", "elsewhere"],
    ], "a tag that is not declared is not compared"

    hub.merge(*MANAGED_CLUSTER, PROD, "clusters", {"spec": {"dnsPrefix": "other"}})
    first = tables.drift(deep=False).iloc[0]
    assert first[FIELDS].tolist() == [PROD, "aso", f"ManagedCluster/{PROD}", "changed", "dnsPrefix", PROD, "other"]
    assert first.by and first.since is not None and "Flux reverts it" in first.fix

    body = managed_clusters.desired("stray-aks", "eastus2", "", "Standard_D2as_v6", 1)
    clusters.begin_create_or_update("myfleet-rg", "stray-aks", body).result()
    (orphan,) = [row for row in rows(tables, deep=False) if row[0] == "stray-aks"]
    assert orphan[1:4] == ["arm", "managedClusters/stray-aks", "orphan"]


@pytest.fixture
def staging(fleet: Any, tmp_path: Path) -> tuple[Any, Callable[..., None]]:
    """Return a fleet without changes, and a function that runs the unmodified kubectl in its staging cluster."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed: see https://kubernetes.io/docs/tasks/tools/")
    current = fleet("06")
    current.stage("06").wait()
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(yaml.safe_dump(current.session.workload_cluster(STAGING).kubeconfig))

    def run(*arguments: str) -> None:
        done = subprocess.run(
            [kubectl, f"--kubeconfig={kubeconfig}", *arguments], capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr

    return current, run


def told(frame: Any) -> list[list[Any]]:
    assert set(frame.layer) <= {"workloads"} and set(frame.cluster) <= {STAGING}, frame.T.to_string()
    return values(frame[["object", "kind", "field", "declared", "actual", "by"]])


def test_changes_in_a_cluster(staging: Any) -> None:
    current, kubectl = staging
    tables = Tables(current.session)
    kubectl("scale", "deployment/podinfo", "-n", "podinfo", "--replicas=3")
    kubectl("set", "env", "deployment/ingress-nginx-controller", "-n", "ingress-nginx", "DEBUG=1")
    kubectl(
        "patch",
        "configmap/redis-configuration",
        "-n",
        "redis",
        "--type=merge",
        "-p",
        '{"data":{"more.conf":"x","redis.conf":null}}',
    )
    kubectl("label", "namespace/podinfo", "team=a", "--field-manager=node-fetch")
    kubectl("annotate", "service/podinfo", "-n", "podinfo", "note=mine")
    kubectl("delete", "ingress/podinfo", "-n", "podinfo")
    kubectl("create", "configmap", "own", "-n", "podinfo", "--from-literal=a=b")
    kubectl("create", "configmap", "own", "-n", "default", "--from-literal=a=b")  # not Flux's namespace
    found = tables.drift()
    redis = next(row for row in told(found) if row[2] == "data.redis.conf")
    assert redis[3] and redis[4:] == ["(none)", None], "a removed entry has no owner"
    assert [row for row in told(found) if row != redis] == [
        ["ConfigMap/podinfo/own", "orphan", None, None, None, "kubectl-create"],
        ["ConfigMap/redis/redis-configuration", "changed", "data.more.conf", "(none)", "x", "kubectl-patch"],
        ["Namespace/podinfo", "changed", "metadata.labels.team", None, "a", "unknown program node-fetch"],
        ["Service/podinfo/podinfo", "changed", "metadata.annotations.note", "(none)", "mine", "kubectl-annotate"],
        [
            "Deployment/ingress-nginx/ingress-nginx-controller",
            "changed",
            "spec.template.spec.containers.controller.env.DEBUG.value",
            "(none)",
            "1",
            "kubectl-set",
        ],
        ["Deployment/podinfo/podinfo", "changed", "spec.replicas", "1", "3", "kubectl"],
        ["Ingress/podinfo/podinfo", "missing", None, None, None, None],
    ]
    when = found.set_index("field").since
    assert abs((found.attrs["read"] - when["metadata.labels.team"]).total_seconds()) < 600
    assert when.isna()["spec.replicas"], "the API server does not record a time for the subresource scale"

    command = [sys.executable, "-m", "fleetlib.cli", "drift", "-o", "json"]
    done = subprocess.run(
        command, env={**os.environ, "FLEET_HOME": str(current.home)}, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 1 and '"field": "spec.replicas"' in done.stdout


def test_a_change_that_flux_has_reverted_is_not_drift(staging: Any) -> None:
    """Flux removes kubectl's additions to a Kustomization's object and keeps those of others; Helm reverts at an upgrade."""
    current, kubectl = staging
    kubectl("label", "namespace/podinfo", "team=a")
    kubectl("label", "namespace/podinfo", "from=lens", "--field-manager=node-fetch")
    kubectl("scale", "deployment/podinfo", "-n", "podinfo", "--replicas=3")
    tables = Tables(current.session)
    assert {row[2] for row in told(tables.drift())} == {"metadata.labels.from", "metadata.labels.team", "spec.replicas"}
    at = "reconcile.fluxcd.io/requestedAt=now"
    kubectl(
        "annotate", "kustomization/cluster-config-apps", "-n", "cluster-config", at, "--field-manager=flux-client-side-apply"
    )
    kubectl("annotate", "helmrelease/podinfo", "-n", "cluster-config", at, "reconcile.fluxcd.io/forceAt=now")
    kubectl(
        "wait",
        "kustomization/cluster-config-apps",
        "-n",
        "cluster-config",
        "--for=jsonpath={.status.lastHandledReconcileAt}=now",
        "--timeout=60s",
    )
    kubectl(
        "wait",
        "helmrelease/podinfo",
        "-n",
        "cluster-config",
        "--for=jsonpath={.status.lastHandledForceAt}=now",
        "--timeout=60s",
    )
    kubectl("wait", "deployment/podinfo", "-n", "podinfo", "--for=jsonpath={.spec.replicas}=1", "--timeout=60s")
    assert [row[2] for row in told(tables.drift())] == ["metadata.labels.from"]


def test_flux_objects_that_were_suspended_in_a_cluster_are_drift(staging: Any) -> None:
    current, kubectl = staging
    suspend = ("-n", "cluster-config", "--type=merge", "-p", '{"spec":{"suspend":true}}', "--field-manager=flux")
    for kind, name in (("kustomization", "cluster-config-apps"), ("helmrelease", "podinfo")):
        kubectl("patch", f"{kind}/{name}", *suspend)
    kubectl("scale", "deployment/podinfo", "-n", "podinfo", "--replicas=3")
    found = Tables(current.session).drift()
    assert [(row[0].partition("/")[0], row[2]) for row in told(found)] == [
        ("Deployment", "spec.replicas"),
        ("HelmRelease", "spec.suspend"),
        ("Kustomization", "spec.suspend"),
    ]
    deployment, release, _ = found.fix
    assert "flux resume helmrelease podinfo -n cluster-config" in deployment
    assert "flux resume kustomization cluster-config-apps -n cluster-config" in release


def test_a_cluster_that_is_stopped_or_does_not_answer_is_named(fleet: Any) -> None:
    current = fleet("06")
    current.stage("06").wait()
    session = current.session
    session.azure.containers.managed_clusters.begin_stop("myfleet-rg", STAGING).result()
    unread = Tables(session).drift().attrs["unread"]
    assert list(unread) == [f"cluster {STAGING}"] and "is stopped" in unread[f"cluster {STAGING}"]
    assert f"az aks start -g myfleet-rg -n {STAGING}" in unread[f"cluster {STAGING}"]

    refused = {"name": "server-error", "target": f"*/{PROD}/listcluster*", "times": -1}
    lifecycle.ask(current.home / "sandbox", "POST", "/sandbox/faults", refused)
    snapshot = Tables(connect(session.parameters)).snapshot()
    unread = snapshot.drift().attrs["unread"]
    assert list(unread) == [f"cluster {STAGING}", f"cluster {PROD}"] and "could not be compared" in unread[f"cluster {PROD}"]
    assert snapshot.pools().attrs["unread"] == {}, "other tables of the reading are complete"

    command = [sys.executable, "-m", "fleetlib.cli", "drift"]
    settings = ["-p", "staging_cluster_count", "1", "-p", "prod_cluster_count", "1"]
    done = subprocess.run(
        [*command, *settings],
        env={**os.environ, "FLEET_HOME": str(current.home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 1 and done.stdout.strip() == "no differences in the part that could be read"
    assert f"{STAGING} is stopped" in done.stderr and f"{PROD} could not be compared" in done.stderr
