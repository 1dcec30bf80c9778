"""The actions on a release: Helm's work, then the history, the conditions and the event."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from azuresandbox.machine.client import ApiError
from azuresandbox.machine.helm import manifests, releases
from azuresandbox.machine.helm.actions import Helm, NotFound, Options
from azuresandbox.machine.helm.releases import Release, Storage
from azuresandbox.machine.helm.resources import HelmFailure
from azuresandbox.machine.images.flux import conditions
from azuresandbox.machine.images.flux.helm import drift, outcome, snapshots, texts
from azuresandbox.machine.images.flux.helm.postrender import post_renderer
from azuresandbox.machine.images.flux.helm.run import GROUP, MANAGER, REMEDIATED, TESTED, Retry, Run
from azuresandbox.machine.images.flux.helm.snapshots import chart_version, full_name
from azuresandbox.machine.images.flux.helm.waiter import KstatusWaiter
from azuresandbox.machine.images.flux.texts import Said
from azuresandbox.machine.types import Object

Observe = Callable[[Release], None]


def helm(run: Run, observe: Observe | None = None) -> Helm:
    """Return Helm for the run's release. `observe` is called with each release that is written."""
    return _helm(run, run.release_name, run.release_namespace, observe)


def _helm(run: Run, name: str, namespace: str, observe: Observe | None) -> Helm:
    storage = Storage(run.client, run.clock, run.status.get("storageNamespace") or run.storage_namespace)
    if observe is not None:
        storage.observe = observe
    return Helm(run.client, run.clock, storage, KstatusWaiter(run.client, run.clock), name, namespace, MANAGER)


def options(run: Run, section: str) -> Options:
    """Read the options of an action from its section of the spec."""
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


# --- install and upgrade ---------------------------------------------------------------------------------------------


async def install(run: Run) -> None:
    run.status["history"] = []
    await _release(run, "install")


async def upgrade(run: Run) -> None:
    await _release(run, "upgrade")


async def _release(run: Run, action: str) -> None:
    """Install or upgrade. A failure that Helm has recorded is counted; raises `Retry` for one that it has not."""
    run.status["lastAttemptedReleaseAction"] = action
    conditions.remove(run.obj, TESTED, REMEDIATED)
    written: dict[int, Release] = {}
    client = helm(run, _collect(written))
    transform = post_renderer(run.spec, run.name, run.namespace)
    try:
        await _apply_crds(run, action)
        act = client.install if action == "install" else client.upgrade
        await act(run.chart, run.version, run.values, transform, options(run, action))
    except HelmFailure as error:
        snapshots.record(run, written)
        await _release_failed(run, action, error, recorded=bool(written))
        return
    snapshots.record(run, written)
    current = run.history[0]
    said = succeeded(action, current)
    outcome.released(run, "True", said)
    run.log(said.message)
    await run.recorder.normal(run.obj, *said, snapshots.annotations_of(current))


async def _release_failed(run: Run, action: str, error: HelmFailure, recorded: bool) -> None:
    release, chart = f"{run.release_namespace}/{run.release_name}", f"{run.chart.name}@{run.version}"
    said = texts.FAILED[action](release=release, chart=chart, error=str(error).strip())
    run.count("failures")
    outcome.released(run, "False", said)
    run.log(said.message)
    annotations = snapshots.event_annotations(run.version, snapshots.values_digest(run.values))
    await run.recorder.warning(run.obj, *said, annotations)
    if not recorded:
        raise Retry(said.message)
    run.count(f"{action}Failures")


def succeeded(action: str, snapshot: Object) -> Said:
    """Return the text of a successful install or upgrade."""
    return texts.SUCCEEDED[action](**_called(snapshot))


async def _apply_crds(run: Run, action: str) -> None:
    """Apply the definitions in the chart's `crds/`, which do not belong to the release, and wait for them."""
    policy = run.section(action).get("crds") or ("Create" if action == "install" else "Skip")
    if policy == "Skip" or run.section(action).get("skipCRDs"):
        return
    applied = []
    for file in run.chart.crds:
        for crd in manifests.objects_of(str(file["data"])):
            if crd.get("kind") == "CustomResourceDefinition" and await _apply_crd(run, crd, policy):
                applied.append(crd)
    if applied:
        await KstatusWaiter(run.client, run.clock).ready(applied, run.timeout(action), jobs=False)
        run.client.forget_mappings()


async def _apply_crd(run: Run, crd: Object, policy: str) -> bool:
    """Apply a definition, unless it exists and the policy is to create only. Returns whether it was applied."""
    name = crd["metadata"]["name"]
    if policy == "Create" and await run.client.find(crd["apiVersion"], crd["kind"], name) is not None:
        return False
    labels = {f"{GROUP}/name": run.name, f"{GROUP}/namespace": run.namespace}
    crd["metadata"]["labels"] = {**(crd["metadata"].get("labels") or {}), **labels}
    try:
        await run.client.apply(crd, MANAGER, force=True)
    except ApiError as error:
        raise HelmFailure(texts.CRDS_NOT_APPLIED(name=name, error=error).message) from error
    return True


