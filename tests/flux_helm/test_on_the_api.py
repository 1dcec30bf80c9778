"""helm-controller and kustomize-controller on the emulated API server: its server-side apply, dry-run and messages."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import helm_python
import uvicorn

from azuresandbox import fabric, pki
from azuresandbox.machine.client import KubeClient
from azuresandbox.machine.images.flux import artifacts, helm, kustomize
from azuresandbox.machine.images.flux.crds import flux_crds
from azuresandbox.machine.node.program import Pod
from tests.flux_helm.helm_world import chart
from tests.given import given
from tests.harness import World

NAMESPACE = "cluster-config"
DIGEST = "0123456789ab" + "0" * 52
WIDGETS: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.org"},
    "spec": {
        "group": "example.org",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}},
                    }
                },
            }
        ],
    },
}


@dataclass
class Hub:
    """A cluster with kustomize-controller and helm-controller. `kube` is its administrator, `log` has the lines of both."""

    world: World
    kube: KubeClient
    storage: artifacts.Storage
    log: list[str]

    async def settle(self) -> None:
        still, before = 0, ""
        while still < 4:
            await self.world.clock.settle(300)
            now = f"{self.world.sandbox.store.revision('cluster:hub')} {len(self.log)}"
            still, before = (still + 1 if now == before else 0), now

    async def advance(self, seconds: float) -> None:
        await self.world.clock.advance(seconds)
        await self.settle()

    async def source(self, kind: str, name: str, revision: str, data: bytes) -> None:
        path = artifacts.path_of(kind, NAMESPACE, name, f"{abs(hash(revision))}.tar.gz")
        blob = self.storage.put(path, data)
        spec = {"url": "oci://x/y" if kind == "OCIRepository" else "https://x/y", "interval": "1m"}
        api = "source.toolkit.fluxcd.io/v1"
        obj = {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}
        found = await self.kube.find(api, kind, name, NAMESPACE) or await self.kube.create(obj)
        artifact = {
            "url": artifacts.url_of(path),
            "path": path,
            "digest": blob.digest,
            "revision": revision,
            "lastUpdateTime": "2026-01-01T00:00:00Z",
        }
        await self.kube.patch(
            {**obj, "metadata": found["metadata"]},
            {"status": {"artifact": artifact, "observedGeneration": 1}},
            subresource="status",
        )

    async def release(self, name: str, **spec: Any) -> None:
        reference = {"kind": "OCIRepository", "name": "charts"}
        await self.kube.create(
            {
                "apiVersion": "helm.toolkit.fluxcd.io/v2",
                "kind": "HelmRelease",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": {"interval": "5m", "chartRef": reference, **spec},
            }
        )

    async def kustomization(self, name: str, **spec: Any) -> None:
        reference = {"kind": "GitRepository", "name": "fleet"}
        await self.kube.create(
            {
                "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
                "kind": "Kustomization",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": {"interval": "5m", "prune": True, "sourceRef": reference, **spec},
            }
        )

    async def ready(self, kind: str, name: str) -> tuple[str, str, str]:
        group = "helm.toolkit.fluxcd.io/v2" if kind == "HelmRelease" else "kustomize.toolkit.fluxcd.io/v1"
        found = await self.kube.get(group, kind, name, NAMESPACE)
        ready = next(c for c in found["status"]["conditions"] if c["type"] == "Ready")
        return ready["status"], ready["reason"], ready["message"]


@asynccontextmanager
async def hub(folder: Path) -> AsyncIterator[Hub]:
    """Run both controllers in a new cluster of the emulated API server."""
    async with World.open(folder, ("kubernetes",)) as world:
        store = world.sandbox.store
        goal = fabric.ClusterGoal(
            cluster_id="hub", cluster_name="hub", version="1.33.2", oidc_issuer=world.url("/oidc/hub/"), workload_identity=True
        )
        revision = fabric.put_goal(store, goal)
        await fabric.settled(store, "cluster", "hub", "", revision, ("api",))
        report = fabric.get_cluster_report(store, "hub")
        assert report is not None
        kube = KubeClient(world.wire, world.url("/clusters/hub"), report.credentials["admin"]["token"])
        for crd in [*flux_crds(), WIDGETS]:
            await kube.create(crd)
        await kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        log: list[str] = []
        storage = artifacts.Storage()
        pod = Pod(
            "hub",
            "flux-system",
            "flux-0",
            "manager",
            "flux",
            "node-0",
            "flux",
            {},
            {},
            [],
            [],
            {},
            {},
            kube,
            world.wire,
            world.clock,
            log.append,
            lambda ready: None,
        )
        found = Hub(world, kube, storage, log)
        with artifacts.serving(pod, storage):
            tasks: list[asyncio.Future[None]]
            tasks = [asyncio.ensure_future(program(pod)) for program in (kustomize.program, helm.program)]
            await found.settle()
            try:
                yield found
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


on_a_hub = given(hub)
"""Gives an async test a cluster with both controllers."""


def git(**files: str) -> bytes:
    return artifacts.archive({name.replace("__", "/") + ".yaml": (text.encode(), False) for name, text in files.items()})


@on_a_hub
async def test_both_controllers_settle_and_stop_writing(hub: Hub) -> None:
    service = (
        f"apiVersion: v1\nkind: Service\nmetadata: {{name: s, namespace: {NAMESPACE}}}\n"
        "spec: {selector: {a: b}, ports: [{port: 80}]}\n"
    )
    secret = f"apiVersion: v1\nkind: Secret\nmetadata: {{name: x, namespace: {NAMESPACE}}}\nstringData: {{k: v}}\n"
    widget = f"apiVersion: example.org/v1\nkind: Widget\nmetadata: {{name: w, namespace: {NAMESPACE}}}\nspec: {{size: 1}}\n"
    await hub.source("GitRepository", "fleet", "main@sha1:" + "1" * 40, git(s=service, x=secret, w=widget))
    await hub.source(
        "OCIRepository", "charts", f"0.1.0@sha256:{DIGEST}", chart(templates__s_dot_yaml=service.replace("s,", "h,"))
    )
    await hub.kustomization("apps", wait=True)
    await hub.release("app")
    await hub.settle()
    assert (await hub.ready("Kustomization", "apps"))[:2] == ("True", "ReconciliationSucceeded"), hub.log
    assert (await hub.ready("HelmRelease", "app"))[:2] == ("True", "InstallSucceeded"), hub.log
    revision = hub.world.sandbox.store.revision("cluster:hub")
    await hub.advance(3600)
    assert hub.world.sandbox.store.revision("cluster:hub") == revision, hub.log[-5:]


@on_a_hub
async def test_an_unknown_field_is_refused_with_the_apis_message(hub: Hub) -> None:
    widget = f"apiVersion: example.org/v1\nkind: Widget\nmetadata: {{name: w, namespace: {NAMESPACE}}}\nspec: {{colour: red}}\n"
    await hub.source("GitRepository", "fleet", "main@sha1:" + "1" * 40, git(w=widget))
    await hub.source("OCIRepository", "charts", f"0.1.0@sha256:{DIGEST}", chart(templates__w_dot_yaml=widget))
    await hub.kustomization("apps")
    await hub.release("app")
    await hub.settle()
    typed = (
        f"failed to create typed patch object ({NAMESPACE}/w; example.org/v1, Kind=Widget): .spec.colour: field not declared"
    )
    status, reason, message = await hub.ready("Kustomization", "apps")
    assert (status, reason) == ("False", "ReconciliationFailed")
    assert message.startswith(f"Widget/{NAMESPACE}/w dry-run failed") and typed in message
    status, reason, message = await hub.ready("HelmRelease", "app")
    assert (status, reason) == ("False", "InstallFailed")
    assert f"server-side apply failed for object {NAMESPACE}/w example.org/v1, Kind=Widget: {typed}" in message


@on_a_hub
async def test_changes_by_kubectl_are_reverted(hub: Hub) -> None:
    text = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c, namespace: {NAMESPACE}}}\ndata: {{a: '1'}}\n"
    await hub.source("GitRepository", "fleet", "main@sha1:" + "1" * 40, git(c=text))
    await hub.kustomization("apps")
    await hub.settle()
    changed = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": NAMESPACE},
        "data": {"a": "2", "b": "3"},
    }
    await hub.kube.apply(changed, "kubectl", force=True)
    await hub.advance(301)
    assert (await hub.kube.get("v1", "ConfigMap", "c", NAMESPACE))["data"] == {"a": "1"}


@on_a_hub
async def test_upgrade_and_uninstall_by_server_side_apply(hub: Hub) -> None:
    await hub.source("OCIRepository", "charts", f"0.1.0@sha256:{DIGEST}", chart())
    await hub.release("app", values={"count": 1, "extra": True})
    await hub.settle()
    assert await hub.kube.find("v1", "ConfigMap", "extra", NAMESPACE)
    found = await hub.kube.get("helm.toolkit.fluxcd.io/v2", "HelmRelease", "app", NAMESPACE)
    await hub.kube.patch({**found, "kind": "HelmRelease"}, {"spec": {"values": {"count": 5, "extra": None}}})
    await hub.settle()
    assert (await hub.ready("HelmRelease", "app"))[1] == "UpgradeSucceeded", hub.log
    assert await hub.kube.find("v1", "ConfigMap", "extra", NAMESPACE) is None
    config = await hub.kube.get("v1", "ConfigMap", "app-settings", NAMESPACE)
    assert config["data"]["count"] == "5"
    assert [entry["manager"] for entry in config["metadata"]["managedFields"]] == ["helm-controller"]
    await hub.kube.delete("helm.toolkit.fluxcd.io/v2", "HelmRelease", "app", NAMESPACE)
    await hub.settle()
    assert await hub.kube.find("v1", "ConfigMap", "app-settings", NAMESPACE) is None
    assert await hub.kube.find("helm.toolkit.fluxcd.io/v2", "HelmRelease", "app", NAMESPACE) is None
    assert not [s for s in await hub.kube.list("v1", "Secret", NAMESPACE) if s["type"] == "helm.sh/release.v1"]


@on_a_hub
async def test_the_status_fits_its_schema(hub: Hub) -> None:
    await hub.source("OCIRepository", "charts", f"0.1.0@sha256:{DIGEST}", chart())
    await hub.release("app")
    await hub.settle()
    found = await hub.kube.get("helm.toolkit.fluxcd.io/v2", "HelmRelease", "app", NAMESPACE)
    snapshot = found["status"]["history"][0]
    assert snapshot["digest"].startswith("sha256:") and snapshot["ociDigest"] == f"sha256:{DIGEST}", json.dumps(found["status"])


@asynccontextmanager
async def listening(hub: Hub) -> AsyncIterator[helm_python.Config]:
    """Serve the hub on a loopback port. Yields the configuration of the real Helm as its administrator."""
    state = hub.world.sandbox.state
    certificate, key = pki.authority(state).issue("tests", hosts=("127.0.0.1",))
    (state / "tls.pem").write_text(certificate)
    pki.write_private(state / "tls.key", key)
    listener = socket.create_server(("127.0.0.1", 0))
    settings = uvicorn.Config(
        hub.world.wire.app or "",
        log_level="critical",
        lifespan="off",
        ssl_certfile=str(state / "tls.pem"),
        ssl_keyfile=str(state / "tls.key"),
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(settings)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    address = f"https://127.0.0.1:{listener.getsockname()[1]}/clusters/hub"
    token = hub.kube.headers()["authorization"].removeprefix("Bearer ")
    config = helm_python.Config(
        kube_apiserver=address, kube_token=token, kube_ca_file=str(state / "ca.pem"), namespace=NAMESPACE
    )
    try:
        yield config
    finally:
        config.close()
        server.should_exit = True
        await serving


@on_a_hub
async def test_the_real_helm_reads_the_stored_releases(hub: Hub) -> None:
    await hub.source("OCIRepository", "charts", f"0.1.0@sha256:{DIGEST}", chart())
    await hub.release("app", values={"count": 4})
    await hub.settle()
    found = await hub.kube.get("helm.toolkit.fluxcd.io/v2", "HelmRelease", "app", NAMESPACE)
    await hub.kube.patch({**found, "kind": "HelmRelease"}, {"spec": {"values": {"count": 5}}})
    await hub.settle()
    async with listening(hub) as real:
        listed = await asyncio.to_thread(real.list)
        assert [(r["name"], r["revision"], r["status"], r["app_version"]) for r in listed] == [("app", 2, "deployed", "7")]
        assert await asyncio.to_thread(real.get_values, "app") == {"count": 5}
        history = await asyncio.to_thread(real.history, "app")
        everything = await asyncio.to_thread(real.get_all, "app")
    assert sorted((r["revision"], r["status"]) for r in history) == [(1, "superseded"), (2, "deployed")]
    assert "# Source: demo/templates/config.yaml" in json.dumps(everything)
