"""One reconciliation of a source of any kind: the parts that fluxcd/source-controller's reconcilers have in common.

The module of a kind says how its source is read (`Kind.read`) and which conditions it has. The engine has the finalizer, the
storage, suspension, progress, the summary in Ready, the events, and the time of the next reconciliation.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from azuresandbox.clock import rfc3339
from azuresandbox.machine.client import ApiError, Object
from azuresandbox.machine.controller import Key
from azuresandbox.machine.durations import seconds
from azuresandbox.machine.images.flux import artifacts, conditions, objects
from azuresandbox.machine.images.flux import run as flux_run
from azuresandbox.machine.images.flux.artifacts import Storage
from azuresandbox.machine.images.flux.conditions import READY, RECONCILING, STALLED, SUCCEEDED
from azuresandbox.machine.images.flux.events import Recorder
from azuresandbox.machine.node.program import Pod

GROUP = "source.toolkit.fluxcd.io"
API_VERSION = f"{GROUP}/v1"
MANAGER = "source-controller"

FETCH_FAILED = "FetchFailed"
BUILD_FAILED = "BuildFailed"
STORAGE_FAILED = "StorageOperationFailed"
IN_STORAGE = "ArtifactInStorage"
OUTDATED = "ArtifactOutdated"
VERIFIED = "SourceVerified"
INCLUDES = "IncludeUnavailable"

AUTHENTICATION = "AuthenticationFailed"
UNSUPPORTED = "Unsupported"

FETCHED = (STORAGE_FAILED, FETCH_FAILED, OUTDATED, IN_STORAGE, STALLED, RECONCILING)
"""The conditions of a source that is fetched only, in order of importance."""


class SourceError(Exception):
    """A reconciliation that did not succeed.

    `condition` becomes True (or False, for SourceVerified). `stalling`: only a change of the object can help. `wait`:
    seconds until it is worth looking again; without either it is retried with growing delays. `cause`: what the API said, alone.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        condition: str = FETCH_FAILED,
        stalling: bool = False,
        wait: float | None = None,
        cause: str = "",
    ) -> None:
        super().__init__(message)
        self.cause = cause or message
        self.reason, self.condition, self.stalling, self.wait = reason, condition, stalling, wait


def unsupported(what: str, instead: str) -> SourceError:
    """Something that the real controller does and the sandbox does not: refused by name, with what to do instead."""
    return SourceError(UNSUPPORTED, f"the sandbox does not emulate {what}: {instead}", stalling=True)


@dataclass(frozen=True)
class Stored:
    """What a kind's reading came to: the contents to keep, and how to tell about it. `data` None: as it was before."""

    revision: str
    file: str
    data: bytes | None
    summary: str
    event: str
    reason: str = SUCCEEDED
    event_reason: str = "NewArtifact"
    metadata: dict[str, str] = field(default_factory=dict)
    unchanged: tuple[str, str] = ("ArtifactUpToDate", "")
    link: str = ""
    observed: dict[str, Any] = field(default_factory=dict)


@dataclass
class Run(flux_run.Run):
    """One reconciliation of a source. `original` is the object as read."""

    storage: Storage
    original: Object

    @property
    def artifact(self) -> Object | None:
        found: Object | None = self.status.get("artifact")
        return found

    async def announce(self, message: str, *, outdated: str = "NewRevision") -> None:
        """Say that something newer than the stored artifact was seen, before it is fetched."""
        if self.artifact is not None:
            self.mark(OUTDATED, "True", outdated, message)
        conditions.mark_progress(self.obj, f"building artifact: {message}", self.pod.clock.now(), drift=True)
        await self.write()

    async def write(self) -> None:
        """Write the changes of the status. Events then refer to the version that was written."""
        await super().write()
        self.obj["metadata"]["resourceVersion"] = self.before["metadata"]["resourceVersion"]

    async def secret(self, name: str, prefix: str = "failed to get secret") -> dict[str, bytes]:
        """The data of a Secret beside the object. Raises `SourceError`."""
        try:
            found = await self.pod.kube.get("v1", "Secret", name, self.namespace)
        except ApiError as error:
            raise SourceError(AUTHENTICATION, f"{prefix} '{self.namespace}/{name}': {error}", cause=str(error)) from None
        return {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}


Read = Callable[[Run], Awaitable[Stored]]


