"""The storage of the OCI registry: blobs are files named by their digest; records say which repository has which blobs.

Files are written before records, so that a record never names a missing file, whenever the process dies.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from azuresandbox.sources.mirrors import PARTITION
from azuresandbox.store import Store

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"


@dataclass(frozen=True)
class Manifest:
    """A manifest of a repository; its content is the blob of the same digest."""

    digest: str
    media_type: str
    size: int
    subject: str = ""
    artifact_type: str = ""
    annotations: dict[str, str] = field(default_factory=dict)

    def descriptor(self) -> dict[str, Any]:
        found: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.artifact_type:
            found["artifactType"] = self.artifact_type
        if self.annotations:
            found["annotations"] = self.annotations
        return found


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class OciStore:
    """The repositories of a registry, named `<host>/<name>`."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self._blobs = folder / "blobs" / "sha256"
        self._uploads = folder / "uploads"
        for made in (self._blobs, self._uploads):
            made.mkdir(parents=True, exist_ok=True, mode=0o700)

    # --- repositories ------------------------------------------------------------------------------------------------

    def exists(self, repository: str) -> bool:
        return self._store.count(PARTITION, f"oci/{repository}#m/") > 0

    def repositories(self) -> list[str]:
        keys = (record.key for record in self._store.list(PARTITION, "oci/").records)
        return sorted({key.partition("#")[0].removeprefix("oci/") for key in keys})

    # --- blobs -------------------------------------------------------------------------------------------------------

    def blob(self, repository: str, digest: str) -> Path | None:
        """Return the file of a blob that the repository has, or `None`."""
        if self._store.get(PARTITION, f"oci/{repository}#b/{digest}") is None:
            return None
        return self._file(digest)

    def add_blob(self, repository: str, data: bytes) -> str:
        digest = digest_of(data)
        if not self._file(digest).exists():
            temporary = self._uploads / secrets.token_hex(16)
            _write(temporary, data)
            os.replace(temporary, self._file(digest))
        self._link(repository, digest)
        return digest

    def mount(self, repository: str, origin: str, digest: str) -> bool:
        """Give the repository a blob of another repository. Return whether the other one has it."""
        if self.blob(origin, digest) is None:
            return False
        self._link(repository, digest)
        return True

    def delete_blob(self, repository: str, digest: str) -> bool:
        return self._store.delete(PARTITION, f"oci/{repository}#b/{digest}") is not None

    def _link(self, repository: str, digest: str) -> None:
        key = f"oci/{repository}#b/{digest}"
        if self._store.get(PARTITION, key) is None:
            self._store.put(PARTITION, key, b"{}")

    def _file(self, digest: str) -> Path:
        return self._blobs / digest.removeprefix("sha256:")

    # --- uploads -----------------------------------------------------------------------------------------------------

    def start_upload(self) -> str:
        upload = secrets.token_hex(16)
        _write(self._uploads / upload, b"")
        return upload

    def upload_size(self, upload: str) -> int | None:
        """Return the number of bytes that have arrived, or `None` if there is no such upload."""
        path = self._uploads / upload
        return path.stat().st_size if re.fullmatch("[0-9a-f]{32}", upload) and path.exists() else None

    def append(self, upload: str, data: bytes) -> int:
        with (self._uploads / upload).open("ab") as file:
            file.write(data)
            return file.tell()

    def finish_upload(self, repository: str, upload: str, digest: str) -> bool:
        """Store the upload as the blob `digest`. Return whether the digests match; if not, the upload is deleted."""
        path = self._uploads / upload
        with path.open("rb") as file:
            found = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
        if found != digest:
            path.unlink()
            return False
        os.replace(path, self._file(digest))
        self._link(repository, digest)
        return True

    def cancel_upload(self, upload: str) -> None:
        (self._uploads / upload).unlink(missing_ok=True)

    # --- manifests and tags ------------------------------------------------------------------------------------------

    def put_manifest(self, repository: str, data: bytes, media_type: str, reference: str = "") -> Manifest:
        """Store a manifest, under a tag if `reference` is one."""
        digest = self.add_blob(repository, data)
        manifest = _manifest(digest, media_type, data)
        with self._store.transaction():
            self._store.put(PARTITION, f"oci/{repository}#m/{digest}", json.dumps(asdict(manifest)).encode())
            if reference and not DIGEST.fullmatch(reference):
                self._store.put(PARTITION, f"oci/{repository}#t/{reference}", digest.encode())
        return manifest

    def manifest(self, repository: str, reference: str) -> Manifest | None:
        """Return the manifest of a tag or digest, or `None`."""
        digest = reference
        if not DIGEST.fullmatch(reference):
            tag = self._store.get(PARTITION, f"oci/{repository}#t/{reference}")
            if tag is None:
                return None
            digest = tag.value.decode()
        record = self._store.get(PARTITION, f"oci/{repository}#m/{digest}")
        return Manifest(**json.loads(record.value)) if record else None

    def content(self, manifest: Manifest) -> bytes:
        return self._file(manifest.digest).read_bytes()

    def delete_manifest(self, repository: str, reference: str) -> bool:
        """Remove a tag, or a manifest with all its tags. Return whether it existed."""
        if not DIGEST.fullmatch(reference):
            return self._store.delete(PARTITION, f"oci/{repository}#t/{reference}") is not None
        with self._store.transaction():
            for record in self._store.list(PARTITION, f"oci/{repository}#t/").records:
                if record.value.decode() == reference:
                    self._store.delete(PARTITION, record.key)
            return self._store.delete(PARTITION, f"oci/{repository}#m/{reference}") is not None

    def tags(self, repository: str) -> list[str]:
        prefix = f"oci/{repository}#t/"
        return [record.key.removeprefix(prefix) for record in self._store.list(PARTITION, prefix).records]

    def referrers(self, repository: str, digest: str) -> list[Manifest]:
        records = self._store.list(PARTITION, f"oci/{repository}#m/").records
        found = [Manifest(**json.loads(record.value)) for record in records]
        return [manifest for manifest in found if manifest.subject == digest]


def _manifest(digest: str, media_type: str, data: bytes) -> Manifest:
    document: Mapping[str, Any] = json.loads(data)
    config = document.get("config", {}).get("mediaType", "")
    artifact_type = document.get("artifactType") or ("" if config == EMPTY_TYPE else config)
    subject = document.get("subject", {}).get("digest", "")
    annotations = document.get("annotations") or {}
    return Manifest(
        digest=digest,
        media_type=media_type,
        size=len(data),
        subject=subject,
        artifact_type=artifact_type,
        annotations=dict(annotations),
    )


def _write(path: Path, data: bytes) -> None:
    with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
