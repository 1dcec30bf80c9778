"""What is declared not to be Flux's: the paths that a HelmRelease's drift detection, or a Kustomization, is told to ignore.

Source: fluxcd.io, HelmRelease `spec.driftDetection.ignore`, Kustomization `spec.ignore`. Rules with selectors of labels or annotations exempt
nothing here: a difference too many is told rather than one too few. May import `applied`, `managed_fields`.
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
    """Whether a rule of what applies an object leaves a field of it, or one around it, to others."""
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
    """Source: RFC 6901."""
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.lstrip("/").split("/"))


def _places(obj: Object, path: Raw) -> tuple[str, ...]:
    """The path as a JSON pointer has it: a list's items by their place."""
    found: list[str] = []
    for depth, step in enumerate(path):
        if step.startswith("f:"):
            found.append(step[2:])
        else:
            items, item = lookup(obj, path[:depth]) or [], lookup(obj, path[: depth + 1])
            found.append(next((str(place) for place, other in enumerate(items) if other is item), json.dumps(step)))
    return tuple(found)
