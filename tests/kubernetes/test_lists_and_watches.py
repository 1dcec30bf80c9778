"""Lists, selectors, paging, watches, bookmarks and expiry."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.kubernetes.cluster_world import Api, cluster, config_map, pod

MAPS = "/api/v1/namespaces/default/configmaps"


class Events:
    """The events of a watch, read in the background. `ended`: the server has closed the watch."""

    def __init__(self, lines: AsyncIterator[bytes]) -> None:
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.ended = False
        self._task = asyncio.create_task(self._read(lines))

    async def _read(self, lines: AsyncIterator[bytes]) -> None:
        async for line in lines:
            event = json.loads(line)
            self.seen.append((event["type"], event["object"]))
        self.ended = True

    def names(self) -> list[tuple[str, str]]:
        return [(kind, obj["metadata"].get("name", "")) for kind, obj in self.seen]

    def close(self) -> None:
        self._task.cancel()


@asynccontextmanager
async def watching(api: Api, path: str, **query: str) -> AsyncIterator[Events]:
    async with api.world.wire.stream("GET", api.url(path, watch="true", **query), headers=api.headers()) as stream:
        assert stream.status == 200
        events = Events(stream.lines())
        yield events
        events.close()


async def test_lists_can_be_selected_and_paged(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        for number in range(5):
            await api.ok("POST", MAPS, config_map(f"m{number}", labels={"odd": str(number % 2), "app": "x"}))
        found = await api.ok("GET", MAPS, labelSelector="app=x,odd!=0")
        assert [item["metadata"]["name"] for item in found["items"]] == ["m1", "m3"]
        assert found["kind"] == "ConfigMapList" and found["apiVersion"] == "v1"
        named = await api.ok("GET", MAPS, fieldSelector="metadata.name=m2")
        assert [item["metadata"]["name"] for item in named["items"]] == ["m2"]
        first = await api.ok("GET", MAPS, limit="2")
        assert len(first["items"]) == 2 and first["metadata"]["remainingItemCount"] == 4
        await api.ok("DELETE", f"{MAPS}/m4")
        rest = await api.ok("GET", MAPS, limit="10", **{"continue": first["metadata"]["continue"]})
        names = [item["metadata"]["name"] for item in first["items"] + rest["items"]]
        assert names == ["kube-root-ca.crt", "m0", "m1", "m2", "m3", "m4"], "pages are of one revision"
        assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
        filtered = await api.ok("GET", MAPS, limit="1", labelSelector="odd=1")
        assert [item["metadata"]["name"] for item in filtered["items"]] == ["m1"]
        status = await api.fails(400, "GET", MAPS, fieldSelector="data.a=1")
        assert status["message"].startswith('"data.a" is not a known field selector: only "metadata.name"')
        status = await api.fails(504, "GET", MAPS, resourceVersion="99999")
        assert status["message"].startswith("Timeout: Too large resource version: 99999, current: ")


async def test_pods_are_selected_by_field(tmp_path: Path) -> None:
    pods = "/api/v1/namespaces/default/pods"

    async with cluster(tmp_path) as api:
        await api.ok("POST", pods, pod("p1"))
        await api.ok("POST", pods, pod("p2"))
        await api.ok("POST", f"{pods}/p2/binding", {"target": {"name": "n1"}})
        for selector, expected in (("spec.nodeName=n1", ["p2"]), ("spec.nodeName=", ["p1"]), ("status.phase!=Pending", [])):
            found = await api.ok("GET", "/api/v1/pods", fieldSelector=selector)
            assert [item["metadata"]["name"] for item in found["items"]] == expected, selector


async def test_a_watch_sees_every_change(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        start = (await api.ok("GET", MAPS))["metadata"]["resourceVersion"]
        created = await api.ok("POST", MAPS, config_map("one"))
        async with watching(api, MAPS, resourceVersion=start) as events:
            await api.settle()
            assert events.seen == [("ADDED", created)], "what happened since the list"
            await api.ok("PUT", f"{MAPS}/one", {**created, "data": {"a": "1"}})
            await api.ok("DELETE", f"{MAPS}/one")
            await api.settle()
            assert [kind for kind, _ in events.seen] == ["ADDED", "MODIFIED", "DELETED"]
            versions = [int(obj["metadata"]["resourceVersion"]) for _, obj in events.seen]
            assert versions == sorted(set(versions)), "the deletion has a version of its own"


async def test_a_selector_turns_changes_into_additions_and_deletions(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        created = await api.ok("POST", MAPS, config_map("one"))
        async with watching(api, MAPS, labelSelector="in=yes") as events:
            labelled = {**created, "metadata": {**created["metadata"], "labels": {"in": "yes"}}}
            labelled = await api.ok("PUT", f"{MAPS}/one", labelled)
            await api.ok("PUT", f"{MAPS}/one", {**labelled, "metadata": {**labelled["metadata"], "labels": {}}})
            await api.settle()
            assert [kind for kind, _ in events.seen] == ["ADDED", "DELETED"]


async def test_streaming_lists_end_with_a_bookmark(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        await api.ok("POST", MAPS, config_map("one"))
        query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
        async with watching(api, MAPS, **query) as events:
            await api.settle()
            assert events.names() == [("ADDED", "kube-root-ca.crt"), ("ADDED", "one"), ("BOOKMARK", "")]
            assert events.seen[-1][1]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
            await api.world.clock.advance(61)
            assert events.names()[-1] == ("BOOKMARK", "") and len(events.seen) == 4
        await api.fails(422, "GET", MAPS, watch="1", sendInitialEvents="true")


async def test_a_watch_ends_after_its_timeout(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api, watching(api, MAPS, timeoutSeconds="30") as events:
        await api.world.clock.advance(29)
        assert not events.ended
        await api.world.clock.advance(2)
        assert events.ended


async def test_a_watch_of_compacted_history_gets_410(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        store = api.world.sandbox.store
        for number in range(3):
            await api.ok("POST", MAPS, config_map(f"m{number}"))
        store.compact("cluster:c1", store.revision("cluster:c1"))
        async with watching(api, MAPS, resourceVersion="3") as events:
            await api.settle()
            assert events.ended
            ((kind, status),) = events.seen
            assert kind == "ERROR" and status["code"] == 410 and status["reason"] == "Expired"
            assert status["message"].startswith("too old resource version: 3 (")


async def test_the_watch_expired_fault_happens_once(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        api.world.sandbox.faults.arm("watch-expired")
        async with watching(api, MAPS) as events:
            await api.settle()
            assert [(kind, obj["code"]) for kind, obj in events.seen] == [("ERROR", 410)] and events.ended
        async with watching(api, MAPS) as events:
            await api.settle()
            assert events.names() == [("ADDED", "kube-root-ca.crt")] and not events.ended


async def test_tables_have_the_columns_of_kubectl(tmp_path: Path) -> None:
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"

    async with cluster(tmp_path) as api:
        await api.ok("POST", "/api/v1/namespaces/default/pods", pod("p1"))
        table = await api.ok("GET", "/api/v1/namespaces/default/pods", accept=accept)
        assert table["kind"] == "Table"
        assert [c["name"] for c in table["columnDefinitions"] if not c["priority"]] == [
            "Name",
            "Ready",
            "Status",
            "Restarts",
            "Age",
        ]
        assert table["rows"][0]["cells"][:5] == ["p1", "0/1", "Pending", "0", "0s"]
        assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
        table = await api.ok("GET", "/api/v1/namespaces/default/services/kubernetes", accept=accept)
        assert table["rows"][0]["cells"][:5] == ["kubernetes", "ClusterIP", "10.0.0.1", "<none>", "443/TCP"]
        only = await api.ok(
            "GET", MAPS, accept="application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
        )
        assert only["kind"] == "PartialObjectMetadataList" and "data" not in only["items"][0]
