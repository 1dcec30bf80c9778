"""The helm-controller: HelmReleases installed, upgraded, rolled back and uninstalled, from a chart template or a chartRef.

Reasons, messages and the order of decisions are those of fluxcd/helm-controller on Helm v4 (server-side apply); what its CRD
does not have is not written. A run that finds nothing to do writes nothing.
May import `machine.{program,client,controller,kustomize,helm}` and the Flux modules of `machine.images`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from azuresandbox.machine.client import ApiError, KubeClient, NoMatch, Object
from azuresandbox.machine.controller import Controller, Informers, Key, key_of
from azuresandbox.machine.helm import manifests, releases
from azuresandbox.machine.helm.actions import Helm, HelmFailure, NotFound, Options, merge_values
from azuresandbox.machine.helm.charts import Chart, ChartError, load, read_values, set_value
from azuresandbox.machine.helm.releases import Release, Storage
from azuresandbox.machine.images.flux import apply as ssa
from azuresandbox.machine.images.flux import artifacts
from azuresandbox.machine.images.flux import common as flux
from azuresandbox.machine.images.flux.access import AccessError, Identities
from azuresandbox.machine.images.flux.drift import Change, correct, find_changes, summary
from azuresandbox.machine.images.flux.postrender import post_renderer
from azuresandbox.machine.kustomize.documents import dump
from azuresandbox.machine.node.program import Pod, image

GROUP = "helm.toolkit.fluxcd.io"
API = f"{GROUP}/v2"
KIND = "HelmRelease"
MANAGER = "helm-controller"
SOURCE_API = "source.toolkit.fluxcd.io/v1"
RELEASED, REMEDIATED, TESTED = "Released", "Remediated", "TestSuccess"
_PROGRESS = "reconciliation in progress"


@image(*flux.images("helm-controller"))
async def program(pod: Pod) -> None:
    """Run until the Pod goes."""
    informers = Informers(pod.kube, pod.clock, flux.plain_log(pod.clock, pod.log))
    try:
        controller = HelmReleaseController(pod, informers)
        pod.ready(True)
        await controller.run()
    finally:
        await informers.stop()


class Retry(Exception):
    """The run failed in a way that is tried again with backoff; the status says why."""


class Terminal(Exception):
    """The run failed in a way that only a change of the object mends; the status says why."""


class After(Exception):
    """The run ends here and is taken up again after `seconds` (0: at once)."""

    def __init__(self, seconds: float) -> None:
        super().__init__(str(seconds))
        self.seconds = seconds


@dataclass
class _Run:
    """One reconciliation of one HelmRelease."""

    before: Object
    obj: Object
    kube: KubeClient
    chart: Chart | None = None
    version: str = ""
    values: Object = field(default_factory=dict)

    @property
    def spec(self) -> Object:
        found: Object = self.obj["spec"]
        return found

    @property
    def status(self) -> Object:
        found: Object = self.obj["status"]
        return found

    @property
    def history(self) -> list[Object]:
        """The snapshots, newest first."""
        found: list[Object] = self.status.setdefault("history", [])
        found.sort(key=lambda snapshot: -int(snapshot["version"]))
        return found

    @property
    def routine(self) -> bool:
        """Whether, as far as is known yet, nothing changed since the last good run."""
        metadata, status = self.before["metadata"], self.before.get("status") or {}
        observed = status.get("observedGeneration") == metadata.get("generation")
        return flux.is_true(self.before, flux.READY) and observed and not flux.is_requested(self.before)

    @property
    def namespace(self) -> str:
        return str(self.spec.get("targetNamespace") or self.obj["metadata"]["namespace"])

    @property
    def storage_namespace(self) -> str:
        return str(self.spec.get("storageNamespace") or self.obj["metadata"]["namespace"])

    @property
    def name(self) -> str:
        """The release's name, shortened as Helm's limit wants it."""
        spec = self.spec
        name = spec.get("releaseName") or "-".join(
            part for part in (spec.get("targetNamespace"), self.obj["metadata"]["name"]) if part
        )
        if len(name) <= 53:
            return str(name)
        return f"{name[:40]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"

    def section(self, name: str) -> Object:
        found: Object = self.spec.get(name) or {}
        return found

    def timeout(self, section: str) -> float:
        return flux.seconds(self.section(section).get("timeout") or self.spec.get("timeout") or "5m")

    def forced(self) -> bool:
        """Whether a forced release was asked for together with this request, and not handled before."""
        return _handles(self.obj, flux.FORCE_AT, "lastHandledForceAt")


class HelmReleaseController:
    """Watches HelmReleases and the sources of their charts; one `reconcile` per object at a time."""

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
            MANAGER,
            informers,
            pod.clock,
            flux.plain_log(pod.clock, pod.log),
            workers=int(pod.flag("concurrent", "4")),
            backoff=(0.75, 900.0),
        )
        self.cache = informers.cache(API, KIND)
        self.cache.listeners.append(self._changed)
        for kind in ("OCIRepository", "HelmChart"):
            informers.cache(SOURCE_API, kind).listeners.append(self._source_changed)

    async def run(self) -> None:
        await self.controller.run(self.reconcile, wait_for=[self.cache])

    # --- what wakes a HelmRelease ------------------------------------------------------------------------------------

    def _changed(self, obj: Object, old: Object | None) -> None:
        if old is None or _wakes(obj, old):
            self.controller.queue.add(key_of({**obj, "kind": KIND}))
        if old is not None and flux.is_true(obj, flux.READY) and not flux.is_true(old, flux.READY):
            metadata = obj["metadata"]
            for other in self.cache.list():
                for dependency in other["spec"].get("dependsOn") or ():
                    namespace = dependency.get("namespace") or other["metadata"]["namespace"]
                    if (dependency["name"], namespace) == (metadata["name"], metadata["namespace"]):
                        self.controller.queue.add(key_of({**other, "kind": KIND}))

    def _source_changed(self, source: Object, old: Object | None) -> None:
        if old is not None and _source_state(source) == _source_state(old):
            return
        wanted = (source["kind"], source["metadata"]["namespace"], source["metadata"]["name"])
        for obj in self.cache.list():
            if _source_of(obj) == wanted:
                self.controller.queue.add(key_of({**obj, "kind": KIND}))

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
            self._log(before, "reconciliation is suspended for this object")
            return None
        run = _Run(before, flux.draft(before), self.kube)
        return await self._run(run)

    async def _run(self, run: _Run) -> float | None:
        done = True
        try:
            await self._reconcile(run)
            return flux.seconds(run.spec["interval"])
        except After as after:
            done = False
            return after.seconds
        except Retry:
            done = False
            raise
        except Terminal:
            return None
        finally:
            if done:
                run.status["observedGeneration"] = run.obj["metadata"].get("generation", 0)
            flux.record_request(run.obj)
            await self._write(run)

    async def _write(self, run: _Run) -> None:
        written = await flux.write_status(self.kube, run.before, run.obj, MANAGER)
        if written is not run.obj:
            run.before = {**written, "status": json.loads(json.dumps(run.obj["status"]))}

    def _not_ready(self, run: _Run, reason: str, message: str, status: str = "False") -> None:
        flux.set_condition(run.obj, flux.READY, status, reason, message, self.clock.now())
        if status == "False":
            self._log(run.obj, message)

    def _log(self, obj: Object, message: str, error: str = "") -> None:
        metadata = obj["metadata"]
        self.pod.log(flux.log_line(self.clock, API, KIND, metadata["namespace"], metadata["name"], message, error))

    def _resolved(self, run: _Run, *reasons: str) -> None:
        """Ready was False for one of these reasons, which is no longer so."""
        ready = flux.condition(run.obj, flux.READY)
        if ready is not None and ready["reason"] in reasons:
            self._not_ready(run, flux.PROGRESSING, _PROGRESS, "Unknown")

    async def _reconcile(self, run: _Run) -> None:
        self._refuse_unsupported(run)
        await self._chart_template(run)
        if not run.routine:
            flux.mark_reconciling(run.obj, flux.PROGRESSING, "Fulfilling prerequisites", self.clock.now())
            await self._write(run)
        await self._dependencies(run)
        source = await self._source(run)
        await self._values(run)
        await self._load(run, source)
        try:
            run.kube = await self.identities.client(run.obj, self.default_service_account)
        except AccessError as error:
            self._not_ready(run, "RESTClientError", str(error))
            raise Retry(str(error)) from error
        self._resolved(run, "RESTClientError")
        await self._target_changed(run)
        self._attempt(run)
        await self._release(run)

    def _refuse_unsupported(self, run: _Run) -> None:
        if run.section("test").get("enable"):
            message = "the sandbox does not support spec.test: leave it out, the release itself is waited for"
            self._not_ready(run, "TestFailed", message)
            flux.mark_stalled(run.obj, "TestFailed", message, self.clock.now())
            raise Terminal(message)

    # --- prerequisites -----------------------------------------------------------------------------------------------

    async def _chart_template(self, run: _Run) -> None:
        """Keep the HelmChart of `spec.chart`; delete the one that is no longer wanted."""
        obj, template = run.obj, run.spec.get("chart")
        wanted = "/".join(_chart_name(obj)) if template else ""
        known = run.status.get("helmChart", "")
        if known and known != wanted:
            await self._delete_chart(run)
        if not template:
            return
        namespace, name = _chart_name(obj)
        if self.no_cross_namespace and namespace != obj["metadata"]["namespace"]:
            raise Retry(_denial("HelmChart", namespace, name))  # of which no condition tells, before there is a source
        manager = ssa.ResourceManager(self.kube, self.clock, MANAGER, GROUP)
        chart = _helm_chart(obj, manager.owner_labels(obj["metadata"]["name"], obj["metadata"]["namespace"]))
        try:
            [entry] = await manager.apply_all([chart], ssa.Options())
        except ssa.ApplyError as error:
            raise Retry(f"failed to run server-side apply: {error}") from error
        if entry.action in (ssa.CREATED, ssa.CONFIGURED):
            reference = chart["spec"]["sourceRef"]
            source = f"{reference['kind']}/{namespace}/{reference['name']}"
            self._log(obj, f"{entry} with SourceRef '{source}'")
        run.status["helmChart"] = wanted

    async def _delete_chart(self, run: _Run) -> None:
        namespace, _, name = run.status["helmChart"].partition("/")
        await self.kube.delete(SOURCE_API, "HelmChart", name, namespace)
        self._log(run.obj, f"deleted HelmChart '{run.status['helmChart']}'")
        del run.status["helmChart"]

    async def _dependencies(self, run: _Run) -> None:
        for dependency in run.spec.get("dependsOn") or ():
            namespace = dependency.get("namespace") or run.obj["metadata"]["namespace"]
            called = f"'{namespace}/{dependency['name']}'"
            found = await self.kube.find(API, KIND, dependency["name"], namespace)
            problem = ""
            if found is None:
                problem = f'unable to get {called} dependency: helmreleases.{GROUP} "{dependency["name"]}" not found'
            else:
                observed = (found.get("status") or {}).get("observedGeneration") == found["metadata"].get("generation")
                if not observed or not flux.is_true(found, flux.READY):
                    problem = f"dependency {called} is not ready"
            if problem:
                self._not_ready(run, "DependencyNotReady", problem)
                await self.recorder.normal(run.obj, "DependencyNotReady", problem)
                raise After(self.requeue_dependency)
        self._resolved(run, "DependencyNotReady")

    async def _source(self, run: _Run) -> Object:
        kind, namespace, name = _source_of(run.obj)
        if self.no_cross_namespace and namespace != run.obj["metadata"]["namespace"]:
            message = _denial(kind, namespace, name)
            flux.mark_stalled(run.obj, "AccessDenied", message, self.clock.now())
            self._not_ready(run, "AccessDenied", message)
            await self.recorder.warning(run.obj, "AccessDenied", message)
            raise Terminal(message)
        try:
            source = await self.kube.find(SOURCE_API, kind, name, namespace)
            problem = "" if source else f'{kind}.source.toolkit.fluxcd.io "{name}" not found'
        except (ApiError, NoMatch) as error:
            source, problem = None, str(error)
        if source is None:
            message = f"could not get Source object: {problem}"
            self._not_ready(run, "ArtifactFailed", message)
            raise Retry(message)
        self._resolved(run, "AccessDenied", "ArtifactFailed")
        problem = _source_problem(source)
        if problem:
            self._not_ready(run, "SourceNotReady", f"{kind} '{namespace}/{name}' is not ready: {problem}")
            raise After(self.requeue_dependency)
        self._resolved(run, "SourceNotReady")
        return {**source, "kind": kind}

    async def _values(self, run: _Run) -> None:
        try:
            run.values = await self._composed_values(run)
        except ValuesError as error:
            self._not_ready(run, "ValuesError", str(error))
            await self.recorder.warning(run.obj, "ValuesError", str(error))
            raise Retry(str(error)) from error
        self._resolved(run, "ValuesError")

    async def _composed_values(self, run: _Run) -> Object:
        own: Object = run.spec.get("values") or {}
        result: Object = {}
        for reference in run.spec.get("valuesFrom") or ():
            text = await self._referenced(run, reference)
            if text is None:
                continue
            namespace = run.obj["metadata"]["namespace"]
            try:
                if reference.get("targetPath"):
                    result = _set_path(merge_values(result, own), reference["targetPath"], text)
                else:
                    result = merge_values(result, read_values(text))
            except ChartError as error:
                raise ValuesError(reference, namespace, str(error)) from error
        return merge_values(result, own)

    async def _referenced(self, run: _Run, reference: Mapping[str, Any]) -> str | None:
        """The text a reference leads to; None if it is optional and leads nowhere."""
        kind, name, namespace = reference["kind"], reference["name"], run.obj["metadata"]["namespace"]
        key = reference.get("valuesKey") or "values.yaml"
        problem = "key not found"
        try:
            data = (await self.kube.get("v1", kind, name, namespace)).get("data") or {}
            if key in data:
                raw = base64.b64decode(data[key]) if kind == "Secret" else str(data[key]).encode()
                return raw.decode("utf-8", "replace")
        except ApiError as error:
            if not error.not_found:
                raise Retry(str(error)) from error
            problem = str(error)
        if reference.get("optional"):
            self._log(run.obj, str(ValuesError(reference, namespace, problem)))
            return None
        raise ValuesError(reference, namespace, problem)

    async def _load(self, run: _Run, source: Object) -> None:
        artifact = source["status"]["artifact"]
        try:
            run.chart = load(await artifacts.fetch(self.pod, artifact))
        except artifacts.ArtifactNotFound as error:
            again = flux.go_duration(self.requeue_dependency)
            self._not_ready(run, "ArtifactFailed", f"Source not ready: artifact not found. Retrying in {again}")
            raise After(self.requeue_dependency) from error
        except (artifacts.ArtifactError, ChartError) as error:
            self._not_ready(run, "ArtifactFailed", f"Could not load chart: {error}")
            await self.recorder.warning(run.obj, "ArtifactFailed", str(error))
            raise Retry(str(error)) from error
        self._resolved(run, "ArtifactFailed")
        run.version = str(run.chart.metadata["version"])
        if source["kind"] == "OCIRepository":
            self._track_digest(run, str(artifact["revision"]))
        else:
            run.status.pop("lastAttemptedRevisionDigest", None)

    def _track_digest(self, run: _Run, revision: str) -> None:
        """A chart from an OCI artifact carries the artifact's digest in its version: `1.2.3+<12 digits>`."""
        tag, _, digest = revision.rpartition("@")
        problem = ""
        if tag and _is_semver(tag) and tag.replace("_", "+").lstrip("v") != run.version.lstrip("v"):
            problem = f"artifact revision {tag} does not match chart version {run.version}"
        elif len(digest.partition(":")[2]) < 12:
            problem = f"invalid artifact revision {revision}"
        if problem:
            self._not_ready(run, "ChartMutateError", problem)
            raise Retry(problem)
        run.version = f"{run.version.partition('+')[0]}+{digest.partition(':')[2][:12]}"
        run.status["lastAttemptedRevisionDigest"] = digest

    async def _target_changed(self, run: _Run) -> None:
        """A release whose name, namespace or chart is another one now is uninstalled first."""
        assert run.chart is not None
        current = run.history[0] if run.history else None
        stored = run.status.get("storageNamespace")
        if current is None or not stored:
            return
        same = (current["name"], current["namespace"], current["chartName"], stored)
        if same == (run.name, run.namespace, run.chart.name, run.storage_namespace):
            return
        self._log(run.obj, "release target configuration changed: running uninstall for current release")
        await self._uninstall(run)
        run.status["history"] = []
        self._clear_failures(run)
        run.status.pop("storageNamespace", None)
        raise After(0)

    def _attempt(self, run: _Run) -> None:
        """Note what is attempted; what differs from the last attempt clears the failures."""
        status, generation = run.status, run.obj["metadata"].get("generation", 0)
        digest = values_digest(run.values)
        changed = (
            status.get("lastAttemptedGeneration") != generation
            or status.get("lastAttemptedRevision") != run.version
            or (status.get("lastAttemptedConfigDigest") or digest) != digest
        )
        reset = _handles(run.obj, flux.RESET_AT, "lastHandledResetAt")
        if changed or reset:
            self._clear_failures(run)
        status.update(
            storageNamespace=run.storage_namespace,
            lastAttemptedGeneration=generation,
            lastAttemptedRevision=run.version,
            lastAttemptedConfigDigest=digest,
        )

    def _clear_failures(self, run: _Run) -> None:
        for name in ("failures", "installFailures", "upgradeFailures"):
            run.status.pop(name, None)

    # --- the release -------------------------------------------------------------------------------------------------

    async def _release(self, run: _Run) -> None:
        """Act until the release is what is wanted: fluxcd/helm-controller's atomic release."""
        done: set[str] = set()
        while True:
            action = await self._next_action(run)
            if action is None:
                flux.delete_condition(run.obj, flux.RECONCILING)
                self._summarize(run)
                return
            if action.kind in done:
                self._give_up_or_retry(run)
                return
            message = f"Running '{action.name}' action with timeout of {flux.go_duration(run.timeout(action.section))}"
            flux.mark_reconciling(run.obj, flux.PROGRESSING, message, self.clock.now())
            if action.kind == "release":
                self._not_ready(run, flux.PROGRESSING, message, "Unknown")
            await self._write(run)
            self._log(run.obj, message[0].lower() + message[1:])
            await getattr(self, f"_do_{action.name}")(run)
            if action.kind == "remediate":
                if not self._exhausted(run) or self._strategy(run) == "uninstall" and self._is_upgrade(run):
                    self._mark_retrying(run)
                    await self._write(run)
                    raise After(0)
                self._stall(run)
            done.add(action.kind)
            await self._write(run)

    def _give_up_or_retry(self, run: _Run) -> None:
        if not self._exhausted(run):
            self._mark_retrying(run)
            raise After(0)
        flux.delete_condition(run.obj, flux.RECONCILING)

    def _mark_retrying(self, run: _Run) -> None:
        ready = flux.condition(run.obj, flux.READY)
        flux.mark_reconciling(run.obj, flux.RETRYING, ready["message"] if ready else "", self.clock.now())

    def _stall(self, run: _Run) -> None:
        count = int(run.status.get(self._counter(run), 0))
        action = run.status.get("lastAttemptedReleaseAction", "")
        message = f"Failed to {action} after {count} attempt(s)"
        flux.mark_stalled(run.obj, "RetriesExceeded", message, self.clock.now())
        raise Terminal(message)

    async def _next_action(self, run: _Run) -> Action | None:
        helm = self._helm(run)
        last = await helm.storage.last(run.name)
        forced = run.forced()
        if last is None or (last.status == releases.UNINSTALLED and (not run.history or _matches(run.history[0], last))):
            return self._install_if_allowed(run, forced)
        if last.status in releases.PENDING:
            return UNLOCK
        if not run.history:
            return UPGRADE
        if not _matches(run.history[0], last):
            self._log(run.obj, "release not managed by controller: release not observed to be made for object")
            run.status["history"] = []
            return UPGRADE
        if last.status == releases.FAILED:
            return self._after_failure(run, forced)
        if last.status != releases.DEPLOYED:
            message = f"unable to determine state for release with status '{last.status}'"
            self._not_ready(run, "StateError", f"Could not determine release state: {message}")
            raise Retry(message)
        if self._out_of_sync(run, last):
            if self._counter_exhausted(run, "upgrade") and not forced:
                self._stall(run)
            return UPGRADE
        return await self._in_sync(run, helm, last, forced)

    def _install_if_allowed(self, run: _Run, forced: bool) -> Action:
        if self._counter_exhausted(run, "install") and not forced:
            self._stall(run)
        return INSTALL

    def _after_failure(self, run: _Run, forced: bool) -> Action:
        count = int(run.status.get(self._counter(run), 0))
        if count <= 0 or forced:
            return UPGRADE
        if self._exhausted(run) and not self._remediates_last(run):
            self._stall(run)
        if self._strategy(run) == "uninstall":
            return UNINSTALL_REMEDIATION
        if self._previous(run) is None:
            message = "missing target release for rollback: cannot remediate failed release"
            flux.mark_stalled(run.obj, "MissingRollbackTarget", f"Failed to perform remediation: {message}", self.clock.now())
            raise Terminal(message)
        return ROLLBACK

    def _out_of_sync(self, run: _Run, last: Release) -> bool:
        assert run.chart is not None
        metadata = last.chart_metadata
        if (metadata.get("name"), metadata.get("version")) != (run.chart.name, run.version):
            return True
        if run.history[0].get("configDigest") != values_digest(run.values):
            return True
        if run.status.get("observedGeneration") != run.obj["metadata"].get("generation"):
            return bool(_renderers_digest(run.spec) != run.status.get("observedPostRenderersDigest", ""))
        return False

    async def _in_sync(self, run: _Run, helm: Helm, last: Release, forced: bool) -> Action | None:
        mode = run.section("driftDetection").get("mode", "disabled")
        if mode in ("enabled", "warn"):
            changes = await find_changes(helm, last, run.section("driftDetection").get("ignore") or ())
            if changes:
                await self._drifted(run, changes)
                return CORRECT if mode == "enabled" else None
        _truncate(run)
        if forced:
            return UPGRADE
        current = run.history[0]
        if flux.is_true(run.obj, REMEDIATED):
            flux.delete_condition(run.obj, REMEDIATED)
            self._released(run, "True", "UpgradeSucceeded", _succeeded("upgrade", current))
        released = flux.condition(run.obj, RELEASED)
        if not flux.is_true(run.obj, RELEASED) and released is not None:
            for action in ("install", "upgrade"):
                if released["reason"] == f"{action.title()}Failed":
                    self._released(run, "True", f"{action.title()}Succeeded", _succeeded(action, current))
        return None

    async def _drifted(self, run: _Run, changes: list[Change]) -> None:
        release = _full_name(run.history[0])
        message = f"Cluster state of release {release} has drifted from the desired state:\n{summary(changes)}"
        await self.recorder.warning(run.obj, "DriftDetected", message)

    # --- the actions -------------------------------------------------------------------------------------------------

    async def _do_install(self, run: _Run) -> None:
        run.status["history"] = []
        await self._do_release(run, "install")

    async def _do_upgrade(self, run: _Run) -> None:
        await self._do_release(run, "upgrade")

    async def _do_release(self, run: _Run, action: str) -> None:
        assert run.chart is not None
        run.status["lastAttemptedReleaseAction"] = action
        flux.delete_condition(run.obj, TESTED, REMEDIATED)
        observed: dict[int, Release] = {}
        helm = self._helm(run, lambda release: observed.__setitem__(release.version, release.copy()))
        transform = post_renderer(run.spec, run.obj["metadata"]["name"], run.obj["metadata"]["namespace"])
        try:
            await self._apply_crds(run, action)
            act = helm.install if action == "install" else helm.upgrade
            await act(run.chart, run.version, run.values, transform, _options(run, action))
        except HelmFailure as error:
            self._observe(run, observed)
            await self._release_failed(run, action, error, recorded=bool(observed))
            return
        self._observe(run, observed)
        current = run.history[0]
        reason, message = f"{action.title()}Succeeded", _succeeded(action, current)
        self._released(run, "True", reason, message)
        self._summarize(run)
        self._log(run.obj, message)
        await self.recorder.normal(run.obj, reason, message, self._meta(current["chartVersion"], current["configDigest"]))

    async def _release_failed(self, run: _Run, action: str, error: HelmFailure, recorded: bool) -> None:
        assert run.chart is not None
        chart = f"{run.chart.name}@{run.version}"
        message = f"Helm {action} failed for release {run.namespace}/{run.name} with chart {chart}: {str(error).strip()}"
        run.status["failures"] = int(run.status.get("failures", 0)) + 1
        self._released(run, "False", f"{action.title()}Failed", message)
        self._summarize(run)
        self._log(run.obj, message)
        meta = self._meta(run.version, values_digest(run.values))
        await self.recorder.warning(run.obj, f"{action.title()}Failed", message, meta)
        if not recorded:
            raise Retry(message)
        counter = f"{action}Failures"
        run.status[counter] = int(run.status.get(counter, 0)) + 1

    async def _do_rollback(self, run: _Run) -> None:
        previous = self._previous(run)
        assert previous is not None
        observed: dict[int, Release] = {}
        helm = self._helm(run, lambda release: observed.__setitem__(release.version, release.copy()))
        called = f"{_full_name(previous)} with chart {_chart_version(previous)}"
        meta = self._meta(previous["chartVersion"], values_digest(run.values))
        try:
            await helm.rollback(int(previous["version"]), _options(run, "rollback"))
        except HelmFailure as error:
            self._observe(run, observed)
            message = f"Helm rollback to previous release {called} failed: {error}"
            await self._remediated(run, "False", "RollbackFailed", message, meta)
            if not observed:
                raise Retry(message) from error
            return
        self._observe(run, observed)
        message = f"Helm rollback to previous release {called} succeeded"
        await self._remediated(run, "True", "RollbackSucceeded", message, meta)

    async def _do_uninstall(self, run: _Run) -> None:
        """Uninstall a release that could not be installed, to install it anew."""
        current = run.history[0]
        called = f"for release {_full_name(current)} with chart {_chart_version(current)}"
        meta = self._meta(current["chartVersion"], current["configDigest"])
        helm = self._helm(run, lambda release: self._observe_known(run, release))
        try:
            await helm.uninstall(_options(run, "uninstall"))
        except HelmFailure as error:
            message = f"Helm uninstall remediation {called} failed: {error}"
            await self._remediated(run, "False", "UninstallFailed", message, meta)
            return
        await self._remediated(run, "True", "UninstallSucceeded", f"Helm uninstall remediation {called} succeeded", meta)

    async def _remediated(self, run: _Run, status: str, reason: str, message: str, meta: Mapping[str, str]) -> None:
        flux.set_condition(run.obj, REMEDIATED, status, reason, message, self.clock.now())
        if status == "False":
            run.status["failures"] = int(run.status.get("failures", 0)) + 1
        self._summarize(run)
        await self.recorder.event(run.obj, "Normal" if status == "True" else "Warning", reason, message, meta)

    async def _do_unlock(self, run: _Run) -> None:
        """A release that was left pending (the controller died in the middle) becomes a failed one."""
        helm = self._helm(run, lambda release: self._observe_known(run, release))
        last = await helm.storage.last(run.name)
        if last is None or last.status not in releases.PENDING:
            return
        pending = last.status
        last.set_status(releases.FAILED, f"Release unlocked from stale '{pending}' state")
        await helm.storage.update(last)
        snapshot = _snapshot(last, "")
        called = f"{_full_name(snapshot)} with chart {_chart_version(snapshot)}"
        message = f"Unlocked Helm release {called} in {pending} state"
        self._released(run, "False", "PendingRelease", message)
        self._summarize(run)
        meta = self._meta(snapshot["chartVersion"], snapshot["configDigest"])
        await self.recorder.normal(run.obj, "PendingRelease", message, meta)

    async def _do_correct(self, run: _Run) -> None:
        helm = self._helm(run)
        last = await helm.storage.last(run.name)
        assert last is not None
        changes = await find_changes(helm, last, run.section("driftDetection").get("ignore") or ())
        release = _full_name(run.history[0])
        try:
            await correct(helm, changes)
        except HelmFailure as error:
            message = f"Failed to correct cluster state of release {release}:\n{error}"
            await self.recorder.warning(run.obj, "DriftCorrectionFailed", message)
            return
        message = f"Cluster state of release {release} has been corrected:\n{summary(changes)}"
        await self.recorder.normal(run.obj, "DriftCorrected", message)

    async def _apply_crds(self, run: _Run, action: str) -> None:
        """The CRDs of the chart's `crds/`, which are no part of the release."""
        assert run.chart is not None
        policy = run.section(action).get("crds") or ("Create" if action == "install" else "Skip")
        if policy == "Skip" or run.section(action).get("skipCRDs"):
            return
        labels = {f"{GROUP}/name": run.obj["metadata"]["name"], f"{GROUP}/namespace": run.obj["metadata"]["namespace"]}
        applied = []
        for file in run.chart.crds:
            for crd in manifests.objects_of(str(file["data"])):
                if crd.get("kind") != "CustomResourceDefinition":
                    continue
                name = crd["metadata"]["name"]
                if policy == "Create" and await run.kube.find(crd["apiVersion"], crd["kind"], name) is not None:
                    continue
                crd["metadata"]["labels"] = {**(crd["metadata"].get("labels") or {}), **labels}
                try:
                    await run.kube.apply(crd, MANAGER, force=True)
                except ApiError as error:
                    text = f"failed to create CustomResourceDefinition {name}: {error}"
                    raise HelmFailure(f"failed to apply CustomResourceDefinitions: {text}") from error
                applied.append(crd)
        if applied:
            await _Waiter(run.kube, self.clock).ready(applied, run.timeout(action), jobs=False)
            run.kube.forget_mappings()

    # --- bookkeeping -------------------------------------------------------------------------------------------------

    def _helm(self, run: _Run, observe: Any = None) -> Helm:
        storage = Storage(run.kube, self.clock, run.status.get("storageNamespace") or run.storage_namespace)
        if observe is not None:
            storage.observe = observe
        return Helm(run.kube, self.clock, storage, _Waiter(run.kube, self.clock), run.name, run.namespace, MANAGER)

    def _observe(self, run: _Run, observed: Mapping[int, Release]) -> None:
        """Take what was written to the storage into the history: the newest as new, older ones as they changed."""
        for version in sorted(observed):
            known = next((s for s in run.history if int(s["version"]) == version), None)
            digest = known.get("ociDigest", "") if known else run.status.get("lastAttemptedRevisionDigest", "")
            snapshot = _snapshot(observed[version], digest)
            if known is not None:
                known.clear()
                known.update(snapshot)
            elif version == max(observed):
                run.history.insert(0, snapshot)
        _ = run.history

    def _observe_known(self, run: _Run, release: Release) -> None:
        for snapshot in run.history:
            same = (snapshot["name"], snapshot["namespace"], int(snapshot["version"]))
            if same == (release.name, release.namespace, release.version):
                digest = snapshot.get("ociDigest", "")
                snapshot.clear()
                snapshot.update(_snapshot(release, digest))

    def _released(self, run: _Run, status: str, reason: str, message: str) -> None:
        flux.set_condition(run.obj, RELEASED, status, reason, message, self.clock.now())

    def _summarize(self, run: _Run) -> None:
        """Ready is what the remediation, else the release, says; a remediated release is not ready."""
        found = [c for kind in (REMEDIATED, RELEASED) if (c := flux.condition(run.obj, kind)) is not None]
        found.sort(key=lambda condition: -condition.get("observedGeneration", 0))
        if found:
            top = found[0]
            status = "False" if top["type"] == REMEDIATED else top["status"]
            if status == "True":
                flux.delete_condition(run.obj, flux.STALLED)
            flux.set_condition(run.obj, flux.READY, status, top["reason"], top["message"], self.clock.now())
        digest = _renderers_digest(run.spec)
        if digest:
            run.status["observedPostRenderersDigest"] = digest
        else:
            run.status.pop("observedPostRenderersDigest", None)

    def _meta(self, revision: str, token: str) -> dict[str, str]:
        return {f"{GROUP}/revision": revision, f"{GROUP}/token": token}

    # --- remediation -------------------------------------------------------------------------------------------------

    def _is_upgrade(self, run: _Run) -> bool:
        return bool(run.status.get("lastAttemptedReleaseAction") == "upgrade")

    def _counter(self, run: _Run) -> str:
        return "upgradeFailures" if self._is_upgrade(run) else "installFailures"

    def _remediation(self, run: _Run) -> Object:
        found: Object = run.section("upgrade" if self._is_upgrade(run) else "install").get("remediation") or {}
        return found

    def _exhausted(self, run: _Run) -> bool:
        return self._counter_exhausted(run, "upgrade" if self._is_upgrade(run) else "install")

    def _counter_exhausted(self, run: _Run, action: str) -> bool:
        retries = int((run.section(action).get("remediation") or {}).get("retries", 0))
        return retries >= 0 and int(run.status.get(f"{action}Failures", 0)) > retries

    def _remediates_last(self, run: _Run) -> bool:
        remediation = self._remediation(run)
        wanted = remediation.get("remediateLastFailure")
        return bool(wanted) if wanted is not None else self._is_upgrade(run) and int(remediation.get("retries", 0)) > 0

    def _strategy(self, run: _Run) -> str:
        return str(self._remediation(run).get("strategy") or "rollback") if self._is_upgrade(run) else "uninstall"

    def _previous(self, run: _Run) -> Object | None:
        return next((s for s in run.history[1:] if s["status"] in (releases.DEPLOYED, releases.SUPERSEDED)), None)

    # --- deletion ----------------------------------------------------------------------------------------------------

    async def _finalize(self, obj: Object) -> None:
        if not flux.has_finalizer(obj):
            return
        run = _Run(obj, flux.draft(obj), self.kube)
        if not obj["spec"].get("suspend"):
            try:
                if run.status.get("storageNamespace"):
                    try:
                        run.kube = await self.identities.client(run.obj, self.default_service_account)
                        await self._uninstall(run)
                    except AccessError as error:
                        if not error.not_found:
                            self._not_ready(run, "UninstallFailed", str(error))
                            raise Retry(str(error)) from error
                        self._log(obj, f"skipping Helm release uninstallation: {error}")
                if run.status.get("helmChart"):
                    await self._delete_chart(run)
            finally:
                await self._write(run)
        await flux.remove_finalizer(self.kube, run.before, MANAGER)

    async def _uninstall(self, run: _Run) -> None:
        if not run.history:
            return
        current = run.history[0]
        called = f"for release {_full_name(current)} with chart {_chart_version(current)}"
        meta = self._meta(current["chartVersion"], current["configDigest"])
        helm = self._helm(run, lambda release: self._observe_known(run, release))
        helm.name, helm.namespace = current["name"], current["namespace"]
        try:
            await helm.uninstall(_options(run, "uninstall"))
        except NotFound:
            message = f"Release {_full_name(current)} was not found, assuming it is uninstalled"
            self._released(run, "False", "UninstallSucceeded", message)
            self._summarize(run)
            return
        except HelmFailure as error:
            if run.section("uninstall").get("keepHistory") and "is already deleted" in str(error):
                message = f"Release {_full_name(current)} was already uninstalled"
                self._released(run, "False", "UninstallSucceeded", message)
                self._summarize(run)
                return
            message = f"Helm uninstall failed {called}: {error}"
            run.status["failures"] = int(run.status.get("failures", 0)) + 1
            self._released(run, "False", "UninstallFailed", message)
            self._summarize(run)
            self._log(run.obj, message)
            await self.recorder.warning(run.obj, "UninstallFailed", message, meta)
            raise Retry(message) from error
        message = f"Helm uninstall succeeded {called}"
        self._released(run, "False", "UninstallSucceeded", message)
        self._summarize(run)
        self._log(run.obj, message)
        await self.recorder.normal(run.obj, "UninstallSucceeded", message, meta)


