"""Hostile requests: without credentials, paths that leave the folder, oversized bodies, compression bombs, injected headers."""

from __future__ import annotations

import base64
import gzip
import io
import socket
import ssl
import tarfile
import zlib

import pytest

from azuresandbox.context import TENANT_ID
from azuresandbox.http import TooLarge, gunzip
from azuresandbox.lifecycle import Endpoint
from azuresandbox.machine.images.flux.source import charts
from azuresandbox.sources import git

MEGABYTE = 1 << 20


def send(live: Endpoint, method: str, path: str, *headers: str, body: bytes = b"", operator: bool = False) -> tuple[int, bytes]:
    """Send the path exactly as given, which no HTTP library would do. Return status, head and body of the answer."""
    context = ssl.create_default_context(cafile=str(live.ca_file))
    port = int(live.base.rpartition(":")[2])
    basic = base64.b64encode(f"{live.client_id}:{live.client_secret}".encode()).decode()
    lines = [f"{method} {path} HTTP/1.1", "host: x", "connection: close", *headers]
    lines += [f"authorization: Basic {basic}"] if operator else []
    lines += [] if any(line.startswith("transfer-encoding") for line in headers) else [f"content-length: {len(body)}"]
    with context.wrap_socket(
        socket.create_connection(("127.0.0.1", port), timeout=60), server_hostname="127.0.0.1"
    ) as connection:
        found = b""
        try:
            connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        except OSError:
            pass  # refused before all of it was sent
        try:
            while data := connection.recv(65_536):
                found += data
        except OSError:
            pass
    return int(found.split(b" ", 2)[1]), found


CLOSED = [
    ("GET", "/subscriptions?api-version=2022-12-01"),
    ("POST", "/subscriptions/x/providers/y/register?api-version=2021-04-01"),
    ("GET", "/providers?api-version=2021-04-01"),
    ("GET", "/tenants?api-version=2022-12-01"),
    ("POST", "/batch?api-version=2021-04-01"),
    ("GET", "/git/github.com/contoso/aks-fleet/info/refs?service=git-upload-pack"),
    ("POST", "/git/github.com/contoso/aks-fleet/git-receive-pack"),
    ("GET", "/v2/"),
    ("GET", "/v2/_catalog"),
    ("POST", "/v2/contosofleet.azurecr.io/x/blobs/uploads/"),
    ("GET", "/oauth2-registry/token"),
    ("GET", "/helm/charts.jetstack.io/index.yaml"),
    ("GET", "/sandbox/status"),
    ("POST", "/sandbox/faults"),
    ("DELETE", "/sandbox/faults"),
    ("POST", "/sandbox/mirrors"),
    ("GET", "/sandbox/anything"),
]


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_every_route_wants_credentials(live: Endpoint, method: str, path: str) -> None:
    assert send(live, method, path)[0] == 401
    assert send(live, method, path, "authorization: Basic AAAA")[0] == 401
    assert send(live, method, path, "authorization: Bearer a.b.c")[0] == 401


OUTSIDE = [
    "/git/github.com/../../../../etc/info/refs?service=git-upload-pack",
    "/git/github.com/%2e%2e/%2e%2e/sandbox.db/info/refs?service=git-upload-pack",
    "/git/github.com/..%2f..%2f..%2fetc/info/refs?service=git-upload-pack",
    "/git/github.com/x%00y/z/info/refs?service=git-upload-pack",
    "/git/-upload-pack=id/x/info/refs?service=git-upload-pack",
    "/helm/charts.jetstack.io/..%2f..%2f..%2fcredential.json",
    "/helm/..%2f..%2fca.key",
    "/v2/h/../../../ca.key/blobs/sha256:aa",
    "/v2/h/%2e%2e/%2e%2e/manifests/ca.key",
    "/v2/h/x/manifests/..%2f..%2fca.key",
    "/v2/h/x/blobs/uploads/..%2f..%2f..%2fca.key",
    "/v2/h/x/blobs/sha256:..%2f..%2f..%2fca.key",
]


@pytest.mark.parametrize("path", OUTSIDE)
def test_no_path_leads_out_of_the_folder(live: Endpoint, path: str) -> None:
    status, answer = send(live, "GET", path, operator=True)
    assert status in (400, 404), answer
    assert b"PRIVATE KEY" not in answer and live.client_secret.encode() not in answer


INJECTED = [
    "/v2/h/x%0d%0aevil:1/manifests/x",
    "/subscriptions/x%0d%0aevil:1?api-version=2022-12-01",
    "/x%0d%0aevil:1/oauth2/v2.0/token",
    "/oauth2-registry/token?service=a%0d%0aevil:1&scope=repository:x%0d%0aevil:1:pull",
    "/clusters/x%0d%0aevil:1/api",
    "/git/github.com/x%0d%0aevil:1/info/refs?service=git-upload-pack",
    "/v2/h/x/blobs/uploads/?mount=sha256:a%0d%0aevil:1",
]


@pytest.mark.parametrize("path", INJECTED)
@pytest.mark.parametrize("operator", [True, False])
def test_no_path_puts_headers_into_the_answer(live: Endpoint, path: str, operator: bool) -> None:
    for method in ("GET", "POST"):
        head = send(live, method, path, operator=operator)[1].split(b"\r\n\r\n")[0]
        assert b"\nevil:" not in head.replace(b"\r", b"\n")


@pytest.mark.parametrize(
    ("path", "status"), [(f"/{TENANT_ID}/oauth2/v2.0/token", 413), ("/subscriptions?api-version=2022-12-01", 413)]
)
def test_oversized_requests_are_refused_early(live: Endpoint, path: str, status: int) -> None:
    """A body longer than the limit is refused as soon as that is known, announced or in chunks."""
    assert send(live, "POST", path, body=b"x" * (5 * MEGABYTE))[0] == status
    chunk = b"100000\r\n" + b"x" * MEGABYTE + b"\r\n"
    assert send(live, "POST", path, "transfer-encoding: chunked", body=chunk * 5 + b"0\r\n\r\n")[0] == status


def test_a_packed_push_that_explodes_is_refused(live: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = gzip.compress(b"0" * (git.MAX_PACK + MEGABYTE), 9)
    assert len(bomb) < MEGABYTE
    path = "/git/github.com/contoso/bomb/git-receive-pack"
    status, answer = send(live, "POST", path, "content-encoding: gzip", body=bomb, operator=True)
    assert status == 413, answer


def test_gunzip_reads_gzip_up_to_the_limit() -> None:
    assert gunzip(gzip.compress(b"a" * 100) + gzip.compress(b"b"), 101) == b"a" * 100 + b"b"
    with pytest.raises(TooLarge, match="limit is 100"):
        gunzip(gzip.compress(b"a" * 100) + gzip.compress(b"b"), 100)
    with pytest.raises(EOFError):
        gunzip(gzip.compress(b"a" * 100)[:-9], 1000)
    with pytest.raises(zlib.error):
        gunzip(b"nothing of the kind", 1000)


def test_a_chart_that_explodes_is_refused_in_helms_words() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        entry = tarfile.TarInfo("x/values.yaml")
        entry.size = charts.MAX_CHART + 1
        tar.addfile(entry, io.BytesIO(b"0" * entry.size))
    with pytest.raises(charts.BuildError, match="decompressed chart is larger than the maximum size 104857600 bytes"):
        charts.unpack(buffer.getvalue())
