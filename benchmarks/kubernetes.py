"""The sandbox's Kubernetes API against kube-apiserver with etcd: the same requests by the same client over TLS.

Needs the binaries of `make test-conformance` (or KUBEBUILDER_ASSETS), and is skipped without them. Client and server share
the machine's cores, so the figures of 16 clients (two processes of eight threads) also measure how they share them.
"""

from __future__ import annotations

import http.client
import json
import ssl
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azuresandbox.machine.images.aso import crds, kinds
from benchmarks.board import Board
from tests.conformance import servers

FEW, MANY, SECONDS, WATCHERS, EVENTS = 1_000, 10_000, 2.0, 100, 50
GROUP = "/apis/containerservice.azure.com/v1api20240901"


@dataclass(frozen=True)
class Address:
    """The address and credentials of a server, which other processes can receive."""

    port: int
    prefix: str
    token: str
    authority: str

    def connect(self) -> http.client.HTTPSConnection:
        trust = ssl.create_default_context(cafile=self.authority)
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=trust, timeout=120)

    def call(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: Any = None, kind: str = "application/json"
    ) -> bytes:
        """Send one request, which must succeed, and return the answer's body."""
        headers = {"authorization": f"Bearer {self.token}", "content-type": kind, "accept": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        connection.request(method, self.prefix + path, body=data, headers=headers)
        response = connection.getresponse()
        found = response.read()
        assert response.status < 300, (method, path, response.status, found[:500])
        return found


def managed_cluster(name: str) -> dict[str, Any]:
    """Return a ManagedCluster as the chart renders it."""
    pool = {
        "name": "system",
        "mode": "System",
        "enableAutoScaling": True,
        "minCount": 1,
        "maxCount": 3,
        "vmSize": "Standard_D4s_v5",
        "osType": "Linux",
        "osSKU": "AzureLinux",
        "orchestratorVersion": "1.33.2",
    }
    spec = {
        "owner": {"name": "fleet"},
        "location": "westeurope",
        "dnsPrefix": name,
        "kubernetesVersion": "1.33.2",
        "identity": {"type": "SystemAssigned"},
        "agentPoolProfiles": [pool],
        "tags": {"environment": "staging"},
    }
    metadata = {"name": name, "labels": {"environment": "staging"}}
    return {"apiVersion": GROUP.removeprefix("/apis/"), "kind": "ManagedCluster", "metadata": metadata, "spec": spec}


def path(namespace: str, name: str = "") -> str:
    return f"{GROUP}/namespaces/{namespace}/managedclusters" + (f"/{name}" if name else "")


# --- load ------------------------------------------------------------------------------------------------------------


def _client(address: Address, verb: str, first: int, count: int, until: float) -> int:
    """Run one client: `count` creations from number `first` on, or gets or patches until `until`. Returns their number."""
    connection, done = address.connect(), 0
    try:
        while done < count if verb == "create" else time.monotonic() < until:
            number = first + done
            if verb == "create":
                address.call(connection, "POST", path("large" if first >= FEW else "small"), managed_cluster(f"c-{number}"))
            elif verb == "get":
                address.call(connection, "GET", path("small", f"c-{number % FEW}"))
            else:
                change = {"spec": {"tags": {"round": str(time.monotonic_ns())}}}
                address.call(connection, "PATCH", path("small", f"c-{number % FEW}"), change, "application/merge-patch+json")
            done += 1
    finally:
        connection.close()
    return done


def _process(address: Address, verb: str, starts: list[int], count: int, seconds: float) -> int:
    until = time.monotonic() + seconds
    with ThreadPoolExecutor(len(starts)) as pool:
        return sum(pool.map(lambda first: _client(address, verb, first, count, until), starts))


def rate(address: Address, verb: str, clients: int, *, first: int = 0, count: int = 0) -> float:
    """Return requests per second. `count`: the number of creations; gets and patches run for `SECONDS`."""
    share = count // clients
    starts = [first + client * (share or FEW // clients) for client in range(clients)]
    began = time.perf_counter()
    if clients == 1:
        done = _process(address, verb, starts, share, SECONDS)
    else:
        with ProcessPoolExecutor(2) as pool:
            halves = (starts[::2], starts[1::2])
            done = sum(pool.map(_process, [address] * 2, [verb] * 2, halves, [share] * 2, [SECONDS] * 2))
    return done / (time.perf_counter() - began)


def listing(address: Address, where: str, count: int) -> float:
    """Return the milliseconds of a list, the median of five."""
    connection, taken = address.connect(), []
    for _ in range(5):
        began = time.perf_counter()
        data = address.call(connection, "GET", where)
        taken.append(time.perf_counter() - began)
        assert len(json.loads(data)["items"]) == count
    connection.close()
    return statistics.median(taken) * 1000


def fan_out(address: Address) -> float:
    """Return the events per second that arrive at all watchers together."""
    connection = address.connect()
    version = json.loads(address.call(connection, "GET", path("small") + "?limit=1"))["metadata"]["resourceVersion"]
    ready, failed = threading.Barrier(WATCHERS + 1), []

    def watch() -> None:
        own = address.connect()
        query = f"?watch=1&resourceVersion={version}&timeoutSeconds=60"
        own.request("GET", address.prefix + path("small") + query, headers={"authorization": f"Bearer {address.token}"})
        response = own.getresponse()
        ready.wait()
        for _ in range(EVENTS):
            if not response.readline():
                failed.append(True)
        response.close()
        own.close()

    threads = [threading.Thread(target=watch) for _ in range(WATCHERS)]
    for thread in threads:
        thread.start()
    ready.wait()
    began = time.perf_counter()
    for number in range(EVENTS):
        change = {"metadata": {"annotations": {"round": str(number)}}}
        address.call(connection, "PATCH", path("small", "c-0"), change, "application/merge-patch+json")
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    connection.close()
    assert not failed, f"{len(failed)} events did not arrive"
    return WATCHERS * EVENTS / took


def memory(pids: tuple[int, ...]) -> float:
    """Return the resident memory of processes in MB, from /proc."""
    kilobytes = 0
    for pid in pids:
        text = Path(f"/proc/{pid}/status").read_text()
        kilobytes += int(next(line for line in text.splitlines() if line.startswith("VmRSS:")).split()[1])
    return kilobytes / 1024


# --- both ------------------------------------------------------------------------------------------------------------


def measure(start: Callable[[Path], AbstractContextManager[servers.Server]], folder: Path) -> dict[str, float]:
    """Start a server and return all its figures."""
    began = time.perf_counter()
    with start(folder) as server:
        found = {"cold start": time.perf_counter() - began, "memory at start": memory(server.pids)}
        address = Address(server.port, server.prefix, server.token, str(folder / "ca.pem"))
        connection = address.connect()
        kind = kinds.BY_CRD["managedclusters.containerservice.azure.com"]
        definition = crds.definition(kind, "2.13.0")
        address.call(connection, "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
        for namespace in ("small", "large"):
            address.call(connection, "POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        _await(lambda: address.call(connection, "GET", path("small")))
        connection.close()
        found["create, 1 client"] = rate(address, "create", 1, count=FEW)
        found["create, 16 clients"] = rate(address, "create", 16, first=FEW, count=MANY - FEW - (MANY - FEW) % 16)
        rest = (MANY - FEW) % 16
        _client(address, "create", MANY - rest, rest, 0)
        for verb in ("get", "patch"):
            for clients in (1, 16):
                found[f"{verb}, {clients} client{'s' if clients > 1 else ''}"] = rate(address, verb, clients)
        found["list of 1,000"] = listing(address, path("small"), FEW)
        found["list of 10,000"] = listing(address, f"{GROUP}/managedclusters", MANY)
        found["watch fan-out to 100"] = fan_out(address)
        found["memory with 10,000"] = memory(server.pids)
    return found


def _await(ask: Callable[[], object]) -> None:
    limit = time.monotonic() + 30
    while True:
        try:
            ask()
            return
        except AssertionError:
            assert time.monotonic() < limit
            time.sleep(0.05)


UNITS = {"cold": "s", "list": "ms", "memory": "MB"}
"""First word of a figure -> its unit, if less is better; the other figures are per second."""


def compare(board: Board, folder: Path) -> None:
    """Measure both servers. One client must be served no slower than by kube-apiserver; other figures are only reported."""
    if not servers.BUILT:
        board.note(f"the Kubernetes API against kube-apiserver is left out: {servers.NOT_BUILT}")
        return
    theirs, ours = measure(servers.real, folder / "real"), measure(servers.sandbox, folder / "sandbox")
    for name, real in theirs.items():
        unit = UNITS.get(name.split()[0], "/s")
        ratio = ours[name] / real if unit != "/s" else real / ours[name]
        text = f"Kubernetes API, {name}: {ours[name]:.4g} {unit} against kube-apiserver's {real:.4g} {unit}"
        if "16 clients" in name or "fan-out" in name or name == "memory with 10,000":
            board.note(f"{text}: {ratio:.2f} times the cost")
        else:
            board.at_most(text, ratio, 1, "times the cost")


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as name:
        compare(Board(), Path(name))
