"""HTTP inside the sandbox: the programs that run in its clusters call the application directly, in memory.

Routes and authentication are the same as over the socket. A public address is looked up among the mirrors
(`mirror/<url prefix>` in partition `sources`); one without a mirror fails as on a machine without a network.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from azuresandbox import trees
from azuresandbox.store import Store

PUBLIC_AZURE = ("https://management.azure.com/", "https://login.microsoftonline.com/")
"""Azure's public endpoints, which programs use by default. The sandbox answers for them."""


class Unreachable(Exception):
    """No connection could be made. The text is that of Go's net package, because controllers show it."""


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return trees.parse(self.body)

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


@dataclass
class Stream:
    """An answer that is still arriving: iterate over its chunks of bytes."""

    status: int
    headers: dict[str, str]
    _chunks: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (chunk := await self._chunks.get()) is not None:
            yield chunk

    async def lines(self) -> AsyncIterator[bytes]:
        """Yield the answer line by line, as a watch is read."""
        rest = b""
        async for chunk in self:
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                if line:
                    yield line
        if rest:
            yield rest


@dataclass(frozen=True, slots=True)
class Mirror:
    """Where a public URL prefix is served: `target` is a path of this server."""

    prefix: str
    target: str


class Wire:
    """The client of the sandbox's own application. The server sets `app` and `base` before the first request."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.app: Callable[..., Any] | None = None
        self.base = "https://127.0.0.1"
        self.egress_headers: dict[str, str] = {}

    async def request(self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Response:
        """Send a request and return its whole answer. Raises `Unreachable`; every HTTP status is an answer."""
        status, sent, chunks = 0, dict[str, str](), list[bytes]()

        async def send(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                sent.update(_decode(message.get("headers", ())))
            elif message["type"] == "http.response.body":
                chunks.append(message.get("body", b""))

        await self._call(method, url, headers, body, send, asyncio.Event())
        return Response(status, sent, b"".join(chunks))

    @asynccontextmanager
    async def stream(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> AsyncIterator[Stream]:
        """Send a request and yield its answer as it arrives. Leaving the block closes the connection."""
        started: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()
        hung_up = asyncio.Event()

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                if not started.done():
                    started.set_result(Stream(message["status"], _decode(message.get("headers", ()))))
            elif started.done() and message.get("body"):
                started.result()._chunks.put_nowait(message["body"])

        async def run() -> None:
            try:
                await self._call(method, url, headers, body, send, hung_up)
            except BaseException as error:
                if not started.done():
                    started.set_exception(error)
                    return
                raise
            finally:
                if started.done() and not started.exception():
                    started.result()._chunks.put_nowait(None)

        task = asyncio.create_task(run())
        try:
            yield await started
        finally:
            hung_up.set()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def resolve(self, url: str) -> tuple[str, bool]:
        """Return the path of this server that answers for `url`, and whether it is reached as the public internet."""
        if url.startswith(self.base + "/") or url == self.base:
            return url[len(self.base) :] or "/", False
        for endpoint in PUBLIC_AZURE:
            if url.startswith(endpoint):
                return url[len(endpoint) - 1 :], False
        mirror = self.mirror(url)
        if mirror is None:
            host = urlsplit(url).hostname or url
            raise Unreachable(f"dial tcp: lookup {host}: no such host")
        return mirror.target + url[len(mirror.prefix) :], True

    def mirror(self, url: str) -> Mirror | None:
        """Return the entry with the longest prefix of `url`, or `None`."""
        best: Mirror | None = None
        for record in self._store.list("sources", "mirror/").records:
            prefix = record.key[len("mirror/") :]
            if url.startswith(prefix) and (best is None or len(prefix) > len(best.prefix)):
                best = Mirror(prefix, json.loads(record.value)["target"])
        return best

    async def _call(
        self, method: str, url: str, headers: Mapping[str, str] | None, body: bytes, send: Any, hung_up: asyncio.Event
    ) -> None:
        target, public = self.resolve(url)
        path, _, query = target.partition("?")
        all_headers = {"host": self.base.removeprefix("https://"), "content-length": str(len(body))}
        all_headers |= {name.lower(): value for name, value in (headers or {}).items()}
        if public:
            all_headers = {**self.egress_headers, **all_headers}
        received = False

        async def receive() -> Any:
            nonlocal received
            if not received:
                received = True
                return {"type": "http.request", "body": body, "more_body": False}
            await hung_up.wait()
            return {"type": "http.disconnect"}

        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "scheme": "https",
            "method": method,
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(k.encode("latin-1"), v.encode("latin-1")) for k, v in all_headers.items()],
            "client": ("127.0.0.1", 0),
            "server": ("127.0.0.1", 443),
            "state": {},
            "extensions": {},
        }
        assert self.app is not None, "the server sets Wire.app before anything runs"
        await self.app(scope, receive, send)


def _decode(headers: Any) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