@dataclass(frozen=True)
class Action:
    """A step of a release: its name in messages, what kind it is, and the spec's section with its timeout."""

    name: str
    kind: str
    section: str


INSTALL = Action("install", "release", "install")
UPGRADE = Action("upgrade", "release", "upgrade")
ROLLBACK = Action("rollback", "remediate", "rollback")
UNINSTALL_REMEDIATION = Action("uninstall", "remediate", "uninstall")
UNLOCK = Action("unlock", "unlock", "")
CORRECT = Action("correct", "drift correction", "")


class ValuesError(Exception):
    """fluxcd/pkg/chartutil.ErrValuesReference."""

    def __init__(self, reference: Mapping[str, Any], namespace: str, problem: str) -> None:
        optional = " optional" if reference.get("optional") else ""
        name, key = f"{namespace}/{reference['name']}", reference.get("valuesKey") or "values.yaml"
        super().__init__(
            f"could not resolve{optional} {reference['kind']} chart values reference '{name}' with key '{key}': {problem}"
        )


class _Waiter:
    """Waits by kstatus, as helm-controller's own waiter does."""

    def __init__(self, kube: KubeClient, clock: Any) -> None:
        self._manager = ssa.ResourceManager(kube, clock, MANAGER, GROUP)

    async def ready(self, objects: list[Object], timeout: float, jobs: bool) -> None:
        waited = [obj for obj in objects if jobs or obj["kind"] != "Job"]
        await self._wait(waited, timeout, fail_fast=True)

    async def hook(self, objects: list[Object], timeout: float) -> None:
        """Jobs and Pods run to their end; all else is done when it is there."""
        await self._wait([obj for obj in objects if obj["kind"] in ("Job", "Pod")], timeout, fail_fast=False)

    async def gone(self, objects: list[Object], timeout: float) -> None:
        try:
            await self._manager.wait_gone(_refs(objects), timeout)
        except ssa.ApplyError as error:
            raise HelmFailure(str(error)) from error

    async def _wait(self, objects: list[Object], timeout: float, fail_fast: bool) -> None:
        refs = _refs(objects)
        try:
            await self._manager.wait(refs, refs, timeout, fail_fast=fail_fast)
        except ssa.ApplyError as error:
            raise HelmFailure(str(error)) from error


