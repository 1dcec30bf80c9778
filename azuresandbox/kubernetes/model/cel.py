"""Validation rules (CEL) of custom resources. They are not emulated: a schema that has one is refused, with its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

RULES = "x-kubernetes-validations"


def rules(raw: Any, path: str = "") -> Iterator[str]:
    """Yield the places of rules in a structural schema, as field paths below `openAPIV3Schema`."""
    if not isinstance(raw, Mapping):
        return
    if raw.get(RULES):
        yield f"{path}.{RULES}"
    for name, child in (raw.get("properties") or {}).items():
        yield from rules(child, f"{path}.properties[{name}]")
    for name in ("items", "additionalProperties"):
        yield from rules(raw.get(name), f"{path}.{name}")
