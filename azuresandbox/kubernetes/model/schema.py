"""Structural schemas: what an object may hold, what it holds when nothing is said, and why it is refused.

One class, `Schema`, over an OpenAPI v3 schema, for built-in kinds and custom resources alike. Nodes are made as they are
reached, so that a schema costs nothing until an object touches it. Pure; may import `cel` and `formats` only.

Source: apiextensions-apiserver's structural schemas (pruning, defaulting, listtype) and kube-openapi's validation.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from azuresandbox import trees
from azuresandbox.kubernetes.model import cel
from azuresandbox.kubernetes.model.formats import FORMATS

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
"""The metadata of every object, as far as the server reads it; custom resources get it whatever their schema says."""

_TYPE_META = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": OBJECT_META}


class Cause(NamedTuple):
    """One reason why an object is invalid: an entry of `status.details.causes`."""

    reason: str
    message: str
    field: str


class Fields(dict[str, "Node | None"]):
    """The members of an object by name; unknown names give the schema of additional members, or None."""

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
    """Named schemas that `$ref`s point to, and the nodes made of them so far."""

    __slots__ = ("_nodes", "schemas")

    def __init__(self, schemas: Mapping[str, Any] | None = None) -> None:
        self.schemas = schemas or {}
        self._nodes: dict[str, Node] = {}

    def node(self, raw: Mapping[str, Any]) -> Node:
        """The node of a schema, sharing the members of the definition it refers to."""
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
"""What is said of a member and not of its type."""


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
"""What a schema may say besides the type, the members and which are required: with any of it, it is not plain."""


class Node:
    """A schema, its members as attributes: `None`, `""` or `False` where the schema says nothing."""

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
                declared = {**declared, **_TYPE_META}
            fields = Fields(declared, self.additional, definitions)
        self.fields = fields


_ANYTHING: dict[str, Any] = {"x-kubernetes-preserve-unknown-fields": True}


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
            properties = {**document.get("properties", {}), **_TYPE_META}
            self.root = Node({**document, "type": "object", "properties": properties}, known)
        else:
            self.root = known.node(document)

    def prune(self, obj: dict[str, Any]) -> list[str]:
        """Removes, in place, every field the schema does not know. Returns their paths, like `spec.foo[0].bar`.

        Those of a custom resource are sorted, those of a built-in kind in the order in which they stand.
        """
        gone: list[str] = []
        _prune(obj, self.root, "", gone)
        return sorted(gone) if self.custom else gone

    def default(self, obj: dict[str, Any]) -> None:
        """Sets, in place, what the schema has defaults for, and drops nulls where null is not a value."""
        _default(obj, self.root)

    def validate(self, obj: Any, old: Any = None) -> list[Cause]:
        """Why `obj` is not valid, as the API words it; `old` is the object it replaces: what did not change
        is not validated again (the API server's validation ratcheting)."""
        return [] if _holds(obj, self.root, old) else list(_validate(obj, self.root, "", old))

    def problems(self) -> list[Cause]:
        """Why this schema itself cannot be served: it is not structural, or has CEL rules, which are refused by name."""
        text = "Forbidden: the sandbox does not emulate CEL validation rules (docs/sandbox.md): leave them out of the definition here"
        rules = [Cause("FieldValueForbidden", text, path.lstrip(".")) for path in cel.rules(self.document)]
        return [*_structural(self.document, "", ""), *rules]


def _structural(raw: Any, path: str, place: str) -> Iterator[Cause]:
    """What keeps a schema from being structural. `place`: what the value is to its parent; "" for the root.

    Source: apiextensions-apiserver, `schema/validation.go`, and `validateCustomResourceDefinitionOpenAPISchema`.
    """
    if not isinstance(raw, Mapping):
        return
    if raw.get("$ref"):
        yield Cause("FieldValueForbidden", "Forbidden: $ref is not supported", _join(path, "$ref"))
        return
    typeless = raw.get("x-kubernetes-int-or-string") or raw.get("x-kubernetes-preserve-unknown-fields")
    if place and not raw.get("type") and not typeless:
        text = f"Required value: must not be empty for specified {place}"
        yield Cause("FieldValueRequired", text, _join(path, "type"))
    if raw.get("x-kubernetes-list-type") == "map" and not raw.get("x-kubernetes-list-map-keys"):
        text = "Required value: must not be empty if x-kubernetes-list-type is map"
        yield Cause("FieldValueRequired", text, _join(path, "x-kubernetes-list-map-keys"))
    if raw.get("default") is not None:
        for cause in Schema(raw, custom=False).validate(raw["default"]):
            yield Cause(cause.reason, cause.message, _join(path, "default") + (f".{cause.field}" if cause.field else ""))
    for name, child in sorted((raw.get("properties") or {}).items()):
        yield from _structural(child, _join(path, f"properties[{name}]"), "object fields")
    yield from _structural(raw.get("items"), _join(path, "items"), "array items")
    yield from _structural(raw.get("additionalProperties"), _join(path, "additionalProperties"), "object fields")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _prune(value: Any, node: Node | None, path: str, gone: list[str]) -> None:
    """Without a node, nothing is known: the members of all maps go."""
    if isinstance(value, dict):
        for name in list(value):
            child = node.fields[name] if node is not None else None
            if child is not None:
                member = value[name]
                if member.__class__ is dict or member.__class__ is list:
                    _prune(member, child, _join(path, name), gone)
            elif node is None or not node.preserve:
                del value[name]
                gone.append(_join(path, name))
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


# --- validation ------------------------------------------------------------------------------------------------------


def quoted(value: Any) -> str:
    """A value as the API prints it in a message: JSON for strings, lists and maps, bare numbers and booleans."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=True)


def invalid(field: str, value: Any, detail: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {quoted(value)}: {detail}", field)


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "integer" if value.is_integer() else "number"
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "object"
    return "array" if isinstance(value, list) else "string"


def _holds(value: Any, node: Node, old: Any) -> bool:
    """Whether the value is valid, at a third of the cost of saying why not."""
    found: type = type(value)
    if node.plain is not found:
        return next(_validate(value, node, "", old), None) is None
    if old is not None and trees.same(value, old):
        return True
    if found is dict:
        before = old if isinstance(old, dict) else {}
        children = ((name, member, node.fields[name]) for name, member in value.items())
        return all(name in value for name in node.required) and all(
            child is None or _holds(member, child, before.get(name)) for name, member, child in children
        )
    if found is list and node.items is not None:
        return all(_holds(item, node.items, None) for item in value)
    if found is int:
        return bool(-(1 << 63) <= value < 1 << 63)
    return True


def _validate(value: Any, node: Node, path: str, old: Any = None) -> Iterator[Cause]:
    """`old`: what was there before, or None."""
    if old is not None and trees.same(value, old):
        return
    if value is not None or not node.nullable:
        yield from filter(None, [_type_problem(value, node, path)])
    yield from _check_enum(value, node, path)
    if value is None:
        return
    if isinstance(value, dict):
        yield from _check_object(value, node, path, old if isinstance(old, dict) else {})
    elif isinstance(value, list):
        yield from _check_array(value, node, path)
    elif isinstance(value, str):
        yield from _check_string(value, node.raw, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _check_range(value, node, path)
        yield from _check_number(value, node.raw, path)
    yield from _check_combinations(value, node.raw, path)


def _type_problem(value: Any, node: Node, path: str) -> Cause | None:
    found = _type_of(value)
    if node.int_or_string:
        if found in ("integer", "string"):
            return None
        wanted = "integer,string"
    else:
        wanted = node.type
        if not wanted or found == wanted or (wanted == "number" and found == "integer"):
            return None
        form = _checked_format(node)
        if form and found == "array" and wanted == "string":
            return None
        if form and found in ("boolean", "integer", "number", "object"):
            wanted, found = form, {"integer": "int64", "number": "float64"}.get(found, "")
    detail = f'{path or ""} in body must be of type {wanted}: "{found}"'
    return Cause("FieldValueTypeInvalid", f'Invalid value: "{found}": {detail}', path)


_NUMBER_FORMATS = {"integer": ("int32", "int64"), "number": ("float", "double")}


def _checked_format(node: Node) -> str:
    """The format that a value of this type is checked for, or "". A mismatched type is told by it."""
    form: str = node.raw.get("format", "")
    known = form in FORMATS if node.type in ("", "string") else form in _NUMBER_FORMATS.get(node.type, ())
    return form if known else ""


def _check_enum(value: Any, node: Node, path: str) -> Iterator[Cause]:
    allowed = node.raw.get("enum")
    if allowed is not None and not any(_type_of(one) == _type_of(value) and one == value for one in allowed):
        names = ", ".join(json.dumps(one if isinstance(one, str) else quoted(one), ensure_ascii=False) for one in allowed)
        yield Cause("FieldValueNotSupported", f"Unsupported value: {quoted(value)}: supported values: {names}", path)


def _check_object(value: dict[str, Any], node: Node, path: str, old: dict[str, Any]) -> Iterator[Cause]:
    raw = node.raw
    for name in node.required:
        if name not in value:
            yield Cause("FieldValueRequired", "Required value", _join(path, name))
    if "maxProperties" in raw and len(value) > raw["maxProperties"]:
        yield _too_many(len(value), raw["maxProperties"], path)
    if "minProperties" in raw and len(value) < raw["minProperties"]:
        yield invalid(path, len(value), f"{path} in body should have at least {raw['minProperties']} properties")
    if node.embedded:
        for name in ("apiVersion", "kind"):
            if not value.get(name):
                yield Cause("FieldValueRequired", "must not be empty", _join(path, name))
    for name, member in value.items():
        child = node.fields[name]
        if child is not None:
            yield from _validate(member, child, _join(path, name), old.get(name))


def _too_many(count: int, most: int, path: str) -> Cause:
    return Cause("FieldValueTooMany", f"Too many: {count}: must have at most {most} item{'' if most == 1 else 's'}", path)


def _check_array(value: list[Any], node: Node, path: str) -> Iterator[Cause]:
    raw = node.raw
    if "minItems" in raw and len(value) < raw["minItems"]:
        yield invalid(path, len(value), f"{path} in body should have at least {raw['minItems']} items")
    if "maxItems" in raw and len(value) > raw["maxItems"]:
        yield _too_many(len(value), raw["maxItems"], path)
    if node.items is not None:
        for at, item in enumerate(value):
            yield from _validate(item, node.items, f"{path}[{at}]")
    if node.list_type in ("set", "map"):
        yield from _check_duplicates(value, node, path)


def _check_duplicates(value: list[Any], node: Node, path: str) -> Iterator[Cause]:
    seen: dict[str, int] = {}
    for at, item in enumerate(value):
        if node.list_type == "map":
            if not isinstance(item, dict):
                continue
            item = {key: item[key] for key in node.map_keys if key in item}
        text = quoted(item)
        seen[text] = seen.get(text, 0) + 1
        if seen[text] == 2:  # a third one is not told
            yield Cause("FieldValueDuplicate", f"Duplicate value: {text}", f"{path}[{at}]")


def _check_string(value: str, raw: Mapping[str, Any], path: str) -> Iterator[Cause]:
    """The first of length and pattern that is wrong, and the format."""
    if "maxLength" in raw and len(value) > raw["maxLength"]:
        yield Cause("FieldValueTooLong", f"Too long: may not be more than {raw['maxLength']} bytes", path)
    elif "minLength" in raw and len(value) < raw["minLength"]:
        yield invalid(path, value, f"{path} in body should be at least {raw['minLength']} chars long")
    elif "pattern" in raw and not pattern(raw["pattern"]).search(value):
        yield invalid(path, value, f"{path} in body should match '{raw['pattern']}'")
    known = FORMATS.get(raw.get("format", ""))
    if known is not None and not known(value):
        detail = f"{path} in body must be of type {raw['format']}: {quoted(value)}"
        yield Cause("FieldValueTypeInvalid", f"Invalid value: {quoted(value)}: {detail}", path)


@lru_cache(maxsize=1000)
def pattern(text: str) -> re.Pattern[str]:
    """A Go regular expression as Python's: \\z, and $ that does not match before a final newline."""
    return re.compile(_to_python(text))


def _to_python(text: str) -> str:
    result, at, in_class = [], 0, False
    while at < len(text):
        char = text[at]
        if char == "\\" and at + 1 < len(text):
            result.append({"z": r"\Z"}.get(text[at + 1], text[at : at + 2]))
            at += 2
            continue
        if char == "[" and not in_class:
            in_class = True
        elif char == "]" and in_class:
            in_class = False
        result.append(r"\Z" if char == "$" and not in_class else char)
        at += 1
    return "".join(result)


def _check_range(value: float, node: Node, path: str) -> Iterator[Cause]:
    """Whether an integer fits the bits that its format names."""
    kind, bits = node.raw.get("format", ""), 31 if node.raw.get("format") == "int32" else 63
    if node.type == "integer" and not (float(value).is_integer() and -(1 << bits) <= value < 1 << bits):
        named = f"with format {kind}" if kind in ("int32", "int64") else "(default format)"
        yield _whole(f"Checked value must be of type integer {named} in {path}")


def _check_number(value: float, raw: Mapping[str, Any], path: str) -> Iterator[Cause]:
    least, most, step = raw.get("minimum"), raw.get("maximum"), raw.get("multipleOf")
    if step and value == 0:  # the real library takes the value for the step
        yield invalid(path, value, f"factor MultipleOf declared for {path} must be positive: 0")
    elif step and not math.isclose(value / step, round(value / step), abs_tol=1e-9):
        yield invalid(path, value, f"{path} in body should be a multiple of {_number(step)}")
    if most is not None and (value >= most if raw.get("exclusiveMaximum") else value > most):
        limit = "less than" if raw.get("exclusiveMaximum") else "less than or equal to"
        yield invalid(path, value, f"{path} in body should be {limit} {_number(most)}")
    if least is not None and (value <= least if raw.get("exclusiveMinimum") else value < least):
        limit = "greater than" if raw.get("exclusiveMinimum") else "greater than or equal to"
        yield invalid(path, value, f"{path} in body should be {limit} {_number(least)}")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)


