"""`make bench`: the demo against empty notebooks, the cold start against a bare TLS server, the store, memory, the Kubernetes
API against kube-apiserver, and the fleet's views.

Times depend on the machine; the project promises ratios. Exits with status 1 if a promise is not kept.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.board import Board
from benchmarks.fleet import fleet
from benchmarks.kubernetes import compare as against_kube_apiserver

ROOT = Path(__file__).parent.parent
FLEET = Path(sys.executable).with_name("fleet")

HELLO = """
import asyncio, sys, uvicorn
from pathlib import Path
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})
async def main():
    config = uvicorn.Config(app, host="127.0.0.1", port=int(sys.argv[1]), ssl_certfile=sys.argv[2], ssl_keyfile=sys.argv[3],
                            lifespan="off", log_level="error")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.001)
    print("ready", flush=True)
    await task
asyncio.run(main())
"""


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def cold_start(folder: Path, rounds: int = 5) -> tuple[float, float]:
    """Return the median seconds until ready of the sandbox with an empty state, and of a hello-world server over TLS."""
    from azuresandbox import lifecycle, pki
    from azuresandbox.server import free_port

    pems = pki.authority(folder).issue("hello", hosts=("127.0.0.1",))
    certificate, key = folder / "hello.pem", folder / "hello.key"
    pki.write_private(certificate, pems[0])
    pki.write_private(key, pems[1])
    ours, theirs = [], []
    for number in range(rounds):
        state = folder / f"cold-{number}"
        ours.append(seconds(partial(lifecycle.up, state, project=ROOT)))
        lifecycle.down(state)
        command = [sys.executable, "-c", HELLO, str(free_port()), str(certificate), str(key)]
        began = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            try:
                process.stdout.readline()
                theirs.append(time.perf_counter() - began)
            finally:
                process.kill()
    return statistics.median(ours), statistics.median(theirs)


def demo(folder: Path) -> tuple[float, float, int]:
    """Return the seconds of the demo and of as many empty notebooks by papermill, and the sandbox's memory in MB after it."""
    environment = {**os.environ, "FLEET_HOME": str(folder / "home")}

    def fleet(*arguments: str) -> str:
        return subprocess.run(
            [str(FLEET), *arguments], cwd=ROOT, env=environment, check=True, capture_output=True, text=True, timeout=3600
        ).stdout

    ours = seconds(lambda: fleet("run", "--runs", str(folder / "runs")))
    memory = int(json.loads(fleet("sandbox", "status"))["memory_mb"])
    fleet("sandbox", "down")
    count = len(list((ROOT / "notebooks").glob("0*.ipynb")))
    return ours, seconds(lambda: _empty(folder / "empty", count)), memory


def _empty(folder: Path, count: int) -> None:
    import nbformat
    import papermill

    folder.mkdir()
    for number in range(count):
        path = folder / f"{number}.ipynb"
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        nbformat.write(nbformat.v4.new_notebook(metadata=kernel, cells=[nbformat.v4.new_code_cell("1")]), path)
        papermill.execute_notebook(str(path), str(folder / f"out-{number}.ipynb"), progress_bar=False, log_output=False)


def store(folder: Path, count: int) -> dict[str, float]:
    """Return the store's puts per second, and the milliseconds to list `count` objects of 3 kB."""
    from azuresandbox.store import Store

    store = Store(folder / f"store-{count}.db")
    value = json.dumps({"spec": "x" * 3000}).encode()
    writing = seconds(lambda: [store.put("p", f"/m/{n:06d}", value) for n in range(count)])
    listing = min(seconds(lambda: store.list("p", "/m/")) for _ in range(5))
    store.close()
    return {"puts_per_second": count / writing, "list_ms": listing * 1000}


def main() -> int:
    board = Board()
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as name:
        folder = Path(name)
        ours, theirs = cold_start(folder)
        board.at_most(f"cold start {ours:.2f} s against a bare TLS hello-world {theirs:.2f} s", ours / theirs, 3)
        for count in (1_000, 10_000):
            figures = store(folder, count)
            puts, listing = figures["puts_per_second"], figures["list_ms"]
            board.note(f"store with {count} objects: {puts:.0f} puts/s, list in {listing:.1f} ms")
        ours, theirs, memory = demo(folder)
        board.at_most(f"the whole demo {ours:.1f} s against as many empty notebooks {theirs:.1f} s", ours / theirs, 2.5)
        board.at_most("memory of the sandbox with the demo's fleet", memory, 300, "MB")
        against_kube_apiserver(board, folder)
    fleet(board)
    return 0 if board.kept else 1


if __name__ == "__main__":
    sys.exit(main())
