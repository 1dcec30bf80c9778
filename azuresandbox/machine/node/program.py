"""A container image is a Python program: what it sees, and how one is registered.

`async def program(pod: Pod) -> None` runs while its container runs. Returning is exit code 0, raising is exit code 1,
cancellation is SIGTERM. A Pod is all it sees: environment, mounted files, the in-cluster client, the network, the clock.
May import `machine.client`, `sandbox.wire`, `sandbox.clock`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from azuresandbox.clock import Clock
from azuresandbox.machine.client import KubeClient
from azuresandbox.wire import Wire

TOKEN_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/token"


@dataclass
class Pod:
    """The world of one container. `files` reads mounted volumes at the time of access (path -> content)."""

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
    extras: dict[str, object] = field(default_factory=dict)
    """Side channels that Azure gives its own agents (the extension agents' link to the fabric); empty for all others."""

    def flag(self, name: str, default: str = "") -> str:
        """The value of `--name=value` or `--name value` among the arguments."""
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
    """Register a program as the content of these repositories."""

    def register(program: Program) -> Program:
        for repository in repositories:
            PROGRAMS[normalise(repository)] = program
        return program

    return register


def normalise(reference: str) -> str:
    """The repository an image reference names: `redis:7` -> `docker.io/library/redis`."""
    name = reference.partition("@")[0]
    head, slash, last = name.rpartition("/")
    name = head + slash + last.partition(":")[0]
    first, slash, _ = name.partition("/")
    if not slash:
        return f"docker.io/library/{name}"
    return name if "." in first or ":" in first or first == "localhost" else f"docker.io/{name}"
