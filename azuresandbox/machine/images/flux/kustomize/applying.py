"""Applies the objects of a Kustomization, keeps its inventory, prunes, and checks the health of the applied objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from azuresandbox.machine.images.flux import conditions
from azuresandbox.machine.images.flux.kustomize import texts
from azuresandbox.machine.images.flux.kustomize.run import GROUP, HEALTHY, KIND, MANAGER, Failure, Run
from azuresandbox.machine.images.flux.ssa.manager import Options, ResourceManager
from azuresandbox.machine.images.flux.ssa.refs import CONFIGURED, CREATED, DELETED, SKIPPED, Entry, Ref
from azuresandbox.machine.images.flux.ssa.wait import ApplyError
from azuresandbox.machine.types import Object, Objects

NEVER_PRUNED = {f"{GROUP}/prune": "disabled", f"{GROUP}/reconcile": "disabled"}
_UNDO = (("kubectl", "Apply"), ("kubectl", "Update"), ("before-first-apply", "Update"), (MANAGER, "Update"))
_OLD_ANNOTATIONS = (
    "kubectl.kubernetes.io/last-applied-configuration",
    "kustomize.toolkit.fluxcd.io/checksum",
    "fluxcd.io/sync-checksum",
)


async def apply(run: Run, manager: ResourceManager, objects: Objects) -> None:
    """Apply the objects, then prune and check health. Raises `Failure`."""
    for obj in objects:
        if obj["kind"] == "Secret" and "sops" in obj:
            metadata = obj["metadata"]
            raise Failure(texts.ENCRYPTED(namespace=metadata.get("namespace", ""), name=metadata["name"]))
    entries, error = await manager.apply_staged(objects, _options(run.spec))
    changes = [str(entry) for entry in entries if entry.action in (CREATED, CONFIGURED)]
    if error is not None:
        raise Failure(texts.NOT_APPLIED(error=error, changes="".join(f"{change}\n" for change in changes)))
    if changes:
        run.log(texts.APPLY_COMPLETED(changes=", ".join(changes)).message)
        await run.event("Normal", "\n".join(changes))
    stale = _stale(run.before, entries)
    run.status["inventory"] = {"entries": _inventory(entries)}
    if stale and run.spec.get("prune"):
        await _prune(run, manager, stale)
    await _check_health(run, manager, entries, drifted=bool(changes))


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


# --- inventory and pruning -------------------------------------------------------------------------------------------


def inventory(obj: Object) -> dict[Ref, str]:
    """Return the objects in a Kustomization's inventory, with the versions of their API groups."""
    entries = ((obj.get("status") or {}).get("inventory") or {}).get("entries") or ()
    return {Ref.parse(entry["id"]): entry["v"] for entry in entries}


def _inventory(entries: list[Entry]) -> Objects:
    return [{"id": entry.ref.id, "v": entry.version} for entry in entries]


def _stale(before: Object, entries: list[Entry]) -> dict[Ref, str]:
    """Return the objects of the last inventory that are not among the entries."""
    current = {entry.ref for entry in entries}
    return {ref: version for ref, version in inventory(before).items() if ref not in current}


async def _prune(run: Run, manager: ResourceManager, stale: Mapping[Ref, str]) -> None:
    entries, error = await manager.delete_all(stale, manager.owner_labels(run.name, run.namespace), NEVER_PRUNED)
    if error is not None:
        kept = [entry for entry in entries if entry.action not in (DELETED, SKIPPED)]
        run.status["inventory"]["entries"] += _inventory(kept)
        raise Failure(texts.NOT_PRUNED(error=error))
    if entries:
        text = "\n".join(str(entry) for entry in entries)
        run.log(texts.PRUNE_COMPLETED(changes=text).message)
        await run.event("Normal", text)


# --- health ----------------------------------------------------------------------------------------------------------


async def _check_health(run: Run, manager: ResourceManager, entries: list[Entry], drifted: bool) -> None:
    refs = _to_check(run, entries)
    if not refs:
        conditions.remove(run.obj, HEALTHY)
        return
    was_healthy = conditions.is_true(run.before, HEALTHY)
    started = run.clock.now().timestamp()
    if not run.settled:
        run.mark(HEALTHY, "Unknown", *run.step(texts.CHECKING))
        await run.progress(texts.CHECKING)
    fail_fast = "DisableFailFastBehavior=true" not in run.pod.flag("feature-gates", "")
    try:
        await manager.wait(refs, refs, run.timeout, fail_fast=fail_fast)
    except ApplyError as error:
        run.mark(HEALTHY, "False", *texts.UNHEALTHY(error=error))
        raise Failure(texts.HEALTH_CHECK_FAILED(took=run.since(started), error=error)) from error
    if was_healthy and run.settled:
        return
    said = texts.HEALTHY(took=run.since(started))
    is_new = run.status.get("lastAppliedRevision") != run.revision
    if not was_healthy or (is_new and drifted):
        await run.event("Normal", said.message)
    run.mark(HEALTHY, "True", *said)


def _to_check(run: Run, entries: list[Entry]) -> dict[Ref, str]:
    """Return the objects to wait for: with `spec.wait` all that were applied, else `spec.healthChecks`; never itself."""
    if run.spec.get("wait"):
        refs = {entry.ref: entry.version for entry in entries if entry.action != SKIPPED}
    else:
        refs = {}
        for check in run.spec.get("healthChecks") or ():
            group, _, version = (check.get("apiVersion") or "apps/v1").rpartition("/")
            refs[Ref(check.get("namespace") or "", check["name"], group, check["kind"])] = version
    own = (KIND, run.name, run.namespace)
    return {ref: version for ref, version in refs.items() if (ref.kind, ref.name, ref.namespace) != own}
