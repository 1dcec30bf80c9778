"""Helm repositories at `/helm/<host>/<path>`: `index.yaml` and the packages that it lists, built from the stand-in charts."""

from __future__ import annotations

import yaml

from azuresandbox.context import Receive, Sandbox, Scope, Send
from azuresandbox.http import send_bytes
from azuresandbox.sources import stand_ins
from azuresandbox.sources.access import Access
from azuresandbox.wire import Unreachable

_TEXT = "text/plain; charset=utf-8"


class HelmHost:
    """The handler of all paths under `/helm/`."""

    def __init__(self, sandbox: Sandbox, access: Access) -> None:
        self._sandbox = sandbox
        self._access = access
        self._indexes: dict[str, bytes] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"].removeprefix("/helm/")
        base, _, file = path.rpartition("/")
        url = f"https://{base}"
        if file == "index.yaml" and self._sandbox.faults.take("registry-unreachable", url):
            raise Unreachable(f"dial tcp: lookup {base.partition('/')[0]}: i/o timeout")
        if await self._access.principal(scope) is None:
            await send_bytes(send, 401, b"401 Unauthorized\n", _TEXT, {"www-authenticate": 'Basic realm="Fleet Sandbox"'})
            return
        if scope["method"] not in ("GET", "HEAD"):
            await send_bytes(send, 405, b"405 Method Not Allowed\n", _TEXT)
            return
        data = self._file(url, file)
        if data is None:
            await send_bytes(send, 404, b"404 Not Found\n", _TEXT)
        else:
            await send_bytes(send, 200, data, "text/yaml" if file == "index.yaml" else "application/gzip")

    def _file(self, url: str, file: str) -> bytes | None:
        names = stand_ins.REPOSITORIES.get(url)
        if names is None:
            return None
        if file == "index.yaml":
            if url not in self._indexes:
                self._indexes[url] = self._index(names)
            return self._indexes[url]
        for name in names:
            for version in stand_ins.versions(name):
                if file == f"{name}-{version}.tgz":
                    return stand_ins.package(self._sandbox.state, name, version).path.read_bytes()
        return None

    def _index(self, names: tuple[str, ...]) -> bytes:
        entries = {name: [self._entry(name, version) for version in reversed(stand_ins.versions(name))] for name in names}
        return yaml.safe_dump({"apiVersion": "v1", "entries": entries, "generated": stand_ins.CREATED}).encode()

    def _entry(self, name: str, version: str) -> dict[str, object]:
        chart = stand_ins.package(self._sandbox.state, name, version)
        return {
            **chart.metadata,
            "created": stand_ins.CREATED,
            "digest": chart.digest,
            "urls": [f"{name}-{version}.tgz"],
        }
