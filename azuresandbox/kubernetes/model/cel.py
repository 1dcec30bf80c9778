"""Validation rules (CEL) of custom resources: not emulated, so a schema that has one is refused by name, never half-checked.

May import nothing of the project.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

RULES = "x-kubernetes-validations"


def rules(raw: Any, path: str = "") -> Iterator[str]:
    """The places in a structural schema that have rules, as field paths below `openAPIV3Schema`."""
    if not isinstance(raw, Mapping):
        return
    if raw.get(RULES):
        yield f"{path}.{RULES}"
    for name, child in (raw.get("properties") or {}).items():
        yield from rules(child, f"{path}.properties[{name}]")
    for name in ("items", "additionalProperties"):
        yield from rules(raw.get(name), f"{path}.{name}")