def _whole(detail: str) -> Cause:
    """A cause that the real server gives without a field, and prints so."""
    return Cause("FieldValueInvalid", f'Invalid value: "": {detail}', "<nil>")


def _check_combinations(value: Any, raw: Mapping[str, Any], path: str) -> Iterator[Cause]:
    """allOf, anyOf, oneOf and not. Of alternatives that all fail, the first one's causes are given too."""
    if "anyOf" in raw:
        any_of = _alternatives(value, raw["anyOf"], path)
        if all(any_of):
            yield _whole(f'"{path}" must validate at least one schema (anyOf)')
            yield from any_of[0]
    if "oneOf" in raw:
        one_of = _alternatives(value, raw["oneOf"], path)
        count = sum(not causes for causes in one_of)
        if count != 1:
            found = "Found none valid" if count == 0 else f"Found {count} valid alternatives"
            yield _whole(f'"{path}" must validate one and only one schema (oneOf). {found}')
        if count == 0:
            yield from one_of[0]
    if "allOf" in raw:
        all_of = _alternatives(value, raw["allOf"], path)
        if any(all_of):
            found = ". None validated" if all(all_of) else ""
            yield _whole(f'"{path}" must validate all the schemas (allOf){found}')
            yield from (cause for causes in all_of for cause in causes)
    if "not" in raw and not _alternatives(value, [raw["not"]], path)[0]:
        yield _whole(f'"{path}" must not validate the schema (not)')


_NO_DEFINITIONS = Definitions()


def _alternatives(value: Any, schemas: Sequence[Mapping[str, Any]], path: str) -> list[list[Cause]]:
    """What is wrong with a value by each of some schemas."""
    return [list(_validate(value, Node(one, _NO_DEFINITIONS), path)) for one in schemas]
