"""An object's managedFields: the paths of the fields that each manager owns, and the value at a path.

Source: the API server's structured-merge-diff, FieldsV1: `f:name` is a member of a map, `k:{...}` an item of a list by its
keys, `v:...` an item of a set, `.` the map or item itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

Raw = tuple[str, ...]
"""A path in the steps of FieldsV1."""

DEFAULTS = {"protocol": "TCP"}
"""Defaults of the keys of list items, which a manifest may omit."""


def leaves(fields: Mapping[str, Any], path: Raw = ()) -> Iterator[Raw]:
    """Yield the owned fields, without the maps around them, and without a list item's keys if it has other owned fields."""
    keys = {f"f:{name}" for name in _keys(path[-1])} if path else set()
    below = {key: value for key, value in fields.items() if key != "."}
    inner = {key: value for key, value in below.items() if key not in keys}
    if not inner and (below or "." not in fields or keys):
        yield path
    for key, value in inner.items():
        yield from leaves(value, (*path, key))


def _keys(step: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(step[2:]) if step.startswith("k:{") else {}
    return found


def shown(path: Raw) -> tuple[str, ...]:
    """Return the steps for people: a list item by its name, else by its keys."""
    return tuple(_step(step) for step in path)


def _step(step: str) -> str:
    keys = _keys(step)
    if keys:
        return str(keys.get("name") or ",".join(f"{name}={value}" for name, value in keys.items()))
    return step[2:]


def lookup(value: Any, path: Raw) -> Any:
    """Return the value at a path of an object; `None` if the object does not have the path."""
    for step in path:
        value = _below(value, step)
        if value is None:
            return None
    return value


def _below(value: Any, step: str) -> Any:
    if step.startswith("f:"):
        return value.get(step[2:]) if isinstance(value, dict) else None
    items = value if isinstance(value, list) else []
    if step.startswith("v:"):
        wanted = json.loads(step[2:])
        return next((item for item in items if item == wanted), None)
    keys = _keys(step)
    if keys:
        return next((item for item in items if isinstance(item, dict) and _has(item, keys)), None)
    index = int(step[2:])  # `i:`: an item by its index
    return items[index] if index < len(items) else None


def _has(item: Mapping[str, Any], keys: Mapping[str, Any]) -> bool:
    return all(item.get(name, DEFAULTS.get(name)) == value for name, value in keys.items())
