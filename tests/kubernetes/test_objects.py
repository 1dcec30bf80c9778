"""Objects are created, read, changed and deleted as on kube-apiserver, with its messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.kubernetes.cluster_world import cluster, config_map, deployment, pod

MAPS = "/api/v1/namespaces/default/configmaps"


async def test_a_config_map_is_created_changed_and_deleted(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        created = await api.ok("POST", MAPS, config_map("one", {"a": "1"}))
        metadata = created["metadata"]
        assert metadata["uid"] and metadata["creationTimestamp"] == "2026-01-01T00:00:00Z"
        assert metadata["namespace"] == "default" and int(metadata["resourceVersion"]) > 0
        assert await api.ok("GET", f"{MAPS}/one") == created
        changed = await api.ok("PUT", f"{MAPS}/one", {**created, "data": {"a": "2"}})
        assert int(changed["metadata"]["resourceVersion"]) > int(metadata["resourceVersion"])
        assert changed["metadata"]["uid"] == metadata["uid"]
        same = await api.ok("PUT", f"{MAPS}/one", changed)
        assert same["metadata"]["resourceVersion"] == changed["metadata"]["resourceVersion"], (
            "a write that changes nothing is not stored"
        )
        gone = await api.ok("DELETE", f"{MAPS}/one")
        assert gone["status"] == "Success" and gone["details"] == {
            "name": "one",
            "kind": "configmaps",
            "uid": metadata["uid"],
        }
        status = await api.fails(404, "GET", f"{MAPS}/one")
        assert status["message"] == 'configmaps "one" not found' and status["reason"] == "NotFound"


async def test_errors_have_the_messages_of_kubernetes(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        created = await api.ok("POST", MAPS, config_map("one"))
        status = await api.fails(409, "POST", MAPS, config_map("one"))
        assert (status["reason"], status["message"]) == ("AlreadyExists", 'configmaps "one" already exists')
        await api.ok("PUT", f"{MAPS}/one", {**created, "data": {"b": "1"}})
        status = await api.fails(409, "PUT", f"{MAPS}/one", {**created, "data": {"b": "2"}})
        assert status["message"] == (
            'Operation cannot be fulfilled on configmaps "one": the object has been modified; please apply your changes to '
            "the latest version and try again"
        )
        status = await api.fails(404, "POST", "/api/v1/namespaces/nowhere/configmaps", config_map("x"))
        assert status["message"] == 'namespaces "nowhere" not found'
        status = await api.fails(400, "PUT", f"{MAPS}/two", config_map("one"))
        assert status["message"] == "the name of the object (one) does not match the name on the URL (two)"
        status = await api.fails(400, "POST", MAPS, config_map("x", namespace="kube-system"))
        assert status["message"] == "the namespace of the provided object does not match the namespace sent on the request"
        status = await api.fails(422, "POST", MAPS, config_map("Not_A_Name"))
        assert status["details"]["causes"][0]["field"] == "metadata.name" and status["reason"] == "Invalid"
        assert status["message"].startswith(
            'ConfigMap "Not_A_Name" is invalid: metadata.name: Invalid value: "Not_A_Name": a low'
        )
        status = await api.fails(405, "PUT", MAPS, config_map("x"))
        assert status["reason"] == "MethodNotAllowed"
        status = await api.fails(404, "GET", "/api/v1/namespaces/default/unheardof")
        assert status["message"] == "the server could not find the requested resource"
        response = await api.send("GET", "/apis/unheard.of/v1/things")
        assert response.status == 404 and response.text == "404 page not found\n"


async def test_preconditions_of_a_deletion(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        created = await api.ok("POST", MAPS, config_map("one"))
        status = await api.fails(409, "DELETE", f"{MAPS}/one", {"preconditions": {"uid": "other"}})
        uid = created["metadata"]["uid"]
        assert f"the UID in the precondition (other) does not match the UID in record ({uid})" in status["message"]
        await api.ok("DELETE", f"{MAPS}/one", {"preconditions": {"uid": uid}})


async def test_dry_run_changes_nothing(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        shown = await api.ok("POST", MAPS, config_map("one"), dryRun="All")
        assert shown["metadata"]["uid"] and "resourceVersion" not in shown["metadata"]
        await api.fails(404, "GET", f"{MAPS}/one")
        created = await api.ok("POST", MAPS, config_map("one", {"a": "1"}))
        shown = await api.ok("PUT", f"{MAPS}/one", {**created, "data": {"a": "2"}}, dryRun="All")
        assert shown["data"] == {"a": "2"}
        await api.ok("DELETE", f"{MAPS}/one", dryRun="All")
        assert await api.ok("GET", f"{MAPS}/one") == created


async def test_names_are_generated(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        body = {"metadata": {"generateName": "job-"}}
        names = {(await api.ok("POST", MAPS, body))["metadata"]["name"] for _ in range(5)}
        assert len(names) == 5 and all(name.startswith("job-") and len(name) == 9 for name in names)
        status = await api.fails(422, "POST", MAPS, {"metadata": {}})
        assert "metadata.name: Required value: name or generateName is required" in status["message"]


async def test_finalizers_hold_an_object(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        await api.ok("POST", MAPS, config_map("held", finalizers=["example.com/hold"]))
        marked = await api.ok("DELETE", f"{MAPS}/held")
        assert marked["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:00Z"
        more = {**marked, "metadata": {**marked["metadata"], "finalizers": ["example.com/hold", "example.com/new"]}}
        status = await api.fails(422, "PUT", f"{MAPS}/held", more)
        assert "no new finalizers can be added if the object is being deleted" in status["message"]
        await api.ok("PUT", f"{MAPS}/held", {**marked, "metadata": {**marked["metadata"], "finalizers": []}})
        await api.fails(404, "GET", f"{MAPS}/held")


async def test_generation_counts_changes_of_the_spec(tmp_path: Path) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments"

    async with cluster(tmp_path) as api:
        created = await api.ok("POST", path, {**deployment("web"), "status": {"replicas": 9}})
        assert created["metadata"]["generation"] == 1 and created["status"] == {}
        assert created["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": "25%", "maxSurge": "25%"}
        labelled: dict[str, Any] = {**created, "metadata": {**created["metadata"], "labels": {"a": "b"}}}
        labelled = await api.ok("PUT", f"{path}/web", labelled)
        assert labelled["metadata"]["generation"] == 1
        scaled = await api.ok("PUT", f"{path}/web", {**labelled, "spec": {**labelled["spec"], "replicas": 3}})
        assert scaled["metadata"]["generation"] == 2
        with_status = await api.ok("PUT", f"{path}/web/status", {**scaled, "status": {"replicas": 3}, "spec": created["spec"]})
        assert with_status["status"]["replicas"] == 3 and with_status["spec"]["replicas"] == 3
        assert with_status["metadata"]["generation"] == 2
        kept = await api.ok("PUT", f"{path}/web", {**with_status, "status": {"replicas": 7}})
        assert kept["status"]["replicas"] == 3, "the main resource cannot write the status"
        other = {**kept["spec"], "selector": {"matchLabels": {"app": "other"}}}
        status = await api.fails(422, "PUT", f"{path}/web", {**kept, "spec": other})
        assert "spec.selector" in status["message"] and "field is immutable" in status["message"]


async def test_collections_are_deleted_by_selector(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        for name in ("a", "b", "c"):
            await api.ok("POST", MAPS, config_map(name, labels={"keep": "yes" if name == "c" else "no"}))
        await api.ok("DELETE", MAPS, labelSelector="keep=no")
        left = {item["metadata"]["name"] for item in (await api.ok("GET", MAPS))["items"]}
        assert left == {"c", "kube-root-ca.crt"}


async def test_a_running_pod_is_deleted_gracefully(tmp_path: Path) -> None:
    pods = "/api/v1/namespaces/default/pods"

    async with cluster(tmp_path) as api:
        await api.ok("POST", pods, pod("p"))
        await api.ok("POST", f"{pods}/p/binding", {"target": {"kind": "Node", "name": "n1"}})
        marked = await api.ok("DELETE", f"{pods}/p")
        assert marked["metadata"]["deletionGracePeriodSeconds"] == 30
        assert marked["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:30Z"
        await api.ok("DELETE", f"{pods}/p", {"gracePeriodSeconds": 0})
        await api.fails(404, "GET", f"{pods}/p")


async def test_unscheduled_pods_are_deleted_at_once(tmp_path: Path) -> None:
    pods = "/api/v1/namespaces/default/pods"

    async with cluster(tmp_path) as api:
        created = await api.ok("POST", pods, pod("p"))
        assert created["status"]["phase"] == "Pending" and created["spec"]["serviceAccountName"] == "default"
        await api.ok("DELETE", f"{pods}/p")
        await api.fails(404, "GET", f"{pods}/p")


async def test_a_body_longer_than_three_megabytes_is_refused(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        status = await api.fails(413, "POST", MAPS, config_map("big", {"a": "x" * (3 << 20)}))
        assert status["reason"] == "RequestEntityTooLarge"
        assert status["message"] == "Request entity too large: limit is 3145728"
