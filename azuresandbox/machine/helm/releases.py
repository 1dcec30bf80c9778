"""Releases as Helm stores them: a Secret for each revision, in the format of the real `helm`.

Source: helm.sh/helm/v4/pkg/release/v1 and pkg/storage.
"""

from __future__ import annotations

import base64
import copy
import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from azuresandbox.clock import Clock, rfc3339_micro
from azuresandbox.http import gunzip
from azuresandbox.machine.client import ApiError, KubeClient
from azuresandbox.machine.types import Object

DEPLOYED, FAILED, SUPERSEDED, UNINSTALLED, UNINSTALLING = "deployed", "failed", "superseded", "uninstalled", "uninstalling"
PENDING = ("pending-install", "pending-upgrade", "pending-rollback")
TYPE = "helm.sh/release.v1"


class StorageError(Exception):
    """A release could not be stored. The text is that of Helm's driver."""


@dataclass
class Release:
    """One revision of a release. `content` is Helm's JSON: name, info, chart, config, manifest, hooks, version, namespace."""

    content: Object

    @property
    def name(self) -> str:
        return str(self.content["name"])

    @property
    def version(self) -> int:
        return int(self.content.get("version", 0))

    @property
    def namespace(self) -> str:
        return str(self.content.get("namespace", ""))

    @property
    def info(self) -> Object:
        found: Object = self.content.setdefault("info", {})
        return found

    @property
    def status(self) -> str:
        return str(self.info.get("status", "unknown"))

    @property
    def manifest(self) -> str:
        return str(self.content.get("manifest", ""))

    @property
    def hooks(self) -> list[Object]:
        return list(self.content.get("hooks") or [])

    @property
    def config(self) -> Object:
        return dict(self.content.get("config") or {})

    @property
    def chart_metadata(self) -> Object:
        return dict((self.content.get("chart") or {}).get("metadata") or {})

    def set_status(self, status: str, description: str) -> None:
        self.info.update(status=status, description=description)

    def copy(self) -> Release:
        return Release(copy.deepcopy(self.content))


def new(
    name: str,
    namespace: str,
    version: int,
    chart: Object,
    config: Object,
    manifest: str,
    hooks: list[Object],
    notes: str,
    now: datetime,
    first: str = "",
) -> Release:
    """Return a release that is not stored yet. `first` is when its first revision was deployed, "" for the first one."""
    moment = rfc3339_micro(now)
    info: Object = {"first_deployed": first or moment, "last_deployed": moment}
    if notes:
        info["notes"] = notes
    content = {
        "name": name,
        "info": info,
        "chart": chart,
        "config": config,
        "manifest": manifest,
        "hooks": hooks,
        "version": version,
        "namespace": namespace,
        "apply_method": "ssa",
    }
    return Release({key: value for key, value in content.items() if value not in ({}, [], "")})


def encode(release: Release) -> str:
    """Return the Secret's `data.release`: base64 of base64 of gzipped JSON."""
    data = json.dumps(release.content, separators=(",", ":")).encode()
    return base64.b64encode(base64.b64encode(gzip.compress(data, compresslevel=9, mtime=0))).decode()


MAX_RELEASE = 64 << 20
"""Bytes of a release's JSON. A Secret holds a megabyte, and repetitive text is compressed to a fiftieth."""


def decode(text: str) -> Release:
    """Read a Secret's `data.release`. Raises `azuresandbox.http.TooLarge` above MAX_RELEASE."""
    data = base64.b64decode(base64.b64decode(text))
    if data[:3] == b"\x1f\x8b\x08":
        data = gunzip(data, MAX_RELEASE)
    return Release(json.loads(data))


@dataclass
class Storage:
    """The releases in one namespace. `observe` is called with each release that is written."""

    kube: KubeClient
    clock: Clock
    namespace: str
    observe: Callable[[Release], None] = field(default=lambda release: None)

    async def history(self, name: str) -> list[Release]:
        """Return all revisions of a release, oldest first."""
        found = await self.kube.list("v1", "Secret", self.namespace, labels=f"name={name},owner=helm")
        releases = [decode(secret["data"]["release"]) for secret in found if (secret.get("data") or {}).get("release")]
        return sorted(releases, key=lambda release: release.version)

    async def last(self, name: str) -> Release | None:
        """Return the newest revision, or `None`."""
        found = await self.history(name)
        return found[-1] if found else None

    async def create(self, release: Release, keep: int = 0) -> None:
        """Store a new revision and delete the oldest ones beyond `keep` (0: keep all). Raises `StorageError`."""
        if keep:
            await self._forget(release.name, keep - 1)
        try:
            await self.kube.create(self._secret(release, "createdAt"))
        except ApiError as error:
            raise StorageError(f"create: failed to create: {error}") from error
        self.observe(release)

    async def update(self, release: Release) -> None:
        """Store a revision again. Raises `StorageError`."""
        try:
            await self.kube.update(self._secret(release, "modifiedAt"))
        except ApiError as error:
            raise StorageError(f"update: failed to update: {error}") from error
        self.observe(release)

    async def delete(self, release: Release) -> None:
        await self.kube.delete("v1", "Secret", _key(release), self.namespace)

    async def _forget(self, name: str, keep: int) -> None:
        """Delete the oldest revisions but `keep`. The deployed revision is always kept."""
        found = await self.history(name)
        excess = len(found) - keep
        for release in found:
            if excess > 0 and release.status != DEPLOYED:
                await self.delete(release)
                excess -= 1

    def _secret(self, release: Release, stamp: str) -> Object:
        labels = {
            "name": release.name,
            "owner": "helm",
            "status": release.status,
            "version": str(release.version),
            stamp: str(int(self.clock.now().timestamp())),
        }
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": TYPE,
            "data": {"release": encode(release)},
            "metadata": {"name": _key(release), "namespace": self.namespace, "labels": labels},
        }


def _key(release: Release) -> str:
    return f"sh.helm.release.v1.{release.name}.v{release.version}"
