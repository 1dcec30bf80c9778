"""StatefulSets, Jobs, Services, claims, rollouts, scaling and upgrading of pools, and a restart of the sandbox."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from azuresandbox import fabric
from azuresandbox.machine.types import Object
from azuresandbox.store import Store
from tests.harness import World
from tests.machine.machine_world import ID, available, deployment, goal, running, until, until_available, until_nodes_are_ready


def meta(name: str) -> Object:
    return {"name": name, "namespace": "default"}


async def test_a_stateful_set_with_claims_and_a_load_balancer(tmp_path: Path) -> None:
    async with running(tmp_path) as (world, kube):
        await kube.create(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": meta("web"),
                "spec": {"type": "LoadBalancer", "selector": {"app": "db"}, "ports": [{"port": 80}]},
            }
        )
        claim = {
            "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
        await kube.create(
            {
                "apiVersion": "apps/v1",
                "kind": "StatefulSet",
                "metadata": meta("db"),
                "spec": {
                    "replicas": 2,
                    "serviceName": "db",
                    "selector": {"matchLabels": {"app": "db"}},
                    "volumeClaimTemplates": [claim],
                    "template": {
                        "metadata": {"labels": {"app": "db"}},
                        "spec": {"containers": [{"name": "redis", "image": "redis:7"}]},
                    },
                },
            }
        )

        async def ready() -> bool:
            found = await kube.get("apps/v1", "StatefulSet", "db", "default")
            return bool((found.get("status") or {}).get("readyReplicas") == 2)

        await until(world, ready)
        await world.clock.advance(5)
        claims = await kube.list("v1", "PersistentVolumeClaim", "default")
        assert {c["metadata"]["name"]: c["status"]["phase"] for c in claims} == {"data-db-0": "Bound", "data-db-1": "Bound"}
        service = await kube.get("v1", "Service", "web", "default")
        assert service["status"]["loadBalancer"]["ingress"][0]["ip"]
        slices = [
            s
            for s in await kube.list("discovery.k8s.io/v1", "EndpointSlice", "default")
            if s["metadata"]["name"].startswith("web-")
        ]
        assert [e["conditions"]["ready"] for e in slices[0]["endpoints"]] == [True, True]


def job(name: str, *command: str, **spec: Any) -> Object:
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox", "command": list(command)}]}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta(name), "spec": {"template": {"spec": pod}, **spec}}


async def test_jobs_complete_or_exceed_their_limit(tmp_path: Path) -> None:
    async with running(tmp_path) as (world, kube):
        await kube.create(job("good", "echo", "done"))
        await kube.create(job("bad", "false", backoffLimit=1))

        async def ended() -> bool:
            jobs = await kube.list("batch/v1", "Job", "default")
            ends = {
                j["metadata"]["name"]: [
                    c["type"] for c in (j.get("status") or {}).get("conditions") or () if c["type"] in ("Complete", "Failed")
                ]
                for j in jobs
            }
            return ends == {"good": ["Complete"], "bad": ["Failed"]}

        await until(world, ended)
        bad = await kube.get("batch/v1", "Job", "bad", "default")
        assert bad["status"]["conditions"][-1]["reason"] == "BackoffLimitExceeded"
        assert bad["status"]["failed"] == 2


async def test_a_crash_loop_backs_off(tmp_path: Path) -> None:
    async with running(tmp_path) as (world, kube):
        await kube.create(deployment("loop", "busybox", command=["false"]))

        async def looping() -> bool:
            pods = await kube.list("v1", "Pod", "default")
            states = [s for p in pods for s in (p.get("status") or {}).get("containerStatuses") or ()]
            return any(
                s["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff" and s["restartCount"] >= 2 for s in states
            )

        await until(world, looping)


async def test_a_rollout_replaces_the_pods_and_counts_revisions(tmp_path: Path) -> None:
    async with running(tmp_path) as (world, kube):
        await kube.create(deployment("web", "nginx:1", 3))
        await until_available(world, kube, 3, "web")
        found = await kube.get("apps/v1", "Deployment", "web", "default")
        found["spec"]["template"]["spec"]["containers"][0]["image"] = "nginx:2"
        await kube.update(found)

        async def rolled() -> bool:
            images = [p["spec"]["containers"][0]["image"] for p in await kube.list("v1", "Pod", "default")]
            return images == ["nginx:2"] * 3 and await available(kube, "web") == 3

        await until(world, rolled)
        found = await kube.get("apps/v1", "Deployment", "web", "default")
        assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"


async def test_pools_grow_upgrade_and_shrink(tmp_path: Path) -> None:
    async with running(tmp_path) as (world, kube):

        async def reach(count: int, version: str) -> None:
            revision = fabric.put_goal(world.sandbox.store, goal(count=count, version=version))

            async def reported() -> bool:
                report = fabric.get_report(world.sandbox.store, "cluster", ID, "", "nodes")
                return report is not None and report.observed == revision

            await until(world, reported)
            await world.clock.advance(10)
            nodes = await kube.list("v1", "Node")
            assert [n["status"]["nodeInfo"]["kubeletVersion"] for n in nodes] == [f"v{version}"] * count
            assert not any(n["spec"].get("unschedulable") for n in nodes)

        await reach(2, "1.33.3")
        await reach(2, "1.33.4")
        await reach(1, "1.33.4")


async def test_a_restart_of_the_sandbox_runs_the_programs_again_and_writes_nothing(tmp_path: Path) -> None:
    store = Store()
    async with World.open(tmp_path, ("kubernetes", "machine"), store=store) as world:
        fabric.put_goal(store, goal())
        await until_nodes_are_ready(world)
        await world.clock.advance(60)
    before, lines = store.revision(f"cluster:{ID}"), store.revision("machine")
    async with World.open(tmp_path, ("kubernetes", "machine"), store=store) as world:
        await world.clock.advance(120)
        await asyncio.sleep(0.01)
        await world.clock.advance(60)
        assert store.revision(f"cluster:{ID}") == before
        assert store.revision("machine") > lines, "the programs log when they start"
