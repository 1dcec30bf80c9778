"""The process: one port on loopback, private files, no access without credentials, a start after kill -9."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import ssl
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from azuresandbox import lifecycle


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("lifecycle") / "sandbox"
    lifecycle.up(folder)
    yield folder
    lifecycle.down(folder)


def _get(state: Path, path: str, authorization: str = "") -> tuple[int, dict[str, str], bytes]:
    where = lifecycle.endpoint(state)
    headers = {"authorization": authorization} if authorization else {}
    request = urllib.request.Request(where.base + path, headers=headers)
    context = ssl.create_default_context(cafile=str(where.ca_file))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=20) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def test_up_twice_starts_one_sandbox(state: Path) -> None:
    process = lifecycle.running(state)
    assert lifecycle.up(state) == lifecycle.endpoint(state)
    assert lifecycle.running(state) == process


def test_every_file_is_private(state: Path) -> None:
    for folder, _, files in os.walk(state):
        assert stat.S_IMODE(os.stat(folder).st_mode) & 0o077 == 0, folder
        for name in files:
            path = Path(folder, name)
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_it_listens_on_loopback_only(state: Path) -> None:
    port = int(lifecycle.endpoint(state).base.rpartition(":")[2])
    listening = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if Path(table).exists():
            rows = [line.split() for line in Path(table).read_text().splitlines()[1:]]
            listening += [row[1] for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port]
    if not Path("/proc/net/tcp").exists():
        pytest.skip("this system has no /proc/net/tcp to read")
    assert listening == [f"0100007F:{port:04X}"]


def test_plain_http_is_not_spoken(state: Path) -> None:
    port = int(lifecycle.endpoint(state).base.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert not connection.recv(100).startswith(b"HTTP/1.1 2")


@pytest.mark.parametrize("authorization", ["", "Bearer nonsense", "Basic " + base64.b64encode(b"admin:admin").decode()])
def test_strangers_get_401_in_the_right_envelope(state: Path, authorization: str) -> None:
    """ARM, Git, OCI and the operator's interface. The Kubernetes API is tested where there are clusters."""
    status, headers, body = _get(state, "/subscriptions?api-version=2022-12-01", authorization)
    assert status == 401
    assert json.loads(body)["error"]["code"] in ("AuthenticationFailed", "InvalidAuthenticationToken")
    assert "WWW-Authenticate" in headers or "www-authenticate" in headers
    status, headers, _ = _get(state, "/git/github.com/contoso/aks-fleet/info/refs?service=git-upload-pack", authorization)
    assert status == 401
    status, _, body = _get(state, "/v2/contosofleet.azurecr.io/charts/podinfocluster/manifests/0.1.0", authorization)
    assert status == 401
    assert json.loads(body)["errors"][0]["code"] == "UNAUTHORIZED"
    assert _get(state, "/sandbox/status", authorization)[0] == 401


def test_kill_9_and_up_again(state: Path) -> None:
    before = lifecycle.endpoint(state)
    process = lifecycle.running(state)
    assert process
    lifecycle.ask(state, "POST", "/sandbox/faults", {"name": "git-unreachable", "target": "x", "times": 3})
    os.kill(process, signal.SIGKILL)
    _await_gone(state)
    assert lifecycle.up(state) == before
    assert lifecycle.running(state) != process
    assert lifecycle.ask(state, "GET", "/sandbox/faults")["armed"][0]["times"] == 3
    lifecycle.ask(state, "DELETE", "/sandbox/faults", {})


def test_errors_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(lifecycle.SandboxError, match="start one with `fleet sandbox up`"):
        lifecycle.endpoint(tmp_path)
    (tmp_path / "precious").write_text("data")
    with pytest.raises(lifecycle.SandboxError, match="is not a sandbox's folder: nothing was deleted"):
        lifecycle.reset(tmp_path)
    assert (tmp_path / "precious").exists()


def _await_gone(state: Path) -> None:
    import fcntl

    with open(state / "lock", "r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
