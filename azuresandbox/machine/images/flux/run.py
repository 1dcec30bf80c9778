"""One reconciliation of one object by a Flux controller: the object before and after, its conditions, log and status."""

from __future__ import annotations

from dataclasses import dataclass

from azuresandbox import trees
from azuresandbox.clock import Clock
from azuresandbox.machine.client import KubeClient
from azuresandbox.machine.durations import seconds
from azuresandbox.machine.images.flux import conditions, objects
from azuresandbox.machine.images.flux.access import Identities
from azuresandbox.machine.images.flux.events import Recorder, log_line
from azuresandbox.machine.node.program import Pod
from azuresandbox.machine.types import Object


@dataclass(frozen=True)
class Settings:
    """The flags that kustomize-controller and helm-controller have in common. `requeue_dependency` is in seconds."""

    requeue_dependency: float
    no_cross_namespace: bool
    default_service_account: str

    @classmethod
    def of(cls, pod: Pod) -> Settings:
        """Read the flags of a Pod's container."""
        return cls(
            requeue_dependency=seconds(pod.flag("requeue-dependency", "30s")),
            no_cross_namespace=pod.flag("no-cross-namespace-refs", "false") == "true",
            default_service_account=pod.flag("default-service-account", ""),
        )


@dataclass
class Run:
    """One reconciliation. `before` is the object as last written, `obj` the draft with the changes."""

    pod: Pod
    recorder: Recorder
    before: Object
    obj: Object

    @property
    def clock(self) -> Clock:
        return self.pod.clock

    @property
    def spec(self) -> Object:
        spec: Object = self.obj["spec"]
        return spec

    @property
    def status(self) -> Object:
        status: Object = self.obj["status"]
        return status

    @property
    def namespace(self) -> str:
        return str(self.obj["metadata"]["namespace"])

    @property
    def name(self) -> str:
        return str(self.obj["metadata"]["name"])

    @property
    def generation(self) -> int:
        return int(self.obj["metadata"].get("generation", 0))

    @property
    def is_routine(self) -> bool:
        """Whether the object was ready at its generation when it was read, and no reconciliation is requested."""
        return objects.is_ready(self.before) and not objects.is_requested(self.before)

    def mark(self, kind: str, status: str, reason: str, message: str) -> None:
        """Set a condition in the draft."""
        conditions.mark(self.obj, kind, status, reason, message, self.clock.now())

    def observe_generation(self) -> None:
        """Note in the status that the current generation was reconciled."""
        self.status["observedGeneration"] = self.generation

    def log(self, message: str, error: str = "", **more: str) -> None:
        self.pod.log(log_line(self.clock, self.obj, message, error, **more))

    async def write(self) -> None:
        """Write the changes of the status since the last write, if there are any."""
        written = await objects.write_status(self.pod.kube, self.before, self.obj, self.recorder.controller)
        if written is not self.obj:
            self.before = {**written, "status": trees.copy(self.status)}


@dataclass
class ApplierRun(Run):
    """One reconciliation by a controller that applies objects for its own: kustomize-controller and helm-controller."""

    settings: Settings

    async def impersonate(self) -> KubeClient:
        """Return the client that the spec asks to apply with. Raises `AccessError`."""
        return await Identities(self.pod).client(self.obj, self.settings.default_service_account)
