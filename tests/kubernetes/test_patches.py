"""The four kinds of patch, field managers and conflicts between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.kubernetes.cluster_world import Api, cluster, config_map, deployment, widget, widget_definition

MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
MERGE, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
STRATEGIC, APPLY = "application/strategic-merge-patch+json", "application/apply-patch+yaml"


async def applied(api: Api, path: str, body: Any, manager: str = "tests", **query: str) -> Any:
    return await api.ok("PATCH", path, body, content_type=APPLY, fieldManager=manager, **query)


async def test_merge_and_json_patches(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        await api.ok("POST", MAPS, config_map("one", {"a": "1", "b": "2"}))
        changed = await api.ok("PATCH", f"{MAPS}/one", {"data": {"a": None, "c": "3"}}, content_type=MERGE)
        assert changed["data"] == {"b": "2", "c": "3"}
        operations = [{"op": "test", "path": "/data/b", "value": "2"}, {"op": "replace", "path": "/data/b", "value": "9"}]
        changed = await api.ok("PATCH", f"{MAPS}/one", operations, content_type=JSON_PATCH)
        assert changed["data"] == {"b": "9", "c": "3"}
        await api.fails(422, "PATCH", f"{MAPS}/one", operations, content_type=JSON_PATCH)
        stale = {"metadata": {"resourceVersion": "1"}, "data": {"x": "y"}}
        status = await api.fails(409, "PATCH", f"{MAPS}/one", stale, content_type=MERGE)
        assert "please apply your changes to the latest version" in status["message"]
        await api.fails(404, "PATCH", f"{MAPS}/none", {}, content_type=MERGE)


async def test_strategic_patches_merge_lists_by_key(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        await api.ok("POST", DEPLOYMENTS, deployment("web"))
        patch = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "nginx:1"}]}}}}
        changed = await api.ok("PATCH", f"{DEPLOYMENTS}/web", patch, content_type=STRATEGIC)
        names = [item["name"] for item in changed["spec"]["template"]["spec"]["containers"]]
        assert sorted(names) == ["main", "side"] and changed["metadata"]["generation"] == 2
        await api.ok("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", widget_definition())
        widgets = "/apis/example.com/v1/namespaces/default/widgets"
        await api.ok("POST", widgets, widget("w"))
        status = await api.fails(415, "PATCH", f"{widgets}/w", {}, content_type=STRATEGIC)
        assert status["message"] == (
            "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, "
            "application/merge-patch+json, application/apply-patch+yaml"
        )


async def test_apply_creates_owns_and_conflicts(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        first = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\ndata: {a: '1', b: '2'}\n"
        created = await api.send("PATCH", f"{MAPS}/one", first, content_type=APPLY, fieldManager="left")
        assert created.status == 201
        (entry,) = created.json()["metadata"]["managedFields"]
        assert (entry["manager"], entry["operation"], entry["apiVersion"]) == ("left", "Apply", "v1")
        assert entry["fieldsV1"] == {"f:data": {"f:a": {}, "f:b": {}}}
        again = await api.send("PATCH", f"{MAPS}/one", first, content_type=APPLY, fieldManager="left")
        assert again.status == 200
        assert again.json()["metadata"]["resourceVersion"] == created.json()["metadata"]["resourceVersion"]
        other = config_map("one", {"a": "9"})
        status = await api.fails(409, "PATCH", f"{MAPS}/one", other, content_type=APPLY, fieldManager="right")
        assert status["reason"] == "Conflict"
        assert status["message"] == 'Apply failed with 1 conflict: conflict with "left": .data.a'
        (cause,) = status["details"]["causes"]
        assert cause == {"reason": "FieldManagerConflict", "message": 'conflict with "left"', "field": ".data.a"}
        forced = await applied(api, f"{MAPS}/one", other, "right", force="true")
        assert forced["data"] == {"a": "9", "b": "2"}
        less = await applied(api, f"{MAPS}/one", config_map("one", {}), "left")
        assert less["data"] == {"a": "9"}, "a field that its manager no longer applies is removed"
        status = await api.fails(422, "PATCH", f"{MAPS}/one", other, content_type=APPLY)
        assert "fieldManager: Required value: is required for apply patch" in status["message"]


async def test_apply_of_an_unknown_field_fails(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        body = {**config_map("one"), "dota": {}}
        status = await api.fails(500, "PATCH", f"{MAPS}/one", body, content_type=APPLY, fieldManager="x")
        assert status["message"] == (
            "failed to create typed patch object (/one; /v1, Kind=ConfigMap): .dota: field not declared in schema"
        )


async def test_updates_are_attributed_to_their_manager(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        created = await api.ok("POST", DEPLOYMENTS, deployment("web"), fieldManager="maker")
        (entry,) = created["metadata"]["managedFields"]
        assert (entry["manager"], entry["operation"]) == ("maker", "Update")
        status = {"status": {"replicas": 1}}
        changed = await api.ok("PATCH", f"{DEPLOYMENTS}/web/status", status, content_type=MERGE, fieldManager="controller")
        found = {(item["manager"], item.get("subresource", "")) for item in changed["metadata"]["managedFields"]}
        assert found == {("maker", ""), ("controller", "status")}


async def test_applying_a_deployment_twice_changes_nothing(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        first = await applied(api, f"{DEPLOYMENTS}/web", deployment("web"), "kustomize-controller", force="true")
        await api.world.clock.advance(60)
        second = await applied(api, f"{DEPLOYMENTS}/web", deployment("web"), "kustomize-controller", force="true")
        assert second == first and first["metadata"]["generation"] == 1
        shown = await applied(api, f"{DEPLOYMENTS}/web", deployment("web"), "kustomize-controller", force="true", dryRun="All")
        assert shown == first
