"""The fleet's tables on simulated fleets of 10, 100 and 1,000 clusters, compared with a script of the official SDKs and with
kubectl.

python -m benchmarks.fleet [COUNT ...]

Each reader is a process of its own on the same served state, one after the other. The peers read cluster by cluster, so they
are measured on a sample (`SAMPLE`) and scaled. Everything is measured twice: on loopback, which shows the cost of reading
itself, and with `LATENCY` for each request, as on a short real network. The ratios to the peers are promised with latency,
since real fleets are not on loopback; the time of the fleet view is promised for both.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import simulated
from benchmarks.board import Board

COUNTS = (10, 100, 1_000)
SAMPLE = 40
ROUNDS = 5
LATENCY = 0.025
"""Seconds of latency for each request. ARM itself takes longer for most requests."""

Figures = dict[str, float]


def fleet(board: Board, counts: tuple[int, ...] = COUNTS) -> None:
    """Measure, print, and compare the largest fleet with the promises."""
    kubectl = shutil.which("kubectl")
    found: dict[float, Figures] = {}
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as name:
        folder = Path(name)
        simulated.build_first(folder / "first")
        for count in counts:
            simulated.grow(folder / "first", folder / str(count), count)
            for latency in (0.0, LATENCY):
                found[latency] = _measure(folder / str(count), count, latency, kubectl)
                _print(board, count, latency, found[latency])
            shutil.rmtree(folder / str(count))
    _judge(board, counts[-1], found[0.0], found[LATENCY])


def _measure(folder: Path, count: int, latency: float, kubectl: str | None) -> Figures:
    """Return the seconds of each table of each reader, and the megabytes."""
    sample = min(SAMPLE, count)
    with simulated.served(folder, latency):
        found = _reader(folder, "ours") | {"server_mb": simulated.memory_mb(folder)}
        peers = _reader(folder, "sdk", str(sample))
        if kubectl is not None:
            peers |= _reader(folder, "kubectl", str(sample), kubectl)
        return found | {name: seconds * count / sample for name, seconds in peers.items()}


def _reader(folder: Path, *arguments: str) -> Figures:
    command = [sys.executable, "-m", "benchmarks.fleet", "--read", str(folder), *arguments]
    output = subprocess.run(command, cwd=simulated.ROOT, check=True, stdout=subprocess.PIPE, text=True, timeout=3600).stdout
    figures: Figures = json.loads(output.splitlines()[-1])
    return figures


def _print(board: Board, count: int, latency: float, found: Figures) -> None:
    where = f"{count} clusters, {f'{latency * 1000:.0f} ms a request' if latency else 'loopback'}"
    scaled = f" (from {SAMPLE} clusters)" if count > SAMPLE else ""
    board.note(
        f"{where}: fleet view {found['view']:.2f} s (the first {found['first']:.2f}), SDK script {found['sdk_view']:.1f} s: "
        f"{found['sdk_view'] / found['view']:.0f} times{scaled}"
    )
    kubectl = found.get("kubectl_deep")
    beside = f", kubectl {kubectl:.1f} s: {kubectl / found['deep']:.0f} times" if kubectl else ""
    board.note(
        f"{where}: deep view {found['deep']:.2f} s (the first {found['deep_first']:.2f}), "
        f"SDK script {found['sdk_deep']:.1f} s: {found['sdk_deep'] / found['deep']:.0f} times{beside}{scaled}"
    )
    board.note(f"{where}: drift {found['drift']:.2f} s, {found['drift_mb']:.0f} MB")
    board.note(
        f"{where}: {found['view_mb']:.0f} MB for the fleet view, {found['deep_mb']:.0f} MB deep; "
        f"sandbox {found['server_mb']:.0f} MB"
    )


def _judge(board: Board, count: int, bare: Figures, network: Figures) -> None:
    board.at_most(f"fleet view of {count} clusters, loopback", bare["view"], 1.5, "s")
    board.at_most(f"fleet view of {count} clusters, with a network", network["view"], 1.5, "s")
    board.at_least("fleet view against the SDK script, with a network", network["sdk_view"] / network["view"], 50)
    board.at_least("first deep view against the SDK script, with a network", network["sdk_deep"] / network["deep_first"], 10)
    if "kubectl_deep" in network:
        board.at_least(
            "first deep view against kubectl in a loop, with a network", network["kubectl_deep"] / network["deep_first"], 10
        )
    board.at_most(f"memory of the fleet view of {count} clusters", bare["view_mb"], 500, "MB")
    board.at_most(f"memory of deep views of {count} clusters", bare["deep_mb"], 500, "MB")
    board.at_most(f"memory of the drift of {count} clusters", bare["drift_mb"], 550, "MB")


# --- the readers, each in a process of its own -----------------------------------------------------------------------------


def _read(folder: Path, reader: str, *arguments: str) -> Figures:
    from fleetlib.clients.session import connect

    with simulated.home(folder):
        session = connect(simulated.PARAMETERS)
        return READERS[reader](session, folder, *arguments)


def _ours(session: Any, folder: Path) -> Figures:
    from azuresandbox.admin import peak_mb
    from fleetlib.inspect.fleet import Fleet

    found = Fleet(session)
    first = _seconds(lambda: _checked(found.clusters()))
    view = statistics.median(_seconds(lambda: _checked(found.clusters())) for _ in range(ROUNDS))
    view_mb = peak_mb()
    deep_first = _seconds(lambda: _checked(found.clusters(deep=True)))
    deep = statistics.median(_seconds(lambda: _checked(found.clusters(deep=True))) for _ in range(3))
    deep_mb = peak_mb()
    drift = _seconds(lambda: _left_alone(found.drift()))
    return {
        "first": first,
        "view": view,
        "view_mb": view_mb,
        "deep_first": deep_first,
        "deep": deep,
        "deep_mb": deep_mb,
        "drift": drift,
        "drift_mb": peak_mb(),
    }


def _left_alone(drift: Any) -> None:
    """Assert that the whole fleet was compared without a difference."""
    assert not drift.attrs["unread"] and drift.empty, (drift.attrs["unread"], drift.T.to_string())


def _checked(table: Any) -> None:
    """Assert that the measured table has the states of the simulated fleet."""
    assert not table.attrs["unread"], table.attrs["unread"]
    broken = sum(simulated.Copy(number).broken for number in range(len(table) - 1))
    assert table.status.value_counts()[["ok", "broken"]].tolist() == [len(table) - broken, broken], table.status.value_counts()
    if table.workloads.notna().any():
        assert (table.workloads == table.workloads_ready).all() and table.workloads.min() > 0


def _sdk(session: Any, folder: Path, sample: str) -> Figures:
    from benchmarks import peers

    names = _sampled(peers.Script(session).names(), int(sample))
    return {"sdk_view": peers.script_seconds(session, names, False), "sdk_deep": peers.script_seconds(session, names, True)}


def _kubectl(session: Any, folder: Path, sample: str, kubectl: str) -> Figures:
    from benchmarks import peers

    names = _sampled(peers.Script(session).names(), int(sample))
    paths = peers.kubeconfigs(session, names, folder / "kubeconfigs")
    return {"kubectl_deep": peers.kubectl_seconds(kubectl, paths, folder / "kubectl-cache")}


def _sampled(names: list[str], size: int) -> list[str]:
    """Return `size` names, evenly distributed over the fleet."""
    return [names[at * len(names) // size] for at in range(size)]


READERS: dict[str, Callable[..., Figures]] = {"ours": _ours, "sdk": _sdk, "kubectl": _kubectl}


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    if sys.argv[1:2] == ["--read"]:
        print(json.dumps(_read(Path(sys.argv[2]), *sys.argv[3:])))
    else:
        shown = Board()
        fleet(shown, tuple(map(int, sys.argv[1:])) or COUNTS)
        sys.exit(0 if shown.kept else 1)
