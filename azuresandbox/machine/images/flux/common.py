"""What the Flux controllers share: conditions and their summary, durations, reconcile requests, finalizers, events, writes.

The rules are those of fluxcd/pkg/runtime (conditions, reconcile, patch, events) and fluxcd/pkg/apis/meta. Objects are
plain dictionaries; these functions change the object they are given, so pass a copy of what a cache holds (`draft`).
May import `machine.client` and `sandbox.clock`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from azuresandbox import trees
from azuresandbox.clock import Clock, rfc3339, rfc3339_micro
from azuresandbox.machine.client import ApiError, KubeClient, Object

FINALIZER = "finalizers.fluxcd.io"
REQUESTED_AT = "reconcile.fluxcd.io/requestedAt"
FORCE_AT = "reconcile.fluxcd.io/forceAt"
RESET_AT = "reconcile.fluxcd.io/resetAt"

READY, RECONCILING, STALLED = "Ready", "Reconciling", "Stalled"
SUCCEEDED, FAILED, PROGRESSING, RETRYING = "Succeeded", "Failed", "Progressing", "ProgressingWithRetry"
MAX_MESSAGE = 32_768

_WEIGHTS = {STALLED: 0, RECONCILING: 1, READY: 2}


def images(controller: str) -> tuple[str, ...]:
    """The repositories that a controller's image is published in: Flux's own, and those that AKS's extension takes it from."""
    registries = ("ghcr.io/fluxcd", "docker.io/fluxcd", "mcr.microsoft.com/oss/v2/fluxcd", "mcr.microsoft.com/oss/fluxcd")
    return tuple(f"{registry}/{controller}" for registry in registries)


# --- logs ------------------------------------------------------------------------------------------------------------


def log_line(clock: Clock, api: str, kind: str, namespace: str, name: str, message: str, error: str = "", **more: str) -> str:
    """A line as the controllers' zap logger writes it about one object (fluxcd/pkg/runtime/logger, controller-runtime)."""
    line: dict[str, Any] = {
        "level": "error" if error else "info",
        "ts": rfc3339_micro(clock.now()),
        "msg": message,
        "controller": kind.lower(),
        "controllerGroup": api.partition("/")[0],
        "controllerKind": kind,
        kind: {"name": name, "namespace": namespace},
        "namespace": namespace,
        "name": name,
        **more,
    }
    return json.dumps(line | ({"error": error} if error else {}))


def plain_log(clock: Clock, write: Callable[[str], None]) -> Callable[[str], None]:
    """Where a controller's machinery writes what is about no single object."""

    def log(text: str) -> None:
        write(json.dumps({"level": "error", "ts": rfc3339_micro(clock.now()), "msg": text}))

    return log


# --- conditions ------------------------------------------------------------------------------------------------------


def draft(obj: Object) -> Object:
    """A copy to work on, with a status and its list of conditions."""
    copied = trees.copy(obj)
    copied.setdefault("status", {}).setdefault("conditions", [])
    return copied


def conditions(obj: Object) -> list[Object]:
    found: list[Object] = obj.setdefault("status", {}).setdefault("conditions", [])
    return found


def condition(obj: Mapping[str, Any], kind: str) -> Object | None:
    """The condition of that type, or None."""
    return next((c for c in obj.get("status", {}).get("conditions") or () if c["type"] == kind), None)


def is_true(obj: Mapping[str, Any], kind: str) -> bool:
    found = condition(obj, kind)
    return found is not None and found["status"] == "True"


def is_false(obj: Mapping[str, Any], kind: str) -> bool:
    found = condition(obj, kind)
    return found is not None and found["status"] == "False"


def set_condition(obj: Object, kind: str, status: str, reason: str, message: str, now: datetime) -> None:
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
    old = condition(obj, kind)
    if old is not None and all(old.get(name) == new[name] for name in ("status", "reason", "message")):
        new["lastTransitionTime"] = old["lastTransitionTime"]
    rest = [c for c in conditions(obj) if c["type"] != kind]
    obj["status"]["conditions"] = sorted([*rest, new], key=_order)


def delete_condition(obj: Object, *kinds: str) -> None:
    obj["status"]["conditions"] = [c for c in conditions(obj) if c["type"] not in kinds]


def mark_reconciling(obj: Object, reason: str, message: str, now: datetime) -> None:
    """Reconciling=True and not Stalled: at the beginning of a run."""
    delete_condition(obj, STALLED)
    set_condition(obj, RECONCILING, "True", reason, message, now)


