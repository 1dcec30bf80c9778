"""The four kinds of patch, field managers, and patches of subresources."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.comparing import on_both
from tests.conformance.definitions import WIDGETS, config_map, deployment, pod, service, widget
from tests.conformance.talk import APPLY, MERGE, PATCH, STRATEGIC, Talk

Object = dict[str, Any]

JSON_PATCHES: dict[str, Any] = {
    "add": [{"op": "add", "path": "/data/b", "value": "2"}],
    "replace": [{"op": "replace", "path": "/data/a", "value": "2"}],
    "remove": [{"op": "remove", "path": "/data/a"}],
    "copy": [{"op": "copy", "from": "/data/a", "path": "/data/c"}],
    "move": [{"op": "move", "from": "/data/a", "path": "/data/c"}],
    "test": [{"op": "test", "path": "/data/a", "value": "1"}, {"op": "add", "path": "/metadata/labels", "value": {"x": "y"}}],
    "test-fails": [{"op": "test", "path": "/data/a", "value": "9"}],
    "remove-missing": [{"op": "remove", "path": "/data/zzz"}],
    "replace-missing": [{"op": "replace", "path": "/data/zzz", "value": "1"}],
    "add-missing-parent": [{"op": "add", "path": "/nothing/here", "value": "1"}],
    "unknown-operation": [{"op": "frobnicate", "path": "/data/a"}],
    "no-path": [{"op": "add", "value": "1"}],
    "no-value": [{"op": "add", "path": "/data/x"}],
    "not-a-list": {"op": "add"},
    "list-of-text": ["a"],
    "empty": [],
    "whole-document": [{"op": "replace", "path": "", "value": {}}],
    "escapes": [
        {"op": "add", "path": "/metadata/annotations", "value": {}},
        {"op": "add", "path": "/metadata/annotations/a~1b", "value": "c"},
    ],
    "name": [{"op": "replace", "path": "/metadata/name", "value": "other"}],
    "namespace": [{"op": "replace", "path": "/metadata/namespace", "value": "other"}],
    "kind": [{"op": "replace", "path": "/kind", "value": "Secret"}],
    "version": [{"op": "replace", "path": "/metadata/resourceVersion", "value": "1"}],
    "uid": [{"op": "replace", "path": "/metadata/uid", "value": "other"}],
    "type": [{"op": "replace", "path": "/data/a", "value": 7}],
    "unknown-field": [{"op": "add", "path": "/unknown", "value": 7}],
}


@pytest.mark.parametrize("name", JSON_PATCHES)
@on_both
def test_json_patch(talk: Talk, name: str) -> None:
    talk.quietly("POST", talk.at("configmaps"), config_map("x"))
    talk("PATCH", talk.at("configmaps", "x"), JSON_PATCHES[name], content_type=PATCH)


MERGES: dict[str, Any] = {
    "member": {"data": {"b": "2"}},
    "null": {"data": {"a": None}},
    "null-missing": {"data": {"zzz": None}},
    "all": {"data": None},
    "labels": {"metadata": {"labels": {"a": "b"}}},
    "type": {"data": {"a": 7}},
    "list-for-map": {"data": ["a"]},
    "unknown-field": {"unknown": 1, "metadata": {"strange": 2}},
    "name": {"metadata": {"name": "other"}},
    "namespace": {"metadata": {"namespace": "other"}},
    "kind": {"kind": "Secret"},
    "api-version": {"apiVersion": "v2"},
    "version": {"metadata": {"resourceVersion": "1"}},
    "uid": {"metadata": {"uid": "00000000-0000-0000-0000-000000000000"}},
    "status-of-none": {"status": {"a": "b"}},
    "nothing": {},
    "finalizers": {"metadata": {"finalizers": ["a.b/c"]}},
    "bad-label": {"metadata": {"labels": {"a": "not a value"}}},
    "deleted": {"metadata": {"deletionTimestamp": "2020-01-01T00:00:00Z"}},
    "metadata-null": {"metadata": None},
    "immutable": {"immutable": True},
}


@pytest.mark.parametrize("kind", [MERGE, STRATEGIC])
@pytest.mark.parametrize("name", MERGES)
@on_both
def test_merge_patch(talk: Talk, name: str, kind: str) -> None:
    talk.quietly("POST", talk.at("configmaps"), config_map("x"))
    talk("PATCH", talk.at("configmaps", "x"), MERGES[name], content_type=kind)


@pytest.mark.parametrize("kind", [MERGE, STRATEGIC, PATCH, APPLY])
@on_both
def test_broken_patch(talk: Talk, kind: str) -> None:
    for resource, document in (("configmaps", config_map("x")), (WIDGETS, widget("x"))):
        talk.quietly("POST", talk.at(resource), document)
        for body in ("", "{", "[]", "null", '"text"', "7", '{"a":1}{"b":2}', "{}"):
            query = {"fieldManager": "m"} if kind == APPLY else {}
            talk("PATCH", talk.at(resource, "x"), body, content_type=kind, query=query)


@on_both
def test_patch_options(talk: Talk) -> None:
    path = talk.at("configmaps", "x")
    talk.quietly("POST", talk.at("configmaps"), config_map("x"))
    talk("PATCH", path, {"data": {"b": "2"}}, content_type=MERGE, force="true")
    talk("PATCH", path, {"data": {"b": "2"}}, content_type=MERGE, force="false")
    talk("PATCH", path, {"data": {"b": "2"}}, content_type=MERGE, fieldManager="named")
    talk("PATCH", path, {"data": {"b": "3"}}, content_type=MERGE, fieldManager="x" * 129)
    talk("PATCH", path, {"data": {"b": "3"}}, content_type=MERGE, fieldManager="a\tb")
    talk("PATCH", path, {"data": {"b": "3"}}, content_type=MERGE, dryRun="All")
    talk("PATCH", path, {"data": {"b": "3"}}, content_type=MERGE, dryRun="No")
    talk("PATCH", path, {"what": 1}, content_type=MERGE, fieldValidation="Strict")
    talk("PATCH", path, {"what": 1}, content_type=MERGE, fieldValidation="Warn")
    talk("PATCH", path, {"what": 1}, content_type=MERGE, fieldValidation="Ignore")
    talk("PATCH", path, {"what": 1}, content_type=STRATEGIC, fieldValidation="Strict")
    talk("PATCH", path, [{"op": "add", "path": "/what", "value": 1}], content_type=PATCH, fieldValidation="Strict")
    talk("POST", talk.at("configmaps"), config_map("y"), fieldManager="creator")
    talk("POST", talk.at("configmaps"), config_map("z"), fieldManager="x" * 129)
    talk("PUT", talk.at("configmaps", "y"), config_map("y", {"c": "3"}), fieldManager="updater")


STRATEGICS: dict[str, Any] = {
    "container-image": {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "redis:8"}]}}}},
    "second-container": {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "busybox"}]}}}},
    "delete-container": {"spec": {"template": {"spec": {"containers": [{"name": "main", "$patch": "delete"}]}}}},
    "replace-containers": {
        "spec": {"template": {"spec": {"containers": [{"name": "new", "image": "a"}, {"$patch": "replace"}]}}}
    },
    "order": {
        "spec": {
            "template": {
                "spec": {
                    "$setElementOrder/containers": [{"name": "side"}, {"name": "main"}],
                    "containers": [{"name": "side", "image": "b"}],
                }
            }
        }
    },
    "environment": {"spec": {"template": {"spec": {"containers": [{"name": "main", "env": [{"name": "A", "value": "1"}]}]}}}},
    "retain-keys": {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}},
    "without-retain-keys": {"spec": {"strategy": {"type": "Recreate"}}},
    "no-merge-key": {"spec": {"template": {"spec": {"containers": [{"image": "b"}]}}}},
    "wrong-directive": {"spec": {"$patch": "explode"}},
    "delete-from-primitive": {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a.b/c"], "finalizers": ["a.b/d"]}},
    "wrong-type": {"spec": {"replicas": "two"}},
    "wrong-shape": {"spec": {"template": {"spec": {"containers": {"name": "main"}}}}},
    "selector": {"spec": {"selector": {"matchLabels": {"other": "x"}}}},
    "toleration": {"spec": {"template": {"spec": {"tolerations": [{"key": "a", "operator": "Exists"}]}}}},
    "unknown": {"spec": {"template": {"spec": {"unheard": "of"}}}},
}


@pytest.mark.parametrize("name", STRATEGICS)
@on_both
def test_strategic_merge(talk: Talk, name: str) -> None:
    start = deployment("x")
    start["metadata"]["finalizers"] = ["a.b/c"]
    talk.quietly("POST", talk.at("apps/v1/deployments"), start)
    talk("PATCH", talk.at("apps/v1/deployments", "x"), STRATEGICS[name], content_type=STRATEGIC)
    talk("PATCH", talk.at("apps/v1/deployments", "x"), STRATEGICS[name], content_type=STRATEGIC)


@on_both
def test_custom_patches(talk: Talk) -> None:
    path = talk.at(WIDGETS, "x")
    talk.quietly("POST", talk.at(WIDGETS), widget("x", parts=[{"name": "a"}], labels={"a": "b"}))
    talk("PATCH", path, {"spec": {"size": 2}}, content_type=MERGE)
    talk("PATCH", path, {"spec": {"size": 2}}, content_type=MERGE)
    talk("PATCH", path, {"spec": {"size": 0}}, content_type=MERGE)
    talk("PATCH", path, {"spec": {"size": "2"}}, content_type=MERGE)
    talk("PATCH", path, {"spec": {"size": None}}, content_type=MERGE)
    talk("PATCH", path, {"spec": {"colour": None, "strange": 1}}, content_type=MERGE)
    talk("PATCH", path, {"spec": {"parts": [{"name": "b"}]}}, content_type=MERGE)
    talk("PATCH", path, {"spec": {"parts": [{"name": "b"}, {"name": "b"}]}}, content_type=MERGE)
    talk("PATCH", path, {"status": {"phase": "Ready"}}, content_type=MERGE)
    talk("PATCH", path, {"metadata": {"labels": {"a": "b"}}}, content_type=MERGE)
    talk("PATCH", path, [{"op": "replace", "path": "/spec/parts/0/amount", "value": 9}], content_type=PATCH)
    talk("PATCH", path, [{"op": "remove", "path": "/spec"}], content_type=PATCH)
    talk("PATCH", path, {"metadata": {"resourceVersion": "1"}}, content_type=MERGE)
    talk("PATCH", path, {"metadata": {"name": "other"}}, content_type=MERGE)
    talk("PATCH", path, {"kind": "Gadget"}, content_type=MERGE)
    talk("PATCH", path, {"apiVersion": "conformance.example.com/v1beta1"}, content_type=MERGE)


@on_both
def test_status(talk: Talk) -> None:
    path = talk.at(WIDGETS, "x", "status")
    made = talk("POST", talk.at(WIDGETS), {**widget("x"), "status": {"phase": "Ignored"}})
    talk("GET", path)
    talk("PUT", path, {**made, "status": {"phase": "Ready"}, "spec": {"size": 50}})
    talk("PUT", path, {**widget("x"), "status": {"phase": "Ready"}})
    talk(
        "PATCH",
        path,
        {"status": {"phase": "Done"}, "spec": {"size": 9}, "metadata": {"labels": {"a": "b"}}},
        content_type=MERGE,
    )
    talk("PATCH", path, {"status": {"phase": 9}}, content_type=MERGE)
    talk("PATCH", path, {"status": {"other": 9}}, content_type=MERGE, fieldValidation="Strict")
    talk("PATCH", path, [{"op": "add", "path": "/status/replicas", "value": 3}], content_type=PATCH)
    talk("PATCH", path, {"metadata": {"finalizers": ["a.b/c"]}}, content_type=MERGE)
    applied = {
        "apiVersion": made["apiVersion"],
        "kind": "Widget",
        "metadata": {"name": "x"},
        "status": {"observedGeneration": 1},
    }
    talk("PATCH", path, applied, content_type=APPLY, fieldManager="status-writer")
    talk("PATCH", talk.at(WIDGETS, "not-there", "status"), {}, content_type=MERGE)
    talk("GET", talk.at(WIDGETS, "x"))
    talk.quietly("POST", talk.at("apps/v1/deployments"), deployment("d"))
    here = talk.at("apps/v1/deployments", "d", "status")
    talk(
        "PATCH",
        here,
        {
            "status": {"replicas": 1, "readyReplicas": 1},
            "spec": {"replicas": 5},
            "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
        },
        content_type=MERGE,
    )
    talk("PATCH", here, {"status": {"conditions": [{"type": "Available", "status": "True"}]}}, content_type=STRATEGIC)
    talk("PATCH", here, {"status": {"conditions": [{"type": "Progressing", "status": "True"}]}}, content_type=STRATEGIC)
    talk("PATCH", here, {"status": {"replicas": -1}}, content_type=MERGE)
    talk("GET", talk.at("configmaps", "x", "status"))


@on_both
def test_scale(talk: Talk) -> None:
    talk.quietly("POST", talk.at(WIDGETS), widget("x", replicas=2))
    talk.quietly("PATCH", talk.at(WIDGETS, "x", "status"), {"status": {"replicas": 1, "selector": "a=b"}}, content_type=MERGE)
    talk.quietly("POST", talk.at(WIDGETS), widget("bare"))
    talk.quietly("POST", talk.at("apps/v1/deployments"), deployment("x"))
    talk("GET", talk.at(WIDGETS, "bare", "scale"))
    for resource in (WIDGETS, "apps/v1/deployments"):
        path = talk.at(resource, "x", "scale")
        scale = talk("GET", path)
        talk("PUT", path, {**scale, "spec": {"replicas": 3}})
        talk("PUT", path, {**scale, "spec": {"replicas": 4}})
        talk("PATCH", path, {"spec": {"replicas": 5}}, content_type=MERGE)
        talk("PATCH", path, {"spec": {"replicas": -5}}, content_type=MERGE)
        talk("PATCH", path, {"spec": {"replicas": "many"}}, content_type=MERGE)
        talk("PATCH", path, [{"op": "replace", "path": "/spec/replicas", "value": 6}], content_type=PATCH)
        talk("PATCH", path, {"spec": {"replicas": 5}}, content_type=MERGE, dryRun="All")
        talk("PUT", path, {"metadata": {"name": "x", "namespace": talk.namespace}, "spec": {"replicas": 1}})
        talk(
            "PUT",
            path,
            {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {"name": "other"}, "spec": {"replicas": 1}},
        )
        talk("GET", talk.at(resource, "not-there", "scale"))
        talk("GET", talk.at(resource, "x"))


# --- server-side apply -------------------------------------------------------------------------------------------------


def _map(data: dict[str, str] | None, **metadata: Any) -> Object:
    document: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", **metadata}}
    return document if data is None else {**document, "data": data}


@on_both
def test_apply(talk: Talk) -> None:
    """Two managers of one object: shared fields, conflicts, force, and fields that are no longer applied."""
    path = talk.at("configmaps", "x")

    def apply(manager: str, document: Any, **query: str) -> Any:
        return talk(
            "PATCH", path, document, content_type=APPLY, query={**({"fieldManager": manager} if manager else {}), **query}
        )

    apply("", _map({"a": "1"}))
    apply("one", _map({"a": "1"}), dryRun="All")
    apply("one", _map({"a": "1", "b": "1"}))
    apply("one", _map({"a": "1", "b": "1"}))
    apply("two", _map({"a": "1", "c": "2"}))
    apply("two", _map({"a": "2", "b": "2"}))
    apply("two", _map({"a": "2"}))
    apply("two", _map({"a": "2"}), force="true")
    apply("one", _map({"b": "1"}))
    apply("one", _map(None))
    apply("two", _map(None, labels={"l": "1"}, annotations={"n": "1"}))
    talk("PATCH", path, {"data": {"z": "9"}}, content_type=MERGE, fieldManager="three")
    apply("two", _map({"z": "8"}))
    apply("two", _map({"z": "8"}), force="true")
    apply("two", _map({"z": "8"}, resourceVersion="1"))
    apply("two", _map({"z": "8"}, uid="00000000-0000-0000-0000-000000000000"))
    apply("two", _map({"z": "8"}, managedFields=[{"manager": "me"}]))
    apply("two", {**_map({"z": "8"}), "strange": 1})
    apply("two", {**_map({"z": "8"}), "strange": 1}, fieldValidation="Strict")
    apply("two", {**_map({}), "data": {"z": 7}})
    apply("two", {**_map({}), "data": "text"})
    apply("two", {**_map({"a": "b"}), "kind": "Secret"})
    apply("two", {"metadata": {"name": "x"}, "data": {"a": "b"}})
    apply("two", {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}})
    apply("two", _map({"a": "b"}, name="other"))
    apply("two", "apiVersion: v1\nkind: ConfigMap\ndata:\n  a: b\n  a: c\n")
    apply("x" * 129, _map({"a": "b"}))
    talk("PUT", path, _map({"a": "1"}), fieldManager="two")
    talk("PATCH", path, {"metadata": {"managedFields": [{}]}}, content_type=MERGE)
    talk("GET", path)


@on_both
def test_empty_maps(talk: Talk) -> None:
    """A second manager applies nothing but empty labels or annotations to a custom resource, again and again."""
    path, about = talk.at(WIDGETS, "x"), {"apiVersion": "conformance.example.com/v1", "kind": "Widget"}
    talk("PATCH", path, widget("x", plain=[1]), content_type=APPLY, fieldManager="one")
    for name in ("annotations", "labels"):
        for _ in range(3):
            applied = {**about, "metadata": {"name": "x", name: {}}}
            talk("PATCH", path, applied, content_type=APPLY, fieldManager="two")


@on_both
def test_apply_lists(talk: Talk) -> None:
    """Lists with keys, sets, atomic values and defaults, in a built-in and in a custom resource."""
    path = talk.at("apps/v1/deployments", "x")

    def one(document: Object, manager: str = "one", **query: str) -> None:
        talk("PATCH", path, document, content_type=APPLY, fieldManager=manager, query=query)

    one(deployment("x"))
    more = deployment("x", replicas=2)
    more["spec"]["template"]["spec"]["containers"].append({"name": "side", "image": "b", "ports": [{"containerPort": 80}]})
    one(more, "two")
    del more["spec"]["template"]["spec"]["containers"][0]["image"]
    one(more, "two")
    talk("PATCH", talk.at("apps/v1/deployments", "x", "scale"), {"spec": {"replicas": 7}}, content_type=MERGE)
    one(more, "two")
    one(deployment("x"), "two")
    changed = deployment("x")
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = "redis:8"
    one(changed, "three")
    one(changed, "three", force="true")
    doubled = deployment("x")
    doubled["spec"]["template"]["spec"]["containers"] *= 2
    one(doubled)
    unkeyed = deployment("x")
    unkeyed["spec"]["template"]["spec"]["containers"] = [{"image": "a"}]
    one(unkeyed)
    widgets = talk.at(WIDGETS, "x")
    for manager, spec in (
        ("one", {"set": ["a", "b"], "parts": [{"name": "p", "amount": 1}], "atom": {"a": "1"}, "plain": [1, 2]}),
        ("two", {"set": ["c"], "parts": [{"name": "q"}, {"name": "p", "unit": "kg"}]}),
        ("two", {"atom": {"b": "2"}}),
        ("two", {"plain": [3]}),
        ("two", {"parts": [{"name": "p", "amount": 2}]}),
        ("one", {"set": ["b"]}),
        ("two", {"set": ["d", "d"]}),
        ("two", {"parts": [{"unit": "kg"}]}),
        ("two", {"free": {"any": [1]}}),
        ("two", {"colour": "pink"}),
        ("two", {"strange": 1}),
        ("two", {"size": "big"}),
    ):
        talk("PATCH", widgets, widget("x", **spec), content_type=APPLY, fieldManager=manager)


@on_both
def test_applied_null(talk: Talk) -> None:
    talk("PATCH", talk.at(WIDGETS, "x"), widget("x", flag=None), content_type=APPLY, fieldManager="one")


@on_both
def test_managed_fields(talk: Talk) -> None:
    """managedFields of writes other than applies."""
    talk("POST", talk.at("pods"), pod("p"))
    talk("PATCH", talk.at("pods", "p"), {"metadata": {"labels": {"a": "b"}}}, content_type=MERGE, fieldManager="labeller")
    talk(
        "PATCH",
        talk.at("pods", "p", "status"),
        {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}},
        content_type=MERGE,
        fieldManager="kubelet",
    )
    talk("POST", talk.at("services"), service("s"))
    talk("POST", talk.at("apps/v1/deployments"), deployment("d", strategy={"type": "Recreate"}, replicas=3))
    talk("PATCH", talk.at("apps/v1/deployments", "d"), {"spec": {"strategy": None}}, content_type=MERGE)
    talk(
        "POST",
        talk.at("configmaps"),
        {
            **config_map("c"),
            "metadata": {
                "name": "c",
                "managedFields": [
                    {
                        "manager": "x",
                        "operation": "Apply",
                        "apiVersion": "v1",
                        "fieldsType": "FieldsV1",
                        "fieldsV1": {"f:data": {"f:a": {}}},
                    }
                ],
            },
        },
    )
    talk(
        "POST",
        talk.at("configmaps"),
        {**config_map("bad"), "metadata": {"name": "bad", "managedFields": [{"manager": "x", "operation": "Nothing"}]}},
    )
    talk("PUT", talk.at("configmaps", "c"), {**config_map("c"), "metadata": {"name": "c", "managedFields": []}})
    talk("PUT", talk.at("configmaps", "c"), config_map("c", {"d": "1"}))
