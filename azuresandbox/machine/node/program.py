"""A container image is a Python program: the interface between the two, and the registry of programs.

`async def program(pod: Pod) -> None` runs while its container runs. Returning is exit code 0, raising is exit code 1,
cancellation is SIGTERM. A program sees its `Pod` only: environment, mounted files, in-cluster client, network, clock.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from azuresandbox.clock import Clock
from azuresandbox.machine.client import KubeClient
from azuresandbox.store import Store
from azuresandbox.wire import Wire

TOKEN_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/token"


@dataclass
class Pod:
    """Everything that the program of one container can see.

    `files`: path -> content, read from the mounted volumes at each access. `ready`: sets the container's readiness.
    `fabric`: the store of goals and reports, by which Azure's own agent is told what ARM wants; `None` for all other Pods.
    """

    cluster_id: str
    namespace: str
    name: str
    container: str
    image: str
    node: str
    service_account: str
    labels: dict[str, str]
    annotations: dict[str, str]
    command: list[str]
    args: list[str]
    env: dict[str, str]
    files: Mapping[str, bytes]
    kube: KubeClient
    wire: Wire
    clock: Clock
    log: Callable[[str], None]
    ready: Callable[[bool], None]
    fabric: Store | None = None

    def flag(self, name: str, default: str = "") -> str:
        """Return the value of `--name=value` or `--name value` among the arguments."""
        arguments = [*self.command, *self.args]
        for position, argument in enumerate(arguments):
            if argument.startswith(f"--{name}="):
                return argument.partition("=")[2]
            if argument == f"--{name}" and position + 1 < len(arguments):
                return arguments[position + 1]
        return default


Program = Callable[[Pod], Awaitable[None]]

PROGRAMS: dict[str, Program] = {}
"""Image repository without tag and digest, normalised (`docker.io/library/` written out) -> program."""


def image(*repositories: str) -> Callable[[Program], Program]:
    """Register a program as the content of these image repositories."""

    def register(program: Program) -> Program:
        for repository in repositories:
            PROGRAMS[normalise(repository)] = program
        return program

    return register


def normalise(reference: str) -> str:
    """Return the repository that an image reference names: `redis:7` -> `docker.io/library/redis`."""
    name = reference.partition("@")[0]
    head, slash, last = name.rpartition("/")
    name = head + slash + last.partition(":")[0]
    first, slash, _ = name.partition("/")
    if not slash:
        return f"docker.io/library/{name}"
    return name if "." in first or ":" in first or first == "localhost" else f"docker.io/{name}"
