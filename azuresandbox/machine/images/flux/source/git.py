"""Reads Git repositories as source-controller does: references, then one commit's tree, over smart HTTP (protocol 2).

All requests are sent over the Wire, so missing repositories, credentials and outages are decided by the host. Trees are cached
by commit id for all clusters, because the id is a digest of the contents. Messages are those of go-git.
"""

from __future__ import annotations

import asyncio
import base64
import io
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from dulwich.object_store import MemoryObjectStore
from dulwich.objects import Blob, Commit, ObjectID, Tree

from azuresandbox.machine.images.flux.source import semver
from azuresandbox.wire import Response, Unreachable, Wire

KEPT = 48
_HEADERS = {"git-protocol": "version=2", "user-agent": "git/2.0 (flux; source-controller)"}


class GitError(Exception):
    """The repository could not be read. The text is go-git's, without the controller's prefix."""


@dataclass(frozen=True)
class Checkout:
    """A commit and its files: path -> (contents, executable). `reference` is the full name of the branch or tag, or ""."""

    commit: str
    reference: str
    message: str = ""
    files: Mapping[str, tuple[bytes, bool]] = field(default_factory=dict)

    @property
    def revision(self) -> str:
        """The revision of an artifact: `main@sha1:<id>`."""
        parts = self.reference.split("/", 2)
        digest = f"sha1:{self.commit}"
        return f"{parts[2]}@{digest}" if len(parts) == 3 else digest

    @property
    def full_revision(self) -> str:
        """The revision with the full name: `refs/heads/main@sha1:<id>`."""
        return f"{self.reference}@sha1:{self.commit}" if self.reference else f"sha1:{self.commit}"

    @property
    def short_message(self) -> str:
        subject = self.message.split("\n", 1)[0]
        return subject if len(subject) <= 50 else subject[:50] + "..."


_checkouts: OrderedDict[str, Checkout] = OrderedDict()
_fetching: dict[str, asyncio.Future[Checkout]] = {}


@dataclass
class GitClient:
    """One repository, with the credentials of a Secret if there is one (user name and password, or a bearer token)."""

    wire: Wire
    url: str
    username: str = ""
    password: str = ""
    bearer: str = ""

    async def checkout(self, ref: Mapping[str, str], known: str = "") -> Checkout | None:
        """Return the commit that `spec.ref` names, or `None` if the repository is empty. Raises `GitError`.

        A commit of the revision `known` is returned without its files.
        """
        if ref.get("commit"):
            return await self._by_commit(ref["commit"], ref.get("branch", ""))
        if ref.get("name"):
            return await self._by_name(ref["name"], known)
        if ref.get("tag"):
            return await self._by_reference(f"refs/tags/{ref['tag']}", known)
        if ref.get("semver"):
            return await self._by_semver(ref["semver"])
        return await self._by_reference(f"refs/heads/{ref.get('branch') or 'master'}", known)

    # --- the fields of spec.ref --------------------------------------------------------------------------------------

    async def _by_reference(self, name: str, known: str) -> Checkout | None:
        refs = await self._references(listing=bool(known))
        if not refs:
            if name.startswith("refs/heads/"):
                return None
            raise self._clone_error("remote repository is empty")
        if name not in refs:
            raise self._clone_error(f'couldn\'t find remote ref "{name}"')
        found = Checkout(refs[name], name)
        return found if known == found.revision else await self._tree(refs[name], name)

    async def _by_name(self, name: str, known: str) -> Checkout | None:
        if name.startswith("/") or name.endswith("/"):
            raise GitError(f"ref {name} is invalid; Git refs cannot begin or end with a slash '/'")
        refs = await self._references(listing=True)
        plain = name.removesuffix("^{}")
        if plain not in refs:
            raise GitError(f"unable to resolve ref '{name}' to a specific commit")
        found = Checkout(refs[plain], name)
        return found if known == found.full_revision else await self._tree(refs[plain], name)

    async def _by_semver(self, expression: str) -> Checkout | None:
        try:
            constraint = semver.Constraint(expression)
        except semver.ConstraintError as error:
            raise GitError(f"semver parse error: {error}") from None
        refs = await self._references(listing=False)
        tags = {name.removeprefix("refs/tags/"): oid for name, oid in refs.items() if name.startswith("refs/tags/")}
        chosen = constraint.highest([version for tag in tags if (version := semver.parse(tag))])
        if chosen is None:
            raise GitError(f"no match found for semver: {expression}")
        return await self._tree(tags[chosen.original], f"refs/tags/{chosen.original}")

    async def _by_commit(self, commit: str, branch: str) -> Checkout | None:
        """Clone the branch, or all branches without one. Raises `GitError` if their history lacks the commit."""
        refs = await self._references(listing=False)
        name = f"refs/heads/{branch}" if branch else ""
        if branch and name not in refs:
            raise self._clone_error(f'couldn\'t find remote ref "{name}"')
        heads = [refs[name]] if branch else [oid for ref, oid in refs.items() if ref.startswith("refs/heads/")]
        store = await self._fetch(sorted(set(heads)), depth=0)
        if ObjectID(commit.encode()) not in store:
            raise GitError(f"unable to resolve commit object for '{commit}': object not found")
        return _read(store, commit, name)

    async def _tree(self, commit: str, name: str) -> Checkout:
        kept = _checkouts.get(commit) or await self._once(commit)
        _checkouts.move_to_end(commit)
        return replace(kept, reference=name)

    async def _once(self, commit: str) -> Checkout:
        """Fetch a commit once for all clusters that ask for it at the same time, as they do after a push."""
        if commit not in _fetching:
            _fetching[commit] = asyncio.ensure_future(self._fetch_commit(commit))
            _fetching[commit].add_done_callback(lambda task: _fetching.pop(commit, None))
        return await asyncio.shield(_fetching[commit])

    async def _fetch_commit(self, commit: str) -> Checkout:
        found = _read(await self._fetch([commit], depth=1), commit, "")
        _checkouts[commit] = found
        while len(_checkouts) > KEPT:
            _checkouts.popitem(last=False)
        return found

    # --- the protocol ------------------------------------------------------------------------------------------------

    async def _references(self, *, listing: bool) -> dict[str, str]:
        """Return branches and tags -> commit ids (of annotated tags, the ids of their commits)."""
        await self._discover(listing)
        body = _packet(b"command=ls-refs\n") + b"0001" + _packet(b"peel\n") + b"0000"
        response = await self._post(body)
        refs: dict[str, str] = {}
        for line in _packets(response.body):
            oid, name, *attributes = line.decode().rstrip("\n").split(" ")
            peeled = next((a.removeprefix("peeled:") for a in attributes if a.startswith("peeled:")), oid)
            if name != "HEAD":
                refs[name] = peeled
        return refs

    async def _discover(self, listing: bool) -> None:
        """Send the first request. Raises `GitError` for unknown hosts and repositories and for wrong credentials."""
        url = f"{self.url}/info/refs?service=git-upload-pack"
        try:
            response = await self.wire.request("GET", url, headers={**_HEADERS, **self._authorization()})
        except Unreachable as error:
            raise self._error(f'Get "{url}": {error}', listing) from error
        if response.status != 200:
            raise self._error(_refusal(response), listing)

    async def _post(self, body: bytes) -> Response:
        headers = {
            **_HEADERS,
            **self._authorization(),
            "content-type": "application/x-git-upload-pack-request",
            "accept": "application/x-git-upload-pack-result",
        }
        url = f"{self.url}/git-upload-pack"
        try:
            response = await self.wire.request("POST", url, headers=headers, body=body)
        except Unreachable as error:
            raise self._clone_error(f'Post "{url}": {error}') from error
        if response.status != 200:
            raise self._clone_error(_refusal(response))
        return response

    async def _fetch(self, wants: list[str], depth: int) -> MemoryObjectStore:
        lines = [b"no-progress\n", b"ofs-delta\n", *(f"want {oid}\n".encode() for oid in wants)]
        if depth:
            lines.append(f"deepen {depth}\n".encode())
        body = _packet(b"command=fetch") + b"0001" + b"".join(map(_packet, [*lines, b"done\n"])) + b"0000"
        pack = _pack((await self._post(body)).body, self)
        store = MemoryObjectStore()
        file, commit, abort = store.add_pack()
        try:
            file.write(pack)
        except BaseException:
            abort()
            raise
        commit()
        return store

    def _authorization(self) -> dict[str, str]:
        if self.bearer:
            return {"authorization": f"Bearer {self.bearer}"}
        if not (self.username or self.password):
            return {}
        token = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        return {"authorization": f"Basic {token}"}

    def _clone_error(self, text: str) -> GitError:
        return GitError(f"unable to clone '{self.url}': {text}")

    def _error(self, text: str, listing: bool) -> GitError:
        return GitError(f"unable to list remote for '{self.url}': {text}") if listing else self._clone_error(text)


