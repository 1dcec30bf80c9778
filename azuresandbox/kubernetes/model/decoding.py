"""Request bodies as kube-apiserver's serializers read them, with the messages of Go's decoders.

JSON and YAML to an object; duplicate fields; values that do not fit their Go type.

Source: apimachinery `runtime/serializer/json`, apiserver `endpoints/handlers` (transformDecodeError), Go's encoding/json.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from azuresandbox import trees
from azuresandbox.kubernetes.model import errors
from azuresandbox.kubernetes.model.schema_nodes import Node

_HEAD = 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
_SHOWN = 30


class Malformed(Exception):
    """The text is not JSON or YAML; the message is that of Go's decoder."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML 1.1 as Go's library reads it, where y and n are booleans too."""


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^[yYnN]$"), list("yYnN"))
_Loader.bool_values = {**_Loader.bool_values, "y": True, "n": False}


def parse(data: bytes, *, as_yaml: bool = False) -> Any:
    """Return a value from JSON or YAML. Raises `Malformed`."""
    if as_yaml:
        return _parse_yaml(data)
    try:
        return trees.parse(data)
    except ValueError:
        raise Malformed(json_problem(data)) from None


def _parse_yaml(data: bytes) -> Any:
    """Return a value from YAML. Most clients send JSON as YAML, so the faster parser comes first."""
    if data[:1] == b"{":
        try:
            return trees.parse(data)
        except ValueError:
            pass  # a flow mapping, or malformed: YAML's parser gives the message
    try:
        return next(yaml.load_all(data, _Loader), None)  # further documents are not read
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line if error.problem_mark is not None else 0
        raise Malformed(f"yaml: line {max(line, 1)}: {error.problem}") from None
    except (ValueError, yaml.YAMLError) as error:
        raise Malformed(f"yaml: {error}") from None


_JSON_PROBLEMS = {
    "Expecting value": "looking for beginning of value",
    "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
    "Illegal trailing comma before end of object": "looking for beginning of object key string",
    "Illegal trailing comma before end of array": "looking for beginning of value",
    "Expecting ':' delimiter": "after object key",
    "Expecting ',' delimiter": "after object key:value pair",
    "Extra data": "after top-level value",
    "Invalid control character at": "in string literal",
    "Invalid \\escape": "in string escape code",
}


def json_problem(data: bytes) -> str:
    """Return the message of Go's decoder for text that is not JSON."""
    text = data.decode("latin-1")  # Go's messages show bytes
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        trailing = error.msg.startswith("Illegal trailing comma")  # Python 3.13 points at the comma, not behind it
        left = text[error.pos + trailing :].lstrip()
        if not left or error.msg.startswith("Unterminated"):
            return "unexpected end of JSON input"
        where = next(
            (words for start, words in _JSON_PROBLEMS.items() if error.msg.startswith(start)), "looking for beginning of value"
        )
        if where == "after object key:value pair" and _in_array(text[: error.pos]):
            where = "after array element"
        return f"invalid character {_rune(left[0])} {where}"
    return "unexpected end of JSON input"


def _in_array(text: str) -> bool:
    """Return whether the innermost open bracket is an array's. `text`: the JSON before a problem."""
    stack = []
    for mark in re.sub(r'"(\\.|[^"\\])*"', "", text):
        if mark in "[{":
            stack.append(mark)
        elif mark in "]}" and stack:
            stack.pop()
    return bool(stack) and stack[-1] == "["


def _rune(character: str) -> str:
    """Return a character as Go quotes it."""
    if not character.isprintable():
        return {"\n": r"'\n'", "\t": r"'\t'", "\r": r"'\r'"}.get(character, f"'\\u{ord(character):04x}'")
    return r"'\''" if character == "'" else f"'{character}'"