def values_digest(values: Mapping[str, Any]) -> str:
    """The digest of values as YAML with sorted keys; that of nothing, if there are none."""
    return "sha256:" + hashlib.sha256(dump(dict(values)).encode() if values else b"").hexdigest()


def _renderers_digest(spec: Mapping[str, Any]) -> str:
    renderers = spec.get("postRenderers")
    if renderers is None:
        return ""
    return "sha256:" + hashlib.sha256(json.dumps(renderers, sort_keys=True).encode()).hexdigest()


def _options(run: _Run, section: str) -> Options:
    spec, created = run.section(section), bool(run.spec.get("targetNamespace"))
    return Options(
        timeout=run.timeout(section),
        wait=not spec.get("disableWait"),
        wait_for_jobs=not spec.get("disableWaitForJobs"),
        hooks=not spec.get("disableHooks"),
        take_ownership=not spec.get("disableTakeOwnership"),
        create_namespace=created and bool(spec.get("createNamespace")),
        replace=bool(spec.get("replace")),
        cleanup_on_fail=bool(spec.get("cleanupOnFail")),
        keep_history=bool(spec.get("keepHistory")),
        propagation=spec.get("deletionPropagation") or "background",
        preserve_values=bool(spec.get("preserveValues")),
        max_history=int(run.spec.get("maxHistory", 5)),
    )


