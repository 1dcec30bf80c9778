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
from azuresandbox.machine.client import ApiError
from azuresandbox.machine.controller import Key
from azuresandbox.machine.durations import seconds
from azuresandbox.machine.images.flux import artifacts, conditions, objects
from azuresandbox.machine.images.flux import run as flux_run
from azuresandbox.machine.images.flux.artifacts import Storage
from azuresandbox.machine.images.flux.conditions import READY, RECONCILING, STALLED
from azuresandbox.machine.images.flux.events import Recorder
from azuresandbox.machine.images.flux.source import texts
from azuresandbox.machine.images.flux.texts import Said
from azuresandbox.machine.node.program import Pod
from azuresandbox.machine.types import Object

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

FETCHED = (STORAGE_FAILED, FETCH_FAILED, OUTDATED, IN_STORAGE, STALLED, RECONCILING)
"""The conditions of a source that is fetched only, in order of importance."""


class SourceError(Exception):
    """A reconciliation that failed. `condition` becomes True (or False, for SourceVerified).

    It is tried again after `wait` seconds, with `stalling` when the object changes, else with growing delays. `cause` is the
    message of the API alone.
    """

    def __init__(
        self,
        said: Said,
        *,
        condition: str = FETCH_FAILED,
        stalling: bool = False,
        wait: float | None = None,
        cause: str = "",
    ) -> None:
        super().__init__(said.message)
        self.said = said
        self.cause = cause or said.message
        self.condition, self.stalling, self.wait = condition, stalling, wait


def unsupported(subject: str, instead: str) -> SourceError:
    """Return the error of a feature that the real controller has and the sandbox does not."""
    return SourceError(texts.UNSUPPORTED(subject=subject, instead=instead), stalling=True)


@dataclass(frozen=True)
class Stored:
    """The result of `Kind.read`: the contents to store (`None`: the stored ones are up to date) and the texts about them.

    `observed` are fields of the status; a field with the value `None` is removed. `link` is a second name of the file.
    """

    revision: str
    file: str
    data: bytes | None
    summary: Said
    event: Said
    metadata: dict[str, str] = field(default_factory=dict)
    unchanged: Said | None = None
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

    async def announce(self, news: Said) -> None:
        """Write to the status that there is a newer revision than the stored one, before it is fetched."""
        if self.artifact is not None:
            self.mark(OUTDATED, "True", *news)
        self.progress(texts.BUILDING_NEW(news=news.message), drift=True)
        await self.write()

    async def write(self) -> None:
        """Write the changes of the status. Events then refer to the version that was written."""
        await super().write()
        self.obj["metadata"]["resourceVersion"] = self.before["metadata"]["resourceVersion"]

    def progress(self, said: Said, *, drift: bool = False) -> None:
        conditions.mark_progress(self.obj, *said, self.clock.now(), drift=drift)

    async def secret(self, name: str, problem: str = "failed to get secret") -> dict[str, bytes]:
        """Return the data of a Secret in the object's namespace. Raises `SourceError`; `problem` begins its message."""
        try:
            found = await self.pod.kube.get("v1", "Secret", name, self.namespace)
        except ApiError as error:
            said = texts.NO_SECRET(problem=problem, namespace=self.namespace, name=name, error=error)
            raise SourceError(said, cause=str(error)) from None
        return {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}


Read = Callable[[Run], Awaitable[Stored]]


