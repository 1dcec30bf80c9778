"""A cluster with one controller in it. The tests write the sources and move the time."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from azuresandbox.clock import VirtualClock
from azuresandbox.machine.client import KubeClient
from azuresandbox.machine.images.flux import artifacts
from azuresandbox.machine.node.program import Pod, Program
from azuresandbox.store import Store
from azuresandbox.wire import Wire
from tests.flux_kustomize.apply_api import ApplyApi, Object
from tests.given import Test, given

NAMESPACE = "cluster-config"
SOURCE_API = "source.toolkit.fluxcd.io/v1"


@dataclass
class Cluster:
    """See the module. `log` has the lines that the controller logged."""

    api: ApplyApi
    pod: Pod
    clock: VirtualClock
    storage: artifacts.Storage
    log: list[str] = field(default_factory=list)

    def namespace(self, name: str) -> None:
        self.api.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def create(self, obj: Object) -> None:
        obj = copy.deepcopy(obj)
        obj["metadata"].setdefault("namespace", NAMESPACE)
        self.api.put(obj)

    def source(self, revision: str, data: bytes, *, kind: str = "GitRepository", name: str = "fleet", **status: Any) -> None:
        """Create or update a source whose artifact has these bytes."""
        path = f"{kind.lower()}/{NAMESPACE}/{name}/{revision.replace('/', '_')}.tar.gz"
        blob = self.storage.put(path, data)
        artifact = {"url": artifacts.url_of(path), "path": path, "digest": blob.digest, "revision": revision}
        old = self.api.objects.get((kind, NAMESPACE, name))
        obj = old or {"apiVersion": SOURCE_API, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, "spec": {}}
        ready = {"type": "Ready", "status": "True", "reason": "Succeeded", "message": f"stored artifact for {revision}"}
        self.api.put({**obj, "status": {"artifact": artifact, "observedGeneration": 1, "conditions": [ready], **status}})

    def files(self, revision: str, files: Mapping[str, str]) -> None:
        """Create or update a GitRepository at a revision with these files."""
        self.source(revision, artifacts.archive({path: (text.encode(), False) for path, text in files.items()}))

    def get(self, kind: str, name: str, namespace: str = NAMESPACE) -> Object:
        return copy.deepcopy(self.api.objects[kind, namespace, name])

    def has(self, kind: str, name: str, namespace: str = NAMESPACE) -> bool:
        return (kind, namespace, name) in self.api.objects

    def change(self, kind: str, name: str, **spec: Any) -> None:
        obj = self.get(kind, name)
        self.api.put({**obj, "spec": {**obj["spec"], **spec}})

    def annotate(self, kind: str, name: str, **annotations: str) -> None:
        obj = self.get(kind, name)
        values = {f"reconcile.fluxcd.io/{key}": value for key, value in annotations.items()}
        obj["metadata"]["annotations"] = {**obj["metadata"].get("annotations", {}), **values}
        self.api.put(obj)

    def delete(self, kind: str, name: str, namespace: str = NAMESPACE) -> None:
        self.api.delete((kind, namespace, name))

    def events(self, name: str) -> list[tuple[str, str, str]]:
        found = [obj for (kind, _, _), obj in self.api.objects.items() if kind == "Event"]
        return [(e["type"], e["reason"], e["message"]) for e in found if e["involvedObject"]["name"] == name]

    async def settle(self) -> None:
        """Wait until the controller is idle, without moving the time."""
        still = 0
        while still < 3:
            before = (self.api.version, len(self.api.writes), len(self.log))
            await self.clock.settle(300)
            still = still + 1 if before == (self.api.version, len(self.api.writes), len(self.log)) else 0

    async def advance(self, seconds: float) -> None:
        await self.clock.advance(seconds)
        await self.settle()


@asynccontextmanager
async def running(program: Program, *arguments: str) -> AsyncIterator[Cluster]:
    """Run `program` with these arguments in a new cluster. Raises the error of a program that ends by itself."""
    api, clock, store = ApplyApi(), VirtualClock(), Store()
    wire = Wire(store)
    wire.app = api
    lines: list[str] = []
    kube = KubeClient(wire, f"{wire.base}/clusters/hub", "token")
    pod = Pod(
        "hub",
        "flux-system",
        "controller-0",
        "manager",
        "controller",
        "node-0",
        "controller",
        {},
        {},
        [],
        list(arguments),
        {},
        {},
        kube,
        wire,
        clock,
        lines.append,
        lambda ready: None,
    )
    storage = artifacts.Storage()
    cluster = Cluster(api, pod, clock, storage, lines)
    cluster.namespace(NAMESPACE)
    with artifacts.serving(pod, storage):
        task: asyncio.Future[None] = asyncio.ensure_future(program(pod))
        await cluster.settle()
        try:
            yield cluster
        finally:
            task.cancel()
            results = await asyncio.gather(task, return_exceptions=True)
            store.close()
            if not isinstance(results[0], asyncio.CancelledError):
                raise results[0] or AssertionError("the controller ended by itself")


def with_program(program: Program, *arguments: str) -> Callable[[Test[Cluster]], Callable[..., Any]]:
    """Give an async test a cluster in which `program` runs with these arguments."""
    return given(lambda folder: running(program, *arguments))


def conditions(obj: Object) -> dict[str, tuple[str, str, str]]:
    """Return type -> (status, reason, message)."""
    return {c["type"]: (c["status"], c["reason"], c["message"]) for c in obj["status"].get("conditions", [])}
