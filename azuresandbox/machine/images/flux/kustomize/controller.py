"""The reconciliation of Kustomizations, step by step. Each step is a module of this package."""

from __future__ import annotations

from collections.abc import Mapping

from azuresandbox.machine.durations import go_duration, seconds
from azuresandbox.machine.images.flux import conditions, objects
from azuresandbox.machine.images.flux.access import AccessError
from azuresandbox.machine.images.flux.conditions import READY
from azuresandbox.machine.images.flux.kustomize import applying, building, source, texts
from azuresandbox.machine.images.flux.kustomize.run import API, GROUP, KIND, MANAGER, Failure, Run, Stalled
from azuresandbox.machine.images.flux.reconciler import Reconciler, serve
from azuresandbox.machine.images.flux.registries import images
from azuresandbox.machine.images.flux.ssa.manager import ResourceManager
from azuresandbox.machine.images.flux.ssa.refs import DELETED, Ref
from azuresandbox.machine.images.flux.ssa.wait import ApplyError
from azuresandbox.machine.node.program import Pod, image
from azuresandbox.machine.types import Object


@image(*images("kustomize-controller"))
async def program(pod: Pod) -> None:
    """Run kustomize-controller until its Pod is stopped."""
    await serve(pod, KustomizationController)


class KustomizationController(Reconciler):
    """Reconciles Kustomizations."""

    api_version, kind, manager = API, KIND, MANAGER
    sources = source.SOURCES
    suspended = texts.SUSPENDED().message

    # --- triggers ----------------------------------------------------------------------------------------------------

    def became_ready(self, obj: Object, old: Object) -> bool:
        if not conditions.is_true(obj, READY):
            return False
        new, before = obj.get("status") or {}, old.get("status") or {}
        same = all(new.get(name) == before.get(name) for name in ("lastAppliedRevision", "observedGeneration"))
        return not (same and conditions.is_true(old, READY))

    def is_new(self, source_: Object, old: Object | None) -> bool:
        revision = source.revision(source_)
        return revision is not None and revision != source.revision(old or {})

    def is_concerned(self, obj: Object, source_: Object) -> bool:
        metadata = source_["metadata"]
        if source.source_of(obj) != (source_["kind"], metadata["namespace"], metadata["name"]):
            return False
        attempted = (obj.get("status") or {}).get("lastAttemptedRevision")
        return not (conditions.is_true(obj, READY) and attempted == source.revision(source_))

    # --- one reconciliation ------------------------------------------------------------------------------------------

    async def reconcile_object(self, obj: Object) -> float | None:
        now = self.pod.clock.now().timestamp()
        run = Run(self.pod, self.recorder, obj, objects.draft(obj), self.settings, started=now)
        again: float | None = seconds(run.spec["interval"])
        try:
            await _reconcile(run)
        except Stalled as stalled:
            _fail(run, stalled)
            conditions.mark_stalled(run.obj, *stalled.said, run.clock.now())
            run.observe_generation()
            await run.event("Warning", stalled.said.message)
            again = None
        except Failure as failure:
            _fail(run, failure)
            again = seconds(run.retry_interval) if failure.again is None else failure.again
            if failure.event:
                await run.event("Normal", failure.event)
            elif not failure.silent:
                await run.event("Warning", failure.said.message)
        await _finish(run)
        return again

    async def finalize(self, obj: Object) -> None:
        """Delete the objects of the inventory, if the deletion policy says so."""
        refs = applying.inventory(obj)
        policy = obj["spec"].get("deletionPolicy") or "MirrorPrune"
        deletes = policy in ("Delete", "WaitForTermination") or (policy == "MirrorPrune" and obj["spec"].get("prune"))
        if refs and deletes and not obj["spec"].get("suspend"):
            await _delete_inventory(Run(self.pod, self.recorder, obj, obj, self.settings), refs, policy)
        await objects.remove_finalizer(self.pod.kube, obj, MANAGER)


async def _reconcile(run: Run) -> None:
    """Fetch, build and apply the source's revision. Raises `Failure`."""
    building.refuse_unsupported(run.spec)
    run.source = await source.find(run)
    run.settled = run.is_settled()
    await source.check_dependencies(run)
    await run.progress(texts.FETCHING)
    files = await source.fetch(run)
    folder = building.folder_name(run)
    path = building.clean_path(run.spec.get("path") or "")
    if path and not any(name.startswith(path + "/") for name in files) and path not in files:
        raise Failure(texts.NO_PATH(folder=folder, path=path))
    run.status["lastAttemptedRevision"] = run.revision
    await run.progress(texts.BUILDING)
    try:
        kube = await run.impersonate()
    except AccessError as error:
        raise Failure(texts.NO_CLIENT(error=error)) from error
    built = await building.build(run, files, path, folder)
    manager = ResourceManager(kube, run.clock, MANAGER, GROUP)
    building.set_owner(run, built, manager.owner_labels(run.name, run.namespace))
    await run.progress(texts.DETECTING)
    await applying.apply(run, manager, built)
    _succeed(run)


def _succeed(run: Run) -> None:
    run.status["lastAppliedRevision"] = run.revision
    if run.origin:
        run.status["lastAppliedOriginRevision"] = run.origin
    run.mark(READY, "True", *texts.APPLIED(revision=run.revision))


def _fail(run: Run, failure: Failure) -> None:
    if failure.again is None:
        again = _canonical(run.retry_interval)
        said = texts.RECONCILIATION_FAILED(took=run.since(run.started), again=again)
        run.log(said.message, error=failure.said.message)
    else:
        run.log(failure.said.message)
    run.mark(READY, "False", *failure.said)
    conditions.mark_retrying(run.obj, run.clock.now())


async def _finish(run: Run) -> None:
    """Write the status, and announce a success unless the revision was applied before."""
    objects.record_request(run.obj)
    if conditions.is_true(run.obj, READY):
        conditions.remove(run.obj, conditions.RECONCILING)
        run.observe_generation()
    await run.write()
    if conditions.is_true(run.obj, READY) and not run.settled:
        again = _canonical(run.spec["interval"])
        said = texts.FINISHED(took=run.since(run.started), again=again)
        run.log(said.message)
        await run.event("Normal", said.message, {f"{GROUP}/commit_status": "update"})


async def _delete_inventory(run: Run, refs: Mapping[Ref, str], policy: str) -> None:
    """Delete the objects of a deleted Kustomization. Raises `ApplyError`."""
    try:
        kube = await run.impersonate()
    except AccessError as error:
        run.log(texts.NO_ACCOUNT(error=error).message)
        await run.event("Warning", texts.NOT_PRUNABLE(subjects="\n".join(ref.subject for ref in refs)).message)
        return
    manager = ResourceManager(kube, run.clock, MANAGER, GROUP)
    labels = manager.owner_labels(run.name, run.namespace)
    entries, failure = await manager.delete_all(refs, labels, applying.NEVER_PRUNED)
    if failure is not None:
        await run.event("Warning", texts.DELETION_FAILED().message)
        raise failure
    if entries:
        await run.event("Normal", "\n".join(str(entry) for entry in entries))
    if policy == "WaitForTermination":
        deleted = {entry.ref: entry.version for entry in entries if entry.action == DELETED}
        try:
            await manager.wait_gone(deleted, run.timeout)
        except ApplyError as late:
            run.log(texts.NOT_TERMINATED_LOG(error=late).message)
            await run.event("Warning", texts.NOT_TERMINATED().message)


def _canonical(duration: str) -> str:
    """Return a duration in the form in which Go prints it."""
    return go_duration(seconds(duration))
