"""Git over smart HTTP at `/git/<host>/<path>[.git]`, for `git clone`, `fetch` and `push`, protocol versions 0 to 2.

The `git` binary creates and receives packs. The list of references, which controllers ask for again and again, is answered here
(gitprotocol-v2, `ls-refs`). The operator may push, also to a repository that does not exist yet; every known principal may
fetch.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

from dulwich.objects import ObjectID, Tag
from dulwich.refs import Ref
from dulwich.repo import Repo

from azuresandbox.context import Receive, Sandbox, Scope, Send
from azuresandbox.http import TooLarge, gunzip, header, read_body, send_bytes
from azuresandbox.sources import repositories
from azuresandbox.sources.access import Access, may_push
from azuresandbox.sources.mirrors import mirror
from azuresandbox.wire import Unreachable

_ROUTE = re.compile(r"/git/(?P<repository>.+?)(?:\.git)?/(?P<action>info/refs|git-upload-pack|git-receive-pack)")
_SERVICES = ("git-upload-pack", "git-receive-pack")
_PROTOCOL = re.compile(r"[A-Za-z0-9=:._-]{1,256}")
_NO_CACHE = {"cache-control": "no-cache, max-age=0, must-revalidate", "expires": "Fri, 01 Jan 1980 00:00:00 GMT"}
_TEXT = "text/plain; charset=utf-8"
MAX_PACK = 256 << 20
"""Bytes of a push, packed or not. It is held in memory."""


class GitHost:
    """The handler of all paths under `/git/`."""

    def __init__(self, sandbox: Sandbox, access: Access) -> None:
        self._sandbox = sandbox
        self._access = access
        self._capabilities: bytes | None = None
        self._seeds = repositories.SEEDS.of(sandbox)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match = _ROUTE.fullmatch(scope["path"])
        if match is None:
            await _refuse(send, 404, "Not Found")
            return
        query = parse_qs(scope["query_string"].decode("latin-1"))
        action = match["action"]
        service = query.get("service", [""])[0] if action == "info/refs" else action
        if service not in _SERVICES:
            await _refuse(send, 403, "Please upgrade your git client: the dumb HTTP protocol is not supported.")
            return
        if action == "info/refs":
            self._strike(scope, match["repository"])
        await self._serve(scope, receive, send, match["repository"], action, service)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, repository: str, action: str, service: str) -> None:
        principal = await self._access.principal(scope)
        if principal is None:
            challenge = {"www-authenticate": 'Basic realm="Fleet Sandbox"'}
            await _refuse(send, 401, "Repository not found.", challenge)
            return
        pushes = service == "git-receive-pack"
        if pushes and not may_push(principal):
            await _refuse(send, 403, f"Write access to repository not granted to {principal.display_name}.")
            return
        try:
            folder = repositories.locate(self._sandbox.state, repository)
        except repositories.RepositoryError:
            await _refuse(send, 404, "Repository not found.")
            return
        if seed := self._seeds.get(folder):
            seed()  # keeps an existing repository; if it fails, the next request tries again
            del self._seeds[folder]
        if pushes and not folder.is_dir():
            repositories.create(folder)
            mirror(self._sandbox, f"https://{repository}", "git")
        if not folder.is_dir():
            await _refuse(send, 404, "Repository not found.")
        elif action == "info/refs":
            await self._advertise(scope, send, folder, service)
        else:
            await self._exchange(scope, receive, send, folder, service)

    def _strike(self, scope: Scope, repository: str) -> None:
        """Raise `Unreachable` for the fault `git-unreachable`, in the words of a resolver without an answer."""
        url = f"https://{repository}"
        if self._sandbox.faults.take("git-unreachable", url):
            raise Unreachable(f"dial tcp: lookup {repository.partition('/')[0]}: i/o timeout")

    async def _advertise(self, scope: Scope, send: Send, folder: Path, service: str) -> None:
        protocol = header(scope, "git-protocol")
        second = service == "git-upload-pack" and "version=2" in protocol.split(":")
        if second and self._capabilities is not None:
            body = self._capabilities
        else:
            body = pkt_line(f"# service={service}\n".encode()) + b"0000"
            process = await _spawn(service, "--http-backend-info-refs", folder=folder, protocol=protocol)
            output, _ = await process.communicate()
            body += output
            if second and process.returncode == 0:
                # The capabilities of version 2 depend on the git binary and the repositories' configuration, equal for all.
                self._capabilities = body
        await send_bytes(send, 200, body, f"application/x-{service}-advertisement", _NO_CACHE)

    async def _exchange(self, scope: Scope, receive: Receive, send: Send, folder: Path, service: str) -> None:
        try:
            body = _plain(await read_body(receive, MAX_PACK), header(scope, "content-encoding"))
        except TooLarge:
            await _refuse(send, 413, "The request is too large.", {"connection": "close"})
            return
        except (OSError, zlib.error, EOFError):
            await _refuse(send, 400, "The request's body cannot be decompressed.")
            return
        content_type = f"application/x-{service}-result"
        protocol = header(scope, "git-protocol")
        if service == "git-upload-pack" and "version=2" in protocol.split(":") and is_ls_refs(body):
            await send_bytes(send, 200, ls_refs(folder, body), content_type, _NO_CACHE)
            return
        process = await _spawn(service, folder=folder, protocol=protocol)
        await _pump(process, body, send, content_type)
        if service == "git-receive-pack":
            repositories.settle_head(folder)


async def _spawn(service: str, *options: str, folder: Path, protocol: str) -> Process:
    environment = repositories.environment()
    if _PROTOCOL.fullmatch(protocol):
        environment["GIT_PROTOCOL"] = protocol
    command = ["git", service.removeprefix("git-"), "--stateless-rpc", *options, str(folder)]
    return await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, stderr=asyncio.subprocess.DEVNULL, env=environment
    )


async def _pump(process: Process, body: bytes, send: Send, content_type: str) -> None:
    """Write the request to the process and send its answer as it arrives."""
    assert process.stdin is not None and process.stdout is not None
    feeding = asyncio.create_task(_feed(process.stdin, body))
    headers = {"content-type": content_type, **_NO_CACHE}
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    try:
        await send({"type": "http.response.start", "status": 200, "headers": pairs})
        while chunk := await process.stdout.read(65_536):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await process.wait()
        await send({"type": "http.response.body", "body": b""})
    finally:
        if process.returncode is None:
            process.kill()
        feeding.cancel()
        await asyncio.gather(feeding, process.wait(), return_exceptions=True)


async def _feed(stdin: asyncio.StreamWriter, body: bytes) -> None:
    try:
        stdin.write(body)
        await stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        pass  # git needs no more of the body
    finally:
        stdin.close()


def _plain(body: bytes, encoding: str) -> bytes:
    return gunzip(body, MAX_PACK) if encoding in ("gzip", "x-gzip") else body


async def _refuse(send: Send, status: int, text: str, headers: dict[str, str] | None = None) -> None:
    await send_bytes(send, status, text.encode() + b"\n", _TEXT, {**_NO_CACHE, **(headers or {})})


# --- the command ls-refs of protocol version 2 -----------------------------------------------------------------------


def pkt_line(data: bytes) -> bytes:
    return f"{len(data) + 4:04x}".encode() + data


def pkt_lines(body: bytes) -> Iterator[bytes]:
    """Yield the data of the packet lines; flush, delimiter and end-of-response packets as b""."""
    position = 0
    while position + 4 <= len(body):
        length = int(body[position : position + 4], 16)
        yield body[position + 4 : position + length] if length >= 4 else b""
        position += max(length, 4)


def is_ls_refs(body: bytes) -> bool:
    return body.startswith((b"0014command=ls-refs\n", b"0013command=ls-refs"))


def ls_refs(folder: Path, body: bytes) -> bytes:
    """Return the answer to an `ls-refs` request.

    `<id> <name>[ symref-target:<name>][ peeled:<id>]` for each matching reference.
    """
    arguments = [line.rstrip(b"\n") for line in pkt_lines(body)]
    prefixes = tuple(line.removeprefix(b"ref-prefix ") for line in arguments if line.startswith(b"ref-prefix "))
    answer = b""
    with Repo(str(folder)) as repo:
        refs = {name: oid for name, oid in repo.get_refs().items() if name != b"HEAD"}
        for name, oid, note in _with_head(repo, refs, b"unborn" in arguments):
            if prefixes and not name.startswith(prefixes):
                continue
            line = b" ".join(part for part in (oid, name) if part)
            if note and b"symrefs" in arguments:
                line += b" symref-target:" + note
            if b"peel" in arguments and oid and (peeled := _peeled(repo, oid)):
                line += b" peeled:" + peeled
            answer += pkt_line(line + b"\n")
    return answer + b"0000"


def _with_head(repo: Repo, refs: dict[Ref, ObjectID], unborn: bool) -> Iterator[tuple[bytes, bytes, bytes]]:
    target = repo.refs.get_symrefs().get(Ref(b"HEAD"), Ref(b""))
    if target in refs:
        yield b"HEAD", refs[target], target
    elif target and unborn:
        yield b"unborn HEAD", b"", target
    for name in sorted(refs):
        yield name, refs[name], b""


def _peeled(repo: Repo, oid: bytes) -> bytes | None:
    found = repo[ObjectID(oid)]
    peeled: ObjectID | None = None
    while isinstance(found, Tag):
        peeled = found.object[1]
        found = repo[peeled]
    return peeled
