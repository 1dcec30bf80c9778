"""`kill -9` at 200 random moments while several clients write: no acknowledged write is lost, and all work continues.

The moments are random, but the same in each run (seeded); how far the writers have come by then depends on the machine.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from azuresandbox import lifecycle
from azuresandbox.store import Store
from tests.crash.crash_load import GROUPS, ConfigMaps, Groups, Http, Load, Watcher, Writer, arm_token
from tests.kubernetes.cluster_world import CLUSTER, cluster
from tests.processes import started

pytestmark = [
    pytest.mark.xdist_group("crash"),
    # CPython forgets to close a socket whose peer is killed between TCP's handshake and TLS's
    pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning"),
]

KILLS, SEED = 200, 20261123
MOMENTS = ((0.0, 0.12), (0.3, 0.6))
"""Least and most seconds of load before a kill: the usual range, long enough for dozens of writes, and that of every tenth
kill, long enough for deletions to end.
"""
API = f"/clusters/{CLUSTER}"


ROOT = Path(__file__).parents[2]


@dataclass
class Server:
    """The served sandbox of one state folder, and a token of its cluster's administrator."""

    state: Path
    token: str
    launcher: subprocess.Popen[str]
    pid: int = 0

    def start(self) -> None:
        assert self.launcher.stdin is not None and self.launcher.stdout is not None
        print(file=self.launcher.stdin, flush=True)
        self.pid = int(self.launcher.stdout.readline().split()[1])
        line = self.launcher.stdout.readline()
        assert line == "ready\n", f"did not start again: {line!r}"

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        with open(self.state / "lock", "r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # granted when the process has ended
        self.pid = 0


async def _make_cluster(state: Path) -> str:
    store = Store(state / "sandbox.db")
    async with cluster(state, store=store) as api:
        token = api.token
    store.close()
    return token


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    state = tmp_path / "sandbox"
    state.mkdir(mode=0o700)
    token = asyncio.run(_make_cluster(state))
    command = [sys.executable, "-m", "tests.crash.crash_server", str(state), "demo"]
    with started(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as launcher:
        served = Server(state, token, launcher)
        try:
            served.start()
            yield served
        finally:
            if served.pid:
                os.kill(served.pid, signal.SIGKILL)


def test_acknowledged_writes_are_not_lost(server: Server) -> None:
    where = lifecycle.endpoint(server.state)
    load, moments = Load(where), random.Random(SEED)
    arm, admin = Http(where, arm_token(where)), Http(where, server.token)
    maps = [ConfigMaps(load, Http(where, server.token), SEED + number, API) for number in range(3)]
    groups = Groups(load, Http(where, arm_token(where)), SEED)
    first = _revision(admin)
    watcher, late = Watcher(load, server.token, API, first), Watcher(load, server.token, API, first)
    writers: list[Writer] = [*maps, groups]
    for thread in (*writers, watcher):
        thread.start()
    highest = outlived = 0
    for number in range(KILLS):
        load.go.set()
        load.failed.wait(moments.uniform(*MOMENTS[number % 10 == 9]))
        server.kill()
        load.go.clear()
        for writer in writers:
            assert writer.idle.wait(30), f"{writer} does not notice that the server is gone"
        outlived += len(groups.operations)
        server.start()
        problems = _problems(admin, arm, maps, groups, highest)
        assert not problems + load.problems, f"after kill {number} (seed {SEED}): {problems + load.problems}"
        highest = _revision(admin)
    _let_operations_end(load, groups)
    _let_the_watch_catch_up(load, watcher, highest)
    late.start()
    _let_the_watch_catch_up(load, late, highest)
    left = _groups(arm, groups)
    load.end()
    server.kill()
    for thread in (*writers, watcher, late):
        thread.join(30)
    for client in (arm, admin):
        client.close()
    assert not load.problems
    assert watcher.resumed > KILLS / 4, "the watch was to be resumed again and again"
    for one in (watcher, late):
        _check_the_watch(one, maps)
    assert all(state == "Succeeded" for state, _ in left.values()), f"deletions that did not carry on: {left}"
    assert outlived > KILLS / 4, "too few operations were under way when the server was killed"
    assert groups.finished > 5
    assert sum(writer.writes for writer in writers) > 5 * KILLS, "too little was written to find anything"


def _list(admin: Http) -> tuple[int, dict[str, tuple[int, str]]]:
    status, _, found = admin.again("GET", f"{API}/api/v1/namespaces/default/configmaps")
    assert status == 200, found
    items = {
        item["metadata"]["name"]: (int(item["metadata"]["resourceVersion"]), item["data"]["n"])
        for item in found["items"]
        if "n" in item.get("data", {})
    }
    return int(found["metadata"]["resourceVersion"]), items


def _revision(admin: Http) -> int:
    return _list(admin)[0]


def _groups(arm: Http, groups: Groups) -> dict[str, tuple[str, str]]:
    status, _, found = arm.again("GET", f"{groups.path}?api-version={GROUPS}")
    assert status == 200, found
    return {item["name"]: (item["properties"]["provisioningState"], item["tags"]["n"]) for item in found["value"]}


def _problems(admin: Http, arm: Http, maps: list[ConfigMaps], groups: Groups, highest: int) -> list[str]:
    """Return the differences from the acknowledged writes."""
    revision, found = _list(admin)
    acknowledged = max([highest, *(number for writer in maps for _, number in writer.acknowledged)])
    back = [f"resourceVersion went back from {acknowledged} to {revision}"] if revision < acknowledged else []
    return back + [text for writer in maps for text in writer.settle(found)] + groups.settle(_groups(arm, groups))


def _let_operations_end(load: Load, groups: Groups) -> None:
    """Poll, with the writers idle, until every deletion that has begun has ended."""
    for _ in range(600):
        for name in sorted(groups.operations):
            groups.poll(name)
        if not groups.operations and all(state != "Deleting" for state, _ in _groups(groups.client, groups).values()):
            return
        load.failed.wait(0.05)
    raise AssertionError(f"these deletions do not end: {sorted(groups.operations)}")


def _let_the_watch_catch_up(load: Load, watcher: Watcher, revision: int) -> None:
    for _ in range(600):
        if watcher.since >= revision:
            return
        load.failed.wait(0.05)
    raise AssertionError(f"the watch stands at {watcher.since}, the list at {revision}")


def _check_the_watch(watcher: Watcher, maps: list[ConfigMaps]) -> None:
    """Check that the watch has missed no event, unless it had to list (410: the history is shorter than its lag)."""
    missed = {write for writer in maps for write in writer.acknowledged} - watcher.seen
    assert watcher.expired or not missed, sorted(missed)[:10]
