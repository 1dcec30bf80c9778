"""Structural schemas prune, default and validate like the real server; the messages below are its own."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azuresandbox.kubernetes.model.schema import Schema
from tests.kubernetes_pure.real import ask, needs_real

bounded = settings(max_examples=400, deadline=None)

STRINGS = {"type": "array", "items": {"type": "string"}}


def of(member: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {"spec": {"type": "object", "properties": {"f": member}}}}


@pytest.mark.parametrize(
    ("member", "value", "causes"),
    [
        ({"type": "integer"}, "a", ['spec.f: Invalid value: "string": spec.f in body must be of type integer: "string"']),
        ({"type": "string"}, 1, ['spec.f: Invalid value: "integer": spec.f in body must be of type string: "integer"']),
        ({"type": "string", "enum": ["a", "b"]}, "c", ['spec.f: Unsupported value: "c": supported values: "a", "b"']),
        (
            {"type": "string", "pattern": "^[a-z]$"},
            "a\n",
            ["spec.f: Invalid value: \"a\\n\": spec.f in body should match '^[a-z]$'"],
        ),
        ({"type": "string", "maxLength": 1}, "ab", ["spec.f: Too long: may not be more than 1 bytes"]),
        (
            {"type": "integer", "minimum": 1},
            0,
            ["spec.f: Invalid value: 0: spec.f in body should be greater than or equal to 1"],
        ),
        ({**STRINGS, "maxItems": 1}, ["a", "b"], ["spec.f: Too many: 2: must have at most 1 item"]),
        ({**STRINGS, "x-kubernetes-list-type": "set"}, ["a", "a"], ['spec.f[1]: Duplicate value: "a"']),
        ({"type": "object", "required": ["a"]}, {}, ["spec.f.a: Required value"]),
        (
            {"type": "integer", "format": "int32"},
            1 << 31,
            ['<nil>: Invalid value: "": Checked value must be of type integer with format int32 in spec.f'],
        ),
        (
            {"type": "string", "format": "date-time"},
            "x",
            ['spec.f: Invalid value: "x": spec.f in body must be of type date-time: "x"'],
        ),
        (
            {"type": "string", "not": {"pattern": "^a"}},
            "a",
            ['<nil>: Invalid value: "": "spec.f" must not validate the schema (not)'],
        ),
        ({"x-kubernetes-int-or-string": True}, "1", []),
        ({"type": "integer", "nullable": True}, None, []),
    ],
)
def test_messages(member: dict[str, Any], value: Any, causes: list[str]) -> None:
    found = Schema(of(member), custom=False).validate({"spec": {"f": value}})
    assert [f"{cause.field}: {cause.message}" for cause in found] == causes


def test_metadata_is_known_to_every_schema() -> None:
    obj = {"apiVersion": "a/v1", "kind": "X", "metadata": {"name": "x", "labels": {"a": "b"}}, "spec": {"f": 1, "g": 2}, "h": 3}
    assert Schema(of({"type": "integer"})).prune(obj) == ["h", "spec.g"]
    assert obj == {"apiVersion": "a/v1", "kind": "X", "metadata": {"name": "x", "labels": {"a": "b"}}, "spec": {"f": 1}}


words = st.sampled_from(["a", "b", "c"])
scalars: st.SearchStrategy[Any] = st.one_of(st.none(), st.booleans(), st.integers(-2, 4), st.just(1.5), words, st.just(1 << 40))
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3), max_leaves=8
)
leaves: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("string")},
        optional={
            "default": words,
            "nullable": st.booleans(),
            "enum": st.just(["a", "b"]),
            "maxLength": st.integers(0, 2),
            "minLength": st.integers(0, 2),
            "pattern": st.sampled_from(["^a", "b$"]),
            "format": st.sampled_from(["date", "uuid"]),
        },
    ),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["integer", "number"])},
        optional={
            "minimum": st.integers(-1, 1),
            "maximum": st.integers(2, 3),
            "exclusiveMaximum": st.booleans(),
            "multipleOf": st.just(2),
            "nullable": st.booleans(),
        },
    ),
    st.just({"type": "integer", "format": "int32"}),
    st.just({"type": "boolean"}),
    st.just({"x-kubernetes-int-or-string": True}),
    st.just({"x-kubernetes-preserve-unknown-fields": True}),
)


def _larger(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    objects = st.fixed_dictionaries(
        {"type": st.just("object"), "properties": st.dictionaries(words, inner, max_size=3)},
        optional={
            "required": st.lists(words, max_size=2, unique=True),
            "maxProperties": st.integers(0, 2),
            "nullable": st.booleans(),
            "minProperties": st.integers(0, 2),
            "x-kubernetes-preserve-unknown-fields": st.just(True),
            "default": st.just({}),
        },
    )
    maps = st.fixed_dictionaries({"type": st.just("object"), "additionalProperties": inner})
    lists = st.fixed_dictionaries(
        {"type": st.just("array"), "items": inner}, optional={"minItems": st.integers(0, 2), "maxItems": st.integers(1, 2)}
    )
    return st.one_of(objects, maps, lists)


schemas = st.recursive(leaves, _larger, max_leaves=6)


def fitting(schema: dict[str, Any], data: st.DataObject) -> Any:
    """Return a strategy for values that mostly have the schema's types."""
    kind = schema.get("type")
    if data.draw(st.integers(0, 5)) == 0 or kind not in ("object", "array"):
        return data.draw(documents)
    if kind == "array":
        return [fitting(schema["items"], data) for _ in range(data.draw(st.integers(0, 3)))]
    names = data.draw(st.lists(words, unique=True, max_size=3))
    members = schema.get("properties", {})
    return {name: fitting(members.get(name, schema.get("additionalProperties", {})), data) for name in names}


@bounded
@given(schemas, st.data())
def test_pruning_and_defaulting_twice_changes_nothing_more(member: dict[str, Any], data: st.DataObject) -> None:
    schema, obj = Schema(of(member), custom=False), {"spec": {"f": fitting(member, data)}}
    schema.prune(obj)
    schema.default(obj)
    once = copy.deepcopy(obj)
    assert schema.prune(obj) == []
    schema.default(obj)
    assert obj == once


@needs_real
@bounded
@given(schemas, st.data())
def test_against_the_real_server(member: dict[str, Any], data: st.DataObject) -> None:
    document, obj = of(member), {"spec": {"f": fitting(member, data)}}
    expected = ask("validate", live=document, doc=obj)["result"]
    schema = Schema(document, custom=False)
    pruned = schema.prune(obj)
    schema.default(obj)
    assert (sorted(pruned), obj) == (sorted(expected["pruned"]), expected["object"])
    assert sorted(map(tuple, schema.validate(obj))) == sorted(map(tuple, expected["causes"]))