def mark_stalled(obj: Object, reason: str, message: str, now: datetime) -> None:
    """Stalled=True and not Reconciling: nothing happens any more until the object changes."""
    delete_condition(obj, RECONCILING)
    set_condition(obj, STALLED, "True", reason, message, now)


def mark_progress(obj: Object, message: str, now: datetime, *, drift: bool = False, reason: str = PROGRESSING) -> None:
    """Reconciling; Ready becomes Unknown on drift, or if it was not decided before (kstatus's progressive status)."""
    mark_reconciling(obj, reason, message, now)
    ready = condition(obj, READY)
    if drift or ready is None or ready["status"] == "Unknown":
        set_condition(obj, READY, "Unknown", reason, message, now)


def summarize(obj: Object, kinds: Iterable[str], negative: Iterable[str], now: datetime, *, target: str = READY) -> None:
    """Make `target` the summary of the conditions `kinds` (in order of importance); `negative` ones are bad when True."""
    bad = set(negative)
    order = [found for kind in kinds if (found := condition(obj, kind)) is not None]
    if not order:
        return
    top = min(order, key=lambda c: _priority(c, c["type"] in bad))
    status = top["status"]
    if top["type"] in bad and status != "Unknown":
        status = "False" if status == "True" else "True"
    set_condition(obj, target, status, top["reason"], top["message"], now)


def _priority(found: Mapping[str, Any], negative: bool) -> int:
    """fluxcd/pkg/runtime/conditions merge order: what is wrong, then what is not yet right, then what is right."""
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


# --- durations -------------------------------------------------------------------------------------------------------

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


def seconds(duration: str) -> float:
    """Go's `time.ParseDuration`: "1h30m" -> 5400.0. Raises ValueError."""
    if duration == "0":
        return 0.0
    if not re.fullmatch(f"(?:{_PART.pattern})+", duration):
        raise ValueError(f'time: invalid duration "{duration}"')
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(duration))


def go_duration(value: float) -> str:
    """Go's `Duration.String()` for a second or more: 5400 -> "1h30m0s"."""
    hours, rest = divmod(value, 3600)
    minutes, rest = divmod(rest, 60)
    text = f"{rest:.9f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours:.0f}h{minutes:.0f}m{text}"
    return f"{minutes:.0f}m{text}" if minutes else text


# --- requests, finalizers --------------------------------------------------------------------------------------------


def requested_at(obj: Mapping[str, Any]) -> str:
    """The value of `reconcile.fluxcd.io/requestedAt`, or ""."""
    return str((obj["metadata"].get("annotations") or {}).get(REQUESTED_AT, ""))


def is_requested(obj: Mapping[str, Any]) -> bool:
    """Whether a reconciliation was requested by annotation that no run has handled yet."""
    value = requested_at(obj)
    return bool(value) and value != obj.get("status", {}).get("lastHandledReconcileAt", "")


def record_request(obj: Object) -> None:
    """Note in the status that the request was handled (whatever the outcome)."""
    if value := requested_at(obj):
        obj["status"]["lastHandledReconcileAt"] = value


def is_deleted(obj: Mapping[str, Any]) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))


def has_finalizer(obj: Mapping[str, Any]) -> bool:
    return FINALIZER in (obj["metadata"].get("finalizers") or ())


async def add_finalizer(kube: KubeClient, obj: Object, manager: str) -> Object:
    """Write the finalizer; the object as it then is."""
    finalizers = [*(obj["metadata"].get("finalizers") or ()), FINALIZER]
    return await _patch_finalizers(kube, obj, finalizers, manager)


async def remove_finalizer(kube: KubeClient, obj: Object, manager: str) -> None:
    """Take the finalizer away; an object that is gone meanwhile is as good."""
    finalizers = [name for name in obj["metadata"].get("finalizers") or () if name != FINALIZER]
    try:
        await _patch_finalizers(kube, obj, finalizers, manager)
    except ApiError as error:
        if not error.not_found:
            raise


async def _patch_finalizers(kube: KubeClient, obj: Object, finalizers: list[str], manager: str) -> Object:
    version = obj["metadata"]["resourceVersion"]
    patch = {"metadata": {"finalizers": finalizers, "resourceVersion": version}}
    return await kube.patch(obj, patch, manager=manager)