# --- remediation -----------------------------------------------------------------------------------------------------


async def roll_back(run: Run) -> None:
    """Roll back to the previous release. Raises `Retry` if that fails before Helm has recorded it."""
    target = snapshots.previous(run)
    assert target is not None
    written: dict[int, Release] = {}
    client = helm(run, _collect(written))
    annotations = snapshots.event_annotations(target["chartVersion"], snapshots.values_digest(run.values))
    try:
        await client.rollback(int(target["version"]), options(run, "rollback"))
    except HelmFailure as error:
        snapshots.record(run, written)
        said = texts.ROLLBACK_FAILED(**_called(target), error=error)
        await outcome.remediated(run, "False", said, annotations)
        if not written:
            raise Retry(said.message) from error
        return
    snapshots.record(run, written)
    await outcome.remediated(run, "True", texts.ROLLED_BACK(**_called(target)), annotations)


async def uninstall_failed(run: Run) -> None:
    """Uninstall a failed release, before it is installed again."""
    current = run.history[0]
    called, annotations = _called(current), snapshots.annotations_of(current)
    try:
        await helm(run, lambda release: snapshots.update(run, release)).uninstall(options(run, "uninstall"))
    except HelmFailure as error:
        said = texts.UNINSTALL_REMEDIATION_FAILED(**called, error=error)
        await outcome.remediated(run, "False", said, annotations)
        return
    await outcome.remediated(run, "True", texts.REMEDIATED_BY_UNINSTALL(**called), annotations)


async def unlock(run: Run) -> None:
    """Mark a pending release as failed: the controller was stopped in the middle of an action."""
    client = helm(run, lambda release: snapshots.update(run, release))
    last = await client.storage.last(run.release_name)
    if last is None or last.status not in releases.PENDING:
        return
    pending = last.status
    last.set_status(releases.FAILED, f"Release unlocked from stale '{pending}' state")
    await client.storage.update(last)
    snapshot = snapshots.take(last, "")
    said = texts.UNLOCKED(**_called(snapshot), status=pending)
    outcome.released(run, "False", said)
    await run.recorder.normal(run.obj, *said, snapshots.annotations_of(snapshot))


async def correct_drift(run: Run) -> None:
    """Apply the objects that have drifted."""
    client = helm(run)
    last = await client.storage.last(run.release_name)
    assert last is not None
    changes = await drift.find_changes(client, last, run.section("driftDetection").get("ignore") or ())
    release = full_name(run.history[0])
    try:
        await drift.correct(client, changes)
    except HelmFailure as error:
        await run.recorder.warning(run.obj, *texts.NOT_CORRECTED(release=release, error=error))
        return
    await run.recorder.normal(run.obj, *texts.CORRECTED(release=release, changes=drift.summary(changes)))


# --- uninstall -------------------------------------------------------------------------------------------------------


async def uninstall(run: Run) -> None:
    """Uninstall the newest release of the history, if there is one. Raises `Retry`."""
    if not run.history:
        return
    current = run.history[0]
    called, annotations = _called(current), snapshots.annotations_of(current)
    client = _helm(run, current["name"], current["namespace"], lambda release: snapshots.update(run, release))
    try:
        await client.uninstall(options(run, "uninstall"))
    except NotFound:
        outcome.released(run, "False", texts.RELEASE_NOT_FOUND(release=full_name(current)))
        return
    except HelmFailure as error:
        if run.section("uninstall").get("keepHistory") and "is already deleted" in str(error):
            outcome.released(run, "False", texts.UNINSTALLED_BEFORE(release=full_name(current)))
            return
        said = texts.UNINSTALL_FAILED(**called, error=error)
        run.count("failures")
        outcome.released(run, "False", said)
        run.log(said.message)
        await run.recorder.warning(run.obj, *said, annotations)
        raise Retry(said.message) from error
    said = texts.UNINSTALLED(**called)
    outcome.released(run, "False", said)
    run.log(said.message)
    await run.recorder.normal(run.obj, *said, annotations)


# --- the table of actions --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Action:
    """A step of a release. `name` is used in messages, `section` is the part of the spec that has its timeout.

    A reconciliation performs only one action of each `kind`.
    """

    name: str
    kind: str
    section: str
    perform: Callable[[Run], Awaitable[None]]


INSTALL = Action("install", "release", "install", install)
UPGRADE = Action("upgrade", "release", "upgrade", upgrade)
ROLLBACK = Action("rollback", "remediate", "rollback", roll_back)
UNINSTALL_REMEDIATION = Action("uninstall", "remediate", "uninstall", uninstall_failed)
UNLOCK = Action("unlock", "unlock", "", unlock)
CORRECT = Action("correct", "drift correction", "", correct_drift)


def _called(snapshot: Object) -> dict[str, str]:
    """Return the parts of a message that name a release and its chart."""
    return {"release": full_name(snapshot), "chart": chart_version(snapshot)}


def _collect(written: dict[int, Release]) -> Observe:
    """Return an observer that keeps a copy of each release that is written, by version."""

    def observe(release: Release) -> None:
        written[release.version] = release.copy()

    return observe
