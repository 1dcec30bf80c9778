"""The kubelets of a cluster's nodes: they run the programs of the Pods placed there, and report what becomes of them.

One `Worker` a Pod, one task a container. What is reported comes from what really runs; a Pod that was running before the
sandbox was restarted is taken up where it was. Source of reasons and messages: Kubernetes `pkg/kubelet`. May import
`machine.{base,mounts,logs,program}`.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from azuresandbox import trees
from azuresandbox.context import Memory
from azuresandbox.machine.addresses import node_ip, number, pod_ip
from azuresandbox.machine.base import CORE, Cluster, is_deleted, set_condition
from azuresandbox.machine.client import ApiError, KubeClient, Object, Objects
from azuresandbox.machine.controller import Key
from azuresandbox.machine.node import logs, mounts
from azuresandbox.machine.node.program import PROGRAMS, TOKEN_FILE, Pod, Program, normalise

PULL_SECONDS, START_SECONDS = 3.0, 0.5
BACKOFF = (10.0, 300.0)
CALM = 600.0
"""Seconds after which a container that ran without a failure starts with a fresh backoff."""

_IMAGES_SEEN = Memory[set[tuple[str, str, str]]](lambda sandbox: set())
"""Cluster, node, image: what nodes have pulled before."""


async def run_kubelets(cluster: Cluster, extras: Any) -> None:
    """Run all Pods that are placed on nodes, until cancelled. `extras(pod)`: the side channels a Pod is given."""
    controller = cluster.controller("kubelet", workers=8)
    workers: dict[str, Worker] = {}
    pods = controller.watch(CORE, "Pod")
    nodes = cluster.cache(CORE, "Node")

    def moved(obj: Object, old: Object | None) -> None:
        for worker in workers.values():
            if worker.namespace == obj["metadata"].get("namespace"):
                worker.stir()

    sources = [cluster.cache(CORE, kind) for kind in ("Secret", "ConfigMap", "PersistentVolumeClaim")]
    for cache in sources:
        cache.listeners.append(moved)

    async def reconcile(key: Key) -> float | None:
        pod = pods.get(key.name, key.namespace)
        for uid, worker in list(workers.items()):
            gone = pod is None or pod["metadata"]["uid"] != uid
            if (worker.namespace, worker.name) == (key.namespace, key.name) and gone:
                await workers.pop(uid).stop()
                logs.drop(cluster.sandbox.store, logs.prefix(cluster.id, key.namespace, key.name))
        if pod is None or not pod["spec"].get("nodeName"):
            return None
        uid = pod["metadata"]["uid"]
        if nodes.get(pod["spec"]["nodeName"]) is None:
            if uid in workers:
                await workers.pop(uid).stop()
            await cluster.delete(pod, grace=0)
            return None
        if uid not in workers:
            if is_deleted(pod):
                await cluster.delete(pod, grace=0)
                return None
            if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
                return None
            workers[uid] = Worker(cluster, pod, extras(pod))
            workers[uid].start()
        else:
            workers[uid].update(pod)
        return None

    try:
        await controller.run(reconcile, wait_for=(pods, nodes, *sources))
    finally:
        await asyncio.gather(*(worker.stop() for worker in workers.values()))


@dataclass
class Container:
    """One container of a Pod: its part of the status, and what is needed to run it."""

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
    def probed(self) -> bool:
        """Whether the program says when it is ready; without a probe a container is as soon as it runs."""
        return "readinessProbe" in self.spec or "startupProbe" in self.spec

    @property
    def path(self) -> str:
        return f"spec.{'initContainers' if self.init else 'containers'}{{{self.name}}}"

    def load(self, status: Object) -> None:
        self.state, self.last = trees.copy(status["state"]), trees.copy(status.get("lastState") or {})
        self.ready, self.started = status["ready"], bool(status.get("started"))
        self.restarts, self.container_id = status["restartCount"], status.get("containerID", "")

    def status(self) -> Object:
        image = self.spec["image"]
        repository = normalise(image)
        digest = hashlib.sha256(image.encode()).hexdigest()
        found: Object = {
            "name": self.name,
            "state": self.state,
            "lastState": self.last,
            "ready": self.ready,
            "restartCount": self.restarts,
            "image": _full(image) if self.container_id else image,
            "imageID": f"{repository}@sha256:{digest}" if self.container_id else "",
            "started": self.started,
        }
        if self.container_id:
            found["containerID"] = self.container_id
        return found


def _full(image: str) -> str:
    """An image reference as containerd writes it out."""
    repository, rest = normalise(image), image[len(image.partition("@")[0]) :]
    last = image.partition("@")[0].rpartition("/")[2]
    tag = last.partition(":")[2]
    if rest:
        return repository + (f":{tag}" if tag else "") + rest
    return f"{repository}:{tag or 'latest'}"


class Worker:
    """One Pod on its node."""

    def __init__(self, cluster: Cluster, pod: Object, extras: dict[str, object]) -> None:
        self.cluster, self.pod, self.extras = cluster, pod, extras
        self.clock = cluster.clock
        self.namespace, self.name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        self.uid = pod["metadata"]["uid"]
        self.tokens = mounts.Tokens()
        spec = pod["spec"]
        self.inits = [
            Container(item, True, {"waiting": {"reason": "PodInitializing"}}) for item in spec.get("initContainers") or ()
        ]
        self.mains = [Container(item, False) for item in spec["containers"]]
        if self.inits:
            for item in self.mains:
                item.state = {"waiting": {"reason": "PodInitializing"}}
        self.start_time = cluster.now()
        self.resumed = False
        self.network = False
        self._load(pod.get("status") or {})
        self._changed = asyncio.Event()
        self._dirty = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._programs: dict[str, asyncio.Task[None]] = {}
        self._stopping: asyncio.Task[None] | None = None

    def _load(self, status: Object) -> None:
        """Take up what was reported before the sandbox was restarted."""
        if "startTime" not in status:
            return
        self.start_time = status["startTime"]
        self.network = "podIP" in status
        known = {
            item["name"]: item
            for item in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
        }
        for item in (*self.inits, *self.mains):
            if item.name in known:
                item.load(known[item.name])
        self.resumed = True

    # --- life --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._spawn(self._report())
        self._spawn(self._live())

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task = asyncio.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guarded(self, work: Any) -> None:
        try:
            await work
        except Exception as error:
            self.cluster.log(f"kubelet: {self.namespace}/{self.name}: {type(error).__name__}: {error}")

    def stir(self) -> None:
        """Something that the Pod may be waiting for has changed."""
        self._changed.set()

    def update(self, pod: Object) -> None:
        self.pod = pod
        if is_deleted(pod) and self._stopping is None:
            self._stopping = asyncio.create_task(self._guarded(self._terminate()))

    async def stop(self) -> None:
        """Let go of the Pod without a word: the sandbox or the cluster stops, or the Pod is gone."""
        tasks = [*self._tasks, *self._programs.values(), *([self._stopping] if self._stopping else [])]
        tasks = [task for task in tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _terminate(self) -> None:
        for item in self.mains:
            if "running" in item.state:
                await self._event("Normal", "Killing", f"Stopping container {item.name}", item)
        await self.stop()
        while True:
            try:
                await self.cluster.delete(self.pod, grace=0)
                return
            except ApiError as error:
                self.cluster.log(f"kubelet: deleting {self.namespace}/{self.name}: {error}")
                await self.clock.wait(1)

    async def _live(self) -> None:
        self._dirty.set()
        await self._mount()
        self.network = True
        for item in self.inits:
            if not await self._initialize(item):
                return
        for item in self.mains:
            self._programs[item.name] = asyncio.create_task(self._guarded(self._keep_running(item)))

    # --- volumes -----------------------------------------------------------------------------------------------------

    async def _mount(self) -> None:
        told: set[str] = set()
        while True:
            self._changed.clear()
            failure = await self._try_mount()
            if failure is None:
                break
            if failure not in told:
                told.add(failure)
                await self._event("Warning", "FailedMount", failure)
            await self._retry(2.0 ** min(len(told), 7))
        for audience, seconds in set(mounts.token_requests(self.pod)):
            self._spawn(self._rotate(audience, seconds))

    async def _try_mount(self) -> str | None:
        try:
            for audience, seconds in set(mounts.token_requests(self.pod)):
                await self._mint(audience, seconds)
        except ApiError as error:
            name = next(v["name"] for v in self.pod["spec"]["volumes"] if "projected" in v)
            return f'MountVolume.SetUp failed for volume "{name}" : failed to fetch token: {error}'
        for volume in self.pod["spec"].get("volumes") or ():
            try:
                mounts.contents(self.cluster, self.pod, volume, self.tokens)
            except mounts.NotMounted as error:
                return f'MountVolume.SetUp failed for volume "{volume["name"]}" : {error}'
        return None

    async def _retry(self, seconds: float) -> None:
        """Until something changed, or for so long."""
        timer = asyncio.create_task(self.clock.wait(seconds))
        change = asyncio.create_task(self._changed.wait())
        try:
            await asyncio.wait({timer, change}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            change.cancel()

    async def _mint(self, audience: str, seconds: int) -> None:
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": [audience] if audience else [],
                "expirationSeconds": seconds,
                "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": self.name, "uid": self.uid},
            },
        }
        account = self.pod["spec"].get("serviceAccountName", "default")
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{account}/token"
        answer = await self.cluster.kubelet.raw("POST", path, body=body)
        self.tokens.by_request[audience, seconds] = answer["status"]["token"]

    async def _rotate(self, audience: str, seconds: int) -> None:
        while True:
            await self.clock.wait(seconds * 0.8)
            try:
                await self._mint(audience, seconds)
            except ApiError as error:
                self.cluster.log(f"kubelet: token of {self.namespace}/{self.name}: {error}")

    # --- containers --------------------------------------------------------------------------------------------------

    async def _initialize(self, item: Container) -> bool:
        """Run an init container to its end; False if the Pod has failed by it."""
        if "terminated" in item.state and item.state["terminated"]["exitCode"] == 0:
            return True
        while True:
            if await self._run(item):
                item.ready = True
                self._dirty.set()
                return True
            if self.pod["spec"].get("restartPolicy") == "Never":
                return False
            await self._back_off(item)

    async def _keep_running(self, item: Container) -> None:
        policy = self.pod["spec"].get("restartPolicy", "Always")
        if "terminated" in item.state and self.resumed and (policy == "Never" or (policy == "OnFailure" and not _failed(item))):
            return
        while True:
            good = await self._run(item)
            if policy == "Never" or (good and policy == "OnFailure"):
                return
            await self._back_off(item)

    async def _back_off(self, item: Container) -> None:
        """Wait as long as the restarts so far ask for."""
        ended = item.state["terminated"]
        ran = datetime.fromisoformat(ended["finishedAt"]) - datetime.fromisoformat(ended["startedAt"])
        if ran > timedelta(seconds=CALM):
            item.backoff = 0.0
        delay, item.backoff = item.backoff, min(max(BACKOFF[0], item.backoff * 2), BACKOFF[1])
        if delay:
            which = f"{item.name} in pod {self.name}_{self.namespace}({self.uid})"
            text = f"back-off {_duration(delay)} restarting failed container={item.name} pod={self.name}_{self.namespace}({self.uid})"
            item.last, item.state = item.state, {"waiting": {"reason": "CrashLoopBackOff", "message": text}}
            self._dirty.set()
            await self._event("Warning", "BackOff", f"Back-off restarting failed container {which}", item)
            await self.clock.wait(delay)
        else:
            item.last = item.state
        item.restarts += 1

    async def _run(self, item: Container) -> bool:
        """Bring a container up and wait for its end; whether it ended well."""
        resumes = self.resumed and "running" in item.state
        program = await self._pull(item, quiet=resumes)
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
                "finishedAt": self.cluster.now(),
                "containerID": item.container_id,
            }
        }
        self._dirty.set()
        return code == 0

    async def _pull(self, item: Container, quiet: bool) -> Program:
        image, node = item.spec["image"], self.pod["spec"]["nodeName"]
        present = _IMAGES_SEEN.of(self.cluster.sandbox)
        place = (self.cluster.id, node, image)
        delay = BACKOFF[0]
        while True:
            program = PROGRAMS.get(normalise(image))
            if quiet and program is not None:
                present.add(place)
                return program
            if program is not None and place in present and item.spec.get("imagePullPolicy") != "Always":
                text = f'Container image "{image}" already present on machine'
                await self._event("Normal", "Pulled", text, item)
                return program
            await self._event("Normal", "Pulling", f'Pulling image "{image}"', item)
            if program is not None:
                await self.clock.work(PULL_SECONDS)
                present.add(place)
                took = f"{PULL_SECONDS:g}s"
                size = 20_000_000 + number(image, 80_000_000)
                text = f'Successfully pulled image "{image}" in {took} ({took} including waiting). Image size: {size} bytes.'
                await self._event("Normal", "Pulled", text, item)
                return program
            delay = await self._pull_failed(item, image, delay)

    async def _pull_failed(self, item: Container, image: str, delay: float) -> float:
        full = _full(image)
        error = (
            f'failed to pull and unpack image "{full}": failed to resolve reference "{full}": {full}: not found '
            f"(no program in the sandbox stands in for it)"
        )
        text = f"rpc error: code = NotFound desc = {error}"
        await self._event("Warning", "Failed", f'Failed to pull image "{image}": {text}', item)
        await self._event("Warning", "Failed", "Error: ErrImagePull", item)
        item.state = {"waiting": {"reason": "ErrImagePull", "message": text}}
        self._dirty.set()
        await asyncio.sleep(0)
        back_off = f'Back-off pulling image "{image}"'
        await self._event("Normal", "BackOff", back_off, item)
        await self._event("Warning", "Failed", "Error: ImagePullBackOff", item)
        item.state = {"waiting": {"reason": "ImagePullBackOff", "message": f"{back_off}: ErrImagePull: {text}"}}
        self._dirty.set()
        await self.clock.wait(delay)
        return min(delay * 2, BACKOFF[1])

    async def _configure(self, item: Container) -> dict[str, str]:
        """The environment, as soon as all that it refers to exists."""
        told = ""
        while True:
            self._changed.clear()
            try:
                # The Pod's address is known by now, though the API may not know it yet.
                status = {**(self.pod.get("status") or {}), "podIP": self._ip, "hostIP": self._host_ip}
                return mounts.environment(self.cluster, {**self.pod, "status": status}, item.spec)
            except mounts.ConfigError as error:
                if str(error) != told:
                    told = str(error)
                    item.state = {"waiting": {"reason": "CreateContainerConfigError", "message": told}}
                    self._dirty.set()
                    await self._event("Warning", "Failed", f"Error: {told}", item)
            await self._changed.wait()

    async def _begin(self, item: Container) -> None:
        await self.clock.work(START_SECONDS)
        identity = hashlib.sha256(f"{self.uid}/{item.name}/{item.restarts}".encode()).hexdigest()
        item.container_id = f"containerd://{identity}"
        await self._event("Normal", "Created", f"Created container: {item.name}", item)
        item.state, item.started = {"running": {"startedAt": self.cluster.now()}}, True
        item.ready = not item.probed and not item.init
        self._dirty.set()
        await self._event("Normal", "Started", f"Started container {item.name}", item)

    async def _execute(self, item: Container, program: Program, environment: dict[str, str]) -> tuple[int, str]:
        log = logs.Log(
            self.cluster.sandbox.store, self.clock, logs.prefix(self.cluster.id, self.namespace, self.name, item.name)
        )

        def ready(value: bool) -> None:
            if item.ready != value and "running" in item.state:
                item.ready = value
                self._dirty.set()

        files = mounts.Files(self.cluster, self.pod, item.spec, self.tokens)
        image = item.spec["image"]

        def token() -> str:
            return files.get(TOKEN_FILE, b"").decode()

        agent = normalise(image).rpartition("/")[2]
        metadata = self.pod["metadata"]
        world = Pod(
            cluster_id=self.cluster.id,
            namespace=self.namespace,
            name=self.name,
            container=item.name,
            image=image,
            node=self.pod["spec"]["nodeName"],
            service_account=self.pod["spec"].get("serviceAccountName", "default"),
            labels=dict(metadata.get("labels") or {}),
            annotations=dict(metadata.get("annotations") or {}),
            command=[mounts.expand(text, environment) for text in item.spec.get("command") or ()],
            args=[mounts.expand(text, environment) for text in item.spec.get("args") or ()],
            env=environment,
            files=files,
            kube=KubeClient(self.cluster.sandbox.wire, self.cluster.server, token, agent),
            wire=self.cluster.sandbox.wire,
            clock=self.clock,
            log=log.write,
            ready=ready,
            extras=self.extras,
        )
        try:
            await program(world)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
            return code, "Completed" if code == 0 else "Error"
        except Exception as error:
            log.write(str(error) or type(error).__name__)
            self.cluster.log(f"{self.namespace}/{self.name} {item.name}: {type(error).__name__}: {error}")
            return 1, "Error"
        return 0, "Completed"

    # --- status ------------------------------------------------------------------------------------------------------

    async def _event(self, kind: str, reason: str, message: str, item: Container | None = None) -> None:
        await self.cluster.event(self.pod, kind, reason, message, "kubelet", item.path if item else "")

    @property
    def _host_ip(self) -> str:
        node = self.cluster.cache(CORE, "Node").get(self.pod["spec"]["nodeName"])
        addresses = ((node or {}).get("status") or {}).get("addresses") or ()
        return next((item["address"] for item in addresses if item["type"] == "InternalIP"), node_ip(0))

    @property
    def _ip(self) -> str:
        return self._host_ip if self.pod["spec"].get("hostNetwork") else pod_ip(self.uid)

    async def _report(self) -> None:
        """Write the status whenever it has changed; several changes in one turn make one write."""
        while True:
            await self._dirty.wait()
            await asyncio.sleep(0)
            self._dirty.clear()
            try:
                current = self.cluster.cache(CORE, "Pod").get(self.name, self.namespace)
                if current is None or current["metadata"]["uid"] != self.uid:
                    return
                await self.cluster.status(current, self.status(current.get("status") or {}), self.cluster.kubelet)
            except ApiError as error:
                if error.not_found:
                    return
                if not error.conflict:
                    self.cluster.log(f"kubelet: status of {self.namespace}/{self.name}: {error}")
                    await self.clock.wait(1)
                self._dirty.set()

    def status(self, before: Object) -> Object:
        status: Object = {name: value for name, value in before.items() if name not in ("message", "reason")}
        status |= {
            "phase": self._phase(),
            "hostIP": self._host_ip,
            "hostIPs": [{"ip": self._host_ip}],
            "startTime": self.start_time,
        }
        if self.network:
            status |= {"podIP": self._ip, "podIPs": [{"ip": self._ip}]}
        status["conditions"] = self._conditions(trees.copy(before.get("conditions") or []), status["phase"])
        if self.inits:
            status["initContainerStatuses"] = [trees.copy(item.status()) for item in self.inits]
        status["containerStatuses"] = [trees.copy(item.status()) for item in self.mains]
        status.setdefault("qosClass", _quality(self.pod["spec"]))
        return status

    def _phase(self) -> str:
        policy = self.pod["spec"].get("restartPolicy", "Always")
        if policy == "Never" and any(_failed(item) for item in self.inits):
            return "Failed"
        ended = [item for item in self.mains if "terminated" in item.state]
        if len(ended) == len(self.mains) and policy != "Always":
            if not any(_failed(item) for item in ended):
                return "Succeeded"
            if policy == "Never":
                return "Failed"
        begun = any("running" in item.state or "terminated" in item.state or item.restarts for item in self.mains)
        return "Running" if begun and all(item.container_id for item in self.mains) else "Pending"

    def _conditions(self, conditions: Objects, phase: str) -> Objects:
        now = self.cluster.now()
        waiting = [item.name for item in self.inits if "terminated" not in item.state or _failed(item)]
        unready = [item.name for item in self.mains if not item.ready]
        set_condition(
            conditions, now, "PodReadyToStartContainers", _word(self.network and phase not in ("Succeeded", "Failed"))
        )
        _set(
            conditions,
            now,
            "Initialized",
            not waiting,
            "ContainersNotInitialized",
            f"containers with incomplete status: [{' '.join(waiting)}]",
        )
        for kind in ("Ready", "ContainersReady"):
            if phase in ("Succeeded", "Failed"):
                done = "PodCompleted" if phase == "Succeeded" else "PodFailed"
                set_condition(conditions, now, kind, "False", reason=done)
                if phase == "Succeeded":
                    set_condition(conditions, now, "Initialized", "True", reason=done)
            else:
                _set(
                    conditions,
                    now,
                    kind,
                    not unready,
                    "ContainersNotReady",
                    f"containers with unready status: [{' '.join(unready)}]",
                )
        return conditions


def _set(conditions: Objects, now: str, kind: str, good: bool, reason: str, message: str) -> None:
    if good:
        set_condition(conditions, now, kind, "True")
    else:
        set_condition(conditions, now, kind, "False", reason=reason, message=message)


def _word(value: bool) -> str:
    return "True" if value else "False"


def _failed(item: Container) -> bool:
    return "terminated" in item.state and item.state["terminated"]["exitCode"] != 0


def _duration(seconds: float) -> str:
    """As Go prints a duration: 10s, 1m20s, 5m0s."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _quality(spec: Object) -> str:
    resources = [item.get("resources") or {} for item in (*spec["containers"], *(spec.get("initContainers") or ()))]
    if not any(item.get("requests") or item.get("limits") for item in resources):
        return "BestEffort"
    full = all(
        all(
            (item.get("limits") or {}).get(name) and (item.get("requests") or {}).get(name) == item["limits"][name]
            for name in ("cpu", "memory")
        )
        for item in resources
    )
    return "Guaranteed" if full else "Burstable"
