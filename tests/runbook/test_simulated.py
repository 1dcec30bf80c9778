"""The simulated fleet of `make bench`: each copy of a cluster has its own API, credentials and state."""

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


def test_the_copies_are_separate_healthy_clusters(snapshots: Callable[[str], Path], tmp_path: Path) -> None:
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
        assert _with(one, user).items("v1", "nodes"), "the certificate belongs to this cluster"
        with pytest.raises(FleetError, match="Unauthorized"):
            _with(other, user).items("v1", "nodes")


def test_later_deep_tables_keep_no_more_connections_than_the_first(
    snapshots: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many systems limit a process to 1,024 open files; a fleet may have more clusters."""
    monkeypatch.setattr("fleetlib.inspect.reading.KEPT_OPEN", 5)
    simulated.grow(snapshots("06"), tmp_path / "home", 60)
    with simulated.served(tmp_path / "home") as session:
        fleet = Fleet(session)
        fleet.clusters()
        before = len(os.listdir("/dev/fd"))
        for _ in range(2):
            assert not fleet.clusters(deep=True).attrs["unread"]
            assert len(os.listdir("/dev/fd")) - before < 30  # the five, and one to ARM from each thread


def test_drift_sends_each_cluster_the_same_number_of_requests_in_a_larger_fleet(
    snapshots: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Count requests, not seconds: they do not depend on how busy this machine is."""
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
                assert made.pop("a kubeconfig", 0) == kubeconfigs, "the clients are kept"
                first.append(made.copy())
                assert made.pop("asocluster-aks") < 40
                assert len(made) == count + 1 and len(set(made.values())) == 1, "each cluster gets the same number"
                assert max(made.values()) <= 4 + 14, "Flux's records, and one list for each kind in them"
    for name in ("podinfo-e00-0-aks", "asocluster-aks"):
        assert len({made[name] for made in first}) == 1, f"{name} gets the same number in a larger fleet, and again"


def _with(kube: Kube, user: dict[str, str]) -> Kube:
    """Return the cluster's API with these credentials."""
    people = [{**kube.kubeconfig["users"][0], "user": user}]
    return Kube({**kube.kubeconfig, "users": people}, kube.name, kube._home)