def _snapshot(release: Release, oci_digest: str) -> Object:
    """What the status remembers of a release; the digest covers all of it."""
    metadata, info = release.chart_metadata, release.info
    observed = {
        "name": release.name,
        "namespace": release.namespace,
        "version": release.version,
        "info": info,
        "chartMetadata": metadata,
        "config": release.config,
        "manifest": release.manifest,
        "hooks": release.hooks,
        "ociDigest": oci_digest,
    }
    digest = hashlib.sha256(json.dumps(observed, sort_keys=True).encode()).hexdigest()
    snapshot: Object = {
        "digest": f"sha256:{digest}",
        "name": release.name,
        "namespace": release.namespace,
        "version": release.version,
        "status": release.status,
        "chartName": metadata.get("name", ""),
        "chartVersion": metadata.get("version", ""),
        "configDigest": values_digest(release.config),
        "firstDeployed": _second(info.get("first_deployed", "")),
        "lastDeployed": _second(info.get("last_deployed", "")),
    }
    optional = {"appVersion": metadata.get("appVersion"), "deleted": _second(info.get("deleted", "")), "ociDigest": oci_digest}
    return snapshot | {name: str(value) for name, value in optional.items() if value}


def _second(moment: str) -> str:
    """A time to the second, as Kubernetes writes it."""
    return moment.partition(".")[0].rstrip("Z") + "Z" if moment else ""


