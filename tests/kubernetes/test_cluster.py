"""A cluster as a whole: discovery, version, OpenAPI, logs, stopping, restarting, deletion."""

from __future__ import annotations

import asyncio
from pathlib import Path

from azuresandbox import fabric
from azuresandbox.store import Store
from azuresandbox.wire import Stream
from tests.harness import World
from tests.kubernetes.cluster_world import CLUSTER, cluster, config_map, goal, pod, widget_definition

MAPS = "/api/v1/namespaces/default/configmaps"
AGGREGATED = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)


async def test_discovery_in_both_forms(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        await api.ok("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", widget_definition())
        assert (await api.ok("GET", "/api"))["versions"] == ["v1"]
        groups = [item["name"] for item in (await api.ok("GET", "/apis"))["groups"]]
        assert "apps" in groups and groups[-1] == "example.com"
        resources = {item["name"]: item for item in (await api.ok("GET", "/api/v1"))["resources"]}
        assert resources["pods"]["shortNames"] == ["po"] and "pods/log" in resources and not resources["nodes"]["namespaced"]
        response = await api.send("GET", "/apis", accept=AGGREGATED)
        assert response.headers["content-type"] == "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        found = response.json()
        assert found["apiVersion"] == "apidiscovery.k8s.io/v2"
        custom = next(item for item in found["items"] if item["metadata"]["name"] == "example.com")
        assert [item["version"] for item in custom["versions"]] == ["v1", "v1beta1"]
        assert custom["versions"][0]["resources"][0]["responseKind"]["kind"] == "Widget"
        assert (await api.send("GET", "/apis/nowhere.example.com/v1")).status == 404


async def test_version_health_and_openapi(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        version = await api.ok("GET", "/version")
        assert (version["gitVersion"], version["major"], version["minor"]) == ("v1.33.2", "1", "33")
        for path in ("/healthz", "/livez", "/readyz"):
            response = await api.send("GET", path)
            assert (response.status, response.text) == (200, "ok")
        await api.ok("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", widget_definition())
        paths = (await api.ok("GET", "/openapi/v3"))["paths"]
        for path in ("api/v1", "apis/apps/v1", "apis/example.com/v1"):
            document = await api.ok("GET", f"/openapi/v3/{path}")
            assert document["components"]["schemas"] and path in paths, path
        widget = document["components"]["schemas"]["com.example.v1.Widget"]
        assert widget["properties"]["spec"]["properties"]["size"]["minimum"] == 1


async def test_a_stopped_cluster_answers_503_until_it_starts(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        store = api.world.sandbox.store
        await api.ok("POST", MAPS, config_map("one"))
        for power, code in (("Stopped", 503), ("Running", 200)):
            revision = fabric.put_goal(store, goal(power=power))
            await fabric.settled(store, "cluster", CLUSTER, "", revision, ("api",))
            assert (await api.send("GET", f"{MAPS}/one")).status == code


async def test_a_deleted_cluster_leaves_no_data(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        store = api.world.sandbox.store
        revision = fabric.put_goal(store, goal(deleted=True))
        report = await fabric.settled(store, "cluster", CLUSTER, "", revision, ("api",))
        assert report.state == "Deleted"
        assert (await api.send("GET", "/version")).status == 404
        assert store.partitions("cluster:") == [] and store.partitions("apiserver:") == []


async def test_state_survives_a_restart(tmp_path: Path) -> None:
    store = Store()
    async with cluster(tmp_path, store=store) as api:
        parent = await api.ok("POST", MAPS, config_map("one"))
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "one", "uid": parent["metadata"]["uid"]}
        await api.ok("POST", MAPS, config_map("child", ownerReferences=[reference]))
        token, revision = api.token, store.revision(f"cluster:{CLUSTER}")
    async with cluster(tmp_path, store=store) as api:
        assert api.token == token, "credentials stay"
        assert store.revision(f"cluster:{CLUSTER}") == revision, "a restart writes nothing"
        assert await api.ok("GET", f"{MAPS}/one") == parent
        await api.ok("DELETE", f"{MAPS}/one")
        await api.settle()
        await api.fails(404, "GET", f"{MAPS}/child")


def _log(world: World, number: int, text: str) -> None:
    key = f"log/{CLUSTER}/default/p/main/{number:08d}"
    world.sandbox.store.put("machine", key, f"2026-01-01T00:00:{number:02d}.000000000Z {text}".encode())


async def test_logs_are_read_and_followed(tmp_path: Path) -> None:
    path = "/api/v1/namespaces/default/pods/p/log"

    async with cluster(tmp_path) as api:
        await api.ok("POST", "/api/v1/namespaces/default/pods", pod("p"))
        for number in range(3):
            _log(api.world, number, f"line {number}")
        assert (await api.send("GET", path)).text == "line 0\nline 1\nline 2\n"
        assert (await api.send("GET", path, tailLines="1")).text == "line 2\n"
        stamped = (await api.send("GET", path, tailLines="1", timestamps="true")).text
        assert stamped == "2026-01-01T00:00:02.000000000Z line 2\n"
        status = await api.fails(400, "GET", path, container="other")
        assert status["message"] == "container other is not valid for pod p"
        async with api.world.wire.stream("GET", api.url(path, follow="true", tailLines="1"), headers=api.headers()) as stream:
            reading = asyncio.create_task(_lines(stream))
            await api.settle()
            _log(api.world, 3, "line 3")
            await api.settle()
            await api.ok("DELETE", "/api/v1/namespaces/default/pods/p")
            assert await reading == [b"line 2", b"line 3"], "following ends with the pod"


async def _lines(stream: Stream) -> list[bytes]:
    return [line async for line in stream.lines()]


async def test_evictions_respect_budgets(tmp_path: Path) -> None:
    pods, budgets = "/api/v1/namespaces/default/pods", "/apis/policy/v1/namespaces/default/poddisruptionbudgets"

    async with cluster(tmp_path) as api:
        await api.ok("POST", pods, pod("p", labels={"app": "x"}))
        budget = {"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}}
        await api.ok("POST", budgets, budget)
        status = await api.fails(429, "POST", f"{pods}/p/eviction", {"metadata": {"name": "p"}})
        assert status["message"] == "Cannot evict pod as it would violate the pod's disruption budget."
        await api.ok("DELETE", f"{budgets}/b")
        await api.ok("POST", f"{pods}/p/eviction", {"metadata": {"name": "p"}})
        await api.fails(404, "GET", f"{pods}/p")