async def write_status(kube: KubeClient, before: Object, after: Object, manager: str) -> Object:
    """Write what differs between two states of an object's status, if anything; the object as it then is.

    A merge patch, as fluxcd/pkg/runtime/patch sends: it does not fail when the spec was changed meanwhile, because each
    condition says which generation it has observed.
    """
    difference = _difference(before.get("status") or {}, after.get("status") or {})
    if not difference:
        return after
    try:
        written = await kube.patch(after, {"status": difference}, subresource="status", manager=manager)
    except ApiError as error:
        if error.not_found and is_deleted(after):
            return after
        raise
    return {**written, "apiVersion": after["apiVersion"], "kind": after["kind"]}


def _difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> Object:
    """The merge patch from one JSON object to another."""
    patch: Object = {name: None for name in before if name not in after}
    for name, value in after.items():
        old = before.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            if inner := _difference(old, value):
                patch[name] = inner
        elif name not in before or old != value:
            patch[name] = value
    return patch


# --- events ----------------------------------------------------------------------------------------------------------


@dataclass
class Recorder:
    """Events of one controller, as client-go records them: a repeated one counts up instead of being written anew."""

    kube: KubeClient
    clock: Clock
    controller: str
    log: Callable[[str], None]

    def __post_init__(self) -> None:
        self._seen: dict[tuple[str, ...], Object] = {}

    async def normal(self, obj: Object, reason: str, message: str, annotations: Mapping[str, str] | None = None) -> None:
        await self.event(obj, "Normal", reason, message, annotations)

    async def warning(self, obj: Object, reason: str, message: str, annotations: Mapping[str, str] | None = None) -> None:
        await self.event(obj, "Warning", reason, message, annotations)

    async def event(
        self, obj: Object, kind: str, reason: str, message: str, annotations: Mapping[str, str] | None = None
    ) -> None:
        """Record an event about `obj`. Recording never fails a reconciliation: what goes wrong is logged."""
        key = (obj["metadata"].get("uid", ""), kind, reason, message)
        try:
            known = self._seen.get(key)
            self._seen[key] = await (self._repeat(known) if known else self._first(obj, kind, reason, message, annotations))
        except ApiError as error:
            self._seen.pop(key, None)
            self.log(f"unable to write event {reason}: {error}")
        if len(self._seen) > 4096:
            self._seen.pop(next(iter(self._seen)))

    async def _first(self, obj: Object, kind: str, reason: str, message: str, annotations: Mapping[str, str] | None) -> Object:
        metadata = obj["metadata"]
        namespace = metadata.get("namespace") or "default"
        now = self.clock.now()
        event: Object = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{metadata['name']}.{_nanoseconds(now):x}", "namespace": namespace},
            "involvedObject": {
                "apiVersion": obj["apiVersion"],
                "kind": obj["kind"],
                "name": metadata["name"],
                "namespace": metadata.get("namespace", ""),
                "uid": metadata.get("uid", ""),
                "resourceVersion": metadata.get("resourceVersion", ""),
            },
            "type": kind,
            "reason": reason,
            "message": message[:1024],
            "count": 1,
            "firstTimestamp": rfc3339(now),
            "lastTimestamp": rfc3339(now),
            "source": {"component": self.controller},
            "reportingComponent": self.controller,
            "reportingInstance": "",
        }
        if annotations:
            event["metadata"]["annotations"] = dict(annotations)
        return await self._create(event)

    async def _create(self, event: Object) -> Object:
        """Names are made of the time; under a clock that stands still two events may want the same one."""
        for _ in range(16):
            try:
                return {**await self.kube.create(event), "apiVersion": "v1", "kind": "Event"}
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise
                name, _, number = event["metadata"]["name"].rpartition(".")
                event["metadata"]["name"] = f"{name}.{int(number, 16) + 1:x}"
        return {**await self.kube.create(event), "apiVersion": "v1", "kind": "Event"}

    async def _repeat(self, event: Object) -> Object:
        patch = {"count": event.get("count", 1) + 1, "lastTimestamp": rfc3339(self.clock.now())}
        try:
            return {**await self.kube.patch(event, patch, kind="strategic"), "apiVersion": "v1", "kind": "Event"}
        except ApiError as error:
            if not error.not_found:
                raise
        fresh = {**event, **patch, "metadata": {name: event["metadata"][name] for name in ("name", "namespace")}}
        return await self._create(fresh)


def _nanoseconds(moment: datetime) -> int:
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return ((delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds) * 1000
