"""The JSONPath of CustomResourceDefinitions: printer columns and the selector of a scale subresource."""

from __future__ import annotations

import re
from typing import Any

_STEP = re.compile(r"\.([\w\-/]+|\*)|\['([^']*)'\]|\[(\*|\d+)\]|\[\?\(@\.([\w.]+)\s*==\s*[\"']([^\"']*)[\"']\)\]")


def json_path(obj: Any, path: str) -> list[Any]:
    """Return the values at a jsonPath (members, indices, `[*]`, `[?(@.type=="Ready")]`); empty if it does not exist."""
    found, position = [obj], 0
    path = path.replace("\\.", "\x00")
    path = path if path.startswith((".", "[")) else "." + path
    while position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            return []
        found = [value for item in found for value in _step(item, step)]
        position = step.end()
    return [value for value in found if value is not None]


def _step(item: Any, step: re.Match[str]) -> list[Any]:
    member, quoted, index, condition, value = step.groups()
    name = (member or quoted or "").replace("\x00", ".")
    if name and name != "*":
        return [item[name]] if isinstance(item, dict) and name in item else []
    if not isinstance(item, list):
        return list(item.values()) if isinstance(item, dict) and (name == "*" or index == "*") else []
    if condition:
        return [entry for entry in item if isinstance(entry, dict) and str(entry.get(condition)) == value]
    if index == "*" or name == "*":
        return list(item)
    return [item[int(index)]] if int(index) < len(item) else []