def _refusal(response: Response) -> str:
    reason = response.text.strip()
    known = {401: "authentication required", 403: "authorization failed", 404: "repository not found"}
    if response.status in known:
        return f"{known[response.status]}: {reason}" if reason else known[response.status]
    return f"unexpected client error: unexpected requesting status code: {response.status}"


def _packet(data: bytes) -> bytes:
    return f"{len(data) + 4:04x}".encode() + data


def _packets(body: bytes) -> Iterator[bytes]:
    position = 0
    while position + 4 <= len(body):
        length = int(body[position : position + 4], 16)
        if length > 4:
            yield body[position + 4 : position + length]
        position += max(length, 4)


def _pack(body: bytes, client: GitClient) -> bytes:
    """Return the pack in the answer to a fetch: band 1 of the section `packfile`. Raises `GitError`."""
    pack = io.BytesIO()
    inside = False
    for line in _packets(body):
        if line.startswith(b"ERR "):
            raise client._clone_error(line[4:].decode("utf-8", "replace").strip())
        if inside and line[:1] == b"\x01":
            pack.write(line[1:])
        elif inside and line[:1] == b"\x03":
            raise client._clone_error(line[1:].decode("utf-8", "replace").strip())
        elif line == b"packfile\n":
            inside = True
    return pack.getvalue()


def _read(store: MemoryObjectStore, commit: str, reference: str) -> Checkout:
    found = store[ObjectID(commit.encode())]
    if not isinstance(found, Commit):
        raise GitError(f"unable to resolve commit object for '{commit}': object not found")
    files: dict[str, tuple[bytes, bool]] = {}
    _walk(store, found.tree, "", files)
    message = found.message.decode("utf-8", "replace")
    return Checkout(commit, reference, message, files)


def _walk(store: MemoryObjectStore, tree: ObjectID, folder: str, files: dict[str, tuple[bytes, bool]]) -> None:
    """Collect regular files. Links and submodules are not archived."""
    found = store[tree]
    assert isinstance(found, Tree)
    for entry in found.items():
        assert entry.path is not None
        assert entry.mode is not None
        assert entry.sha is not None
        path = folder + entry.path.decode("utf-8", "surrogateescape")
        kind = entry.mode & 0o170000
        if kind == 0o040000:
            _walk(store, entry.sha, path + "/", files)
        elif kind == 0o100000:
            blob = store[entry.sha]
            assert isinstance(blob, Blob)
            files[path] = (blob.data, bool(entry.mode & 0o111))
