"""Events of a controller, as client-go records them, and log lines, as its zap logger writes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from azuresandbox.clock import Clock, rfc3339, rfc3339_micro
from azuresandbox.machine.client import ApiError, KubeClient
from azuresandbox.machine.types import Object


def log_line(clock: Clock, obj: Object, message: str, error: str = "", **more: str) -> str:
    """Return a line about one object, as fluxcd/pkg/runtime/logger and controller-runtime write it."""
    kind, metadata = obj["kind"], obj["metadata"]
    line: dict[str, Any] = {
        "level": "error" if error else "info",
        "ts": rfc3339_micro(clock.now()),
        "msg": message,
        "controller": kind.lower(),
        "controllerGroup": obj["apiVersion"].partition("/")[0],
        "controllerKind": kind,
        kind: {"name": metadata["name"], "namespace": metadata["namespace"]},
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        **more,
    }
    return json.dumps(line | ({"error": error} if error else {}))


def plain_log(clock: Clock, write: Callable[[str], None]) -> Callable[[str], None]:
    """Return a function that logs the errors of a controller that concern no single object."""

    def log(text: str) -> None:
        write(json.dumps({"level": "error", "ts": rfc3339_micro(clock.now()), "msg": text}))

    return log


@dataclass
class Recorder:
    """Records the events of one controller. An event that repeats an earlier one increases its count."""

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
        """Record an event about `obj`. An error of the API is logged and does not fail the reconciliation."""
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
        """Create an event. Names contain the time, and under a clock that stands still two events may get the same one."""
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
