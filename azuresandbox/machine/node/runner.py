"""Running the containers of a Pod: pull, configure, start, wait for the end, restart with backoff.

Source of reasons and messages: Kubernetes `pkg/kubelet/kuberuntime`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from azuresandbox.machine.client import KubeClient
from azuresandbox.machine.node import logs, mounts
from azuresandbox.machine.node.containers import Container
from azuresandbox.machine.node.pod import PlacedPod
from azuresandbox.machine.node.program import TOKEN_FILE, Pod, Program, normalise
from azuresandbox.machine.node.pull import pull
from azuresandbox.machine.node.tokens import Tokens
from azuresandbox.store import Store

START_SECONDS = 0.5
BACKOFF = (10.0, 300.0)
"""First and longest wait before a restart, in seconds."""
CALM = 600.0
"""Seconds after which a container that ran without a failure starts with a fresh backoff."""


@dataclass
class Runner:
    """Runs the containers of one Pod. `fabric` is passed to their programs (see `program.Pod`)."""

    pod: PlacedPod
    tokens: Tokens
    programs: Mapping[str, Program]
    fabric: Store | None

    async def initialize(self, item: Container) -> bool:
        """Run an init container until it succeeds. Returns False if the Pod has failed because of it."""
        if item.ended and not item.failed:
            return True
        while True:
            if await self._run(item):
                item.ready = True
                self.pod.dirty.set()
                return True
            if self.pod.obj["spec"].get("restartPolicy") == "Never":
                return False
            await self._back_off(item)

    async def keep_running(self, item: Container) -> None:
        """Run a container, and restart it as the Pod's restart policy says."""
        policy = self.pod.obj["spec"].get("restartPolicy", "Always")
        if item.ended and self.pod.resumed and (policy == "Never" or (policy == "OnFailure" and not item.failed)):
            return
        while True:
            good = await self._run(item)
            if policy == "Never" or (good and policy == "OnFailure"):
                return
            await self._back_off(item)

    async def _back_off(self, item: Container) -> None:
        """Wait before the next restart: longer after each failure."""
        ended = item.state["terminated"]
        ran = datetime.fromisoformat(ended["finishedAt"]) - datetime.fromisoformat(ended["startedAt"])
        if ran > timedelta(seconds=CALM):
            item.backoff = 0.0
        delay, item.backoff = item.backoff, min(max(BACKOFF[0], item.backoff * 2), BACKOFF[1])
        item.last = item.state
        if delay:
            pod = f"{self.pod.name}_{self.pod.namespace}({self.pod.uid})"
            text = f"back-off {_duration(delay)} restarting failed container={item.name} pod={pod}"
            item.wait("CrashLoopBackOff", text)
            self.pod.dirty.set()
            text = f"Back-off restarting failed container {item.name} in pod {pod}"
            await self.pod.event("Warning", "BackOff", text, item)
            await self.pod.clock.wait(delay)
        item.restarts += 1

    async def _run(self, item: Container) -> bool:
        """Start a container and wait for its end. Returns whether its exit code is 0."""
        resumes = self.pod.resumed and item.running
        program = await pull(self.pod, item, self.programs, quiet=resumes)
        environment = await self._configure(item)
        if not resumes:
            await self._begin(item)
        elif not item.probed:
            item.ready = True
        code, reason = await self._execute(item, program, environment)
        started = item.state["running"]["startedAt"]
        item.ready = item.started = False
        item.state = {
            "terminated": {
                "exitCode": code,
                "reason": reason,
                "startedAt": started,
                "finishedAt": self.pod.cluster.now(),
                "containerID": item.container_id,
            }
        }
        self.pod.dirty.set()
        return code == 0

    async def _configure(self, item: Container) -> dict[str, str]:
        """Return the environment as soon as everything that it refers to exists."""
        told = ""
        while True:
            self.pod.changed.clear()
            try:
                # The Pod's address is known by now, but may not be in the API yet.
                status = {**(self.pod.obj.get("status") or {}), "podIP": self.pod.ip, "hostIP": self.pod.host_ip}
                return mounts.environment(self.pod.cluster, {**self.pod.obj, "status": status}, item.spec)
            except mounts.ConfigError as error:
                if str(error) != told:
                    told = str(error)
                    item.wait("CreateContainerConfigError", told)
                    self.pod.dirty.set()
                    await self.pod.event("Warning", "Failed", f"Error: {told}", item)
            await self.pod.changed.wait()

    async def _begin(self, item: Container) -> None:
        await self.pod.clock.work(START_SECONDS)
        identity = hashlib.sha256(f"{self.pod.uid}/{item.name}/{item.restarts}".encode()).hexdigest()
        item.container_id = f"containerd://{identity}"
        await self.pod.event("Normal", "Created", f"Created container: {item.name}", item)
        item.state, item.started = {"running": {"startedAt": self.pod.cluster.now()}}, True
        item.ready = not item.probed and not item.init
        self.pod.dirty.set()
        await self.pod.event("Normal", "Started", f"Started container {item.name}", item)

    async def _execute(self, item: Container, program: Program, environment: dict[str, str]) -> tuple[int, str]:
        """Run the program. Returns its exit code and the reason of the terminated state."""
        pod = self.pod
        log = logs.Log(pod.cluster.sandbox.store, pod.clock, logs.prefix(pod.cluster.id, pod.namespace, pod.name, item.name))
        try:
            await program(self._world(item, environment, log))
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
            return code, "Completed" if code == 0 else "Error"
        except Exception as error:
            log.write(str(error) or type(error).__name__)
            pod.cluster.log(f"{pod} {item.name}: {type(error).__name__}: {error}")
            return 1, "Error"
        return 0, "Completed"

    def _world(self, item: Container, environment: dict[str, str], log: logs.Log) -> Pod:
        pod, sandbox = self.pod, self.pod.cluster.sandbox
        files = mounts.Files(pod.cluster, pod.obj, item.spec, self.tokens)

        def ready(value: bool) -> None:
            if item.ready != value and item.running:
                item.ready = value
                pod.dirty.set()

        def token() -> str:
            return files.get(TOKEN_FILE, b"").decode()

        agent = normalise(item.image).rpartition("/")[2]
        return Pod(
            cluster_id=pod.cluster.id,
            namespace=pod.namespace,
            name=pod.name,
            container=item.name,
            image=item.image,
            node=pod.node,
            service_account=pod.service_account,
            labels=dict(pod.obj["metadata"].get("labels") or {}),
            annotations=dict(pod.obj["metadata"].get("annotations") or {}),
            command=[mounts.expand(text, environment) for text in item.spec.get("command") or ()],
            args=[mounts.expand(text, environment) for text in item.spec.get("args") or ()],
            env=environment,
            files=files,
            kube=KubeClient(sandbox.wire, pod.cluster.server, token, agent),
            wire=sandbox.wire,
            clock=pod.clock,
            log=log.write,
            ready=ready,
            fabric=self.fabric,
        )


def _duration(seconds: float) -> str:
    """Return seconds as Go prints a duration: 10s, 1m20s, 5m0s."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
