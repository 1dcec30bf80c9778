"""Cascading deletion: owners and dependents, namespaces and their contents, definitions and their objects."""

from __future__ import annotations

from pathlib import Path

from tests.kubernetes.cluster_world import cluster, config_map, owner, widget, widget_definition

MAPS = "/api/v1/namespaces/default/configmaps"
WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


async def test_dependents_are_deleted_with_their_owner(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        parent = await api.ok("POST", MAPS, config_map("parent"))
        child = await api.ok("POST", MAPS, config_map("child", ownerReferences=[owner(parent)]))
        await api.ok("POST", MAPS, config_map("grandchild", ownerReferences=[owner(child)]))
        await api.ok("DELETE", f"{MAPS}/parent")
        await api.settle()
        for name in ("child", "grandchild"):
            await api.fails(404, "GET", f"{MAPS}/{name}")


async def test_a_second_owner_keeps_a_dependent(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        one = await api.ok("POST", MAPS, config_map("one"))
        two = await api.ok("POST", MAPS, config_map("two"))
        await api.ok("POST", MAPS, config_map("child", ownerReferences=[owner(one), owner(two)]))
        await api.ok("DELETE", f"{MAPS}/one")
        await api.settle()
        child = await api.ok("GET", f"{MAPS}/child")
        assert child["metadata"]["ownerReferences"] == [owner(two)]
        await api.ok("DELETE", f"{MAPS}/two")
        await api.settle()
        await api.fails(404, "GET", f"{MAPS}/child")


async def test_orphan_deletion_keeps_dependents(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        parent = await api.ok("POST", MAPS, config_map("parent"))
        await api.ok("POST", MAPS, config_map("child", ownerReferences=[owner(parent)]))
        await api.ok("DELETE", f"{MAPS}/parent", {"propagationPolicy": "Orphan"})
        await api.settle()
        await api.fails(404, "GET", f"{MAPS}/parent")
        assert "ownerReferences" not in (await api.ok("GET", f"{MAPS}/child"))["metadata"]


async def test_foreground_deletion_waits_for_the_dependents(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        parent = await api.ok("POST", MAPS, config_map("parent"))
        reference = owner(parent, blockOwnerDeletion=True)
        await api.ok("POST", MAPS, config_map("child", ownerReferences=[reference], finalizers=["example.com/hold"]))
        marked = await api.ok("DELETE", f"{MAPS}/parent", {"propagationPolicy": "Foreground"})
        assert marked["metadata"]["finalizers"] == ["foregroundDeletion"]
        await api.settle()
        child = await api.ok("GET", f"{MAPS}/child")
        assert child["metadata"]["deletionTimestamp"]
        await api.ok("GET", f"{MAPS}/parent")
        await api.ok("PUT", f"{MAPS}/child", {**child, "metadata": {**child["metadata"], "finalizers": []}})
        await api.settle()
        await api.fails(404, "GET", f"{MAPS}/child")
        await api.fails(404, "GET", f"{MAPS}/parent")


async def test_a_dependent_of_an_unknown_owner_is_deleted(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        unknown = {"apiVersion": "v1", "kind": "ConfigMap", "name": "never", "uid": "00000000-0000-0000-0000-000000000000"}
        await api.ok("POST", MAPS, config_map("child", ownerReferences=[unknown]))
        await api.settle()
        await api.fails(404, "GET", f"{MAPS}/child")


async def test_a_namespace_is_deleted_with_its_contents(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        created = await api.ok("POST", "/api/v1/namespaces", {"metadata": {"name": "team"}})
        assert created["metadata"]["labels"] == {"kubernetes.io/metadata.name": "team"}
        assert created["status"] == {"phase": "Active"} and created["spec"] == {"finalizers": ["kubernetes"]}
        await api.ok("GET", "/api/v1/namespaces/team/serviceaccounts/default")
        maps = "/api/v1/namespaces/team/configmaps"
        await api.ok("POST", maps, config_map("free"))
        held = await api.ok("POST", maps, config_map("held", finalizers=["example.com/hold"]))
        going = await api.ok("DELETE", "/api/v1/namespaces/team")
        assert going["status"]["phase"] == "Terminating"
        await api.settle()
        await api.fails(404, "GET", f"{maps}/free")
        status = await api.fails(403, "POST", maps, config_map("late"))
        assert status["message"] == (
            'configmaps "late" is forbidden: unable to create new content in namespace team because it is being terminated'
        )
        assert status["details"]["causes"][0]["reason"] == "NamespaceTerminating"
        found = await api.ok("GET", "/api/v1/namespaces/team")
        conditions = {item["type"]: item for item in found["status"]["conditions"]}
        assert conditions["NamespaceFinalizersRemaining"]["message"] == (
            "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
        )
        held = await api.ok("GET", f"{maps}/held")
        await api.ok("PUT", f"{maps}/held", {**held, "metadata": {**held["metadata"], "finalizers": []}})
        await api.settle()
        await api.fails(404, "GET", "/api/v1/namespaces/team")
        status = await api.fails(403, "DELETE", "/api/v1/namespaces/default")
        assert status["message"] == 'namespaces "default" is forbidden: this namespace may not be deleted'


async def test_a_definition_is_deleted_with_its_objects(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        await api.ok("POST", CRDS, widget_definition())
        await api.ok("POST", WIDGETS, widget("one"))
        await api.ok("DELETE", f"{CRDS}/widgets.example.com")
        await api.settle()
        await api.fails(404, "GET", f"{CRDS}/widgets.example.com")
        assert (await api.send("GET", WIDGETS)).status == 404
        await api.ok("POST", CRDS, widget_definition())
        assert (await api.ok("GET", WIDGETS))["items"] == []
