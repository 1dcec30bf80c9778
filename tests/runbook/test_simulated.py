"""The fleet that `make bench` measures on: copies of a cluster are clusters like it, each reached and judged by itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import simulated
from fleetlib.errors import FleetError
from fleetlib.inspect.fleet import Fleet
from fleetlib.kube import Kube


def test_copies_are_healthy_clusters_of_their_own(snapshots: Callable[[str], Path], tmp_path: Path) -> None:
    simulated.grow(snapshots("06"), tmp_path / "home", 102)
    with simulated.served(tmp_path / "home") as session:
        table = Fleet(session).clusters(deep=True)
        assert not table.attrs["unread"]
        broken = table[table.status != "ok"]
        assert list(broken.index) == ["podinfo-e00-49-aks", "podinfo-e00-99-aks"], broken[["status", "reason", "message"]]
        assert set(broken.first_broken_layer) == {"flux"} and set(broken.reason) == {"InstallFailed"}
        assert table.groupby("environment", observed=True).size().to_dict() == {
            "podinfo-staging": 1, "podinfo-prod": 1, "podinfo-e00": 100, "podinfo-e01": 1,
        }  # fmt: skip
        assert (table.workloads == table.workloads_ready).all() and table.workloads.min() > 0

        one, other = (session.workload_cluster(f"podinfo-e00-{number}-aks") for number in (7, 8))
        assert one.kubeconfig["clusters"][0]["cluster"]["server"] != other.kubeconfig["clusters"][0]["cluster"]["server"]
        user = {key: value for key, value in one.kubeconfig["users"][0]["user"].items() if key != "token"}
        assert _with(one, user).items("v1", "nodes"), "the certificate is this cluster's"
        with pytest.raises(FleetError, match="Unauthorized"):
            _with(other, user).items("v1", "nodes")


def test_the_next_deep_views_keep_no_more_connections_than_the_first(
    snapshots: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process may open a thousand files on many systems: a fleet may have more clusters."""
    monkeypatch.setattr("fleetlib.inspect.reading.KEPT_OPEN", 5)
    simulated.grow(snapshots("06"), tmp_path / "home", 60)
    with simulated.served(tmp_path / "home") as session:
        fleet = Fleet(session)
        fleet.clusters()
        before = len(os.listdir("/dev/fd"))
        for _ in range(2):
            assert not fleet.clusters(deep=True).attrs["unread"]
            assert len(os.listdir("/dev/fd")) - before < 30  # the five, and one to ARM from each thread that asks


def _with(kube: Kube, user: dict[str, str]) -> Kube:
    """The cluster's API with somebody's credentials."""
    people = [{**kube.kubeconfig["users"][0], "user": user}]
    return Kube({**kube.kubeconfig, "users": people}, kube.name, kube._home)
