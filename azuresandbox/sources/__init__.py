"""The sources of the clusters' configuration: Git over smart HTTP, an OCI registry and Helm repositories.

Mirrors let them answer for public URLs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from azuresandbox.context import ASGIApp, Receive, Sandbox, Scope, Send
from azuresandbox.http import send_bytes
from azuresandbox.sources import stand_ins
from azuresandbox.sources.access import Access
from azuresandbox.sources.git import GitHost
from azuresandbox.sources.helm import HelmHost
from azuresandbox.sources.mirrors import mirror, mirrors
from azuresandbox.sources.oci_store import OciStore
from azuresandbox.sources.registry import Registry
from azuresandbox.sources.repositories import SEEDS, RepositoryError, copy_repository, locate, seed_repository
from azuresandbox.wire import Unreachable

__all__ = [
    "RepositoryError",
    "app",
    "copy_repository",
    "locate",
    "mirror",
    "mirror_repository",
    "mirrors",
    "seed_later",
    "seed_repository",
]


def app(sandbox: Sandbox) -> ASGIApp:
    """Return the application for `/git`, `/v2`, `/oauth2-registry` and `/helm`."""
    access = Access(sandbox)
    registry = Registry(
        sandbox,
        access,
        OciStore(sandbox.store, sandbox.state / "oci"),
        lambda store, repository: stand_ins.publish(store, sandbox.state, repository),
    )
    hosts: dict[str, ASGIApp] = {
        "git": GitHost(sandbox, access),
        "helm": HelmHost(sandbox, access),
        "v2": registry,
        "oauth2-registry": registry,
    }
    _mirror_stand_ins(sandbox)

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        host = hosts.get(scope["path"].split("/", 2)[1])
        if host is None:
            await send_bytes(send, 404, b"404 page not found\n", "text/plain; charset=utf-8")
            return
        try:
            await host(scope, receive, send)
        except Unreachable as error:
            if _in_memory(scope):
                raise
            # A client at the socket has already connected to the sandbox, so a gateway's answer is the closest one.
            await send_bytes(send, 504, f"{error}\n".encode(), "text/plain; charset=utf-8")

    return handle


def _mirror_stand_ins(sandbox: Sandbox) -> None:
    for url in stand_ins.REPOSITORIES:
        mirror(sandbox, url, "helm")
    for repository in stand_ins.REGISTRIES:
        mirror(sandbox, f"oci://{repository}", "oci")


def _in_memory(scope: Scope) -> bool:
    """Return whether the request comes from the Wire, whose requests have no port."""
    return (scope.get("client") or ("", 1))[1] == 0


def seed_later(sandbox: Sandbox, url: str, tree: Path, *, folders: Sequence[str] = ()) -> None:
    """Serve under `url` a repository made of `tree` (see `seed_repository`).

    It is created at the first request, so that a start does not wait for it.
    """
    SEEDS.of(sandbox)[locate(sandbox.state, url)] = lambda: seed_repository(sandbox.state, url, tree, folders=folders)
    mirror(sandbox, url, "git")


def mirror_repository(sandbox: Sandbox, url: str, path: Path) -> Path:
    """Serve a copy of the local Git repository at `path` under the public `url`. Return the copy's folder."""
    folder = copy_repository(sandbox.state, url, path)
    mirror(sandbox, url, "git")
    return folder
