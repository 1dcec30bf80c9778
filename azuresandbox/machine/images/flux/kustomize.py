"""The kustomize-controller: Kustomizations built from a source's artifact and applied, with their inventory.

Reasons, messages and events are those of fluxcd/kustomize-controller. One difference is deliberate: a run that finds nothing
to do writes nothing, where Flux renews its conditions and event at each interval.
May import `machine.{program,client,controller,kustomize}` and the Flux modules of `machine.images`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from azuresandbox.machine import kustomize
from azuresandbox.machine.client import ApiError, NoMatch, Object, Objects
from azuresandbox.machine.controller import Controller, Informers, Key, key_of
from azuresandbox.machine.images.flux import artifacts
from azuresandbox.machine.images.flux import common as flux
from azuresandbox.machine.images.flux.access import AccessError, Identities
from azuresandbox.machine.images.flux.apply import (
    CONFIGURED,
    CREATED,
    DELETED,
    SKIPPED,
    ApplyError,
    Entry,
    Options,
    Ref,
    ResourceManager,
    in_metadata,
    normalise,
)
from azuresandbox.machine.kustomize.documents import dump, parse
from azuresandbox.machine.node.program import Pod, image

GROUP = "kustomize.toolkit.fluxcd.io"
API = f"{GROUP}/v1"
KIND = "Kustomization"
MANAGER = "kustomize-controller"
SOURCES = {
    "GitRepository": "source.toolkit.fluxcd.io/v1",
    "OCIRepository": "source.toolkit.fluxcd.io/v1",
    "Bucket": "source.toolkit.fluxcd.io/v1",
}
HEALTHY = "Healthy"
_UNDO = (("kubectl", "Apply"), ("kubectl", "Update"), ("before-first-apply", "Update"), (MANAGER, "Update"))
_OLD_ANNOTATIONS = (
    "kubectl.kubernetes.io/last-applied-configuration",
    "kustomize.toolkit.fluxcd.io/checksum",
    "fluxcd.io/sync-checksum",
)
_NEVER_PRUNED = {f"{GROUP}/prune": "disabled", f"{GROUP}/reconcile": "disabled"}


@image(*flux.images("kustomize-controller"))
async def program(pod: Pod) -> None:
    """Run until the Pod goes."""
    informers = Informers(pod.kube, pod.clock, flux.plain_log(pod.clock, pod.log))
    try:
        controller = KustomizationController(pod, informers)
        pod.ready(True)
        await controller.run()
    finally:
        await informers.stop()


class Failure(Exception):
    """A run that ends in Ready=False. `again` is when to look again, None: at the retry interval; inf: never."""

    def __init__(self, reason: str, message: str, *, again: float | None = None, event: str = "error") -> None:
        super().__init__(message)
        self.reason = reason
        self.again = again
        self.event = event


class Stalled(Failure):
    """A run that is pointless to repeat before the object changes."""


@dataclass
class _Run:
    """One reconciliation: the object as read, as it becomes, and what is known of its source."""

    before: Object
    obj: Object
    source: Object
    started: float
    settled: bool = False

    @property
    def spec(self) -> Object:
        found: Object = self.obj["spec"]
        return found

    @property
    def artifact(self) -> Object:
        found: Object = self.source["status"]["artifact"]
        return found

    @property
    def revision(self) -> str:
        return str(self.artifact.get("revision", ""))

    @property
    def origin(self) -> str:
        return str((self.artifact.get("metadata") or {}).get("org.opencontainers.image.revision", ""))

    @property
    def timeout(self) -> float:
        wanted = self.spec.get("timeout")
        seconds = flux.seconds(wanted) if wanted else flux.seconds(self.spec["interval"]) - 30
        return max(30.0, seconds)

    def is_settled(self) -> bool:
        """Whether, by the status as read, this run can only find that nothing has changed."""
        metadata, status = self.before["metadata"], self.before.get("status") or {}
        return (
            flux.is_true(self.before, flux.READY)
            and status.get("observedGeneration") == metadata.get("generation")
            and status.get("lastAppliedRevision") == self.revision
            and not flux.is_requested(self.before)
        )


class KustomizationController:
    """Watches Kustomizations and their sources; one `reconcile` per object at a time."""

    def __init__(self, pod: Pod, informers: Informers) -> None:
        self.pod = pod
        self.kube = pod.kube
        self.clock = pod.clock
        self.recorder = flux.Recorder(pod.kube, pod.clock, MANAGER, flux.plain_log(pod.clock, pod.log))
        self.identities = Identities(pod)
        self.requeue_dependency = flux.seconds(pod.flag("requeue-dependency", "30s"))
        self.no_cross_namespace = pod.flag("no-cross-namespace-refs", "false") == "true"
        self.default_service_account = pod.flag("default-service-account", "")
        self.controller = Controller(
            MANAGER, informers, pod.clock, flux.plain_log(pod.clock, pod.log), workers=int(pod.flag("concurrent", "4"))
        )
        self.cache = informers.cache(API, KIND)
        self.cache.listeners.append(self._changed)
        for kind, api_version in SOURCES.items():
            informers.cache(api_version, kind).listeners.append(self._source_changed)

    async def run(self) -> None:
        await self.controller.run(self.reconcile, wait_for=[self.cache])

    # --- what wakes a Kustomization ----------------------------------------------------------------------------------

    def _changed(self, obj: Object, old: Object | None) -> None:
        if old is None or _wakes(obj, old):
            self.controller.queue.add(key_of({**obj, "kind": KIND}))
        if old is not None and flux.is_true(obj, flux.READY) and not _same_readiness(obj, old):
            self._wake_dependents(obj)

    def _wake_dependents(self, obj: Object) -> None:
        """Those that wait for this one need not wait for their timer."""
        metadata = obj["metadata"]
        for other in self.cache.list():
            for dependency in other["spec"].get("dependsOn") or ():
                namespace = dependency.get("namespace") or other["metadata"]["namespace"]
                if (dependency["name"], namespace) == (metadata["name"], metadata["namespace"]):
                    self.controller.queue.add(key_of({**other, "kind": KIND}))

    def _source_changed(self, source: Object, old: Object | None) -> None:
        revision, before = _revision(source), _revision(old or {})
        if revision is None or revision == before:
            return
        for obj in self.cache.list():
            if _refers_to(obj, source) and not self._has_applied(obj, revision):
                self.controller.queue.add(key_of({**obj, "kind": KIND}))

    def _has_applied(self, obj: Object, revision: str) -> bool:
        return flux.is_true(obj, flux.READY) and (obj.get("status") or {}).get("lastAttemptedRevision") == revision

    # --- one reconciliation ------------------------------------------------------------------------------------------

    async def reconcile(self, key: Key) -> float | None:
        found = await self.kube.find(API, KIND, key.name, key.namespace)
        if found is None:
            return None
        before: Object = {**found, "apiVersion": API, "kind": KIND}
        if flux.is_deleted(before):
            await self._finalize(before)
            return None
        if not flux.has_finalizer(before):
            before = {**await flux.add_finalizer(self.kube, before, MANAGER), "apiVersion": API, "kind": KIND}
        if before["spec"].get("suspend"):
            self._log(before, "Reconciliation is suspended for this object")
            return None
        return await self._reconcile(before)

    async def _reconcile(self, before: Object) -> float | None:
        obj = flux.draft(before)
        run = _Run(before, obj, {}, self.clock.now().timestamp())
        again: float | None = flux.seconds(run.spec["interval"])
        try:
            _refuse_unsupported(run.spec)
            run.source = await self._source(obj)
            run.settled = run.is_settled()
            await self._check_dependencies(run)
            await self._apply_revision(run)
        except Stalled as stalled:
            self._fail(run, stalled)
            flux.mark_stalled(obj, stalled.reason, str(stalled), self.clock.now())
            obj["status"]["observedGeneration"] = obj["metadata"].get("generation", 0)
            await self._event(run, "Warning", str(stalled))
            again = None
        except Failure as failure:
            self._fail(run, failure)
            retry = flux.seconds(run.spec.get("retryInterval") or run.spec["interval"])
            again = retry if failure.again is None else failure.again
            if failure.event:
                text = str(failure) if failure.event == "error" else failure.event
                await self._event(run, "Warning" if failure.event == "error" else "Normal", text)
        await self._finish(run)
        return again

    def _fail(self, run: _Run, failure: Failure) -> None:
        if failure.again is None:
            took = flux.go_duration(round(self.clock.now().timestamp() - run.started, 3))
            retry = _canonical(run.spec.get("retryInterval") or run.spec["interval"])
            self._log(run.obj, f"Reconciliation failed after {took}, next try in {retry}", error=str(failure))
        else:
            self._log(run.obj, str(failure))
        flux.set_condition(run.obj, flux.READY, "False", failure.reason, str(failure), self.clock.now())
        reconciling = flux.condition(run.obj, flux.RECONCILING)
        if reconciling is not None:
            now = self.clock.now()
            flux.set_condition(run.obj, flux.RECONCILING, "True", flux.RETRYING, reconciling["message"], now)

    def _log(self, obj: Object, message: str, error: str = "") -> None:
        metadata = obj["metadata"]
        self.pod.log(flux.log_line(self.clock, API, KIND, metadata["namespace"], metadata["name"], message, error))

    async def _finish(self, run: _Run) -> None:
        obj = run.obj
        flux.record_request(obj)
        if flux.is_true(obj, flux.READY):
            flux.delete_condition(obj, flux.RECONCILING)
            obj["status"]["observedGeneration"] = obj["metadata"].get("generation", 0)
        await self._write(run)
        if flux.is_true(obj, flux.READY) and not run.settled:
            took = flux.go_duration(round(self.clock.now().timestamp() - run.started, 3))
            message = f"Reconciliation finished in {took}, next run in {_canonical(run.spec['interval'])}"
            self._log(obj, message)
            await self._event(run, "Normal", message, {f"{GROUP}/commit_status": "update"})

    async def _write(self, run: _Run) -> None:
        written = await flux.write_status(self.kube, run.before, run.obj, MANAGER)
        if written is not run.obj:
            run.before = {**run.before, "status": json.loads(json.dumps(run.obj["status"]))}

    async def _progress(self, run: _Run, message: str) -> None:
        """Say in the status what is being done, unless the run is mere routine."""
        if run.settled:
            return
        now = self.clock.now()
        flux.set_condition(run.obj, flux.READY, "Unknown", flux.PROGRESSING, "Reconciliation in progress", now)
        flux.mark_reconciling(run.obj, flux.PROGRESSING, message, now)
        await self._write(run)

    # --- source and dependencies -------------------------------------------------------------------------------------

    async def _source(self, obj: Object) -> Object:
        reference, own = obj["spec"]["sourceRef"], obj["metadata"]["namespace"]
        kind, name, namespace = reference["kind"], reference["name"], reference.get("namespace") or own
        if self.no_cross_namespace and namespace != own:
            message = f"can't access '{kind}/{namespace}/{name}', cross-namespace references have been blocked"
            raise Failure("AccessDenied", message)
        if kind not in SOURCES:
            raise Failure("ArtifactFailed", f"source `{name}` kind '{kind}' not supported", event="")
        try:
            source = await self.kube.find(SOURCES[kind], kind, name, namespace)
        except (ApiError, NoMatch) as error:
            raise Failure("ArtifactFailed", f"unable to get source '{namespace}/{name}': {error}", event="") from error
        if source is None:
            raise Failure("ArtifactFailed", f'{kind}.source.toolkit.fluxcd.io "{name}" not found', event="")
        if not (source.get("status") or {}).get("artifact"):
            again = self.requeue_dependency
            message = f"Source artifact not found, retrying in {flux.go_duration(again)}"
            raise Failure("ArtifactFailed", message, again=again, event="")
        return source

    async def _check_dependencies(self, run: _Run) -> None:
        for dependency in run.spec.get("dependsOn") or ():
            problem = await self._dependency_problem(run, dependency)
            if problem:
                again = self.requeue_dependency
                event = f"Dependencies do not meet ready condition, retrying in {flux.go_duration(again)}"
                raise Failure("DependencyNotReady", problem, again=again, event=event)

    async def _dependency_problem(self, run: _Run, dependency: Mapping[str, Any]) -> str:
        namespace = dependency.get("namespace") or run.obj["metadata"]["namespace"]
        called = f"dependency '{namespace}/{dependency['name']}'"
        found = await self.kube.find(API, KIND, dependency["name"], namespace)
        if found is None:
            return f'{called} not found: kustomizations.{GROUP} "{dependency["name"]}" not found'
        status = found.get("status") or {}
        observed = status.get("observedGeneration") == found["metadata"].get("generation")
        if not status.get("conditions") or not observed or not flux.is_true(found, flux.READY):
            return f"{called} is not ready"
        if _source_of(found) == _source_of(run.obj) and status.get("lastAppliedRevision") != run.revision:
            return f"{called} revision is not up to date"
        return ""

    # --- build, apply, prune, wait -----------------------------------------------------------------------------------

    async def _apply_revision(self, run: _Run) -> None:
        limit = f"for revision {run.revision} with a timeout of {flux.go_duration(run.timeout)}"
        await self._progress(run, f"Fetching manifests {limit}")
        files = await self._fetch(run)
        top = _folder_name(run)
        path = _clean_path(run.spec.get("path") or "")
        if path and not any(name.startswith(path + "/") for name in files) and path not in files:
            message = f"kustomization path not found: stat {top}/{path}: no such file or directory"
            raise Failure("ArtifactFailed", message)
        run.obj["status"]["lastAttemptedRevision"] = run.revision
        await self._progress(run, f"Building manifests {limit}")
        try:
            kube = await self.identities.client(run.obj, self.default_service_account)
        except AccessError as error:
            raise Failure("ReconciliationFailed", f"failed to build kube client: {error}") from error
        objects = await self._build(run, files, path, top)
        manager = ResourceManager(kube, self.clock, MANAGER, GROUP)
        self._own(run, manager, objects)
        await self._progress(run, f"Detecting drift {limit}")
        await self._apply(run, manager, objects, limit)
        self._succeed(run)

    async def _fetch(self, run: _Run) -> dict[str, bytes]:
        try:
            return _unpacked(run.artifact["digest"], await artifacts.fetch(self.pod, run.artifact))
        except artifacts.ArtifactNotFound as error:
            again = self.requeue_dependency
            message = f"Source is not ready, artifact not found, retrying in {flux.go_duration(again)}"
            raise Failure("ArtifactFailed", message, again=again, event="") from error
        except (artifacts.ArtifactError, ValueError) as error:
            raise Failure("ArtifactFailed", str(error)) from error

    async def _build(self, run: _Run, files: dict[str, bytes], path: str, top: str) -> Objects:
        try:
            objects = _built(run.artifact["digest"], files, path, run.spec, top)
            if run.spec.get("postBuild"):
                objects = [await self._substituted(run, obj) for obj in objects]
        except kustomize.KustomizeError as error:
            raise Failure("BuildFailed", str(error)) from error
        for obj in objects:
            if not (obj.get("apiVersion") and obj.get("kind") and (obj.get("metadata") or {}).get("name")):
                message = f"failed to decode Kubernetes apiVersion, kind and name from: {dump(obj)}"
                raise Failure("BuildFailed", message)
        return [normalise(obj) for obj in objects if not obj["apiVersion"].startswith("kustomize.config.k8s.io/")]

    async def _substituted(self, run: _Run, obj: Object) -> Object:
        if in_metadata(obj, {f"{GROUP}/substitute": "disabled"}):
            return obj
        post = run.spec["postBuild"]
        called = f"{_gvk(obj)}/{obj['metadata']['name']}"
        try:
            variables = await self._variables(run.obj, post)
            if not variables and post.get("substituteStrategy") != "Always":
                return obj
            parsed = parse(kustomize.substitute(dump(obj), variables, strict=self._strict))
        except kustomize.KustomizeError as error:
            raise kustomize.KustomizeError(f"post build failed for '{called}': {error}") from error
        result: Object = parsed[0]
        return result

    @property
    def _strict(self) -> bool:
        return "StrictPostBuildSubstitutions=true" in self.pod.flag("feature-gates", "")

    async def _variables(self, obj: Object, post: Mapping[str, Any]) -> dict[str, str]:
        variables: dict[str, str] = {}
        for reference in post.get("substituteFrom") or ():
            kind, name = reference["kind"], reference["name"]
            try:
                found = await self.kube.get("v1", kind, name, obj["metadata"]["namespace"])
            except ApiError as error:
                if error.not_found and reference.get("optional"):
                    continue
                raise kustomize.KustomizeError(f"substitute from '{kind}/{name}' error: {error}") from error
            for key, value in (found.get("data") or {}).items():
                text = base64.b64decode(value).decode("utf-8", "replace") if kind == "Secret" else str(value)
                variables[key] = text.replace("\n", "")
        for key, value in (post.get("substitute") or {}).items():
            variables[key] = str(value).replace("\n", "")
        return variables

    def _own(self, run: _Run, manager: ResourceManager, objects: Objects) -> None:
        metadata, common = run.obj["metadata"], run.spec.get("commonMetadata") or {}
        labels = manager.owner_labels(metadata["name"], metadata["namespace"])
        for obj in objects:
            found = obj["metadata"]
            found["labels"] = {**(found.get("labels") or {}), **labels, **(common.get("labels") or {})}
            if common.get("annotations"):
                found["annotations"] = {**(found.get("annotations") or {}), **common["annotations"]}

    async def _apply(self, run: _Run, manager: ResourceManager, objects: Objects, limit: str) -> None:
        for obj in objects:
            if obj["kind"] == "Secret" and "sops" in obj:
                message = "is SOPS encrypted, configuring decryption is required for this secret to be reconciled"
                subject = f"Secret/{obj['metadata'].get('namespace', '')}/{obj['metadata']['name']}"
                raise Failure("ReconciliationFailed", f"{subject} {message}")
        entries, error = await manager.apply_staged(objects, _options(run.spec))
        changes = [str(entry) for entry in entries if entry.action in (CREATED, CONFIGURED)]
        if error is not None:
            raise Failure("ReconciliationFailed", f"{error}\n" + "".join(f"{change}\n" for change in changes))
        if changes:
            self._log(run.obj, f"server-side apply completed: {', '.join(changes)}")
            await self._event(run, "Normal", "\n".join(changes))
        stale = _stale(run.before, entries)
        run.obj["status"]["inventory"] = {"entries": [{"id": e.ref.id, "v": e.version} for e in entries]}
        if stale and run.spec.get("prune"):
            await self._prune(run, manager, stale)
        await self._check_health(run, manager, entries, bool(changes), limit)

    async def _prune(self, run: _Run, manager: ResourceManager, stale: Mapping[Ref, str]) -> None:
        metadata = run.obj["metadata"]
        labels = manager.owner_labels(metadata["name"], metadata["namespace"])
        entries, error = await manager.delete_all(stale, labels, _NEVER_PRUNED)
        if error is not None:
            kept = [entry for entry in entries if entry.action not in (DELETED, SKIPPED)]
            run.obj["status"]["inventory"]["entries"] += [{"id": e.ref.id, "v": e.version} for e in kept]
            raise Failure("PruneFailed", str(error))
        if entries:
            text = "\n".join(str(entry) for entry in entries)
            self._log(run.obj, f"garbage collection completed: {text}")
            await self._event(run, "Normal", text)

    async def _check_health(self, run: _Run, manager: ResourceManager, entries: list[Entry], drifted: bool, limit: str) -> None:
        refs = _to_check(run, entries)
        if not refs:
            flux.delete_condition(run.obj, HEALTHY)
            return
        was_healthy = flux.is_true(run.before, HEALTHY)
        started, now = self.clock.now().timestamp(), self.clock.now()
        if not run.settled:
            message = f"Running health checks {limit}"
            flux.set_condition(run.obj, HEALTHY, "Unknown", flux.PROGRESSING, message, now)
            await self._progress(run, message)
        try:
            await manager.wait(refs, refs, run.timeout, fail_fast=self._fail_fast)
        except ApplyError as error:
            now = self.clock.now()
            flux.set_condition(run.obj, HEALTHY, "False", "HealthCheckFailed", str(error), now)
            took = flux.go_duration(round(now.timestamp() - started, 3))
            raise Failure("HealthCheckFailed", f"health check failed after {took}: {error}") from error
        if was_healthy and run.settled:
            return
        message = f"Health check passed in {flux.go_duration(round(self.clock.now().timestamp() - started, 3))}"
        is_new = run.obj["status"].get("lastAppliedRevision") != run.revision
        if not was_healthy or (is_new and drifted):
            await self._event(run, "Normal", message)
        flux.set_condition(run.obj, HEALTHY, "True", flux.SUCCEEDED, message, self.clock.now())

    @property
    def _fail_fast(self) -> bool:
        return "DisableFailFastBehavior=true" not in self.pod.flag("feature-gates", "")

    def _succeed(self, run: _Run) -> None:
        status = run.obj["status"]
        status["lastAppliedRevision"] = run.revision
        if run.origin:
            status["lastAppliedOriginRevision"] = run.origin
        message = f"Applied revision: {run.revision}"
        flux.set_condition(run.obj, flux.READY, "True", "ReconciliationSucceeded", message, self.clock.now())

    # --- deletion ----------------------------------------------------------------------------------------------------

    async def _finalize(self, obj: Object) -> None:
        if not flux.has_finalizer(obj):
            return
        entries = ((obj.get("status") or {}).get("inventory") or {}).get("entries") or []
        policy = obj["spec"].get("deletionPolicy") or "MirrorPrune"
        deletes = policy in ("Delete", "WaitForTermination") or (policy == "MirrorPrune" and obj["spec"].get("prune"))
        if entries and deletes and not obj["spec"].get("suspend"):
            await self._delete_inventory(obj, {Ref.parse(e["id"]): e["v"] for e in entries}, policy)
        await flux.remove_finalizer(self.kube, obj, MANAGER)

    async def _delete_inventory(self, obj: Object, refs: Mapping[Ref, str], policy: str) -> None:
        run = _Run(obj, obj, {}, 0)
        try:
            kube = await self.identities.client(obj, self.default_service_account)
        except AccessError as error:
            subjects = "\n".join(ref.subject for ref in refs)
            self._log(obj, f"skiping pruning, failed to find account to impersonate: {error}")
            await self._event(run, "Warning", f"unable to prune objects: \n{subjects}")
            return
        manager = ResourceManager(kube, self.clock, MANAGER, GROUP)
        labels = manager.owner_labels(obj["metadata"]["name"], obj["metadata"]["namespace"])
        entries, failure = await manager.delete_all(refs, labels, _NEVER_PRUNED)
        if failure is not None:
            await self._event(run, "Warning", "pruning for deleted resource failed")
            raise failure
        if entries:
            await self._event(run, "Normal", "\n".join(str(entry) for entry in entries))
        if policy == "WaitForTermination":
            deleted = {entry.ref: entry.version for entry in entries if entry.action == DELETED}
            try:
                await manager.wait_gone(deleted, run.timeout)
            except ApplyError as late:
                self._log(obj, f"failed to wait for resources termination: {late}")
                await self._event(run, "Warning", "failed to wait for resources termination")

    async def _event(self, run: _Run, kind: str, message: str, extra: Mapping[str, str] | None = None) -> None:
        ready = flux.condition(run.obj, flux.READY)
        reason = ready["reason"] if ready else ("info" if kind == "Normal" else "error")
        revision = run.revision if run.source else (run.obj.get("status") or {}).get("lastAppliedRevision", "")
        annotations = {**(extra or {}), **({f"{GROUP}/revision": revision} if revision else {})}
        await self.recorder.event(run.obj, kind, reason, message, annotations)


# --- helpers ---------------------------------------------------------------------------------------------------------

_UNSUPPORTED = {
    "decryption": "keep secrets out of Git: create the Secret in the cluster and refer to it",
    "healthCheckExprs": "custom resources are healthy by their Ready condition",
}


def _refuse_unsupported(spec: Mapping[str, Any]) -> None:
    for name, instead in _UNSUPPORTED.items():
        if spec.get(name):
            raise Stalled("BuildFailed", f"the sandbox does not support spec.{name}: {instead}")
    for dependency in spec.get("dependsOn") or ():
        if dependency.get("readyExpr"):
            message = "the sandbox does not support spec.dependsOn.readyExpr: leave it out, Ready is waited for"
            raise Stalled("BuildFailed", message)


def _options(spec: Mapping[str, Any]) -> Options:
    return Options(
        force=bool(spec.get("force")),
        force_on={f"{GROUP}/force": "enabled"},
        skip={f"{GROUP}/reconcile": "disabled", f"{GROUP}/ssa": "Ignore"},
        only_if_absent={f"{GROUP}/ssa": "IfNotPresent"},
        keep_others={f"{GROUP}/ssa": "Merge"},
        remove_annotations=_OLD_ANNOTATIONS,
        undo_managers=_UNDO,
        ignore=tuple(spec.get("ignore") or ()),
    )


def _stale(before: Object, entries: list[Entry]) -> dict[Ref, str]:
    """What the last inventory has and this one has not."""
    old = ((before.get("status") or {}).get("inventory") or {}).get("entries") or ()
    current = {entry.ref for entry in entries}
    return {ref: entry["v"] for entry in old if (ref := Ref.parse(entry["id"])) not in current}


def _to_check(run: _Run, entries: list[Entry]) -> dict[Ref, str]:
    metadata = run.obj["metadata"]
    if run.spec.get("wait"):
        refs = {entry.ref: entry.version for entry in entries if entry.action != SKIPPED}
    else:
        refs = {}
        for check in run.spec.get("healthChecks") or ():
            group, _, version = (check.get("apiVersion") or "apps/v1").rpartition("/")
            refs[Ref(check.get("namespace") or "", check["name"], group, check["kind"])] = version
    own = (KIND, metadata["name"], metadata["namespace"])
    return {ref: version for ref, version in refs.items() if (ref.kind, ref.name, ref.namespace) != own}


def _wakes(obj: Object, old: Object) -> bool:
    """A new generation, a deletion, or a new request by annotation."""
    new, before = obj["metadata"], old["metadata"]
    return (
        new.get("generation") != before.get("generation")
        or new.get("deletionTimestamp") != before.get("deletionTimestamp")
        or flux.requested_at(obj) != flux.requested_at(old)
    )


def _same_readiness(obj: Object, old: Object) -> bool:
    keys = ("lastAppliedRevision", "observedGeneration")
    statuses = [o.get("status") or {} for o in (obj, old)]
    return flux.is_true(old, flux.READY) and all(statuses[0].get(k) == statuses[1].get(k) for k in keys)


def _revision(source: Object) -> str | None:
    artifact = (source.get("status") or {}).get("artifact") or {}
    return artifact.get("revision")


def _source_of(obj: Object) -> tuple[str, str, str]:
    reference = obj["spec"]["sourceRef"]
    return reference["kind"], reference.get("namespace") or obj["metadata"]["namespace"], reference["name"]


def _refers_to(obj: Object, source: Object) -> bool:
    return _source_of(obj) == (source["kind"], source["metadata"]["namespace"], source["metadata"]["name"])


def _gvk(obj: Object) -> str:
    group, _, version = obj["apiVersion"].rpartition("/")
    return f"{obj['kind']}.{version}.{group or '[noGrp]'}"


def _canonical(duration: str) -> str:
    return flux.go_duration(flux.seconds(duration))


def _clean_path(path: str) -> str:
    """The path below the artifact's root; `..` cannot leave it, as securejoin has it."""
    steps: list[str] = []
    for step in path.split("/"):
        if step == "..":
            del steps[-1:]
        elif step not in ("", "."):
            steps.append(step)
    return "/".join(steps)


