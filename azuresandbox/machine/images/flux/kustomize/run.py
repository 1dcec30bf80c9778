"""One reconciliation of one Kustomization: its source's revision, its progress, and how it may fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from azuresandbox.machine.durations import go_duration, seconds
from azuresandbox.machine.images.flux import conditions
from azuresandbox.machine.images.flux.conditions import READY
from azuresandbox.machine.images.flux.kustomize import texts
from azuresandbox.machine.images.flux.run import ApplierRun
from azuresandbox.machine.images.flux.texts import Said, Text
from azuresandbox.machine.types import Object

GROUP = "kustomize.toolkit.fluxcd.io"
API = f"{GROUP}/v1"
KIND = "Kustomization"
MANAGER = "kustomize-controller"
HEALTHY = "Healthy"

_SHORTEST_TIMEOUT = 30.0


class Failure(Exception):
    """A reconciliation that ends with Ready=False.

    It is tried again after `again` seconds, or at the retry interval if that is `None`. `event` is the message of a Normal
    event; without one, a Warning has the failure's own message, unless `silent`.
    """

    def __init__(self, said: Said, *, again: float | None = None, event: str = "", silent: bool = False) -> None:
        super().__init__(said.message)
        self.said = said
        self.again = again
        self.event = event
        self.silent = silent


class Stalled(Failure):
    """A failure that can only be fixed by a change of the object."""


@dataclass
class Run(ApplierRun):
    """`settled` says that the status, as it was read, has the source's revision applied; `source` is `{}` until it is found."""

    source: Object = field(default_factory=dict)
    started: float = 0.0
    settled: bool = False

    @property
    def artifact(self) -> Object:
        found: Object = self.source["status"]["artifact"]
        return found

    @property
    def revision(self) -> str:
        return str(self.artifact.get("revision", ""))

    @property
    def origin(self) -> str:
        """The revision of the code that an OCI artifact was built from, or ""."""
        return str((self.artifact.get("metadata") or {}).get("org.opencontainers.image.revision", ""))

    @property
    def timeout(self) -> float:
        """The seconds that applying and health checks may take."""
        wanted = self.spec.get("timeout")
        return max(_SHORTEST_TIMEOUT, seconds(wanted) if wanted else seconds(self.spec["interval"]) - 30)

    @property
    def retry_interval(self) -> str:
        return str(self.spec.get("retryInterval") or self.spec["interval"])

    def is_settled(self) -> bool:
        """Return whether this reconciliation changes objects only if they have drifted."""
        applied = (self.before.get("status") or {}).get("lastAppliedRevision")
        return self.is_routine and applied == self.revision

    def since(self, moment: float) -> str:
        """Return the time since `moment`, as Go prints it."""
        return go_duration(round(self.clock.now().timestamp() - moment, 3))

    async def progress(self, text: Text) -> None:
        """Write the step to the status, unless the run is settled."""
        if self.settled:
            return
        self.mark(READY, "Unknown", *texts.PROGRESSING())
        conditions.mark_reconciling(self.obj, *self.step(text), self.clock.now())
        await self.write()

    def step(self, text: Text) -> Said:
        return text(revision=self.revision, timeout=go_duration(self.timeout))

    async def event(self, kind: str, message: str, extra: Mapping[str, str] | None = None) -> None:
        """Record an event with the reason of Ready and the revision."""
        ready = conditions.find(self.obj, READY)
        reason = ready["reason"] if ready else ("info" if kind == "Normal" else "error")
        revision = self.revision if self.source else (self.obj.get("status") or {}).get("lastAppliedRevision", "")
        annotations = {**(extra or {}), **({f"{GROUP}/revision": revision} if revision else {})}
        await self.recorder.event(self.obj, kind, reason, message, annotations)
