"""One container of a Pod: its state, as `containerStatuses` shows it. Source: Kubernetes `pkg/kubelet/kubelet_pods.go`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from azuresandbox import trees
from azuresandbox.machine.node.program import normalise
from azuresandbox.machine.types import Object


@dataclass
class Container:
    """`spec` is its entry in the Pod; `state` and `last` are its entries `state` and `lastState` in the status.

    `backoff`: seconds to wait before the next restart.
    """

    spec: Object
    init: bool
    state: Object = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last: Object = field(default_factory=dict)
    ready: bool = False
    started: bool = False
    restarts: int = 0
    container_id: str = ""
    backoff: float = 0.0

    @property
    def name(self) -> str:
        return str(self.spec["name"])

    @property
    def image(self) -> str:
        return str(self.spec["image"])

    @property
    def probed(self) -> bool:
        """Whether the program decides when it is ready. A container without a probe is ready as soon as it runs."""
        return "readinessProbe" in self.spec or "startupProbe" in self.spec

    @property
    def path(self) -> str:
        """The field that an event about this container names."""
        return f"spec.{'initContainers' if self.init else 'containers'}{{{self.name}}}"

    @property
    def running(self) -> bool:
        return "running" in self.state

    @property
    def ended(self) -> bool:
        return "terminated" in self.state

    @property
    def failed(self) -> bool:
        return self.ended and self.state["terminated"]["exitCode"] != 0

    def wait(self, reason: str, message: str = "") -> None:
        """Set the state to waiting."""
        self.state = {"waiting": {"reason": reason, **({"message": message} if message else {})}}

    def load(self, status: Object) -> None:
        """Set the state from a status that was reported before the sandbox was restarted."""
        self.state, self.last = trees.copy(status["state"]), trees.copy(status.get("lastState") or {})
        self.ready, self.started = status["ready"], bool(status.get("started"))
        self.restarts, self.container_id = status["restartCount"], status.get("containerID", "")

    def status(self) -> Object:
        """Return the container's entry in the Pod's status."""
        digest = hashlib.sha256(self.image.encode()).hexdigest()
        found: Object = {
            "name": self.name,
            "state": self.state,
            "lastState": self.last,
            "ready": self.ready,
            "restartCount": self.restarts,
            "image": full_reference(self.image) if self.container_id else self.image,
            "imageID": f"{normalise(self.image)}@sha256:{digest}" if self.container_id else "",
            "started": self.started,
        }
        if self.container_id:
            found["containerID"] = self.container_id
        return trees.copy(found)


def full_reference(image: str) -> str:
    """Return an image reference as containerd writes it, with registry, namespace and tag."""
    repository, rest = normalise(image), image[len(image.partition("@")[0]) :]
    last = image.partition("@")[0].rpartition("/")[2]
    tag = last.partition(":")[2]
    if rest:
        return repository + (f":{tag}" if tag else "") + rest
    return f"{repository}:{tag or 'latest'}"
