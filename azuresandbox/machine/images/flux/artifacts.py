"""Artifacts: source-controller stores them, and the other Flux controllers download them inside the cluster.

The storage is the controller's `/data`, an emptyDir: it is lost with the Pod. Equal contents are kept once in the process
for all clusters. `fetch` downloads as fluxcd/pkg/http/fetch does: it verifies the digest, and it fails without a running
source-controller in the same cluster.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from azuresandbox.machine.node.program import Pod

HOST = "source-controller.flux-system.svc.cluster.local."
FILE_MODE, EXECUTABLE_MODE, DIRECTORY_MODE = 0o600, 0o700, 0o750


class ArtifactError(Exception):
    """The artifact could not be downloaded. The text is that of fluxcd/pkg/http/fetch."""


class ArtifactNotFound(ArtifactError):
    """The server answered 404: the artifact was replaced, or the storage was lost until its source is reconciled again."""


@dataclass(frozen=True, slots=True)
class Blob:
    """Stored bytes and their digest, `sha256:<hex>`."""

    data: bytes
    digest: str


_blobs: dict[str, Blob] = {}
_users: dict[str, int] = {}
_serving: dict[tuple[int, str], Storage] = {}


@dataclass
class Storage:
    """The files of one source-controller Pod under `/data`: `<kind>/<namespace>/<name>/<file>` -> contents."""

    _files: dict[str, str] = field(default_factory=dict)

    def put(self, path: str, data: bytes) -> Blob:
        """Store a file, replacing one of the same path."""
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        blob = _blobs.setdefault(digest, Blob(data, digest))
        _users[digest] = _users.get(digest, 0) + 1
        self.remove(path)
        self._files[path] = digest
        return blob

    def read(self, path: str) -> bytes | None:
        """Return the contents of a file, or `None`."""
        digest = self._files.get(path)
        return _blobs[digest].data if digest else None

    def holds(self, artifact: Mapping[str, Any]) -> bool:
        """Return whether the storage has the artifact of a status, with its digest."""
        return bool(self._files.get(str(artifact.get("path"))) == artifact.get("digest", ""))

    def remove(self, path: str) -> None:
        digest = self._files.pop(path, None)
        if digest is None:
            return
        _users[digest] -= 1
        if not _users[digest]:
            del _users[digest], _blobs[digest]

    def collect(self, folder: str) -> None:
        """Remove the files of one object (`<kind>/<namespace>/<name>`)."""
        self.retain(folder, set())

    def retain(self, folder: str, keep: set[str]) -> None:
        """Remove the files of one object, except those in `keep`."""
        for path in [path for path in self._files if path.startswith(folder + "/") and path not in keep]:
            self.remove(path)

    def clear(self) -> None:
        for path in list(self._files):
            self.remove(path)


@contextmanager
def serving(pod: Pod, storage: Storage) -> Iterator[None]:
    """Serve `storage` as `http://source-controller.flux-system...` of the Pod's cluster. At the end it is cleared."""
    cluster = _cluster(pod)
    _serving[cluster] = storage
    try:
        yield
    finally:
        if _serving.get(cluster) is storage:
            del _serving[cluster]
        storage.clear()


def path_of(kind: str, namespace: str, name: str, file: str = "") -> str:
    folder = f"{kind.lower()}/{namespace}/{name}"
    return f"{folder}/{file}" if file else folder


def url_of(path: str) -> str:
    return f"http://{HOST}/{path}"


async def fetch(pod: Pod, artifact: Mapping[str, Any]) -> bytes:
    """Download the `status.artifact` of a source, for a program in the same cluster.

    Raises `ArtifactNotFound` for a 404, `ArtifactError` if no source-controller runs or the digest differs.
    """
    url, digest = str(artifact["url"]), str(artifact["digest"])
    parts = urlsplit(url)
    if parts.hostname != HOST:
        raise ArtifactError(
            f"failed to download archive: GET {url} giving up after 10 attempt(s): "
            f'Get "{url}": dial tcp: lookup {parts.hostname}: no such host'
        )
    storage = _serving.get(_cluster(pod))
    if storage is None:
        raise ArtifactError(
            f"failed to download archive: GET {url} giving up after 10 attempt(s): "
            f'Get "{url}": dial tcp {HOST.rstrip(".")}:80: connect: connection refused'
        )
    data = storage.read(parts.path.lstrip("/"))
    if data is None:
        raise ArtifactNotFound("file not found")
    computed = "sha256:" + hashlib.sha256(data).hexdigest()
    if computed != digest:
        raise ArtifactError(
            f"failed to verify archive: computed digest doesn't match provided '{digest}' "
            "(check whether file size exceeds max download size)"
        )
    return data


def archive(files: Mapping[str, tuple[bytes, bool]]) -> bytes:
    """Return a reproducible tar.gz of path -> (contents, executable), without times and owners, as source-controller does."""
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, compresslevel=6) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for folder in _folders(files):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, DIRECTORY_MODE
            tar.addfile(entry)
        for path in sorted(files):
            data, executable = files[path]
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(data), EXECUTABLE_MODE if executable else FILE_MODE
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def unpack(data: bytes) -> dict[str, bytes]:
    """Return path -> contents of the regular files in a tar.gz.

    Raises `ValueError` if it is not a tar.gz, or if a path leaves its root.
    """
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as tar:
            for entry in tar:
                if not entry.isfile():
                    continue
                path = entry.name.removeprefix("./")
                if path.startswith("/") or ".." in path.split("/"):
                    raise ValueError(f"tar contained invalid name error {entry.name!r}")
                content = tar.extractfile(entry)
                files[path] = content.read() if content else b""
    except (tarfile.TarError, gzip.BadGzipFile, EOFError) as error:
        raise ValueError(f"requires gzip-compressed body: {error}") from error
    return files


def _cluster(pod: Pod) -> tuple[int, str]:
    """Return the key of the Pod's cluster in this process: its network, and its id there."""
    return id(pod.wire), pod.cluster_id


def _folders(files: Mapping[str, Any]) -> list[str]:
    folders: set[str] = set()
    for path in files:
        parts = path.split("/")[:-1]
        folders.update("/".join(parts[: depth + 1]) for depth in range(len(parts)))
    return sorted(folders)
