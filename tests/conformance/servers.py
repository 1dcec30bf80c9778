"""The two API servers that are compared, the real one with its etcd and the sandbox's, as processes on loopback.

The real binaries come from `make -C tools/conformance servers`, or from the folder in KUBEBUILDER_ASSETS.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from azuresandbox import pki
from azuresandbox.server import free_port
from tests.processes import started

ROOT = Path(__file__).parents[2]
ASSETS = Path(os.environ.get("KUBEBUILDER_ASSETS") or ROOT / "tools" / "conformance" / "bin")
ETCD, APISERVER = ASSETS / "etcd", ASSETS / "kube-apiserver"
BUILT = ETCD.exists() and APISERVER.exists()
NOWHERE = "192.0.2.1"
"""An address for documentation: kube-apiserver must announce one that is not loopback. It is never used."""

NOT_BUILT = "kube-apiserver and etcd are not built: `make test-conformance` (needs Go), or KUBEBUILDER_ASSETS"


@dataclass(frozen=True)
class Server:
    """An API server, and a token of its administrator (of group system:masters)."""

    name: str
    port: int
    prefix: str
    token: str
    trust: ssl.SSLContext
    pids: tuple[int, ...]
    forget: Callable[[], None] = lambda: None
    """Compact the store up to now, as kube-apiserver lets etcd do every five minutes."""

    def connect(self, timeout: float = 30) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=self.trust, timeout=timeout)


@contextmanager
def real(folder: Path) -> Iterator[Server]:
    """Start etcd and kube-apiserver with an empty state; yields the ready server."""
    folder.mkdir(parents=True, exist_ok=True)
    client, peer, port = free_port(), free_port(), free_port()
    with (
        open(folder / "etcd.log", "wb") as etcd_log,
        open(folder / "kube-apiserver.log", "wb") as server_log,
        started(_etcd(folder, client, peer), stdout=etcd_log, stderr=etcd_log) as etcd,
        started(_apiserver(folder, client, port), stdout=server_log, stderr=server_log) as server,
    ):
        pids, forget = (server.pid, etcd.pid), partial(_compact, f"http://127.0.0.1:{client}")
        found = Server("kube-apiserver", port, "", "administrator", _trust(folder), pids, forget)
        _await_ready(found, server, folder / "kube-apiserver.log")
        yield found


@contextmanager
def sandbox(folder: Path) -> Iterator[Server]:
    """Start the sandbox's Kubernetes API alone, with one cluster; yields the ready server."""
    folder.mkdir(parents=True, exist_ok=True)
    script = ROOT / "tests" / "kubernetes" / "serve.py"
    with open(folder / "sandbox.log", "wb") as log:
        command, pipe = [sys.executable, str(script), str(folder)], subprocess.PIPE
        with started(command, stdin=pipe, stdout=pipe, stderr=log, text=True) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, (folder / "sandbox.log").read_text()
            found = json.loads(line)
            address, prefix = found["server"].removeprefix("https://").split("/", 1)
            place = (int(address.split(":")[1]), f"/{prefix}", found["token"], _trust(folder), (process.pid,))
            yield Server("sandbox", *place, partial(_say_compact, process))


def _compact(etcd: str) -> None:
    """Compact etcd through its JSON gateway."""

    def ask(path: str, question: dict[str, str]) -> dict[str, Any]:
        with urllib.request.urlopen(f"{etcd}/v3/kv/{path}", json.dumps(question).encode(), timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    ask("compaction", {"revision": ask("range", {"key": "AA=="})["header"]["revision"]})


def _say_compact(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("compact\n")
    process.stdin.flush()
    assert process.stdout.readline() == "compacted\n"


def _trust(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=pki.authority(folder).pem)


def _etcd(folder: Path, client: int, peer: int) -> list[str]:
    mine, others = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    return [
        str(ETCD),
        "--data-dir",
        str(folder / "etcd"),
        "--listen-client-urls",
        mine,
        "--advertise-client-urls",
        mine,
        "--listen-peer-urls",
        others,
        "--initial-advertise-peer-urls",
        others,
        "--initial-cluster",
        f"default={others}",
        "--log-level",
        "error",
    ]


def _apiserver(folder: Path, etcd: int, port: int) -> list[str]:
    """Return the command of kube-apiserver as AKS is known to run it: RBAC, no anonymous requests, default admission."""
    authority = pki.authority(folder)
    certificate, key = authority.issue("kube-apiserver", hosts=("127.0.0.1", "localhost"))
    pki.write_private(folder / "server.pem", certificate)
    pki.write_private(folder / "server.key", key)
    pki.write_private(folder / "accounts.key", _rsa_key())
    pki.write_private(folder / "tokens.csv", 'administrator,masterclient,1,"system:masters"\n')
    return [
        str(APISERVER),
        "--etcd-servers",
        f"http://127.0.0.1:{etcd}",
        "--bind-address",
        "127.0.0.1",
        "--advertise-address",
        NOWHERE,
        "--secure-port",
        str(port),
        "--tls-cert-file",
        str(folder / "server.pem"),
        "--tls-private-key-file",
        str(folder / "server.key"),
        "--token-auth-file",
        str(folder / "tokens.csv"),
        "--authorization-mode",
        "RBAC",
        "--anonymous-auth=false",
        "--service-account-issuer",
        "https://issuer.invalid",
        "--service-account-key-file",
        str(folder / "accounts.key"),
        "--service-account-signing-key-file",
        str(folder / "accounts.key"),
        "--service-cluster-ip-range",
        "10.0.0.0/16",
        "--feature-gates",
        "ListFromCacheSnapshot=false",  # with it, old revisions stay readable for minutes after a compaction
    ]


def _rsa_key() -> str:
    """Return a key in PKCS#1, which kube-apiserver reads for service accounts."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    return key.private_bytes(*form).decode()


def _await_ready(server: Server, process: subprocess.Popen[bytes], log: Path, seconds: float = 90) -> None:
    """Wait until /readyz answers 200, which is the only sign that the server is ready."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        assert process.poll() is None, log.read_text()[-3000:]
        connection = server.connect(5)
        try:
            connection.request("GET", "/readyz", headers={"authorization": f"Bearer {server.token}"})
            with connection.getresponse() as response:
                if response.status == 200:
                    return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.05)
    raise AssertionError(log.read_text()[-3000:])
