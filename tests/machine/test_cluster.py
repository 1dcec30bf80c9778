"""A cluster is created from its goal: nodes, system Pods, workloads. A settled one has no writes."""

from __future__ import annotations

from pathlib import Path

from azuresandbox import fabric
from tests.machine.machine_world import ID, deployment, running, until, until_available


async def test_nodes_and_system_pods_run(tmp_path: Path) -> None:
    async with running(tmp_path) as (world, kube):
        (node,) = await kube.list("v1", "Node")
        assert node["metadata"]["name"].startswith("aks-system-") and node["metadata"]["name"].endswith("-vmss000000")
        await until_available(world, kube, 1, "coredns", "kube-system")


async def test_a_deployment_runs_and_a_settled_cluster_writes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as (world, kube):
        await kube.create(deployment("podinfo", "ghcr.io/stefanprodan/podinfo:6.9.0", 2))
        await until_available(world, kube, 2, "podinfo")
        await world.clock.advance(60)
        store = world.sandbox.store
        before = {name: store.revision(name) for name in (f"cluster:{ID}", "fabric", "machine")}
        await world.clock.advance(3600)
        assert {name: store.revision(name) for name in before} == before
        found = await kube.get("apps/v1", "Deployment", "podinfo", "default")
        reasons = {c["type"]: c["reason"] for c in found["status"]["conditions"]}
        assert reasons == {"Progressing": "NewReplicaSetAvailable", "Available": "MinimumReplicasAvailable"}


async def test_a_missing_secret_and_an_unknown_image_are_reported_as_by_a_kubelet(tmp_path: Path) -> None:
    async with running(tmp_path) as (world, kube):
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
        await until_available(world, kube, 1, "needy")


async def test_a_pod_that_does_not_fit_is_not_scheduled(tmp_path: Path) -> None:
    async with running(tmp_path) as (world, kube):
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


async def test_a_deleted_cluster_logs_no_failed_watches(tmp_path: Path) -> None:
    """The watches of its components end because the cluster was deleted, which is not an error."""
    async with running(tmp_path) as (world, kube):
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