def _folder_name(run: _Run) -> str:
    """How messages call the temporary folder: as Flux's, but the same for the same object and revision."""
    seed = f"{run.obj['metadata'].get('uid', '')}{run.revision}"
    return f"/tmp/kustomization-{int(hashlib.sha256(seed.encode()).hexdigest()[:8], 16)}"


# Equal artifacts and builds are kept once for all clusters of the process; nothing in them is secret to one of them.
_CACHED = 16
_files_cache: OrderedDict[str, dict[str, bytes]] = OrderedDict()
_build_cache: OrderedDict[str, str] = OrderedDict()
_BUILD_FIELDS = (
    "targetNamespace",
    "namePrefix",
    "nameSuffix",
    "patches",
    "components",
    "ignoreMissingComponents",
    "images",
    "buildMetadata",
)


def _unpacked(digest: str, data: bytes) -> dict[str, bytes]:
    return _remembered(_files_cache, digest, lambda: artifacts.unpack(data))  # type: ignore[no-any-return]


def _built(digest: str, files: dict[str, bytes], path: str, spec: Mapping[str, Any], top: str) -> Objects:
    key = json.dumps([digest, path, {name: spec[name] for name in _BUILD_FIELDS if name in spec}], sort_keys=True)

    def make() -> str:
        overlaid = kustomize.with_overlay(files, path, spec, top=top)
        try:
            return json.dumps(kustomize.build(overlaid, path or ".", top=top))
        except kustomize.Unsupported:
            raise
        except kustomize.KustomizeError as error:
            raise kustomize.KustomizeError(f"kustomize build failed: {error}") from error

    objects: Objects = json.loads(_remembered(_build_cache, key, make))
    return objects


def _remembered(cache: OrderedDict[str, Any], key: str, make: Any) -> Any:
    if key not in cache:
        cache[key] = make()
        if len(cache) > _CACHED:
            cache.popitem(last=False)
    cache.move_to_end(key)
    return cache[key]
