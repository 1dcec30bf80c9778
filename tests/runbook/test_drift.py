"""What somebody changes by hand, in Git's way, Azure's portal, the control plane or a cluster, is a row that says where and by whom."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from fleetlib.azure import managed_clusters
from fleetlib.inspect.fleet import Fleet as Tables
from fleetlib.stages.rollout import HELM_RELEASE, KUSTOMIZATION, MANAGED_CLUSTER

pytestmark = pytest.mark.xdist_group("runbook")

PROD, STAGING = "podinfo-prod-0-aks", "podinfo-staging-0-aks"
FIELDS = ["cluster", "layer", "object", "kind", "field", "declared", "actual"]


def rows(tables: Tables, **options: Any) -> list[list[Any]]:
    frame = tables.drift(**options)
    assert frame.attrs["unread"] == {}
    return [
        [None if value != value else value for value in row]
        for row in frame[FIELDS].astype(object).to_numpy(na_value=None).tolist()
    ]


def test_by_hand_in_every_place(fleet: Any) -> None:
    current = fleet("06")
    current.stage("06").wait()
    session, hub = current.session, current.session.hub
    tables = Tables(session)
    assert rows(tables) == [], "a fleet that has been left alone"

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
    ], "what is declared differs; the tag that nobody declares does not"

    hub.merge(*MANAGED_CLUSTER, PROD, "clusters", {"spec": {"dnsPrefix": "other"}})
    first = tables.drift(deep=False).iloc[0]
    assert first[FIELDS].tolist() == [PROD, "aso", f"ManagedCluster/{PROD}", "changed", "dnsPrefix", PROD, "other"]
    assert first.by and first.since is not None and "Flux puts it back" in first.fix

    body = managed_clusters.desired("stray-aks", "eastus2", "", "Standard_D2as_v6", 1)
    clusters.begin_create_or_update("myfleet-rg", "stray-aks", body).result()
    (orphan,) = [row for row in rows(tables, deep=False) if row[0] == "stray-aks"]
    assert orphan[1:4] == ["arm", "managedClusters/stray-aks", "orphan"]

    inside = session.workload_cluster(STAGING)
    inside.merge(*KUSTOMIZATION, "cluster-config-apps", "cluster-config", {"spec": {"suspend": True}})
    inside.merge(*HELM_RELEASE, "podinfo", "cluster-config", {"spec": {"suspend": True}})
    (deployment,) = [
        d["metadata"] for d in inside.list("apps/v1", "Deployment", "podinfo") if "podinfo" in d["metadata"]["name"]
    ]
    inside.merge("apps/v1", "Deployment", deployment["name"], "podinfo", {"spec": {"replicas": 3}})
    frame = tables.drift()
    (hand,) = [row for _, row in frame[frame.layer == "workloads"].iterrows()]
    assert hand[["cluster", "object", "field", "actual"]].tolist() == [
        STAGING,
        f"Deployment/podinfo/{deployment['name']}",
        "spec.replicas",
        "3",
    ]
    assert hand.by and hand.since is not None

    command = [sys.executable, "-m", "fleetlib.cli", "drift", "-o", "json"]
    done = subprocess.run(
        command, env={**os.environ, "FLEET_HOME": str(current.home)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and '"field": "spec.replicas"' in done.stdout
