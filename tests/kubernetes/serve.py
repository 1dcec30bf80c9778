"""The Kubernetes API alone on a real TLS port, for tests with real clients: `python serve.py FOLDER`.

A line `compact` on its input compacts the cluster's history up to now, as etcd's compactor does every five minutes; the
answer is `compacted`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import uvicorn

from azuresandbox import fabric, kubernetes, server
from azuresandbox.clock import ScaledClock
from azuresandbox.fabric import ClusterGoal
from azuresandbox.store import Store


def listen(store: Store) -> None:
    if sys.stdin.readline() == "compact\n":
        store.compact("cluster:c1", store.revision("cluster:c1"))
        print("compacted", flush=True)
    else:
        asyncio.get_running_loop().remove_reader(sys.stdin)  # the end of the input, or an unknown line


async def main(state: Path) -> None:
    port = server.free_port()
    sandbox = server.open_sandbox(state, port, ScaledClock())
    web = uvicorn.Server(server._config(sandbox, kubernetes.app(sandbox), port))
    tasks = [asyncio.create_task(kubernetes.run(sandbox)), asyncio.create_task(web.serve([server._listen(port)]))]
    revision = fabric.put_goal(sandbox.store, ClusterGoal("c1", cluster_name="hub", version="1.33.2"))
    await fabric.settled(sandbox.store, "cluster", "c1", "", revision, ("api",))
    report = fabric.get_cluster_report(sandbox.store, "c1")
    assert report is not None
    while not web.started:
        await asyncio.sleep(0.01)
    asyncio.get_running_loop().add_reader(sys.stdin, listen, sandbox.store)
    print(json.dumps({"server": f"{sandbox.base}/clusters/c1", **report.credentials["admin"]}), flush=True)
    await tasks[1]
    tasks[0].cancel()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
