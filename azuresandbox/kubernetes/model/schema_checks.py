"""Validation of values against a schema. Source: kube-openapi's validation, with its messages."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from azuresandbox import trees
from azuresandbox.kubernetes.model.formats import FORMATS
from azuresandbox.kubernetes.model.schema_nodes import Definitions, Node


class Cause(NamedTuple):
    """One reason why an object is not valid: an entry of `status.details.causes`."""

    reason: str
    message: str
    field: str


def join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def quoted(value: Any) -> str:
    """Return a value as the API's messages print it, which is compact JSON."""
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


def holds(value: Any, node: Node, old: Any) -> bool:
    """Return whether the value is valid, at a third of the cost of `problems`."""
    found: type = type(value)
    if node.plain is not found:
        return next(problems(value, node, "", old), None) is None
    if old is not None and trees.same(value, old):
        return True
    if found is dict:
        before = old if isinstance(old, dict) else {}
        children = ((name, member, node.fields[name]) for name, member in value.items())
        return all(name in value for name in node.required) and all(
            child is None or holds(member, child, before.get(name)) for name, member, child in children
        )
    if found is list and node.items is not None:
        return all(holds(item, node.items, None) for item in value)
    if found is int:
        return bool(-(1 << 63) <= value < 1 << 63)
    return True


def problems(value: Any, node: Node, path: str, old: Any = None) -> Iterator[Cause]:
    """Yield why the value is not valid. `old`: the value that it replaces, or `None`."""
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
    """Return the format that values of this type are checked for, or "". Messages about a wrong type name it."""
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
            yield Cause("FieldValueRequired", "Required value", join(path, name))
    if "maxProperties" in raw and len(value) > raw["maxProperties"]:
        yield _too_many(len(value), raw["maxProperties"], path)
    if "minProperties" in raw and len(value) < raw["minProperties"]:
        yield invalid(path, len(value), f"{path} in body should have at least {raw['minProperties']} properties")
    if node.embedded:
        for name in ("apiVersion", "kind"):
            if not value.get(name):
                yield Cause("FieldValueRequired", "must not be empty", join(path, name))
    for name, member in value.items():
        child = node.fields[name]
        if child is not None:
            yield from problems(member, child, join(path, name), old.get(name))


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
            yield from problems(item, node.items, f"{path}[{at}]")
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
        if seen[text] == 2:  # further duplicates of the same item are not reported
            yield Cause("FieldValueDuplicate", f"Duplicate value: {text}", f"{path}[{at}]")


def _check_string(value: str, raw: Mapping[str, Any], path: str) -> Iterator[Cause]:
    """Yield the first problem of length and pattern, and that of the format."""
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
    """Return a Go regular expression as Python's: with \\z, and $ that does not match before a final newline."""
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
    """Yield a problem if an integer does not fit the bits of its format."""
    kind, bits = node.raw.get("format", ""), 31 if node.raw.get("format") == "int32" else 63
    if node.type == "integer" and not (float(value).is_integer() and -(1 << bits) <= value < 1 << bits):
        named = f"with format {kind}" if kind in ("int32", "int64") else "(default format)"
        yield _whole(f"Checked value must be of type integer {named} in {path}")


def _check_number(value: float, raw: Mapping[str, Any], path: str) -> Iterator[Cause]:
    least, most, step = raw.get("minimum"), raw.get("maximum"), raw.get("multipleOf")
    if step and value == 0:  # the real library reports the value as the step
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
    """Return a cause without a field, as the real server gives it."""
    return Cause("FieldValueInvalid", f'Invalid value: "": {detail}', "<nil>")


def _check_combinations(value: Any, raw: Mapping[str, Any], path: str) -> Iterator[Cause]:
    """Check allOf, anyOf, oneOf and not. If all alternatives fail, the causes of the first one follow."""
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
    """Return the problems of a value by each of some schemas."""
    return [list(problems(value, Node(one, _NO_DEFINITIONS), path)) for one in schemas]
