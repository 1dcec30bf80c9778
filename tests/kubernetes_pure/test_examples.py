"""Examples of the real libraries' behaviour, for machines where they are not built."""

from __future__ import annotations

from typing import Any

import pytest

from azuresandbox.kubernetes.model import builtin, fieldmanager, patch
from azuresandbox.kubernetes.model.resources import Registry
from azuresandbox.kubernetes.model.schema import Schema

EARLY, LATE = "2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z"


def config_map(data: dict[str, str], **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", **metadata}, "data": data}


def schema(group: str, version: str, kind: str) -> Schema:
    found = builtin.schema_for(group, version, kind)
    assert found is not None
    return found


def apply(live: dict[str, Any] | None, doc: dict[str, Any], manager: str, force: bool = False) -> dict[str, Any]:
    return fieldmanager.apply(live, doc, manager, force, schema("", "v1", "ConfigMap"), LATE)


def test_applying_twice_changes_nothing() -> None:
    live = apply(None, config_map({"a": "1"}), "one")
    assert apply(live, config_map({"a": "1"}), "one") is live


def test_an_apply_removes_only_its_own_fields() -> None:
    live = apply(apply(None, config_map({"a": "1", "b": "1"}), "one"), config_map({"c": "1"}), "two")
    assert apply(live, config_map({"a": "1"}), "one")["data"] == {"a": "1", "c": "1"}


def test_conflicts_name_the_manager_and_the_field_and_force_takes_it() -> None:
    live = fieldmanager.update(None, config_map({"a": "1"}), "one", schema("", "v1", "ConfigMap"), EARLY)
    with pytest.raises(fieldmanager.ApplyConflict) as refused:
        apply(live, config_map({"a": "2"}), "two")
    assert refused.value.causes == [('conflict with "one" using v1', ".data.a")]
    owners = {
        entry["manager"]: entry["fieldsV1"]
        for entry in apply(live, config_map({"a": "2"}), "two", True)["metadata"]["managedFields"]
    }
    assert owners["two"] == {"f:data": {"f:a": {}}} and "f:a" not in owners.get("one", {}).get("f:data", {})


def test_unmanaged_fields_belong_to_before_first_apply() -> None:
    entries = apply(config_map({"a": "1"}), config_map({"b": "1"}), "one")["metadata"]["managedFields"]
    assert {entry["manager"] for entry in entries} == {"one", "before-first-apply"}


def test_an_applied_order_of_elements_wins() -> None:
    live = apply(None, config_map({}, finalizers=["a"]), "one")
    assert apply(live, config_map({}, finalizers=["b", "a"]), "one")["metadata"]["finalizers"] == ["b", "a"]


def test_a_label_selector_is_owned_as_a_whole() -> None:
    doc = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "x"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}},
    }
    result = fieldmanager.apply(None, doc, "one", False, schema("apps", "v1", "Deployment"), LATE)
    assert result["metadata"]["managedFields"][0]["fieldsV1"] == {"f:spec": {"f:selector": {}}}


def test_json_patch_replaces_a_missing_member_and_counts_from_the_end() -> None:
    assert patch.json_patch({}, [{"op": "replace", "path": "/a", "value": 1}]) == {"a": 1}
    assert patch.json_patch({"a": [1, 2]}, [{"op": "remove", "path": "/a/-1"}]) == {"a": [1]}
    assert patch.json_patch({}, [{"op": "test", "path": "/a", "value": None}]) == {}


def test_every_built_in_resource_has_a_schema_and_every_reference_resolves() -> None:
    for group, versions in Registry().groups().items():
        for version in versions:
            kinds = [resource.kind for resource in Registry().in_version(group, version)]
            document = builtin.openapi_v3(group, version, kinds)
            assert all(builtin.schema_for(group, version, kind) for kind in kinds), (group, version)
            named = set(document["components"]["schemas"])
            assert {text.rpartition("/")[2] for text in builtin._references(document)} <= named, (group, version)


def test_merge_keys() -> None:
    pod = schema("", "v1", "Pod").root.fields["spec"]
    assert pod is not None
    found = {name: node.patch_merge_key for name in ("containers", "volumes") if (node := pod.fields[name]) is not None}
    assert found == {"containers": "name", "volumes": "name"}
