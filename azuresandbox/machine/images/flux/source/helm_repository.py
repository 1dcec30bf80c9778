"""HelmRepository: the index of a Helm repository as an artifact.

A HelmRepository of type `oci` is static: HelmCharts read it, and it has no status.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import yaml

from azuresandbox.machine.images.flux.source import engine, texts
from azuresandbox.machine.images.flux.source.engine import Run, SourceError, Stored, unsupported
from azuresandbox.machine.images.flux.texts import Said
from azuresandbox.machine.types import Object
from azuresandbox.wire import Unreachable, Wire


class DownloadError(Exception):
    """A file of a Helm repository could not be downloaded. The text is that of Helm's getter."""


async def read(run: Run) -> Stored:
    """Download the index. Raises `SourceError`."""
    url: str = run.spec["url"]
    if url.startswith("oci://"):
        raise SourceError(texts.INDEX_URL_INVALID(), stalling=True)
    headers = authorization(await credentials(run, run.spec))
    try:
        data = await download(run.pod.wire, normalise(url) + "index.yaml", headers)
    except DownloadError as error:
        raise SourceError(texts.INDEX_NOT_FETCHED(error=error)) from None
    revision = "sha256:" + hashlib.sha256(data).hexdigest()
    summary = texts.INDEX_STORED(revision=revision)
    if run.artifact and run.artifact["revision"] == revision:
        size = run.artifact.get("size", 0)
        return Stored(revision, "", None, summary, _event(size, url), unchanged=texts.UP_TO_DATE(revision=revision))
    index = json.dumps(_index(data), separators=(",", ":")).encode()
    await run.announce(texts.INDEX_NEW(revision=revision))
    file = f"index-{revision.removeprefix('sha256:')}.yaml"
    return Stored(revision, file, index, summary, _event(len(index), url), link="index.yaml")


def normalise(url: str) -> str:
    """Return a repository's URL with exactly one slash at its end."""
    return url.rstrip("/") + "/"


async def credentials(run: Run, spec: Mapping[str, Any]) -> tuple[str, str]:
    """Return user name and password of a HelmRepository in the run's namespace, ("", "") without a Secret.

    Raises `SourceError`.
    """
    if spec.get("provider", "generic") != "generic":
        raise unsupported(f"spec.provider {spec['provider']}", "use generic with a secretRef, or none")
    if certificate := spec.get("certSecretRef"):
        await run.secret(certificate["name"], texts.HELM_NO_TLS_SECRET().message)
    if not spec.get("secretRef"):
        return "", ""
    name = spec["secretRef"]["name"]
    data = await run.secret(name, texts.HELM_NO_SECRET().message)
    user, password = data.get("username", b"").decode(), data.get("password", b"").decode()
    if bool(user) != bool(password):
        raise SourceError(texts.HELM_SECRET_INCOMPLETE(namespace=run.namespace, name=name))
    return user, password


def authorization(pair: tuple[str, str]) -> dict[str, str]:
    if not any(pair):
        return {}
    return {"authorization": "Basic " + base64.b64encode(":".join(pair).encode()).decode()}


async def download(wire: Wire, url: str, headers: Mapping[str, str]) -> bytes:
    """Download a file. Raises `DownloadError`."""
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
        raise SourceError(texts.INDEX_INVALID()) from None
    found: Object = index
    return found


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Loads YAML and leaves dates as text, because an index is stored as JSON."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _event(size: int, url: str) -> Said:
    return texts.INDEX_STORED_EVENT(size=human_size(size), url=url)


def human_size(size: float) -> str:
    """Format a size like github.com/docker/go-units HumanSize: four significant digits, powers of 1000."""
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
