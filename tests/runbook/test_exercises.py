"""The exercises at the end of notebooks 01 to 08 can be solved, and their checks tell right answers from wrong ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from fleetlib.clients.azure import managed_clusters, roles
from fleetlib.inspect.exercises import EXERCISES, check
from fleetlib.inspect.fleet import Fleet as Tables
from fleetlib.stages.aso_identity import AsoIdentity
from fleetlib.stages.rollout import EXTENSION, FLUX_CONFIGURATION, KUSTOMIZATION, MANAGED_CLUSTER

pytestmark = pytest.mark.xdist_group("runbook")


def test_exercises_of_the_stages(fleet: Callable[[str], Any]) -> None:
    session = fleet("06").session
    p, tables = session.parameters, Tables(session)
    assert {name: check(tables, name, None).right for name in EXERCISES} == dict.fromkeys(EXERCISES), "no answers yet"

    cluster = managed_clusters.get(session.azure, p.controlplane_group, p.controlplane_cluster)
    assert cluster is not None
    document = session.cloud.fetch_json(managed_clusters.issuer(cluster) + ".well-known/openid-configuration")
    keys = [key["kid"] for key in session.cloud.fetch_json(document["jwks_uri"])["keys"]]
    _assert_knows(tables, "keys", keys, [*keys, "another"], [], "text")

    identity = AsoIdentity(session).identity()
    assert identity is not None
    scopes = [item["properties"]["scope"] for item in roles.held(session.azure, identity["properties"]["principalId"])]
    assert {scope.rpartition("/")[2] for scope in scopes} == {p.controlplane_group, p.fleet_group}
    _assert_knows(tables, "scopes", scopes, scopes[:1], [session.azure.group_id("other-rg")], 1)

    found = session.hub.get(*KUSTOMIZATION, "cluster-config-controlplane", p.flux_namespace)
    inventory = Counter(entry["id"].rpartition("_")[2] for entry in found["status"]["inventory"]["entries"])
    _assert_knows(tables, "inventory", inventory, {**inventory, "HelmRelease": 9}, {}, 3)

    right = {"object": True, "group": False}
    _assert_knows(tables, "pruned", right, {"object": True, "group": True}, {"object": False, "group": False}, True)

    _assert_knows(tables, "refused", {"clusterCount": -1}, {"clusterCount": 2}, {}, 2)

    kinds = (MANAGED_CLUSTER, EXTENSION, FLUX_CONFIGURATION)
    objects = {kind[1]: session.hub.list(*kind, "clusters", "fleet/cluster=podinfo-prod-0-aks")[0] for kind in kinds}
    names = {kind: obj["metadata"]["name"] for kind, obj in objects.items()}
    _assert_knows(tables, "objects", names, {**names, "Extension": "x"}, {}, "podinfo-prod-0-aks")

    assert "no commit" in check(tables, "revert", "0123456").words
    session.repository.sync()
    sha = session.repository.commit({"note.txt": "x"}, "podinfo-prod: 1 -> 2 clusters")
    session.repository.commit({"note.txt": "y"}, "podinfo-dev: 2 -> 1 clusters")
    _assert_knows(tables, "revert", sha[:7], "0123456", sha[:3], 7)


def _assert_knows(tables: Tables, exercise: str, right: Any, *wrong: Any) -> None:
    assert check(tables, exercise, right).right, check(tables, exercise, right)
    for answer in wrong:
        verdict = check(tables, exercise, answer)
        assert verdict.right is False
        assert verdict.words


def test_exercises_of_the_inspection(fleet: Callable[[str], Any]) -> None:
    current = fleet("06")
    current.stage("06").wait()
    tables = Tables(current.session)

    pools = tables.pools().dropna(subset=["environment", "max"])
    growth = (pools["max"] - pools["count"]).groupby(pools.environment, observed=True).sum()
    assert growth.sum() == 4
    _assert_knows(tables, "growth", growth, growth + 1, growth.iloc[:1])
    assert "dictionary" in check(tables, "growth", 5).words

    images = tables.workloads().images.dropna().str.split(", ").explode().reset_index().groupby("images").cluster.nunique()
    _assert_knows(tables, "images", images, images * 2, {"nginx": 1})

    release = ("helm.toolkit.fluxcd.io/v2", "HelmRelease", "podinfoprod", "cluster-config")
    assert "no cluster in this table" in check(tables, "suspended", tables.clusters()).words
    current.session.hub.merge(*release, {"spec": {"suspend": True}})
    suspended = tables.clusters()
    assert "now resume it" in check(tables, "suspended", suspended).words
    current.session.hub.merge(*release, {"spec": {"suspend": False}})
    current.stage("06").wait()
    assert str(check(tables, "suspended", suspended)) == "✓ suspended: right"
