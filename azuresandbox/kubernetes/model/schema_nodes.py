"""The nodes of a schema: an OpenAPI v3 schema with its extensions as attributes, built when they are reached.

A schema therefore costs time only when an object needs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_REF = "#/components/schemas/"


OBJECT_META: dict[str, Any] = {
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in ("name", "generateName", "namespace", "selfLink", "uid", "resourceVersion")},
        "generation": {"type": "integer", "format": "int64"},
        "creationTimestamp": {"type": "string", "format": "date-time", "nullable": True},
        "deletionTimestamp": {"type": "string", "format": "date-time", "nullable": True},
        "deletionGracePeriodSeconds": {"type": "integer", "format": "int64"},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
        "finalizers": {
            "type": "array",
            "items": {"type": "string"},
            "x-kubernetes-list-type": "set",
            "x-kubernetes-patch-strategy": "merge",
        },
        "ownerReferences": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    **{name: {"type": "string"} for name in ("apiVersion", "kind", "name", "uid")},
                    "controller": {"type": "boolean"},
                    "blockOwnerDeletion": {"type": "boolean"},
                },
                "required": ["apiVersion", "kind", "name", "uid"],
                "x-kubernetes-map-type": "atomic",
            },
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["uid"],
            "x-kubernetes-patch-strategy": "merge",
            "x-kubernetes-patch-merge-key": "uid",
        },
        "managedFields": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    **{
                        name: {"type": "string"} for name in ("apiVersion", "fieldsType", "manager", "operation", "subresource")
                    },
                    "time": {"type": "string", "format": "date-time"},
                    "fieldsV1": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                },
            },
            "x-kubernetes-list-type": "atomic",
        },
    },
}
"""The metadata that the server reads; custom resources have it whatever their schema says."""


TYPE_META = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": OBJECT_META}


class Fields(dict[str, "Node | None"]):
    """The members of an object by name; an unknown name returns the schema of additional members, or `None`."""

    __slots__ = ("_declared", "_definitions", "additional")

    def __init__(self, declared: Mapping[str, Any], additional: Node | None, definitions: Definitions) -> None:
        super().__init__()
        self._declared = declared
        self._definitions = definitions
        self.additional = additional

    def __missing__(self, name: str) -> Node | None:
        raw = self._declared.get(name)
        if raw is None:
            return self.additional
        node = self[name] = self._definitions.node(raw)
        return node

    def declared(self) -> Mapping[str, Any]:
        return self._declared


class Definitions:
    """Named schemas that `$ref`s refer to, and their nodes built so far."""

    __slots__ = ("_nodes", "schemas")

    def __init__(self, schemas: Mapping[str, Any] | None = None) -> None:
        self.schemas = schemas or {}
        self._nodes: dict[str, Node] = {}

    def node(self, raw: Mapping[str, Any]) -> Node:
        """Return the node of a schema; it shares the members of the definition that the schema refers to."""
        reference = _reference(raw)
        if reference is None:
            return Node(raw, self)
        named = self.named(reference)
        beside = {key: value for key, value in raw.items() if key not in _BESIDE}
        if "x-zero" in raw:
            beside["nullable"] = True
        return Node({**named.raw, **beside}, self, reference, named.fields) if beside else named

    def named(self, name: str) -> Node:
        if name not in self._nodes:
            self._nodes[name] = Node(self.schemas[name], self, name)
        return self._nodes[name]


_BESIDE = ("$ref", "allOf", "description", "x-zero", "x-omits")
"""Keys of a schema that describe a member, not its type."""


def _reference(raw: Mapping[str, Any]) -> str | None:
    whole = raw.get("$ref")
    if whole is None and len(raw.get("allOf", ())) == 1:
        whole = raw["allOf"][0].get("$ref")
    return whole.removeprefix(_REF) if isinstance(whole, str) else None


_CLASSES: dict[str, type] = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}


_NOT_PLAIN = {
    "allOf",
    "anyOf",
    "enum",
    "format",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "not",
    "oneOf",
    "pattern",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
}
"""Keys that make a schema more than its type, its members and the required ones."""


class Node:
    """A schema with its keys as attributes: `None`, `""` or `False` where the schema does not have the key.

    `plain`: the Python type of valid values, if the schema has only a type, members and required members; else `None`.
    """

    __slots__ = (
        "additional",
        "atomic",
        "default",
        "embedded",
        "fields",
        "has_default",
        "int_or_string",
        "items",
        "list_type",
        "map_keys",
        "name",
        "nullable",
        "patch_merge_key",
        "patch_strategy",
        "plain",
        "preserve",
        "raw",
        "required",
        "type",
    )

    def __init__(self, raw: Mapping[str, Any], definitions: Definitions, name: str = "", fields: Fields | None = None) -> None:
        self.raw = raw
        self.name = name
        self.type: str = raw.get("type", "")
        self.nullable: bool = raw.get("nullable", False) or "x-zero" in raw
        self.preserve: bool = raw.get("x-kubernetes-preserve-unknown-fields", False)
        self.int_or_string: bool = raw.get("x-kubernetes-int-or-string", False) or raw.get("format") == "int-or-string"
        self.embedded: bool = raw.get("x-kubernetes-embedded-resource", False)
        self.list_type: str = raw.get("x-kubernetes-list-type", "")
        self.map_keys: tuple[str, ...] = tuple(raw.get("x-kubernetes-list-map-keys", ()))
        self.atomic: bool = raw.get("x-kubernetes-map-type") == "atomic"
        self.patch_strategy: tuple[str, ...] = tuple(raw.get("x-kubernetes-patch-strategy", "").split(","))
        self.patch_merge_key: str = raw.get("x-kubernetes-patch-merge-key", "")
        self.has_default: bool = "default" in raw
        self.default: Any = raw.get("default")
        self.required: Sequence[str] = raw.get("required", ())
        self.plain = _CLASSES.get(self.type) if _NOT_PLAIN.isdisjoint(raw) and self.list_type not in ("set", "map") else None
        items = raw.get("items")
        self.items: Node | None = definitions.node(items) if isinstance(items, Mapping) else None
        additional = raw.get("additionalProperties")
        self.additional: Node | None = (
            definitions.node(additional if isinstance(additional, Mapping) else _ANYTHING) if additional else None
        )
        if fields is None:
            declared = raw.get("properties", {})
            if self.embedded:
                declared = {**declared, **TYPE_META}
            fields = Fields(declared, self.additional, definitions)
        self.fields = fields


_ANYTHING: dict[str, Any] = {"x-kubernetes-preserve-unknown-fields": True}
