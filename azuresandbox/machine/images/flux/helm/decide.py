"""The next action on a release, from the release that Helm has stored, the history in the status, and the spec.

Source: fluxcd/helm-controller internal/reconcile (state.go, atomic_release.go, helmrelease.go).
"""

from __future__ import annotations

from azuresandbox.machine.helm import releases
from azuresandbox.machine.helm.actions import Helm
from azuresandbox.machine.helm.releases import Release
from azuresandbox.machine.images.flux import conditions
from azuresandbox.machine.images.flux.helm import drift, remediation, snapshots, texts
from azuresandbox.machine.images.flux.helm.actions import (
    CORRECT,
    INSTALL,
    ROLLBACK,
    UNINSTALL_REMEDIATION,
    UNLOCK,
    UPGRADE,
    Action,
    helm,
    succeeded,
)
from azuresandbox.machine.images.flux.helm.run import RELEASED, REMEDIATED, Retry, Run, Terminal


def note_attempt(run: Run) -> None:
    """Note the attempt in the status. Clears the failures if it differs from the last attempt, or if a reset is requested."""
    status, digest = run.status, snapshots.values_digest(run.values)
    changed = (
        status.get("lastAttemptedGeneration") != run.generation
        or status.get("lastAttemptedRevision") != run.version
        or (status.get("lastAttemptedConfigDigest") or digest) != digest
    )
    reset = run.take_reset()
    if changed or reset:
        run.clear_failures()
    status.update(
        storageNamespace=run.storage_namespace,
        lastAttemptedGeneration=run.generation,
        lastAttemptedRevision=run.version,
        lastAttemptedConfigDigest=digest,
    )


def target_changed(run: Run) -> bool:
    """Return whether the spec names another release, namespace, storage or chart than the current release has."""
    current = run.history[0] if run.history else None
    stored = run.status.get("storageNamespace")
    if current is None or not stored:
        return False
    same = (current["name"], current["namespace"], current["chartName"], stored)
    return same != (run.release_name, run.release_namespace, run.chart.name, run.storage_namespace)


async def next_action(run: Run) -> Action | None:
    """Return the next action, `None` if the release is as wanted. Raises `Terminal` or `Retry`."""
    client = helm(run)
    last = await client.storage.last(run.release_name)
    forced = run.take_force()
    if last is None or _is_uninstalled(run, last):
        return _install(run, forced)
    if last.status in releases.PENDING:
        return UNLOCK
    if not run.history:
        return UPGRADE
    if not snapshots.matches(run.history[0], last):
        run.log(texts.NOT_MANAGED().message)
        run.status["history"] = []
        return UPGRADE
    if last.status == releases.FAILED:
        return _after_failure(run, forced)
    if last.status != releases.DEPLOYED:
        problem = texts.STATUS_UNKNOWN(status=last.status).message
        run.not_ready(texts.STATE_UNKNOWN(problem=problem))
        raise Retry(problem)
    if _out_of_sync(run, last):
        if remediation.counter_exhausted(run, "upgrade") and not forced:
            remediation.stall(run)
        return UPGRADE
    return await _in_sync(run, client, last, forced)


def _is_uninstalled(run: Run, last: Release) -> bool:
    return last.status == releases.UNINSTALLED and (not run.history or snapshots.matches(run.history[0], last))


def _install(run: Run, forced: bool) -> Action:
    if remediation.counter_exhausted(run, "install") and not forced:
        remediation.stall(run)
    return INSTALL


def _after_failure(run: Run, forced: bool) -> Action:
    if run.failures(remediation.counter(run)) <= 0 or forced:
        return UPGRADE
    if remediation.exhausted(run) and not remediation.remediates_last(run):
        remediation.stall(run)
    if remediation.strategy(run) == remediation.UNINSTALL:
        return UNINSTALL_REMEDIATION
    if snapshots.previous(run) is None:
        said = texts.NO_ROLLBACK_TARGET()
        run.stall(said)
        raise Terminal(said.message)
    return ROLLBACK


def _out_of_sync(run: Run, last: Release) -> bool:
    """Return whether chart, values or post-renderers differ from those of the release."""
    metadata = last.chart_metadata
    if (metadata.get("name"), metadata.get("version")) != (run.chart.name, run.version):
        return True
    if run.history[0].get("configDigest") != snapshots.values_digest(run.values):
        return True
    if run.status.get("observedGeneration") != run.obj["metadata"].get("generation"):
        return bool(snapshots.renderers_digest(run.spec) != run.status.get("observedPostRenderersDigest", ""))
    return False


async def _in_sync(run: Run, client: Helm, last: Release, forced: bool) -> Action | None:
    """Look for drift, if the spec asks for it, and set the conditions of a release that is as wanted."""
    detection = run.section("driftDetection")
    mode = detection.get("mode", "disabled")
    if mode in ("enabled", "warn"):
        changes = await drift.find_changes(client, last, detection.get("ignore") or ())
        if changes:
            release = snapshots.full_name(run.history[0])
            await run.recorder.warning(run.obj, *texts.DRIFTED(release=release, changes=drift.summary(changes)))
            return CORRECT if mode == "enabled" else None
    snapshots.truncate(run)
    if forced:
        return UPGRADE
    _confirm(run)
    return None


def _confirm(run: Run) -> None:
    """Set Released to the success of the last action, if it was remediated or had failed and is in sync now."""
    current = run.history[0]
    if conditions.is_true(run.obj, REMEDIATED):
        conditions.remove(run.obj, REMEDIATED)
        run.mark(RELEASED, "True", *succeeded("upgrade", current))
    released = conditions.find(run.obj, RELEASED)
    if not conditions.is_true(run.obj, RELEASED) and released is not None:
        for action in ("install", "upgrade"):
            if released["reason"] == texts.FAILED[action].reason:
                run.mark(RELEASED, "True", *succeeded(action, current))
