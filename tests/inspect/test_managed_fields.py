"""The owned fields of an object, read from managedFields as the API server writes them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetlib.inspect.managed_fields import leaves, lookup, shown

CONTAINERS = 'k:{"name":"app"}'
PORTS = 'k:{"containerPort":80,"protocol":"TCP"}'


def test_paths_are_of_owned_fields_without_the_maps_around_them() -> None:
    fields = {
        "f:metadata": {"f:labels": {".": {}, "f:team": {}}, "f:annotations": {".": {}}, "f:finalizers": {'v:"a/b"': {}}},
        "f:spec": {
            "f:replicas": {},
            "f:containers": {
                CONTAINERS: {".": {}, "f:name": {}, "f:image": {}, "f:ports": {PORTS: {".": {}, "f:containerPort": {}}}}
            },
        },
    }
    assert [".".join(shown(path)) for path in leaves(fields)] == [
        "metadata.labels.team",
        'metadata.finalizers."a/b"',
        "spec.replicas",
        "spec.containers.app.image",
        "spec.containers.app.ports.containerPort=80,protocol=TCP",
    ]


def test_lookup_finds_the_value_at_a_path() -> None:
    obj = {
        "spec": {
            "containers": [
                {"name": "other"},
                {"name": "app", "image": "a:1", "ports": [{"containerPort": 80, "name": "http"}]},
            ],
            "args": ["x"],
        }
    }
    spec = ("f:spec", "f:containers", CONTAINERS)
    assert lookup(obj, (*spec, "f:image")) == "a:1"
    assert lookup(obj, (*spec, "f:ports", PORTS)) == {"containerPort": 80, "name": "http"}, "TCP need not be written"
    assert lookup(obj, ("f:spec", "f:args", 'v:"x"')) == "x" and lookup(obj, ("f:spec", "f:args", "i:0")) == "x"
    for path in (
        (*spec, "f:tty"),
        ("f:spec", "f:args", 'v:"y"'),
        ("f:spec", "f:args", "i:1"),
        ("f:data", "f:x"),
        ("f:spec", "f:containers", 'k:{"name":"no"}'),
    ):
        assert lookup(obj, path) is None


def _numbered(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**item, "name": f"n{number}"} for number, item in enumerate(items)]


LEAF = st.one_of(st.integers(1, 9), st.text("ab", min_size=1), st.lists(st.integers(), max_size=2))
NAMES = st.text("ab./", min_size=1, max_size=3)
TREE = st.recursive(
    st.dictionaries(NAMES, LEAF, min_size=1, max_size=3),
    lambda inner: st.dictionaries(
        NAMES, inner | LEAF | st.lists(inner, min_size=1, max_size=2).map(_numbered), min_size=1, max_size=3
    ),
)


def owned(tree: Any) -> dict[str, Any]:
    """Return the fields of a manager that has applied the tree, as the API server writes them."""
    if isinstance(tree, dict):
        return {f"f:{name}": owned(value) for name, value in tree.items()}
    if isinstance(tree, list) and tree and all(isinstance(item, dict) for item in tree):
        return {f"k:{json.dumps({'name': item['name']})}": {".": {}, **owned(item)} for item in tree}
    return {}


def values(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        return [found for value in tree.values() for found in values(value)]
    if isinstance(tree, list) and tree and all(isinstance(item, dict) for item in tree):
        return [
            found
            for item in tree
            for found in values({name: value for name, value in item.items() if name != "name"} or [item])
        ]
    return [tree]


@given(TREE)
def test_every_applied_value_has_a_path(tree: dict[str, Any]) -> None:
    assert [lookup(tree, path) for path in leaves(owned(tree))] == values(tree)


@pytest.mark.parametrize("fields", [{}, {".": {}}])
def test_empty_fields_have_no_paths(fields: dict[str, Any]) -> None:
    assert [path for path in leaves(fields) if path] == []