@dataclass(frozen=True)
class Kind:
    """A kind of source: how it is read, and its conditions in order of importance."""

    name: str
    read: Read
    conditions: tuple[str, ...]
    failures: tuple[str, ...]
    static: Callable[[Object], bool] = lambda spec: False
    """Whether an object with this spec is only read by others, and has no status of its own."""

    @property
    def negative(self) -> tuple[str, ...]:
        return tuple(kind for kind in self.conditions if kind not in (IN_STORAGE, VERIFIED))


class Engine:
    """Reconciles the sources of one cluster, in one source-controller Pod."""

    def __init__(self, pod: Pod, storage: Storage) -> None:
        self.pod = pod
        self.storage = storage
        self.recorder = Recorder(pod.kube, pod.clock, MANAGER, pod.log)
        self._seen: dict[str, tuple[Any, ...]] = {}

    # --- which changes matter ----------------------------------------------------------------------------------------

    def concerned(self, obj: Object) -> tuple[Key, ...]:
        """The object's key, unless only what a reconciliation itself writes has changed since the last one."""
        metadata = obj["metadata"]
        if self._seen.get(metadata["uid"]) == objects.triggers(obj):
            return ()
        return (Key(obj["kind"], metadata["namespace"], metadata["name"]),)

    # --- reconciling -------------------------------------------------------------------------------------------------

    async def reconcile(self, kind: Kind, key: Key) -> float | None:
        """See the module. Seconds until the next time; raises what is to be retried with growing delays."""
        found = await self.pod.kube.find(API_VERSION, kind.name, key.name, key.namespace)
        folder = artifacts.path_of(kind.name, key.namespace, key.name)
        if found is None:
            self.storage.collect(folder)
            return None
        found = {**found, "apiVersion": API_VERSION, "kind": kind.name}
        self._seen[found["metadata"]["uid"]] = objects.triggers(found)
        if objects.is_deleted(found):
            self.storage.collect(folder)
            self._seen.pop(found["metadata"]["uid"])
            if objects.has_finalizer(found):
                await objects.remove_finalizer(self.pod.kube, found, MANAGER)
            return None
        if kind.static(found["spec"]):
            await self._leave(found, folder)
            return None
        if not objects.has_finalizer(found):
            patched = await objects.add_finalizer(self.pod.kube, found, MANAGER)
            found["metadata"] = patched["metadata"]
        run = Run(self.pod, self.recorder, found, objects.draft(found), self.storage, found)
        if run.spec.get("suspend"):
            run.log("reconciliation is suspended for this object")
            objects.record_request(run.obj)
            await run.write()
            return None
        return await self._run(kind, run)

    async def _leave(self, found: Object, folder: str) -> None:
        """Take back what a former spec made this controller write to an object that is static now."""
        self.storage.collect(folder)
        if found.get("status", {}).get("conditions"):
            await objects.write_status(self.pod.kube, found, {**found, "status": {}}, MANAGER)
        if objects.has_finalizer(found):
            await objects.remove_finalizer(self.pod.kube, await self._again(found), MANAGER)

    async def _again(self, found: Object) -> Object:
        name, namespace = found["metadata"]["name"], found["metadata"]["namespace"]
        current = await self.pod.kube.get(API_VERSION, found["kind"], name, namespace)
        return {**current, "apiVersion": API_VERSION, "kind": found["kind"]}

    async def _run(self, kind: Kind, run: Run) -> float | None:
        await self._begin(run)
        failure: SourceError | None = None
        try:
            await self._check_storage(run)
            stored = await kind.read(run)
            conditions.remove(run.obj, FETCH_FAILED, BUILD_FAILED)
            await self._store(kind, run, stored)
            await self._notify(kind, run, stored)
        except SourceError as error:
            failure = error
            await self._fail(kind, run, error)
        return await self._end(kind, run, failure)

    async def _begin(self, run: Run) -> None:
        now, obj = self.pod.clock.now(), run.obj
        requested = objects.is_requested(obj)
        conditions.mark_progress(obj, "reconciliation in progress", now)
        generation, observed = run.generation, run.status.get("observedGeneration", 0)
        if generation != observed:
            conditions.mark_progress(obj, f"processing object: new generation {observed} -> {generation}", now)
        if generation != observed or requested:
            await run.write()
        conditions.remove(obj, STORAGE_FAILED)
        if conditions.is_false(obj, VERIFIED):
            conditions.remove(obj, VERIFIED)

    async def _check_storage(self, run: Run) -> None:
        """An artifact that the status advertises but the storage (an emptyDir) does not have any more is forgotten."""
        missing = run.artifact is not None and not self.storage.holds(run.artifact)
        if missing:
            run.status.pop("artifact", None)
            run.status.pop("url", None)
        if run.artifact is None:
            message = "building artifact" + (": disappeared from storage" if missing else "")
            conditions.mark_progress(run.obj, message, self.pod.clock.now(), drift=True)
            conditions.remove(run.obj, IN_STORAGE)
            await run.write()

    async def _store(self, kind: Kind, run: Run, stored: Stored) -> None:
        obj, folder = run.obj, artifacts.path_of(kind.name, run.namespace, run.name)
        if stored.data is None:
            reason, message = stored.unchanged
            await self.recorder.normal(obj, reason, message)
            run.log(message)
        else:
            path = f"{folder}/{stored.file}"
            blob = self.storage.put(path, stored.data)
            artifact: Object = {
                "digest": blob.digest,
                "lastUpdateTime": rfc3339(self.pod.clock.now()),
                "path": path,
                "revision": stored.revision,
                "size": len(blob.data),
                "url": artifacts.url_of(path),
            }
            if stored.metadata:
                artifact["metadata"] = stored.metadata
            run.status["artifact"] = artifact
            if stored.link:
                self.storage.put(f"{folder}/{stored.link}", stored.data)
                run.status["url"] = artifacts.url_of(f"{folder}/{stored.link}")
            self._collect(run, folder, {path, f"{folder}/{stored.link}"})
        for name, value in stored.observed.items():
            if value is None:
                run.status.pop(name, None)
            else:
                run.status[name] = value
        conditions.remove(obj, OUTDATED)
        run.mark(IN_STORAGE, "True", stored.reason, stored.summary)

    def _collect(self, run: Run, folder: str, keep: set[str]) -> None:
        """Forget what was stored before, but for the artifact of the last status: somebody may be about to fetch it."""
        previous = (run.original.get("status", {}).get("artifact") or {}).get("path")
        self.storage.retain(folder, keep | {previous} if previous else keep)

    async def _notify(self, kind: Kind, run: Run, stored: Stored) -> None:
        before = run.original.get("status", {}).get("artifact") or {}
        artifact = run.artifact or {}
        reason = ""
        if before.get("digest") != artifact.get("digest"):
            reason = stored.event_reason
        elif any(conditions.find(run.original, name) for name in kind.failures):
            reason = stored.reason
        if reason:
            annotations = {f"{GROUP}/revision": artifact["revision"], f"{GROUP}/digest": artifact["digest"]}
            await self.recorder.normal(run.obj, reason, stored.event, annotations)
            run.log(stored.event)

    async def _fail(self, kind: Kind, run: Run, error: SourceError) -> None:
        run.mark(error.condition, "False" if error.condition == VERIFIED else "True", error.reason, str(error))
        if error.wait is not None:
            await self.recorder.normal(run.obj, error.reason, str(error))
            run.log("reconciliation waiting", reason=str(error))
            return
        await self.recorder.warning(run.obj, error.reason, str(error))
        if error.stalling:
            run.log("reconciliation stalled", error=str(error))

    async def _end(self, kind: Kind, run: Run, failure: SourceError | None) -> float | None:
        obj, now = run.obj, self.pod.clock.now()
        objects.record_request(obj)
        if failure is None:
            conditions.remove(obj, RECONCILING, STALLED)
            run.observe_generation()
        elif failure.stalling:
            conditions.mark_stalled(obj, failure.reason, str(failure), now)
            run.observe_generation()
        else:
            conditions.remove(obj, STALLED)
            conditions.mark_retrying(obj, now)
        conditions.summarize(obj, kind.conditions, kind.negative, now)
        if conditions.is_false(obj, VERIFIED):
            bad = conditions.find(obj, VERIFIED) or {}
            run.mark(READY, "False", bad["reason"], bad["message"])
        await run.write()
        if failure is None:
            return seconds(run.spec.get("interval", "1m"))
        if failure.stalling:
            return None
        if failure.wait is not None:
            return failure.wait
        run.log("Reconciler error", error=str(failure))
        raise failure