def _matches(snapshot: Mapping[str, Any], release: Release) -> bool:
    """Whether a release in the storage is the one that the status remembers."""
    return bool(_snapshot(release, str(snapshot.get("ociDigest", "")))["digest"] == snapshot.get("digest"))


def _truncate(run: _Run) -> None:
    """Keep the history down to the last release that could be rolled back to."""
    history = run.history
    for index, snapshot in enumerate(history[1:], start=1):
        if snapshot["status"] in (releases.DEPLOYED, releases.SUPERSEDED):
            run.status["history"] = history[: index + 1]
            return
    run.status["history"] = history[:5]


def _full_name(snapshot: Mapping[str, Any]) -> str:
    return f"{snapshot['namespace']}/{snapshot['name']}.v{snapshot['version']}"


def _chart_version(snapshot: Mapping[str, Any]) -> str:
    return f"{snapshot['chartName']}@{snapshot['chartVersion']}"


def _succeeded(action: str, snapshot: Mapping[str, Any]) -> str:
    return f"Helm {action} succeeded for release {_full_name(snapshot)} with chart {_chart_version(snapshot)}"


def _refs(objects: list[Object]) -> dict[ssa.Ref, str]:
    return {ssa.ref_of(obj): obj["apiVersion"].rpartition("/")[2] for obj in objects}