def document(data: bytes, kind: str, *, as_yaml: bool, typed: bool) -> dict[str, Any]:
    """Return the object in a body; raise 400 if the body is not an object. `typed`: the kind is built in."""
    try:
        found = parse(data, as_yaml=as_yaml)
    except Malformed as error:
        # the same for custom resources and built-in kinds: apiVersion and kind are read first
        text = str(error) if as_yaml else f"couldn't get version/kind; json parse error: {error}"
        raise unrecognized(data, kind, text) from None
    if found is None and typed:
        return {}
    if not isinstance(found, dict):
        text = f"json: cannot unmarshal {json_name(found)} into Go value of type {_HEAD}"
        text = f"couldn't get version/kind; json parse error: {text}"
        raise unrecognized(data, kind, text if found is not None else "Object 'Kind' is missing in 'null'")
    if not typed and not found.get("kind"):
        raise unrecognized(data, kind, f"Object 'Kind' is missing in '{data.decode('utf-8', 'replace')}'")
    return found


def unrecognized(data: bytes, kind: str, why: str) -> errors.StatusError:
    """Return the refusal of a body that is not an object of the kind; it shows the beginning of the body."""
    shown = data[:_SHOWN].decode("utf-8", "replace") if data[:1] == b"{" else data[:_SHOWN].hex()
    shown = "<empty>" if not data else shown + (" ..." if len(data) > _SHOWN else "")
    return errors.bad_request(f"the object provided is unrecognized (must be of type {kind}): {why} ({shown})")