@dataclass(frozen=True)
class Kind:
    """A kind of source. `conditions` are in order of importance; `failures` are those whose end is announced."""

    name: str
    read: Read
    conditions: tuple[str, ...]
    failures: tuple[str, ...]
    static: Callable[[Object], bool] = lambda spec: False
    """Returns whether an object with this spec is read by other objects only, and has no status."""

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

    # --- triggers ----------------------------------------------------------------------------------------------------

    def concerned(self, obj: Object) -> tuple[Key, ...]:
        """Return the object's key, unless the last reconciliation saw the same generation, request and deletion."""
        metadata = obj["metadata"]
        if self._seen.get(metadata["uid"]) == objects.triggers(obj):
            return ()
        return (Key(obj["kind"], metadata["namespace"], metadata["name"]),)

    # --- one reconciliation ------------------------------------------------------------------------------------------

    async def reconcile(self, kind: Kind, key: Key) -> float | None:
        """Reconcile a source. Returns the seconds until the next time, or `None`. An error is retried with growing delays."""
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
            run.log(texts.SUSPENDED().message)
            objects.record_request(run.obj)
            await run.write()
            return None
        return await self._run(kind, run)

    async def _leave(self, found: Object, folder: str) -> None:
        """Remove status, finalizer and artifact of an object that was reconciled and whose new spec is static."""
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
        obj = run.obj
        requested = objects.is_requested(obj)
        run.progress(texts.RECONCILING())
        generation, observed = run.generation, run.status.get("observedGeneration", 0)
        if generation != observed:
            run.progress(texts.NEW_GENERATION(observed=observed, generation=generation))
        if generation != observed or requested:
            await run.write()
        conditions.remove(obj, STORAGE_FAILED)
        if conditions.is_false(obj, VERIFIED):
            conditions.remove(obj, VERIFIED)

    async def _check_storage(self, run: Run) -> None:
        """Remove an artifact from the status that the storage (an emptyDir) has lost."""
        missing = run.artifact is not None and not self.storage.holds(run.artifact)
        if missing:
            run.status.pop("artifact", None)
            run.status.pop("url", None)
        if run.artifact is None:
            run.progress(texts.BUILDING_AGAIN() if missing else texts.BUILDING(), drift=True)
            conditions.remove(run.obj, IN_STORAGE)
            await run.write()

    async def _store(self, kind: Kind, run: Run, stored: Stored) -> None:
        obj, folder = run.obj, artifacts.path_of(kind.name, run.namespace, run.name)
        if stored.data is None:
            assert stored.unchanged is not None
            await self.recorder.normal(obj, *stored.unchanged)
            run.log(stored.unchanged.message)
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
        run.mark(IN_STORAGE, "True", *stored.summary)

    def _collect(self, run: Run, folder: str, keep: set[str]) -> None:
        """Remove older files, but not the artifact of the last status: a controller may be about to fetch it."""
        previous = (run.original.get("status", {}).get("artifact") or {}).get("path")
        self.storage.retain(folder, keep | {previous} if previous else keep)

    async def _notify(self, kind: Kind, run: Run, stored: Stored) -> None:
        before = run.original.get("status", {}).get("artifact") or {}
        artifact = run.artifact or {}
        reason = ""
        if before.get("digest") != artifact.get("digest"):
            reason = stored.event.reason
        elif any(conditions.find(run.original, name) for name in kind.failures):
            reason = stored.summary.reason
        if reason:
            annotations = {f"{GROUP}/revision": artifact["revision"], f"{GROUP}/digest": artifact["digest"]}
            await self.recorder.normal(run.obj, reason, stored.event.message, annotations)
            run.log(stored.event.message)

    async def _fail(self, kind: Kind, run: Run, error: SourceError) -> None:
        run.mark(error.condition, "False" if error.condition == VERIFIED else "True", *error.said)
        if error.wait is not None:
            await self.recorder.normal(run.obj, *error.said)
            run.log(texts.WAITING().message, reason=str(error))
            return
        await self.recorder.warning(run.obj, *error.said)
        if error.stalling:
            run.log(texts.STALLED().message, error=str(error))

    async def _end(self, kind: Kind, run: Run, failure: SourceError | None) -> float | None:
        obj, now = run.obj, self.pod.clock.now()
        objects.record_request(obj)
        if failure is None:
            conditions.remove(obj, RECONCILING, STALLED)
            run.observe_generation()
        elif failure.stalling:
            conditions.mark_stalled(obj, *failure.said, now)
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
        run.log(texts.ERROR().message, error=str(failure))
        raise failure
