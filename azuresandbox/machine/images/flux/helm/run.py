"""One reconciliation of one HelmRelease: the names and options of its release, its conditions, and how it may end."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from azuresandbox.machine.client import KubeClient
from azuresandbox.machine.durations import seconds
from azuresandbox.machine.helm.charts import Chart
from azuresandbox.machine.images.flux import conditions, objects
from azuresandbox.machine.images.flux.conditions import READY
from azuresandbox.machine.images.flux.helm import texts
from azuresandbox.machine.images.flux.run import ApplierRun
from azuresandbox.machine.images.flux.texts import Said
from azuresandbox.machine.types import Object

GROUP = "helm.toolkit.fluxcd.io"
API = f"{GROUP}/v2"
KIND = "HelmRelease"
MANAGER = "helm-controller"
RELEASED, REMEDIATED, TESTED = "Released", "Remediated", "TestSuccess"

_LONGEST_NAME = 53


class Retry(Exception):
    """The reconciliation failed and is tried again with growing delays. The status has the reason."""


class Terminal(Exception):
    """The reconciliation failed and is tried again when the object changes. The status has the reason."""


class After(Exception):
    """The reconciliation ends here and begins again after `seconds` (0: at once)."""

    def __init__(self, seconds: float) -> None:
        super().__init__(str(seconds))
        self.seconds = seconds


@dataclass
class Run(ApplierRun):
    """`client` is the client to release with; `version` is that of the release's chart, `values` are the composed ones."""

    client: KubeClient
    loaded: Chart | None = None
    version: str = ""
    values: Object = field(default_factory=dict)

    @property
    def chart(self) -> Chart:
        """The chart, once `source.load` has loaded it."""
        assert self.loaded is not None
        return self.loaded

    @property
    def history(self) -> list[Object]:
        """The snapshots in the status, newest first."""
        found: list[Object] = self.status.setdefault("history", [])
        found.sort(key=lambda snapshot: -int(snapshot["version"]))
        return found

    # --- the spec ----------------------------------------------------------------------------------------------------

    @property
    def release_namespace(self) -> str:
        return str(self.spec.get("targetNamespace") or self.namespace)

    @property
    def storage_namespace(self) -> str:
        return str(self.spec.get("storageNamespace") or self.namespace)

    @property
    def release_name(self) -> str:
        """The release's name, shortened to the length that Helm allows."""
        parts = (self.spec.get("targetNamespace"), self.name)
        name = str(self.spec.get("releaseName") or "-".join(part for part in parts if part))
        if len(name) <= _LONGEST_NAME:
            return name
        return f"{name[:40]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"

    def section(self, name: str) -> Object:
        """Return a part of the spec, `{}` if it is missing."""
        found: Object = self.spec.get(name) or {}
        return found

    def timeout(self, section: str) -> float:
        """Return the seconds that an action may take."""
        return seconds(self.section(section).get("timeout") or self.spec.get("timeout") or "5m")

    def take_force(self) -> bool:
        """Return whether this request asks for a release by force, and note it as handled."""
        return objects.take_request(self.obj, objects.FORCE_AT, "lastHandledForceAt")

    def take_reset(self) -> bool:
        """Return whether this request asks to reset the failures, and note it as handled."""
        return objects.take_request(self.obj, objects.RESET_AT, "lastHandledResetAt")

    # --- conditions --------------------------------------------------------------------------------------------------

    def not_ready(self, said: Said) -> None:
        """Set Ready to False and log the message."""
        self.mark(READY, "False", *said)
        self.log(said.message)

    def resolve(self, *reasons: str) -> None:
        """Set Ready to Unknown if it is False for one of these reasons, which does not hold any more."""
        ready = conditions.find(self.obj, READY)
        if ready is not None and ready["reason"] in reasons:
            self.mark(READY, "Unknown", *texts.PROGRESSING())

    def reconciling(self, said: Said) -> None:
        conditions.mark_reconciling(self.obj, *said, self.clock.now())

    def stall(self, said: Said) -> None:
        conditions.mark_stalled(self.obj, *said, self.clock.now())

    # --- failures ----------------------------------------------------------------------------------------------------

    def count(self, counter: str) -> None:
        """Add one to a counter of failures in the status."""
        self.status[counter] = self.failures(counter) + 1

    def failures(self, counter: str) -> int:
        return int(self.status.get(counter, 0))

    def clear_failures(self) -> None:
        for counter in ("failures", "installFailures", "upgradeFailures"):
            self.status.pop(counter, None)
