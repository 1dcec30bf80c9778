"""Structural schemas: pruning, defaulting and validation of objects, and the check of a schema itself.

One class, `Schema`, serves built-in kinds and custom resources alike.

Source: apiextensions-apiserver's structural schemas (pruning, defaulting, listtype).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from azuresandbox import trees
from azuresandbox.kubernetes.model import cel
from azuresandbox.kubernetes.model.schema_checks import Cause, holds, join, problems
from azuresandbox.kubernetes.model.schema_nodes import TYPE_META, Definitions, Node


class Schema:
    """The schema of one kind of object (`document`), with the `definitions` that it refers to.

    `custom=True` adds apiVersion, kind and metadata, which a custom resource has whatever its schema says.
    """

    __slots__ = ("custom", "document", "root")

    def __init__(self, document: Mapping[str, Any], definitions: Definitions | None = None, *, custom: bool = True) -> None:
        self.document = document
        self.custom = custom
        known = definitions or Definitions()
        if custom:
            properties = {**document.get("properties", {}), **TYPE_META}
            self.root = Node({**document, "type": "object", "properties": properties}, known)
        else:
            self.root = known.node(document)

    def prune(self, obj: dict[str, Any]) -> list[str]:
        """Remove, in place, every field that the schema does not know. Returns their paths, like `spec.foo[0].bar`.

        Paths of a custom resource are sorted; those of a built-in kind are in the order of the object.
        """
        gone: list[str] = []
        _prune(obj, self.root, "", gone)
        return sorted(gone) if self.custom else gone

    def default(self, obj: dict[str, Any]) -> None:
        """Set the defaults of the schema, in place, and remove nulls from members that are not nullable."""
        _default(obj, self.root)

    def validate(self, obj: Any, old: Any = None) -> list[Cause]:
        """Return why `obj` is not valid, with the API's messages; empty if it is.

        `old`: the object that it replaces. Unchanged parts are not validated again (validation ratcheting).
        """
        return [] if holds(obj, self.root, old) else list(problems(obj, self.root, "", old))

    def problems(self) -> list[Cause]:
        """Return why this schema cannot be served: it is not structural, or it has CEL rules, which are not emulated."""
        text = "Forbidden: the sandbox does not emulate CEL validation rules (docs/sandbox.md): "
        text += "leave them out of the definition here"
        rules = [Cause("FieldValueForbidden", text, path.lstrip(".")) for path in cel.rules(self.document)]
        return [*_structural(self.document, "", ""), *rules]


def _structural(raw: Any, path: str, place: str) -> Iterator[Cause]:
    """Yield why a schema is not structural. `place`: the role of the value in its parent, as messages name it; "" for the root.

    Source: apiextensions-apiserver, `schema/validation.go`, and `validateCustomResourceDefinitionOpenAPISchema`.
    """
    if not isinstance(raw, Mapping):
        return
    if raw.get("$ref"):
        yield Cause("FieldValueForbidden", "Forbidden: $ref is not supported", join(path, "$ref"))
        return
    typeless = raw.get("x-kubernetes-int-or-string") or raw.get("x-kubernetes-preserve-unknown-fields")
    if place and not raw.get("type") and not typeless:
        text = f"Required value: must not be empty for specified {place}"
        yield Cause("FieldValueRequired", text, join(path, "type"))
    if raw.get("x-kubernetes-list-type") == "map" and not raw.get("x-kubernetes-list-map-keys"):
        text = "Required value: must not be empty if x-kubernetes-list-type is map"
        yield Cause("FieldValueRequired", text, join(path, "x-kubernetes-list-map-keys"))
    if raw.get("default") is not None:
        for cause in Schema(raw, custom=False).validate(raw["default"]):
            yield Cause(cause.reason, cause.message, join(path, "default") + (f".{cause.field}" if cause.field else ""))
    for name, child in sorted((raw.get("properties") or {}).items()):
        yield from _structural(child, join(path, f"properties[{name}]"), "object fields")
    yield from _structural(raw.get("items"), join(path, "items"), "array items")
    yield from _structural(raw.get("additionalProperties"), join(path, "additionalProperties"), "object fields")


def _prune(value: Any, node: Node | None, path: str, gone: list[str]) -> None:
    """Remove unknown members, in place. Without a node, no member is known."""
    if isinstance(value, dict):
        for name in list(value):
            child = node.fields[name] if node is not None else None
            if child is not None:
                member = value[name]
                if member.__class__ is dict or member.__class__ is list:
                    _prune(member, child, join(path, name), gone)
            elif node is None or not node.preserve:
                del value[name]
                gone.append(join(path, name))
    elif isinstance(value, list):
        items = node.items if node is not None else None
        if items is None and node is not None and node.preserve:
            return
        for at, item in enumerate(value):
            if item.__class__ is dict or item.__class__ is list:
                _prune(item, items, f"{path}[{at}]", gone)


def _default(value: Any, node: Node | None) -> None:
    if node is None:
        return
    if isinstance(value, dict):
        for name in node.fields.declared():
            child = node.fields[name]
            if child is not None and child.has_default and name not in value:
                value[name] = trees.copy(child.default)
        for name, member in list(value.items()):
            child = node.fields[name]
            if child is None:
                continue
            if member is None and not child.nullable:
                if child.has_default:
                    member = value[name] = trees.copy(child.default)
                else:
                    del value[name]
            _default(member, child)
    elif isinstance(value, list) and node.items is not None:
        items = node.items
        for at, item in enumerate(value):
            if item is None and items.has_default and not items.nullable:
                item = value[at] = trees.copy(items.default)
            _default(item, items)