def whole_numbers(value: Any) -> None:
    """Turn whole floats into integers, in place: `2.0` is shown as `2`."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, member in list(pairs):
        kind = member.__class__
        if kind is float and member.is_integer() and abs(member) < 1 << 63:
            value[key] = int(member)
        elif kind is dict or kind is list:
            whole_numbers(member)


# --- duplicate fields ------------------------------------------------------------------------------------------------


def duplicates(data: bytes, obj: dict[str, Any], *, as_yaml: bool) -> list[str]:
    """Return the paths of fields that a body gives twice. `obj`: the decoded body."""
    if as_yaml and data[:1] != b"{":
        return _doubled_yaml(data)
    if data.count(b'":') <= _keys(obj):
        return []
    found: list[str] = []
    _doubled(_pairs(data), "", found)
    return found


def _pairs(data: bytes) -> Any:
    return json.JSONDecoder(object_pairs_hook=_Pairs).raw_decode(data.decode("utf-8", "replace").lstrip())[0]


def merged(data: bytes) -> dict[str, Any]:
    """Return a JSON object with duplicate fields as Go decodes it into its types: maps get the members of both."""
    found: dict[str, Any] = _merged(_pairs(data))
    return found


def _merged(value: Any) -> Any:
    if isinstance(value, _Pairs):
        found: dict[str, Any] = {}
        for name, member in value:
            new, old = _merged(member), found.get(name)
            found[name] = {**old, **new} if isinstance(old, dict) and isinstance(new, dict) else new
        return found
    return [_merged(item) for item in value] if isinstance(value, list) else value


class _Pairs(list[tuple[str, Any]]):
    """The members of an object in the order of the text, duplicates included."""


def _doubled(value: Any, path: str, found: list[str]) -> None:
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        for name, member in value:
            here = f"{path}.{name}" if path else name
            if name in seen:
                found.append(here)
            seen.add(name)
            _doubled(member, here, found)
    elif isinstance(value, list):
        for at, item in enumerate(value):
            _doubled(item, f"{path}[{at}]", found)


def _doubled_yaml(data: bytes) -> list[str]:
    """Return YAML's messages about duplicate keys, which name lines instead of paths."""
    found: list[str] = []
    todo = [next(yaml.compose_all(data, _Loader), None)]
    while todo:
        item = todo.pop()
        if isinstance(item, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in item.value:
                if key.value in seen:
                    found.append(f'line {key.start_mark.line + 1}: key "{key.value}" already set in map')
                seen.add(key.value)
                todo.append(value)
        elif isinstance(item, yaml.SequenceNode):
            todo += item.value
    return found


def _keys(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum(_keys(member) for member in value.values() if isinstance(member, dict | list))
    return sum(_keys(item) for item in value if isinstance(item, dict | list))


# --- Go's types ------------------------------------------------------------------------------------------------------

_BASE64 = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")


@dataclass(frozen=True, slots=True)
class Misfit:
    """A value that does not fit its Go type. `struct`: the Go type that holds its field; `path`: the fields down to it."""

    value: Any
    node: Node
    struct: str
    path: str

    def decoded(self) -> str:
        """Return the message of encoding/json."""
        if self.node.raw.get("format") == "byte" and isinstance(self.value, str):
            return f"illegal base64 data at input byte {_base64_problem(self.value)}"
        shown = json_name(self.value)
        if shown == "number" and self.node.type in ("integer", "number"):
            shown = f"number {json.dumps(self.value)}"
        return f"json: cannot unmarshal {shown} into Go struct field {self.struct}.{self.path} of type {_go_type(self.node)}"

    def converted(self) -> str:
        """Return the message of apimachinery's converter, which fills Go's types from maps."""
        found = {"object": "map", "array": "slice", "bool": "bool", "string": "string"}.get(json_name(self.value), "int64")
        if isinstance(self.value, float):
            found = "float64"
        if self.node.type == "array":
            return f"cannot restore slice from {found}"
        if self.node.type == "object":
            return f"cannot restore struct from: {found}" if self.node.name else f"cannot restore map from {found}"
        wanted = _go_type(self.node)
        if wanted.startswith(("int", "float")) and found in ("string", "bool"):
            return f"unrecognized type: {wanted}"
        return f"cannot convert {found} to {wanted}"


def misfit(obj: dict[str, Any], root: Node, kind: str) -> Misfit | None:
    """Return the first value in the object that does not fit the Go type of its kind, or `None`."""
    return next(_misfits(obj, root, kind, ""), None)


def _misfits(value: Any, node: Node, struct: str, path: str) -> Iterator[Misfit]:
    if value is None or not node.type and not node.raw.get("x-quantity"):
        return
    found, wanted = type(value), node.type
    if wanted == "object" and found is dict:
        declared = node.fields.declared()
        if not declared:
            for member in value.values() if node.additional is not None else ():
                yield from _misfits(member, node.additional, struct, path)  # type: ignore[arg-type]
            return
        owner = node.name.rpartition(".")[2] or ("ObjectMeta" if "ownerReferences" in declared else struct)
        for name, member in value.items():
            if name in declared and (child := node.fields[name]) is not None:
                yield from _misfits(member, child, owner, f"{path}.{name}" if path else name)
    elif wanted == "array" and found is list and node.items is not None:
        for item in value:
            yield from _misfits(item, node.items, struct, path)
    elif wanted == "string" and found is str and node.raw.get("format") == "byte":
        if _base64_problem(value) is not None:
            yield Misfit(value, node, struct, path)
    elif not _fits(value, node):
        yield Misfit(value, node, struct, path)


def _fits(value: Any, node: Node) -> bool:
    found = type(value)
    if node.type == "string":
        return found is str
    if node.type == "boolean":
        return found is bool
    if node.type == "integer":
        bits = 31 if node.raw.get("format") == "int32" else 63
        return found is int and -(1 << bits) <= value < 1 << bits
    if node.type == "number":
        return found in (int, float)
    return not node.type


def json_name(value: Any) -> str:
    """Return the name of a JSON value's type in encoding/json."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return "object" if isinstance(value, dict) else "array" if isinstance(value, list) else "string"


def _go_type(node: Node) -> str:
    """Return a type as Go prints it: `int32`, `[]v1.Container`, `map[string]string`."""
    if node.name:
        return ".".join(node.name.split(".")[-2:])
    if node.type == "array":
        return "[]" + (_go_type(node.items) if node.items is not None else "")
    if node.type == "object":
        return "map[string]" + (_go_type(node.additional) if node.additional is not None else "")
    if node.raw.get("format") == "byte":
        return "[]uint8"
    return {"boolean": "bool", "integer": node.raw.get("format") or "int64", "number": "float64"}.get(node.type, node.type)


def _base64_problem(text: str) -> int | None:
    """Return the offset where Go's base64 decoder fails, or `None`."""
    body = text.rstrip("=")
    for at, character in enumerate(body):
        if character not in _BASE64:
            return at
    padding = len(text) - len(body)
    if (len(body) + padding) % 4 or padding > 2:
        return len(text) // 4 * 4 if padding == 0 else len(text)
    return None


# --- applied configurations ------------------------------------------------------------------------------------------


def typed_problem(value: Any, root: Node) -> str:
    """Return why structured-merge-diff cannot read an applied object by its schema, or "". Source: `typed/validate.go`."""
    found = _typed(value, root, "")
    return found[0] if len(found) == 1 else "errors:\n  " + "\n  ".join(found) if found else ""


def _typed(value: Any, node: Node | None, path: str) -> list[str]:
    if node is None or value is None:
        return []
    if isinstance(value, dict) and node.type in ("object", ""):
        return _typed_members(value, node, path)
    if isinstance(value, list) and node.type in ("array", ""):
        return _typed_elements(value, node, path)
    if node.type in ("object", "array"):
        return [f"{path}: expected {'map' if node.type == 'object' else 'list'}, got &{{{gotext(value)}}}"]
    if node.type == "string" and not isinstance(value, str) and not node.int_or_string:
        return [f"{path}: expected string, got &value.valueUnstructured{{Value:{gotext(value)}}}"]
    if node.type in ("integer", "number") and isinstance(value, bool | str | dict | list):
        return [f"{path}: expected numeric (int or float), got {json_name(value)}"]
    if node.type == "boolean" and not isinstance(value, bool):
        return [f"{path}: expected boolean, got &{{{gotext(value)}}}"]
    return []


def _typed_members(value: dict[str, Any], node: Node, path: str) -> list[str]:
    """Return the problems of the members, up to the first that the schema does not know."""
    found: list[str] = []
    for name in sorted(value):
        child = node.fields[name]
        here = f"{path}.{name}"
        if child is None:
            if not node.preserve and (node.fields.declared() or node.additional is None and node.type == "object"):
                return [*found, f"{here}: field not declared in schema"]
        else:
            found += _typed(value[name], child, here)
    return found


def _typed_elements(value: list[Any], node: Node, path: str) -> list[str]:
    """Return the problems of all elements."""
    seen: set[str] = set()
    found: list[str] = []
    for at, item in enumerate(value):
        key, where = "", f"{path}[{at}]"
        if node.list_type == "set":
            key = f"[={json.dumps(item)}]"
        elif node.list_type == "map" and isinstance(item, dict):
            present = [name for name in node.map_keys if item.get(name) is not None]
            if not present and not any(_has_default(node, name) for name in node.map_keys):
                keys = " ".join(json.dumps(name) for name in node.map_keys)
                found.append(
                    f"{path}: element {at}: associative list with keys has an element that omits all key fields [{keys}] "
                    "(and doesn't have default values for any key fields)"
                )
                return found
            key = "[" + ",".join(f"{name}={json.dumps(item[name])}" for name in present) + "]"
            where = f"{path}{key}"
        if key and key in seen:
            found.append(f"{path}: duplicate entries for key {key}")
        seen.add(key)
        found += _typed(item, node.items, where)
    return found


def _has_default(node: Node, name: str) -> bool:
    """Return whether a key has a default; those of Go's types have the empty string."""
    child = node.items.fields[name] if node.items is not None else None
    return child is not None and (child.has_default or bool(node.items and node.items.name))


def gotext(value: Any) -> str:
    """Return a value as Go's `%v` prints it."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{name}:{gotext(value[name])}" for name in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(gotext(item) for item in value) + "]"
    return "<nil>" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
