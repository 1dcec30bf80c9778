"""Reads OCI repositories over the Wire, as source-controller does. Messages are those of go-containerregistry."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from azuresandbox.wire import Response, Unreachable, Wire

ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)


class OciError(Exception):
    """The registry refused, or could not be reached: then `status` is 0. The text is the client library's."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


@dataclass
class OciClient:
    """One repository (`contoso.azurecr.io/charts/x`), with Basic credentials if there are any. Methods raise `OciError`."""

    wire: Wire
    repository: str
    username: str = ""
    password: str = ""

    @property
    def host(self) -> str:
        host = self.repository.partition("/")[0]
        return "registry-1.docker.io" if host in ("docker.io", "index.docker.io") else host

    @property
    def base(self) -> str:
        return f"https://{self.host}/v2/{self.repository.partition('/')[2]}"

    async def ping(self) -> None:
        """Ask whether there is a registry, as clients do first."""
        url = f"https://{self.host}/v2/"
        response = await self._send("GET", url, {})
        if response.status not in (200, 401):
            raise _error("GET", url, response)

    async def digest(self, reference: str) -> str:
        """Return the digest of a tag."""
        url = f"{self.base}/manifests/{reference}"
        response = await self._send("HEAD", url, {"accept": ACCEPT})
        if response.status == 200 and (digest := response.headers.get("docker-content-digest")):
            return digest
        return (await self.manifest(reference))[1]

    async def manifest(self, reference: str) -> tuple[dict[str, Any], str]:
        """Return a manifest and its digest."""
        response = await self._get(f"{self.base}/manifests/{reference}", {"accept": ACCEPT})
        document: dict[str, Any] = json.loads(response.body)
        return document, "sha256:" + hashlib.sha256(response.body).hexdigest()

    async def tags(self) -> list[str]:
        """Return all tags of the repository."""
        found: list[str] = []
        url = f"{self.base}/tags/list?n=1000"
        while url:
            response = await self._get(url, {})
            found += response.json().get("tags") or []
            link = response.headers.get("link", "")
            path = link.partition(">")[0].removeprefix("<")
            # The link has the path that the registry is served at, so only its query is used.
            url = f"{self.base}/tags/list?{path.partition('?')[2]}" if path else ""
        return found

    async def blob(self, digest: str) -> bytes:
        """Download a blob and verify its digest."""
        response = await self._get(f"{self.base}/blobs/{digest}", {})
        computed = "sha256:" + hashlib.sha256(response.body).hexdigest()
        if computed != digest:
            raise OciError(f"error verifying sha256 checksum; got {computed!r}, want {digest!r}")
        return response.body

    async def _get(self, url: str, headers: Mapping[str, str]) -> Response:
        response = await self._send("GET", url, headers)
        if response.status != 200:
            raise _error("GET", url, response)
        return response

    async def _send(self, method: str, url: str, headers: Mapping[str, str]) -> Response:
        sent = {"user-agent": "flux/v2", **headers}
        if self.username or self.password:
            token = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
            sent["authorization"] = f"Basic {token}"
        try:
            return await self.wire.request(method, url, headers=sent)
        except Unreachable as error:
            raise OciError(f'{method.capitalize()} "{url}": {error}') from error


def _error(method: str, url: str, response: Response) -> OciError:
    prefix = f"{method} {url}: "
    try:
        errors = response.json()["errors"]
        first = errors[0]
        text = f"{first['code']}: {first['message']}"
        if first.get("detail") is not None:
            text += f"; {go_value(first['detail'])}"
    except (ValueError, LookupError, TypeError):
        phrase = HTTPStatus(response.status).phrase
        text = f"unexpected status code {response.status} {phrase}"
        text += f": {response.text}" if response.body else ""
    return OciError(prefix + text, response.status)


def go_value(value: Any) -> str:
    """Format a JSON value as Go's `%v` does."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{name}:{go_value(value[name])}" for name in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(go_value, value)) + "]"
    return str(value)


def docker_credentials(config: bytes, host: str) -> tuple[str, str]:
    """Return user name and password of a registry in a `.dockerconfigjson`, ("", "") if it has none. Raises `ValueError`."""
    auths = json.loads(config).get("auths", {})
    for name, entry in auths.items():
        if name.removeprefix("https://").rstrip("/").removesuffix("/v1").removesuffix("/v2") == host:
            if entry.get("auth"):
                user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
                return user, password
            return str(entry.get("username", "")), str(entry.get("password", ""))
    return "", ""
