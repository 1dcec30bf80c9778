"""The rules for the objects of all Flux controllers: finalizer, requests by annotation, dependencies, status writes.

The rules are those of fluxcd/pkg/runtime (reconcile, patch) and fluxcd/pkg/apis/meta.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from azuresandbox import trees
from azuresandbox.machine.client import ApiError, KubeClient
from azuresandbox.machine.images.flux import conditions
from azuresandbox.machine.types import Object

FINALIZER = "finalizers.fluxcd.io"
REQUESTED_AT = "reconcile.fluxcd.io/requestedAt"
FORCE_AT = "reconcile.fluxcd.io/forceAt"
RESET_AT = "reconcile.fluxcd.io/resetAt"


def draft(obj: Object) -> Object:
    """Return a copy to work on, with a status and its list of conditions."""
    copied = trees.copy(obj)
    copied.setdefault("status", {}).setdefault("conditions", [])
    return copied


# --- triggers --------------------------------------------------------------------------------------------------------


def triggers(obj: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the parts of an object that cause a reconciliation when they change: generation, request, deletion."""
    metadata = obj["metadata"]
    return metadata.get("generation"), requested_at(obj), metadata.get("deletionTimestamp")


def requested_at(obj: Mapping[str, Any]) -> str:
    """Return the value of `reconcile.fluxcd.io/requestedAt`, or ""."""
    return str((obj["metadata"].get("annotations") or {}).get(REQUESTED_AT, ""))


def is_requested(obj: Mapping[str, Any]) -> bool:
    """Return whether an annotation requests a reconciliation that has not been handled yet."""
    value = requested_at(obj)
    return bool(value) and value != obj.get("status", {}).get("lastHandledReconcileAt", "")


def record_request(obj: Object) -> None:
    """Note in the status that the request was handled, whether the reconciliation succeeded or not."""
    if value := requested_at(obj):
        obj["status"]["lastHandledReconcileAt"] = value


def take_request(obj: Object, annotation: str, handled: str) -> bool:
    """Return whether `annotation` has the value of an open request, and note that value in the status as `handled`."""
    annotations = obj["metadata"].get("annotations") or {}
    value = annotations.get(annotation, "")
    last = obj["status"].get(handled, "")
    if value:
        obj["status"][handled] = value
    wanted = value and value != last and value == annotations.get(REQUESTED_AT)
    return bool(wanted) and is_requested(obj)


# --- dependencies ----------------------------------------------------------------------------------------------------


def dependencies(obj: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (namespace, name) of each entry in `spec.dependsOn`."""
    for dependency in obj["spec"].get("dependsOn") or ():
        yield dependency.get("namespace") or obj["metadata"]["namespace"], dependency["name"]


def is_ready(obj: Mapping[str, Any]) -> bool:
    """Return whether an object is Ready at its current generation."""
    observed = (obj.get("status") or {}).get("observedGeneration")
    return conditions.is_true(obj, conditions.READY) and observed == obj["metadata"].get("generation")


# --- finalizer -------------------------------------------------------------------------------------------------------


def is_deleted(obj: Mapping[str, Any]) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))


def has_finalizer(obj: Mapping[str, Any]) -> bool:
    return FINALIZER in (obj["metadata"].get("finalizers") or ())


async def add_finalizer(kube: KubeClient, obj: Object, manager: str) -> Object:
    """Write the finalizer. Returns the object as the API then has it."""
    finalizers = [*(obj["metadata"].get("finalizers") or ()), FINALIZER]
    written = await _patch_finalizers(kube, obj, finalizers, manager)
    return {**written, "apiVersion": obj["apiVersion"], "kind": obj["kind"]}


async def remove_finalizer(kube: KubeClient, obj: Object, manager: str) -> None:
    """Remove the finalizer. An object that no longer exists is not an error."""
    finalizers = [name for name in obj["metadata"].get("finalizers") or () if name != FINALIZER]
    try:
        await _patch_finalizers(kube, obj, finalizers, manager)
    except ApiError as error:
        if not error.not_found:
            raise


async def _patch_finalizers(kube: KubeClient, obj: Object, finalizers: list[str], manager: str) -> Object:
    version = obj["metadata"]["resourceVersion"]
    patch = {"metadata": {"finalizers": finalizers, "resourceVersion": version}}
    return await kube.patch(obj, patch, manager=manager)


# --- status ----------------------------------------------------------------------------------------------------------


async def write_status(kube: KubeClient, before: Object, after: Object, manager: str) -> Object:
    """Patch the differences between two states of an object's status. Returns the object as the API then has it.

    Returns `after` itself when the states are equal: then no request is sent. The patch is a merge patch, as
    fluxcd/pkg/runtime/patch sends it: it does not fail when the spec was changed meanwhile, because each condition names
    the generation that it has observed.
    """
    difference = _difference(before.get("status") or {}, after.get("status") or {})
    if not difference:
        return after
    try:
        written = await kube.patch(after, {"status": difference}, subresource="status", manager=manager)
    except ApiError as error:
        if error.not_found and is_deleted(after):
            return after
        raise
    return {**written, "apiVersion": after["apiVersion"], "kind": after["kind"]}


def _difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> Object:
    """Return the merge patch from one JSON object to another."""
    patch: Object = {name: None for name in before if name not in after}
    for name, value in after.items():
        old = before.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            if inner := _difference(old, value):
                patch[name] = inner
        elif name not in before or old != value:
            patch[name] = value
    return patch
