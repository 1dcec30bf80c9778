"""A cluster comes up from its goal: nodes, system Pods, workloads; and a settled one writes nothing."""

from __future__ import annotations

from pathlib import Path

from azuresandbox import fabric
from azuresandbox.machine.client import KubeClient
from tests.harness import World
from tests.machine.machine_world import ID, available, deployment, run, until


def test_nodes_and_system_pods_run(tmp_path: Path) -> None:
    async def body(world: World, kube: KubeClient) -> None:
        (node,) = await kube.list("v1", "Node")
        assert node["metadata"]["name"].startswith("aks-system-") and node["metadata"]["name"].endswith("-vmss000000")

        async def running() -> bool:
            return await available(kube, "coredns", "kube-system") == 1

        await until(world, running)

    run(tmp_path, body)


def test_a_deployment_runs_and_a_settled_cluster_writes_nothing(tmp_path: Path) -> None:
    async def body(world: World, kube: KubeClient) -> None:
        await kube.create(deployment("podinfo", "ghcr.io/stefanprodan/podinfo:6.9.0", 2))

        async def running() -> bool:
            return await available(kube, "podinfo") == 2

        await until(world, running)
        await world.clock.advance(60)
        store = world.sandbox.store
        before = {name: store.revision(name) for name in (f"cluster:{ID}", "fabric", "machine")}
        await world.clock.advance(3600)
        assert {name: store.revision(name) for name in before} == before
        found = await kube.get("apps/v1", "Deployment", "podinfo", "default")
        reasons = {c["type"]: c["reason"] for c in found["status"]["conditions"]}
        assert reasons == {"Progressing": "NewReplicaSetAvailable", "Available": "MinimumReplicasAvailable"}

    run(tmp_path, body)


def test_a_missing_secret_and_an_unknown_image_are_said_as_a_kubelet_says_them(tmp_path: Path) -> None:
    async def body(world: World, kube: KubeClient) -> None:
        env = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "absent", "key": "k"}}}]
        await kube.create(deployment("needy", "nginx", env=env))
        await kube.create(deployment("unknown", "example.com/none:1"))

        async def waiting(name: str) -> str:
            pods = await kube.list("v1", "Pod", "default", labels=f"app={name}")
            states = [s["state"] for p in pods for s in (p.get("status") or {}).get("containerStatuses") or ()]
            return str((states or [{}])[0].get("waiting", {}).get("reason", ""))

        async def both() -> bool:
            return (await waiting("needy"), await waiting("unknown")) == ("CreateContainerConfigError", "ImagePullBackOff")

        await until(world, both)
        events = {e["message"] for e in await kube.list("v1", "Event", "default")}
        assert 'Error: secret "absent" not found' in events
        await kube.create(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "absent", "namespace": "default"},
                "stringData": {"k": "v"},
            }
        )

        async def running() -> bool:
            return await available(kube, "needy") == 1

        await until(world, running)

    run(tmp_path, body)


def test_what_does_not_fit_is_not_scheduled(tmp_path: Path) -> None:
    async def body(world: World, kube: KubeClient) -> None:
        await kube.create(deployment("large", "nginx", resources={"requests": {"cpu": "4"}}))

        async def refused() -> bool:
            events = await kube.list("v1", "Event", "default")
            return any(e["reason"] == "FailedScheduling" for e in events)

        await until(world, refused)
        (event,) = [e for e in await kube.list("v1", "Event", "default") if e["reason"] == "FailedScheduling"]
        assert event["message"] == (
            "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: "
            "1 No preemption victims found for incoming pod."
        )

    run(tmp_path, body)


def test_a_deleted_cluster_goes_without_complaint(tmp_path: Path) -> None:
    """Its components' watches end and find nothing: that is no news for the log."""

    async def body(world: World, kube: KubeClient) -> None:
        store, lines = world.sandbox.store, []
        world.sandbox.log = lambda part, text: lines.append(text)
        wanted = fabric.get_goal(store, "cluster", ID)
        assert wanted is not None
        wanted.deleted = True
        fabric.put_goal(store, wanted)

        async def gone() -> bool:
            found = fabric.get_cluster_report(store, ID)
            return found is None or found.state == "Deleted"

        await until(world, gone)
        await world.clock.advance(60)
        assert [line for line in lines if "watch of" in line] == []

    run(tmp_path, body)
