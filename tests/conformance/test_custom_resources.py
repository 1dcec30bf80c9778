"""Custom resources under their schemas, and definitions that are not valid."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.conformance.comparing import on_both
from tests.conformance.definitions import GROUP, WIDGETS, definition, widget
from tests.conformance.talk import MERGE, Talk

SPECS: dict[str, dict[str, Any]] = {
    "least": {"size": 1},
    "too-small": {"size": 0},
    "too-big": {"size": 101},
    "no-integer": {"size": 1.5},
    "integer-as-float": {"size": 2.0},
    "text-for-number": {"size": "1"},
    "null-size": {"size": None},
    "ratio": {"ratio": 0.5},
    "ratio-zero": {"ratio": 0},
    "ratio-step": {"ratio": 0.7},
    "enum": {"colour": "pink"},
    "enum-null": {"colour": None},
    "pattern": {"code": "ABC"},
    "short": {"code": "a"},
    "long": {"code": "abcdef"},
    "date": {"when": "2020-01-01T00:00:00Z"},
    "no-date": {"when": "yesterday"},
    "flag": {"flag": "yes"},
    "nullable": {"nothing": None},
    "port-number": {"port": 80},
    "port-name": {"port": "http"},
    "port-bool": {"port": True},
    "set-twice": {"set": ["a", "a"]},
    "set-many": {"set": list("abcde")},
    "plain-empty": {"plain": []},
    "plain-null": {"plain": [None]},
    "plain-text": {"plain": ["a"]},
    "parts-twice": {"parts": [{"name": "a"}, {"name": "a"}]},
    "parts-nameless": {"parts": [{"amount": 1}]},
    "parts-default": {"parts": [{"name": "a"}, {"name": "b", "unit": "m"}]},
    "labels-many": {"labels": dict.fromkeys("abcd", "x")},
    "labels-number": {"labels": {"a": 1}},
    "atom": {"atom": {"a": "1", "z": "2"}},
    "nested-null": {"nested": None},
    "nested-part": {"nested": {"other": "x", "what": 1}},
    "free": {"free": {"a": [1, {"b": None}]}},
    "either-none": {"either": {}},
    "either-both": {"either": {"x": "1", "y": "2"}},
    "either-one": {"either": {"x": "1"}},
    "two-wrong": {"size": 0, "colour": "pink", "code": "A"},
    "list-for-object": {"nested": []},
    "object-for-list": {"set": {}},
    "huge": {"replicas": 9223372036854775807},
    "exponent": {"size": 1e1},
}


@pytest.mark.parametrize("name", SPECS)
@on_both
def test_specs(talk: Talk, name: str) -> None:
    talk("POST", talk.at(WIDGETS), widget("x", **SPECS[name]))
    talk.quietly("POST", talk.at(WIDGETS), widget("y"))
    talk("PATCH", talk.at(WIDGETS, "y"), {"spec": SPECS[name]}, content_type=MERGE)


@on_both
def test_versions(talk: Talk) -> None:
    """Two versions of one resource, without conversion."""
    talk("POST", talk.at(WIDGETS), widget("x"))
    talk("GET", talk.at(f"{GROUP}/v1beta1/widgets", "x"))
    talk("GET", talk.at(f"{GROUP}/v1beta1/widgets"))
    talk("PATCH", talk.at(f"{GROUP}/v1beta1/widgets", "x"), {"spec": {"size": 2}}, content_type=MERGE)
    talk("POST", talk.at(f"{GROUP}/v1beta1/widgets"), {**widget("y"), "apiVersion": f"{GROUP}/v1beta1"})
    talk("GET", talk.at(WIDGETS, "y"))


@on_both
def test_ratcheting(talk: Talk) -> None:
    """Unchanged values may stay invalid; changed ones must be valid (validation ratcheting)."""
    talk("POST", talk.at(WIDGETS), widget("x", labels={"a": "b"}))
    talk("PATCH", talk.at(WIDGETS, "x"), {"metadata": {"labels": {"a": "b"}}}, content_type=MERGE)
    talk("GET", talk.at(WIDGETS, "x"))


_PLAIN = {"type": "object", "properties": {"spec": {"type": "object"}}}
_BASE = definition("things", "Thing", _PLAIN)


def changed(**changes: Any) -> dict[str, Any]:
    """Return a definition with changed members of its spec."""
    document = copy.deepcopy(_BASE)
    document["spec"] |= changes
    return document


def _version(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(_BASE["spec"]["versions"][0]), **changes}


REFUSED: dict[str, dict[str, Any]] = {
    "name": {**copy.deepcopy(_BASE), "metadata": {"name": "other"}},
    "group": changed(group="nodot"),
    "no-storage": changed(versions=[_version(storage=False)]),
    "two-storages": changed(versions=[_version(), _version(name="v2")]),
    "same-version": changed(versions=[_version(), _version(storage=False)]),
    "no-schema": changed(versions=[{"name": "v1", "served": True, "storage": True}]),
    "no-versions": changed(versions=[]),
    "scope": changed(scope="Everywhere"),
    "plural": changed(names={"plural": "Things", "kind": "Thing"}),
    "no-kind": changed(names={"plural": "things"}),
    "root-type": changed(versions=[_version(schema={"openAPIV3Schema": {"type": "array", "items": {"type": "string"}}})]),
    "no-type": changed(versions=[_version(schema={"openAPIV3Schema": {"type": "object", "properties": {"a": {}}}})]),
    "ref": changed(versions=[_version(schema={"openAPIV3Schema": {"type": "object", "properties": {"a": {"$ref": "#/x"}}}})]),
    "bad-default": changed(
        versions=[
            _version(schema={"openAPIV3Schema": {"type": "object", "properties": {"a": {"type": "integer", "default": "x"}}}})
        ]
    ),
    "map-keys": changed(
        versions=[
            _version(
                schema={
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "a": {
                                "type": "array",
                                "x-kubernetes-list-type": "map",
                                "items": {"type": "object", "properties": {"b": {"type": "string"}}},
                            }
                        },
                    }
                }
            )
        ]
    ),
    "conversion": changed(conversion={"strategy": "Magic"}),
}


@pytest.mark.parametrize("name", REFUSED)
@on_both
def test_definitions_refused(talk: Talk, name: str) -> None:
    talk("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", REFUSED[name], dryRun="All")


@on_both
def test_a_definition(talk: Talk) -> None:
    """A new definition, before a controller has handled it."""
    talk("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", _BASE, dryRun="All")
    talk("GET", f"/apis/{GROUP}")
    talk("GET", f"/apis/{GROUP}/v1")
    talk("GET", f"/apis/{GROUP}/v1beta1")
