"""An OCI registry (distribution-spec 1.1) at `/v2/<host>/<name>/...`: one for all hosts; the host is the name's first part.

`oci://contoso.azurecr.io/charts/x` is served as `/v2/contoso.azurecr.io/charts/x`, so a client at the socket pushes to
`oci://127.0.0.1:PORT/contoso.azurecr.io/charts`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

from azuresandbox.context import Receive, Sandbox, Scope, Send
from azuresandbox.http import header, read_body, send_bytes, send_json
from azuresandbox.sources.access import Access
from azuresandbox.sources.mirrors import mirror
from azuresandbox.sources.oci_store import DIGEST, Manifest, OciStore, digest_of
from azuresandbox.sources.registry_access import SignIn
from azuresandbox.sources.registry_errors import API, RegistryError, manifest_unknown, name_unknown
from azuresandbox.wire import Unreachable

MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
INDEX_TYPE = MANIFEST_TYPES[1]
LARGEST_MANIFEST = 4 << 20
_NAME = r"[a-z0-9.-]+(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)+"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_ROUTE = re.compile(rf"/v2/(?P<name>{_NAME})/(?P<what>blobs/uploads|blobs|manifests|tags|referrers)/(?P<reference>[^/]*)")


@dataclass
class Call:
    """An authorised request: its method, repository and reference, and the channels of its answer."""

    method: str
    repository: str
    reference: str
    query: dict[str, str]
    scope: Scope
    receive: Receive
    send: Send


class Registry:
    """The handler of all paths under `/v2/` and `/oauth2-registry/`. `stand_in` fills the repository of a stand-in chart."""

    def __init__(self, sandbox: Sandbox, access: Access, store: OciStore, stand_in: Callable[[OciStore, str], None]) -> None:
        self._sandbox = sandbox
        self._sign_in = SignIn(sandbox, access)
        self._store = store
        self._stand_in = stand_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["path"].startswith("/oauth2-registry/"):
                await self._sign_in.answer(scope, receive, send)
            else:
                await self._route(scope, receive, send)
        except RegistryError as error:
            headers = {**API, **error.headers}
            if scope["method"] == "HEAD":
                await send_bytes(send, error.status, b"", headers=headers)
            else:
                await send_json(send, error.status, error.document(), headers)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        self._strike(scope)
        match = _ROUTE.fullmatch(path)
        pushes = scope["method"] not in ("GET", "HEAD")
        name = match["name"] if match else ""
        await self._sign_in.authorise(scope, name, pushes)
        if re.fullmatch(r"/v2/([a-z0-9.-]+/)?", path) or path == "/v2":
            await send_json(send, 200, {}, API)
        elif path.rstrip("/") == "/v2/_catalog":
            await send_json(send, 200, {"repositories": self._store.repositories()}, API)
        elif match is None:
            raise RegistryError(404, "NAME_INVALID", "invalid repository name, or no such endpoint")
        else:
            query = {k: v[0] for k, v in parse_qs(scope["query_string"].decode("latin-1")).items()}
            call = Call(
                method=scope["method"],
                repository=name,
                reference=match["reference"],
                query=query,
                scope=scope,
                receive=receive,
                send=send,
            )
            self._stand_in(self._store, name)
            await self._handler(match["what"], call)(call)

    def _strike(self, scope: Scope) -> None:
        """Raise `Unreachable` for the fault `registry-unreachable`.

        In a cluster the first request of a client, the ping, takes it; elsewhere any request does.
        """
        parts = scope["path"].split("/")
        host = parts[2] if len(parts) > 2 else ""
        in_memory = (scope.get("client") or ("", 1))[1] == 0
        asked = host and (not in_memory or parts[3:] == [""])
        if asked and self._sandbox.faults.take("registry-unreachable", f"https://{host}"):
            raise Unreachable(f"dial tcp: lookup {host}: i/o timeout")

    def _handler(self, what: str, call: Call) -> Callable[[Call], Any]:
        handlers: dict[tuple[str, str], Callable[[Call], Any]] = {
            ("manifests", "GET"): self._get_manifest,
            ("manifests", "HEAD"): self._get_manifest,
            ("manifests", "PUT"): self._put_manifest,
            ("manifests", "DELETE"): self._delete_manifest,
            ("blobs", "GET"): self._get_blob,
            ("blobs", "HEAD"): self._get_blob,
            ("blobs", "DELETE"): self._delete_blob,
            ("blobs/uploads", "POST"): self._start_upload,
            ("blobs/uploads", "PATCH"): self._append,
            ("blobs/uploads", "PUT"): self._finish_upload,
            ("blobs/uploads", "GET"): self._upload_status,
            ("blobs/uploads", "DELETE"): self._cancel_upload,
            ("tags", "GET"): self._tags,
            ("referrers", "GET"): self._referrers,
        }
        found = handlers.get((what, call.method))
        if found is None:
            raise RegistryError(405, "UNSUPPORTED", "the operation is unsupported")
        return found

    # --- manifests ---------------------------------------------------------------------------------------------------

    def _find(self, call: Call) -> Manifest:
        found = self._store.manifest(call.repository, call.reference)
        if found is None:
            raise manifest_unknown(call.reference) if self._store.exists(call.repository) else name_unknown(call.repository)
        return found

    async def _get_manifest(self, call: Call) -> None:
        manifest = self._find(call)
        headers = {**API, "docker-content-digest": manifest.digest, "etag": f'"{manifest.digest}"'}
        if call.method == "HEAD":
            headers["content-length"] = str(manifest.size)
            await send_bytes(call.send, 200, b"", manifest.media_type, headers)
        else:
            await send_bytes(call.send, 200, self._store.content(manifest), manifest.media_type, headers)

    async def _put_manifest(self, call: Call) -> None:
        body = await read_body(call.receive)
        media_type = header(call.scope, "content-type").partition(";")[0].strip()
        self._check_manifest(call, body, media_type)
        manifest = self._store.put_manifest(call.repository, body, media_type, call.reference)
        mirror(self._sandbox, f"oci://{call.repository.partition('/')[0]}", "oci")
        headers = {**API, "docker-content-digest": manifest.digest}
        headers["location"] = f"/v2/{call.repository}/manifests/{manifest.digest}"
        if manifest.subject:
            headers["oci-subject"] = manifest.subject
        await send_bytes(call.send, 201, b"", headers=headers)

    def _check_manifest(self, call: Call, body: bytes, media_type: str) -> None:
        if media_type not in MANIFEST_TYPES:
            raise RegistryError(400, "MANIFEST_INVALID", "manifest invalid", f"unsupported media type {media_type!r}")
        if len(body) > LARGEST_MANIFEST:
            raise RegistryError(413, "SIZE_INVALID", "manifest is larger than 4 MiB")
        is_digest = DIGEST.fullmatch(call.reference)
        if not is_digest and not re.fullmatch(_TAG, call.reference):
            raise RegistryError(400, "TAG_INVALID", "manifest tag did not match URI")
        try:
            document = json.loads(body)
            inner = document.get("mediaType", media_type)
        except (ValueError, AttributeError):
            raise RegistryError(400, "MANIFEST_INVALID", "manifest invalid", "it is not a JSON object") from None
        if inner != media_type:
            raise RegistryError(400, "MANIFEST_INVALID", "manifest invalid", f"mediaType {inner!r} is not the content-type")
        if is_digest and digest_of(body) != call.reference:
            raise RegistryError(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        self._check_references(call.repository, document)

    def _check_references(self, repository: str, document: dict[str, Any]) -> None:
        for descriptor in [document.get("config"), *document.get("layers", [])]:
            if descriptor and self._store.blob(repository, descriptor.get("digest", "")) is None:
                raise RegistryError(404, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry", descriptor.get("digest"))
        for descriptor in document.get("manifests", []):
            if self._store.manifest(repository, descriptor.get("digest", "")) is None:
                raise RegistryError(404, "MANIFEST_UNKNOWN", "manifest unknown", descriptor.get("digest"))

    async def _delete_manifest(self, call: Call) -> None:
        if not self._store.delete_manifest(call.repository, call.reference):
            raise manifest_unknown(call.reference)
        await send_bytes(call.send, 202, b"", headers=API)

    async def _tags(self, call: Call) -> None:
        if call.reference != "list":
            raise RegistryError(404, "UNSUPPORTED", "the operation is unsupported")
        if not self._store.exists(call.repository):
            raise name_unknown(call.repository)
        after = call.query.get("last", "")
        tags = [tag for tag in self._store.tags(call.repository) if tag > after]
        headers = dict(API)
        count = call.query.get("n", "")
        if count and not count.isdecimal():
            raise RegistryError(400, "PAGINATION_NUMBER_INVALID", "invalid number of results requested", {"n": count})
        if count and int(count) < len(tags):
            tags = tags[: int(count)]
            last = quote(tags[-1]) if tags else quote(after)
            headers["link"] = f'</v2/{call.repository}/tags/list?last={last}&n={count}>; rel="next"'
        await send_json(call.send, 200, {"name": call.repository, "tags": tags}, headers)

    async def _referrers(self, call: Call) -> None:
        if not DIGEST.fullmatch(call.reference):
            raise RegistryError(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        found = self._store.referrers(call.repository, call.reference)
        headers = dict(API)
        if wanted := call.query.get("artifactType"):
            found = [manifest for manifest in found if manifest.artifact_type == wanted]
            headers["oci-filters-applied"] = "artifactType"
        index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [manifest.descriptor() for manifest in found]}
        await send_bytes(call.send, 200, json.dumps(index).encode(), INDEX_TYPE, headers)

    # --- blobs -------------------------------------------------------------------------------------------------------

    def _blob(self, call: Call) -> Path:
        if not DIGEST.fullmatch(call.reference):
            raise RegistryError(400, "DIGEST_INVALID", "provided digest did not match uploaded content", call.reference)
        path = self._store.blob(call.repository, call.reference)
        if path is None:
            raise RegistryError(404, "BLOB_UNKNOWN", "blob unknown to registry", call.reference)
        return path

    async def _get_blob(self, call: Call) -> None:
        path = self._blob(call)
        headers = {**API, "docker-content-digest": call.reference, "etag": f'"{call.reference}"', "accept-ranges": "bytes"}
        size = path.stat().st_size
        if call.method == "HEAD":
            await send_bytes(call.send, 200, b"", "application/octet-stream", {**headers, "content-length": str(size)})
            return
        first, last = _range(header(call.scope, "range"), size)
        with path.open("rb") as file:
            file.seek(first)
            data = file.read(last - first + 1)
        status = 200
        if header(call.scope, "range"):
            status, headers["content-range"] = 206, f"bytes {first}-{last}/{size}"
        await send_bytes(call.send, status, data, "application/octet-stream", headers)

    async def _delete_blob(self, call: Call) -> None:
        self._blob(call)
        self._store.delete_blob(call.repository, call.reference)
        await send_bytes(call.send, 202, b"", headers=API)

    # --- uploads -----------------------------------------------------------------------------------------------------

    async def _start_upload(self, call: Call) -> None:
        if call.reference:
            raise RegistryError(405, "UNSUPPORTED", "the operation is unsupported")
        mounted, origin = call.query.get("mount", ""), call.query.get("from", "")
        if mounted and self._store.mount(call.repository, origin or call.repository, mounted):
            await self._created(call, mounted)
            return
        upload = self._store.start_upload()
        if digest := call.query.get("digest"):
            await self._receive(call, upload)
            await self._complete(call, upload, digest)
        else:
            await self._progress(call, upload, 202)

    async def _receive(self, call: Call, upload: str) -> None:
        while True:
            message = await call.receive()
            if message["type"] == "http.disconnect":
                raise RegistryError(400, "BLOB_UPLOAD_INVALID", "the client hung up")
            if data := message.get("body", b""):
                self._store.append(upload, data)
            if not message.get("more_body"):
                return

    def _known(self, call: Call) -> int:
        size = self._store.upload_size(call.reference)
        if size is None:
            raise RegistryError(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        return size

    async def _append(self, call: Call) -> None:
        size = self._known(call)
        declared = header(call.scope, "content-range").removeprefix("bytes ").partition("-")[0]
        if declared and declared != str(size):
            error = RegistryError(416, "BLOB_UPLOAD_INVALID", f"the next chunk starts at {size}, not at {declared}")
            error.headers.update(_upload_headers(call.repository, call.reference, size))
            raise error
        await self._receive(call, call.reference)
        await self._progress(call, call.reference, 202)

    async def _finish_upload(self, call: Call) -> None:
        self._known(call)
        await self._receive(call, call.reference)
        await self._complete(call, call.reference, call.query.get("digest", ""))

    async def _complete(self, call: Call, upload: str, digest: str) -> None:
        if not DIGEST.fullmatch(digest) or not self._store.finish_upload(call.repository, upload, digest):
            self._store.cancel_upload(upload)
            raise RegistryError(400, "DIGEST_INVALID", "provided digest did not match uploaded content", digest)
        await self._created(call, digest)

    async def _created(self, call: Call, digest: str) -> None:
        headers = {**API, "location": f"/v2/{call.repository}/blobs/{digest}", "docker-content-digest": digest}
        await send_bytes(call.send, 201, b"", headers=headers)

    async def _upload_status(self, call: Call) -> None:
        self._known(call)
        await self._progress(call, call.reference, 204)

    async def _progress(self, call: Call, upload: str, status: int) -> None:
        size = self._store.upload_size(upload) or 0
        await send_bytes(call.send, status, b"", headers=_upload_headers(call.repository, upload, size))

    async def _cancel_upload(self, call: Call) -> None:
        self._known(call)
        self._store.cancel_upload(call.reference)
        await send_bytes(call.send, HTTPStatus.NO_CONTENT, b"", headers=API)


def _upload_headers(repository: str, upload: str, size: int) -> dict[str, str]:
    location = f"/v2/{repository}/blobs/uploads/{upload}"
    return {**API, "location": location, "range": f"0-{max(size - 1, 0)}", "docker-upload-uuid": upload}


def _range(value: str, size: int) -> tuple[int, int]:
    """Return the first and last byte that a Range header asks for. Raises 416 if the blob has no such bytes."""
    if not value:
        return 0, size - 1
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", value)
    if match is None or int(match[1]) >= size:
        raise RegistryError(416, "SIZE_INVALID", f"the blob has {size} bytes")
    return int(match[1]), min(int(match[2] or size - 1), size - 1)
