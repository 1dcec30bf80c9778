"""CustomResourceDefinitions: serving, pruning, defaults, validation, subresources and printer columns."""

from __future__ import annotations

import copy
from pathlib import Path

from tests.kubernetes.cluster_world import cluster, widget, widget_definition

WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
OLDER = "/apis/example.com/v1beta1/namespaces/default/widgets"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


async def test_a_definition_is_established_and_served(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        crd = await api.ok("POST", CRDS, widget_definition())
        conditions = {item["type"]: item["status"] for item in crd["status"]["conditions"]}
        assert conditions == {"NamesAccepted": "True", "Established": "True"}
        assert crd["status"]["storedVersions"] == ["v1"]
        assert crd["spec"]["names"]["listKind"] == "WidgetList" and crd["spec"]["names"]["singular"] == "widget"
        group = await api.ok("GET", "/apis/example.com")
        assert [item["version"] for item in group["versions"]] == ["v1", "v1beta1"]
        found = await api.ok("GET", "/apis/example.com/v1")
        assert [item["name"] for item in found["resources"]] == ["widgets", "widgets/scale", "widgets/status"]


async def test_objects_are_pruned_defaulted_and_validated(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        await api.ok("POST", CRDS, widget_definition())
        response = await api.send("POST", WIDGETS, widget("one", unheard="of"))
        assert response.status == 201 and response.headers["warning"] == '299 - "unknown field \\"spec.unheard\\""'
        assert response.json()["spec"] == {"size": 1, "colour": "green"} and "status" not in response.json()
        status = await api.fails(400, "POST", WIDGETS, widget("two", unheard="of"), fieldValidation="Strict")
        assert 'strict decoding error: unknown field "spec.unheard"' in status["message"]
        status = await api.fails(422, "POST", WIDGETS, widget("two", size=0))
        assert status["message"].startswith('Widget.example.com "two" is invalid: spec.size: Invalid value: 0: ')
        assert status["details"]["causes"][0]["field"] == "spec.size" and status["details"]["kind"] == "Widget"
        status = await api.fails(422, "PUT", f"{WIDGETS}/one", widget("one"))
        assert "metadata.resourceVersion" in status["message"]


async def test_versions_differ_in_apiversion_only(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        await api.ok("POST", CRDS, widget_definition())
        created = await api.ok("POST", OLDER, {**widget("one"), "apiVersion": "example.com/v1beta1"})
        assert created["apiVersion"] == "example.com/v1beta1"
        now = await api.ok("GET", f"{WIDGETS}/one")
        assert now == {**created, "apiVersion": "example.com/v1"}
        (listed,) = (await api.ok("GET", OLDER))["items"]
        assert listed == created


async def test_status_and_scale_are_subresources(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        await api.ok("POST", CRDS, widget_definition())
        created = await api.ok("POST", WIDGETS, {**widget("one", replicas=1), "status": {"replicas": 9}})
        assert "status" not in created and created["metadata"]["generation"] == 1
        written = await api.ok("PUT", f"{WIDGETS}/one/status", {**created, "spec": {"size": 99}, "status": {"replicas": 1}})
        assert written["spec"] == created["spec"] and written["status"] == {"replicas": 1}
        assert written["metadata"]["generation"] == 1
        scale = await api.ok("GET", f"{WIDGETS}/one/scale")
        assert (scale["kind"], scale["spec"], scale["status"]) == ("Scale", {"replicas": 1}, {"replicas": 1})
        patch = {"spec": {"replicas": 4}}
        scale = await api.ok("PATCH", f"{WIDGETS}/one/scale", patch, content_type="application/merge-patch+json")
        assert scale["spec"] == {"replicas": 4}
        now = await api.ok("GET", f"{WIDGETS}/one")
        assert now["spec"]["replicas"] == 4 and now["metadata"]["generation"] == 2


async def test_printer_columns(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        await api.ok("POST", CRDS, widget_definition())
        await api.ok("POST", WIDGETS, widget("one", size=3))
        table = await api.ok("GET", WIDGETS, accept="application/json;as=Table;g=meta.k8s.io;v=v1")
        assert [c["name"] for c in table["columnDefinitions"]] == ["Name", "Size"]
        assert table["rows"][0]["cells"] == ["one", 3]


async def test_bad_definitions_are_refused(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        wrong = widget_definition()
        wrong["metadata"]["name"] = "wodgets.example.com"
        status = await api.fails(422, "POST", CRDS, wrong)
        assert 'must be spec.names.plural+"."+spec.group' in status["message"]
        wrong = copy.deepcopy(widget_definition())
        wrong["spec"]["versions"][1]["storage"] = True
        status = await api.fails(422, "POST", CRDS, wrong)
        assert "must have exactly one version marked as storage version" in status["message"]
        wrong = copy.deepcopy(widget_definition())
        del wrong["spec"]["versions"][0]["schema"]
        status = await api.fails(422, "POST", CRDS, wrong)
        assert "spec.versions[0].schema.openAPIV3Schema: Required value" in status["message"]


async def test_a_stored_version_cannot_be_dropped(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        crd = await api.ok("POST", CRDS, widget_definition())
        crd["spec"]["versions"][0]["storage"], crd["spec"]["versions"][1]["storage"] = False, True
        crd = await api.ok("PUT", f"{CRDS}/widgets.example.com", crd)
        assert crd["status"]["storedVersions"] == ["v1", "v1beta1"]
        del crd["spec"]["versions"][0]
        status = await api.fails(422, "PUT", f"{CRDS}/widgets.example.com", crd)
        words = 'status.storedVersions[0]: Invalid value: "v1": missing from spec.versions; v1 was previously a storage version'
        assert words in status["message"]


async def test_definitions_with_validation_rules_are_refused_by_name(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        definition = copy.deepcopy(widget_definition())
        spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        spec["x-kubernetes-validations"] = [{"rule": "self.size < 10"}]
        status = await api.fails(422, "POST", CRDS, definition)
        found = status["details"]["causes"][0]
        assert found["field"].endswith("openAPIV3Schema.properties[spec].x-kubernetes-validations")
        assert "the sandbox does not emulate CEL validation rules" in found["message"]
