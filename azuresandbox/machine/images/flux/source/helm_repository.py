"""HelmRepository: the index of a Helm repository as an artifact. May import the engine.

One of type `oci` is static: HelmCharts read it, and it has no status.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import yaml

from azuresandbox.machine.client import Object
from azuresandbox.machine.images.flux import conditions
from azuresandbox.machine.images.flux.source import engine
from azuresandbox.machine.images.flux.source.engine import Run, SourceError, Stored, unsupported
from azuresandbox.wire import Unreachable, Wire


class DownloadError(Exception):
    """A file of a Helm repository could not be had; worded as Helm's getter words it."""


async def read(run: Run) -> Stored:
    url: str = run.spec["url"]
    if url.startswith("oci://"):
        text = "invalid Helm repository URL: 'oci' URL scheme cannot be used with 'default' HelmRepository type"
        raise SourceError("URLInvalid", text, stalling=True)
    headers = authorization(await credentials(run, run.spec))
    try:
        data = await download(run.pod.wire, normalise(url) + "index.yaml", headers)
    except DownloadError as error:
        text = f"failed to fetch Helm repository index: failed to cache index to temporary file: {error}"
        raise SourceError(conditions.FAILED, text) from None
    revision = "sha256:" + hashlib.sha256(data).hexdigest()
    summary = f"stored artifact: revision '{revision}'"
    if run.artifact and run.artifact["revision"] == revision:
        unchanged = ("ArtifactUpToDate", f"artifact up-to-date with remote revision: '{revision}'")
        size = run.artifact.get("size", 0)
        return Stored(revision, "", None, summary, _event(size, url), unchanged=unchanged)
    index = json.dumps(_index(data), separators=(",", ":")).encode()
    await run.announce(f"new index revision '{revision}'")
    file = f"index-{revision.removeprefix('sha256:')}.yaml"
    return Stored(revision, file, index, summary, _event(len(index), url), link="index.yaml")


def normalise(url: str) -> str:
    """A repository's URL with exactly one slash at its end."""
    return url.rstrip("/") + "/"


async def credentials(run: Run, spec: Mapping[str, Any]) -> tuple[str, str]:
    """User name and password for a HelmRepository with that spec (in the run's namespace); empty without a Secret."""
    if spec.get("provider", "generic") != "generic":
        raise unsupported(f"spec.provider {spec['provider']}", "use generic with a secretRef, or none")
    if certificate := spec.get("certSecretRef"):
        await run.secret(certificate["name"], "failed to get TLS authentication secret")
    if not spec.get("secretRef"):
        return "", ""
    name = spec["secretRef"]["name"]
    data = await run.secret(name, "failed to get authentication secret")
    user, password = data.get("username", b"").decode(), data.get("password", b"").decode()
    if bool(user) != bool(password):
        text = "failed to configure Helm client: "
        text += f"invalid '{run.namespace}/{name}' secret data: required fields 'username' and 'password'"
        raise SourceError(engine.AUTHENTICATION, text)
    return user, password


def authorization(pair: tuple[str, str]) -> dict[str, str]:
    if not any(pair):
        return {}
    return {"authorization": "Basic " + base64.b64encode(":".join(pair).encode()).decode()}


async def download(wire: Wire, url: str, headers: Mapping[str, str]) -> bytes:
    """The file at `url`. Raises `DownloadError`."""
    try:
        response = await wire.request("GET", url, headers={"user-agent": "Helm/3 (flux)", **headers})
    except Unreachable as error:
        raise DownloadError(f'Get "{url}": {error}') from error
    if response.status != 200:
        raise DownloadError(f"failed to fetch {url} : {response.status} {HTTPStatus(response.status).phrase}")
    return response.body


def _index(data: bytes) -> Object:
    try:
        index = yaml.load(data, Loader=_Loader)
        entries = index["entries"]
        assert isinstance(entries, dict)
    except (yaml.YAMLError, KeyError, TypeError, AssertionError):
        text = "failed to load Helm repository from index YAML: failed to load index: no API version specified"
        raise SourceError("IndexationFailed", text) from None
    found: Object = index
    return found


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML without dates: an index becomes JSON, which has none."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _event(size: int, url: str) -> str:
    return f"stored fetched index of size {human_size(size)} from '{url}'"


def human_size(size: float) -> str:
    """github.com/docker/go-units HumanSize: four significant digits, powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.4g}{unit}"


KIND = engine.Kind(
    "HelmRepository",
    read,
    conditions=engine.FETCHED,
    failures=(engine.FETCH_FAILED, engine.STORAGE_FAILED),
    static=lambda spec: spec.get("type") == "oci",
)
