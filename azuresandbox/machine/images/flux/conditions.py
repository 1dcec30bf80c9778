"""The conditions of an object's status: reading and setting them, and their summary in Ready.

The rules are those of fluxcd/pkg/runtime/conditions and fluxcd/pkg/apis/meta. These functions change the object they are
given: pass a draft (`objects.draft`), never an object of a cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from azuresandbox.clock import rfc3339
from azuresandbox.machine.types import Object

READY, RECONCILING, STALLED = "Ready", "Reconciling", "Stalled"
SUCCEEDED, FAILED, PROGRESSING, RETRYING = "Succeeded", "Failed", "Progressing", "ProgressingWithRetry"
MAX_MESSAGE = 32_768

_WEIGHTS = {STALLED: 0, RECONCILING: 1, READY: 2}


def of(obj: Object) -> list[Object]:
    """Return the list in the object's status; create it when it is missing."""
    found: list[Object] = obj.setdefault("status", {}).setdefault("conditions", [])
    return found


def find(obj: Mapping[str, Any], kind: str) -> Object | None:
    """Return the condition of that type, or `None`."""
    return next((c for c in obj.get("status", {}).get("conditions") or () if c["type"] == kind), None)


def is_true(obj: Mapping[str, Any], kind: str) -> bool:
    found = find(obj, kind)
    return found is not None and found["status"] == "True"


def is_false(obj: Mapping[str, Any], kind: str) -> bool:
    found = find(obj, kind)
    return found is not None and found["status"] == "False"


def mark(obj: Object, kind: str, status: str, reason: str, message: str, now: datetime) -> None:
    """Set a condition at the object's generation. Its transition time changes with its status, reason or message only."""
    if len(message) > MAX_MESSAGE:
        message = message[: MAX_MESSAGE - 3] + "..."
    new = {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": obj["metadata"].get("generation", 0),
        "lastTransitionTime": rfc3339(now),
    }
    old = find(obj, kind)
    if old is not None and all(old.get(name) == new[name] for name in ("status", "reason", "message")):
        new["lastTransitionTime"] = old["lastTransitionTime"]
    rest = [c for c in of(obj) if c["type"] != kind]
    obj["status"]["conditions"] = sorted([*rest, new], key=_order)


def remove(obj: Object, *kinds: str) -> None:
    obj["status"]["conditions"] = [c for c in of(obj) if c["type"] not in kinds]


def mark_reconciling(obj: Object, reason: str, message: str, now: datetime) -> None:
    """Set Reconciling and remove Stalled: a reconciliation begins."""
    remove(obj, STALLED)
    mark(obj, RECONCILING, "True", reason, message, now)


def mark_stalled(obj: Object, reason: str, message: str, now: datetime) -> None:
    """Set Stalled and remove Reconciling: the object is reconciled again only when it changes."""
    remove(obj, RECONCILING)
    mark(obj, STALLED, "True", reason, message, now)


def mark_retrying(obj: Object, now: datetime) -> None:
    """Give Reconciling, if it is set, the reason of a reconciliation that failed and is tried again."""
    if (found := find(obj, RECONCILING)) is not None:
        mark(obj, RECONCILING, "True", RETRYING, found["message"], now)


def mark_progress(obj: Object, reason: str, message: str, now: datetime, *, drift: bool = False) -> None:
    """Set Reconciling. Ready becomes Unknown with `drift`, or when it is missing or Unknown (progressive status of kstatus)."""
    mark_reconciling(obj, reason, message, now)
    ready = find(obj, READY)
    if drift or ready is None or ready["status"] == "Unknown":
        mark(obj, READY, "Unknown", reason, message, now)


def summarize(obj: Object, kinds: Iterable[str], negative: Iterable[str], now: datetime) -> None:
    """Set Ready to the most important of the conditions `kinds` (in this order); `negative` ones are bad when True."""
    bad = set(negative)
    order = [found for kind in kinds if (found := find(obj, kind)) is not None]
    if not order:
        return
    top = min(order, key=lambda c: _priority(c, c["type"] in bad))
    status = top["status"]
    if top["type"] in bad and status != "Unknown":
        status = "False" if status == "True" else "True"
    mark(obj, READY, status, top["reason"], top["message"], now)


def _priority(found: Mapping[str, Any], negative: bool) -> int:
    """Rank as fluxcd/pkg/runtime/conditions: True negative, False positive, True positive, False negative, Unknown."""
    if found["status"] == "True":
        return 0 if negative else 2
    if found["status"] == "False":
        return 3 if negative else 1
    return 4


def _order(found: Mapping[str, Any]) -> tuple[int, int, str]:
    kind = found["type"]
    if kind in _WEIGHTS:
        return _WEIGHTS[kind], 0, ""
    return len(_WEIGHTS), -found.get("observedGeneration", 0), kind
