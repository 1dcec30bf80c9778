"""The fleet that `make bench` measures on: copies of a cluster are clusters like it, each reached and judged by itself."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import simulated
from fleetlib.clients.kube import Kube
from fleetlib.clients.session import Session
from fleetlib.errors import FleetError
from fleetlib.inspect.fleet import Fleet


def test_copies_are_healthy_clusters_of_their_own(snapshots: Callable[[str], Path], tmp_path: Path) -> None:
    simulated.grow(snapshots("06"), tmp_path / "home", 102)
    with simulated.served(tmp_path / "home") as session:
        table = Fleet(session).clusters(deep=True)
        assert not table.attrs["unread"]
        broken = table[table.status != "ok"]
        assert list(broken.index) == ["podinfo-e00-49-aks", "podinfo-e00-99-aks"], broken[["status", "reason", "message"]]
        assert set(broken.first_broken_layer) == {"flux"} and set(broken.reason) == {"InstallFailed"}
        assert table.groupby("environment", observed=True).size().to_dict() == {
            "podinfo-staging": 1,
            "podinfo-prod": 1,
            "podinfo-e00": 100,
            "podinfo-e01": 1,
        }
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


def test_drift_asks_each_cluster_as_often_however_many_there_are(
    snapshots: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests are what a thousand clusters cost, and what does not depend on how busy this machine is."""
    asked: list[str] = []

    def counted(call: Callable[..., Any], name: Callable[[Any], str]) -> Callable[..., Any]:
        def wrapper(of: Any, *given: Any) -> Any:
            asked.append(name(of))
            return call(of, *given)

        return wrapper

    monkeypatch.setattr(Kube, "_json", counted(Kube._json, lambda kube: str(kube.name)))
    monkeypatch.setattr(Session, "workload_cluster", counted(Session.workload_cluster, lambda _: "a kubeconfig"))
    first: list[Counter[str]] = []
    for count in (6, 36):
        simulated.grow(snapshots("06"), tmp_path / str(count), count)
        with simulated.served(tmp_path / str(count)) as session:
            fleet = Fleet(session)
            for kubeconfigs in (count + 1, 0):
                asked.clear()
                found = fleet.drift()
                assert found.empty and not found.attrs["unread"], found.T.to_string()
                made = Counter(asked)
                assert made.pop("a kubeconfig", 0) == kubeconfigs, "kept for the next time"
                first.append(made.copy())
                assert made.pop("asocluster-aks") < 40
                assert len(made) == count + 1 and len(set(made.values())) == 1, "each as often as any other"
                assert max(made.values()) <= 4 + 14, "Flux's books, and one list a kind in them"
    for name in ("podinfo-e00-0-aks", "asocluster-aks"):
        assert len({made[name] for made in first}) == 1, f"{name} is asked as often in a larger fleet, and again"


def _with(kube: Kube, user: dict[str, str]) -> Kube:
    """The cluster's API with somebody's credentials."""
    people = [{**kube.kubeconfig["users"][0], "user": user}]
    return Kube({**kube.kubeconfig, "users": people}, kube.name, kube._home)