def _handles(obj: Object, annotation: str, field_name: str) -> bool:
    """Whether `annotation` asks for what this request has not been given yet; notes it as handled."""
    annotations = obj["metadata"].get("annotations") or {}
    value = annotations.get(annotation, "")
    last = obj["status"].get(field_name, "")
    if value:
        obj["status"][field_name] = value
    wanted = value and value != last and value == annotations.get(flux.REQUESTED_AT)
    return bool(wanted) and flux.is_requested(obj)


def _set_path(values: Object, path: str, text: str) -> Object:
    """`values` with `text` at a `--set` path; quoted text stays a string."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return merge_values(values, set_value(f"{path}={text[1:-1]}", as_string=True))
    return merge_values(values, set_value(f"{path}={text}"))


def _is_semver(tag: str) -> bool:
    parts = tag.lstrip("v").split("-")[0].split("_")[0].split("+")[0].split(".")
    return len(parts) == 3 and all(part.isdigit() for part in parts)


def _wakes(obj: Object, old: Object) -> bool:
    new, before = obj["metadata"], old["metadata"]
    return (
        new.get("generation") != before.get("generation")
        or new.get("deletionTimestamp") != before.get("deletionTimestamp")
        or flux.requested_at(obj) != flux.requested_at(old)
    )


def _chart_name(obj: Object) -> tuple[str, str]:
    """Namespace and name of the HelmChart of a chart template."""
    metadata = obj["metadata"]
    reference = obj["spec"]["chart"]["spec"]["sourceRef"]
    return reference.get("namespace") or metadata["namespace"], f"{metadata['namespace']}-{metadata['name']}"


def _source_of(obj: Object) -> tuple[str, str, str]:
    """Kind, namespace and name of the object that has the chart as an artifact."""
    reference = obj["spec"].get("chartRef")
    if reference:
        return reference["kind"], reference.get("namespace") or obj["metadata"]["namespace"], reference["name"]
    if not obj["spec"].get("chart"):
        return "", "", ""
    return ("HelmChart", *_chart_name(obj))


def _denial(kind: str, namespace: str, name: str) -> str:
    return f"cross-namespace references are not allowed: cannot access {kind} {namespace}/{name}"


def _source_state(source: Object) -> tuple[Any, ...]:
    status = source.get("status") or {}
    ready = flux.condition(source, flux.READY) or {}
    revision = (status.get("artifact") or {}).get("revision")
    return revision, ready.get("status"), ready.get("message"), status.get("observedGeneration")


def _source_problem(source: Object) -> str:
    status = source.get("status") or {}
    if source["metadata"].get("generation") != status.get("observedGeneration"):
        ready = flux.condition(source, flux.READY)
        if ready is not None and ready["status"] == "False":
            return str(ready["message"])
        return "latest generation of object has not been reconciled"
    if flux.is_true(source, flux.STALLED):
        return str((flux.condition(source, flux.STALLED) or {}).get("message", ""))
    return "" if status.get("artifact") else "does not have an artifact"


def _helm_chart(obj: Object, labels: Mapping[str, str]) -> Object:
    template = obj["spec"]["chart"]
    spec, metadata = template["spec"], template.get("metadata") or {}
    namespace, name = _chart_name(obj)
    source = {part: spec["sourceRef"][part] for part in ("kind", "name")}
    copied = ("chart", "version", "reconcileStrategy", "valuesFiles", "ignoreMissingValuesFiles", "verify")
    found: Object = {
        "apiVersion": SOURCE_API,
        "kind": "HelmChart",
        "metadata": {"name": name, "namespace": namespace, "labels": {**(metadata.get("labels") or {}), **labels}},
        "spec": {part: spec[part] for part in copied if part in spec}
        | {"sourceRef": source, "interval": spec.get("interval") or obj["spec"]["interval"]},
    }
    if metadata.get("annotations"):
        found["metadata"]["annotations"] = dict(metadata["annotations"])
    return found
