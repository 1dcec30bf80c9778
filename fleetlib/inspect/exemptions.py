"""The fields that Flux ignores by declaration: `spec.driftDetection.ignore` of a HelmRelease, `spec.ignore` of a Kustomization.

Source: fluxcd.io, HelmRelease and Kustomization. Rules with label or annotation selectors are not evaluated, so that a
difference is reported once too often rather than not at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from fleetlib.clients.kube import Object
from fleetlib.inspect.applied import Key
from fleetlib.inspect.managed_fields import Raw, lookup


def exempt(applier: Object, key: Key, obj: Object, path: Raw) -> bool:
    """Return whether a rule of the object's applier exempts the field, or a field around it."""
    steps: tuple[str, ...] | None = None
    for rule in _rules(applier):
        if _meant(rule.get("target") or {}, key):
            steps = steps or _places(obj, path)
            if any(steps[: len(left)] == left for left in map(_steps, rule.get("paths") or ())):
                return True
    return False


def _rules(applier: Object) -> list[dict[str, Any]]:
    spec = applier.get("spec") or {}
    found: list[dict[str, Any]] = (spec if applier["kind"] == "Kustomization" else spec.get("driftDetection") or {}).get(
        "ignore"
    ) or []
    return found


def _meant(target: Mapping[str, Any], key: Key) -> bool:
    if target.get("labelSelector") or target.get("annotationSelector"):
        return False
    return all(re.fullmatch(str(target[part]), value) for part, value in key._asdict().items() if target.get(part))


def _steps(pointer: str) -> tuple[str, ...]:
    """Return the steps of a JSON pointer. Source: RFC 6901."""
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.lstrip("/").split("/"))


def _places(obj: Object, path: Raw) -> tuple[str, ...]:
    """Return the path with the steps of a JSON pointer, in which list items have their index."""
    found: list[str] = []
    for depth, step in enumerate(path):
        if step.startswith("f:"):
            found.append(step[2:])
        else:
            items, item = lookup(obj, path[:depth]) or [], lookup(obj, path[: depth + 1])
            found.append(next((str(place) for place, other in enumerate(items) if other is item), json.dumps(step)))
    return tuple(found)
