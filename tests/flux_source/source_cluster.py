"""A cluster with a source-controller in it, and the sources that it reads. The tests move the time."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dulwich import porcelain

from azuresandbox.context import OPERATOR_CLIENT_ID
from azuresandbox.machine.client import KubeClient
from azuresandbox.machine.images.flux import artifacts
from azuresandbox.machine.images.flux.source import source_controller
from azuresandbox.machine.node.program import Pod
from azuresandbox.sources import mirror, seed_repository
from azuresandbox.sources.oci_store import digest_of
from azuresandbox.sources.repositories import locate
from tests.flux_source.little_api import LittleApi
from tests.given import given
from tests.harness import BASE, OPERATOR_SECRET, World

FLEET = "https://github.com/contoso/aks-fleet"
NAMESPACE = "cluster-config"
OPERATOR = {"authorization": "Basic " + base64.b64encode(f"{OPERATOR_CLIENT_ID}:{OPERATOR_SECRET}".encode()).decode()}
Object = dict[str, Any]


@dataclass
class Cluster:
    """See the module. `lines` are those that the controller logged."""

    world: World
    api: LittleApi
    pod: Pod
    folder: Path
    lines: list[str] = field(default_factory=list)
    underway: list[str] = field(default_factory=list)
    """The paths of requests to the sources that are not answered yet."""

    async def apply(self, kind: str, name: str, spec: Object, **metadata: Any) -> Object:
        """Create or change an object and wait until the controller is idle. Returns the object."""
        self.api.put(
            kind,
            NAMESPACE,
            {
                "apiVersion": "source.toolkit.fluxcd.io/v1",
                "metadata": {"name": name, **metadata},
                "spec": spec,
            },
        )
        await self.settle()
        return self.get(kind, name)

    def secret(self, name: str, **data: str) -> None:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        self.api.put("Secret", NAMESPACE, {"apiVersion": "v1", "metadata": {"name": name}, "data": encoded})

    async def settle(self) -> None:
        """Wait until the controller is idle, without moving the time. Git runs in a process, so real time must pass."""
        still = 0
        while still < 3:
            before = (self.api.version, len(self.lines))
            await self.world.clock.settle(60)
            await asyncio.sleep(0.001)
            quiet = not self.underway and before == (self.api.version, len(self.lines))
            still = still + 1 if quiet else 0

    async def advance(self, seconds: float) -> None:
        await self.world.clock.advance(seconds)
        await self.settle()

    def get(self, kind: str, name: str) -> Object:
        return copy.deepcopy(self.api.objects[(kind, NAMESPACE, name)])

    def events(self, name: str) -> list[tuple[str, str, str]]:
        found = [obj for (kind, _, _), obj in self.api.objects.items() if kind == "Event"]
        return [(e["type"], e["reason"], e["message"]) for e in found if e["involvedObject"]["name"] == name]

    async def files(self, obj: Object) -> dict[str, str]:
        data = await artifacts.fetch(self.pod, obj["status"]["artifact"])
        return {path: content.decode() for path, content in artifacts.unpack(data).items()}

    # --- Git ---------------------------------------------------------------------------------------------------------

    def repository(self, files: dict[str, str], url: str = FLEET) -> str:
        """Mirror a repository with one commit of these files. Returns the commit's id."""
        tree = self.folder / f"tree-{len(list(self.folder.iterdir()))}"
        for path, text in files.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(text)
        mirror(self.world.sandbox, url, "git")
        return seed_repository(self.world.sandbox.state, url, tree)

    def commit(self, files: dict[str, str], message: str, *, tag: str = "", annotated: bool = False, url: str = FLEET) -> str:
        """Commit to main, and tag the commit if `tag` is given. Returns the commit's id."""
        clone = self.folder / f"clone-{len(list(self.folder.iterdir()))}"
        bare = str(locate(self.world.sandbox.state, url))
        with porcelain.clone(bare, str(clone)) as repo:
            for path, text in files.items():
                (clone / path).parent.mkdir(parents=True, exist_ok=True)
                (clone / path).write_text(text)
                porcelain.add(repo, [str(clone / path)])
            who = b"Test <test@example.invalid>"
            made = porcelain.commit(repo, message=message.encode(), author=who, committer=who).decode()
            porcelain.push(repo, bare, "refs/heads/main")
            if tag:
                porcelain.tag_create(
                    repo, tag.encode(), message=b"A release" if annotated else None, annotated=annotated, author=who
                )
                porcelain.push(repo, bare, f"refs/tags/{tag}")
        return made

    # --- OCI ---------------------------------------------------------------------------------------------------------

    async def push(self, repository: str, tag: str, layer: bytes, media_type: str, **annotations: str) -> str:
        """Push an artifact with one layer. Returns the manifest's digest."""
        base, send = f"{BASE}/v2/{repository}", self.world.wire.request
        for data in (layer, b"{}"):
            await send("POST", f"{base}/blobs/uploads/?digest={digest_of(data)}", headers=OPERATOR, body=data)
        kind = "application/vnd.oci.image.manifest.v1+json"
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": kind,
                "annotations": annotations,
                "config": {"mediaType": "application/vnd.test", "digest": digest_of(b"{}"), "size": 2},
                "layers": [{"mediaType": media_type, "digest": digest_of(layer), "size": len(layer)}],
            }
        ).encode()
        answer = await send("PUT", f"{base}/manifests/{tag}", headers={**OPERATOR, "content-type": kind}, body=manifest)
        assert answer.status == 201
        return digest_of(manifest)


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Cluster]:
    """Run a source-controller in a new cluster. Raises the error of a controller that ends by itself."""
    state = folder / "state"
    state.mkdir(mode=0o700)
    async with World.open(state, parts=("sources",)) as world:
        api, sources = LittleApi(), world.wire.app
        assert sources is not None

        lines: list[str] = []
        underway: list[str] = []

        async def application(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"].startswith("/clusters/"):
                await api(scope, receive, send)
                return
            underway.append(scope["path"])
            try:
                await sources(scope, receive, send)
            finally:
                underway.remove(scope["path"])

        world.wire.app = application
        kube = KubeClient(world.wire, f"{BASE}/clusters/hub", "token")
        pod = Pod(
            "hub",
            "flux-system",
            "source-controller-0",
            "manager",
            "ghcr.io/fluxcd/source-controller:v1.6.2",
            "node-0",
            "source-controller",
            {},
            {},
            [],
            [],
            {},
            {},
            kube,
            world.wire,
            world.clock,
            lines.append,
            lambda ready: None,
        )
        cluster = Cluster(world, api, pod, folder, lines, underway)
        task: asyncio.Future[None] = asyncio.ensure_future(source_controller(pod))
        await cluster.settle()
        try:
            yield cluster
        finally:
            task.cancel()
            results = await asyncio.gather(task, return_exceptions=True)
            if not isinstance(results[0], asyncio.CancelledError):
                raise results[0] or AssertionError("the controller ended by itself")


cluster = given(running)
"""Gives an async test a running source-controller."""


def conditions(obj: Object) -> dict[str, tuple[str, str, str]]:
    """Return type -> (status, reason, message)."""
    return {c["type"]: (c["status"], c["reason"], c["message"]) for c in obj["status"].get("conditions", [])}
