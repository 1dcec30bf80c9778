"""Drift inside a cluster: objects that Flux has applied and that were deleted, and fields that another field manager has
changed.

A manager that changes a field becomes its owner in place of Flux. The object's managedFields therefore show every change, with
its manager and time. A field that Flux owns, alone or with others, still has the value that Flux applied.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from fleetlib.clients.kube import Object
from fleetlib.inspect import managers
from fleetlib.inspect.applied import AGENT, Applied, Key, Wanted
from fleetlib.inspect.exemptions import exempt
from fleetlib.inspect.managed_fields import Raw, leaves, lookup, shown
from fleetlib.inspect.rows import Row

HIDDEN = "(not shown: a Secret)"

LABELS, ANNOTATIONS = ("f:metadata", "f:labels"), ("f:metadata", "f:annotations")
TEXTS: tuple[Raw, ...] = (LABELS, ANNOTATIONS, ("f:data",), ("f:binaryData",))
"""Maps to which the API server adds no defaults: a declared entry that they lack was removed."""

APPLIERS = {"Kustomization": "kustomize.toolkit.fluxcd.io", "HelmRelease": "helm.toolkit.fluxcd.io"}
"""Kind of an applier -> the prefix of the labels on its objects. A HelmRelease's labels count before a
Kustomization's, which the HelmRelease itself has."""

BY_AGENT = "Azure's agent reverts it when the Flux configuration is next reconciled"
LEFT_ALONE = {
    "kustomize.toolkit.fluxcd.io/reconcile": ("disabled",),
    "kustomize.toolkit.fluxcd.io/ssa": ("Ignore", "IfNotPresent", "Merge"),
    "helm.toolkit.fluxcd.io/driftDetection": ("disabled",),
}
"""Labels or annotations -> the values with which Flux does not revert an object. Source: fluxcd.io, Kustomization and
HelmRelease."""


def differences(cluster: str, applied: Applied) -> Iterator[Row]:
    """Yield all differences of one cluster, sorted by the objects' names."""
    for key in sorted({*applied.wanted, *applied.objects}):
        obj, wanted = applied.objects.get(key), applied.wanted.get(key)
        start: Row = {"cluster": cluster, "layer": "workloads", "object": str(key)}
        if obj is not None:
            for row in _fields(key, obj, wanted or _applier(obj, applied)):
                yield start | row
            if wanted is None and _by_hand(key, obj, applied):
                yield start | _orphan(key, obj)
        elif wanted is not None and not _may_be_gone(wanted):
            yield start | {"kind": "missing", "fix": missing_fix(wanted.applier)}


def _by_hand(key: Key, obj: Object, applied: Applied) -> bool:
    """Return whether a user's tool has created an object in a namespace that Flux applied.

    Objects that controllers create are not drift.
    """
    metadata = obj["metadata"]
    makers = [
        str(entry.get("manager")) for entry in metadata.get("managedFields") or () if entry.get("subresource") != "status"
    ]
    return (
        Key("", "Namespace", "", key.namespace) in applied.wanted
        and not metadata.get("ownerReferences")
        and any(map(managers.is_tool, makers))
        and not any(maker in managers.APPLIERS for maker in makers)
    )


def _orphan(key: Key, obj: Object) -> Row:
    first = min(
        (e for e in obj["metadata"]["managedFields"] if managers.is_tool(str(e.get("manager")))),
        key=lambda e: str(e.get("time")),
    )
    return {
        "kind": "orphan",
        "by": managers.called(first["manager"]),
        "since": first.get("time"),
        "fix": f"declare it in Git, or delete it: kubectl delete {key.kind.lower()} {key.name} -n {key.namespace}",
    }


def _may_be_gone(wanted: Wanted) -> bool:
    """Return whether the object is deleted without a user: with its applier, or as a Job that is deleted when it is done."""
    return bool(wanted.applier["metadata"].get("deletionTimestamp")) or bool(
        wanted.manifest and lookup(wanted.manifest, ("f:spec", "f:ttlSecondsAfterFinished")) is not None
    )


def _applier(obj: Object, applied: Applied) -> Wanted | None:
    """Return the applier of an object that no record has, by its labels or its field manager; `None` if Flux does
    not apply it.
    """
    labels = obj["metadata"].get("labels") or {}
    for kind, prefix in reversed(APPLIERS.items()):
        if f"{prefix}/name" in labels and not obj["metadata"].get("ownerReferences"):  # owned ones copy their owners' labels
            key = Key(prefix, kind, labels.get(f"{prefix}/namespace", ""), labels[f"{prefix}/name"])
            found = applied.objects.get(key)
            return Wanted("", {**found, "kind": kind}) if found else None
    if any(entry.get("manager") == AGENT["kind"] for entry in obj["metadata"].get("managedFields") or ()):
        return Wanted("", AGENT)
    return None


# --- fields -----------------------------------------------------------------------------------------------------------


def _fields(key: Key, obj: Object, wanted: Wanted | None) -> Iterator[Row]:
    if wanted is None or obj["metadata"].get("deletionTimestamp"):
        return
    entries = [entry for entry in obj["metadata"].get("managedFields") or () if entry.get("subresource") != "status"]
    owned = {
        path[:depth]
        for entry in entries
        if _declares(entry, wanted)
        for path in _paths(entry)
        for depth in range(1, len(path) + 1)
    }
    said = _secretly if (key.group, key.kind) == ("", "Secret") else _openly
    told: set[Raw] = set()
    for entry in sorted(entries, key=lambda entry: str(entry.get("time") or "")):
        for path in () if _declares(entry, wanted) else _paths(entry):
            if path not in owned:
                told.add(path)
                if not managers.may_own(entry, shown(path)) and not exempt(wanted.applier, key, obj, path):
                    yield from _field(path, obj, wanted, entry, said)
    if wanted.manifest is not None:
        yield from _unowned(obj, wanted, owned, told, said)


def _declares(entry: Mapping[str, Any], wanted: Wanted) -> bool:
    """Return whether the entry is of the object's applier.

    The field manager of Azure's agent is not documented: on its objects, every manager counts as the agent that is not a user's
    tool.
    """
    return managers.applies(entry) or (wanted.applier is AGENT and not managers.is_tool(str(entry.get("manager") or "")))


def _paths(entry: Mapping[str, Any]) -> Iterator[Raw]:
    """Yield the fields of an entry that can be declared: no status, and of the metadata only labels and annotations."""
    for path in leaves(entry.get("fieldsV1") or {}):
        if path[:1] == ("f:metadata",):
            declarable = path[:2] in (LABELS, ANNOTATIONS) and len(path) == 3 and path[2][2:] not in managers.BOOKKEEPING
        else:
            declarable = path[:1] not in ((), ("f:status",))
        if declarable:
            yield path


def _field(path: Raw, obj: Object, wanted: Wanted, entry: Mapping[str, Any], said: Any) -> Iterator[Row]:
    actual, declared = lookup(obj, path), lookup(wanted.manifest, path)
    if wanted.manifest is None or declared is None or declared != actual:
        manager = str(entry.get("manager") or "")
        yield {
            "kind": "changed",
            "field": ".".join(shown(path)),
            "declared": None if wanted.manifest is None else said(path, declared),
            "actual": said(path, actual),
            "by": managers.called(manager),
            "since": entry.get("time"),
            "fix": field_fix(wanted, obj, manager),
        }


def _unowned(obj: Object, wanted: Wanted, owned: set[Raw], told: set[Raw], said: Any) -> Iterator[Row]:
    """Yield the declared labels, annotations and data without an owner: they were removed, and a removed field has no owner."""
    for root in TEXTS:
        for name, declared in (lookup(wanted.manifest, root) or {}).items():
            path = (*root, f"f:{name}")
            known = declared is None or path in owned or path in told or name in managers.BOOKKEEPING
            if not known and obj["metadata"].get("managedFields"):
                yield {
                    "kind": "changed",
                    "field": ".".join(shown(path)),
                    "declared": said(path, declared),
                    "actual": said(path, lookup(obj, path)),
                    "fix": field_fix(wanted, obj, managers.UNDONE),
                }


def _openly(path: Raw, value: Any) -> str:
    return text(value)


def _secretly(path: Raw, value: Any) -> str:
    """Return a label's value; hide every other value of a Secret, annotations too."""
    return text(value) if path[:2] == LABELS else HIDDEN


def text(value: Any) -> str:
    """Return a value as text: texts as they are, `(none)` for `None`, others as JSON."""
    return value if isinstance(value, str) else "(none)" if value is None else json.dumps(value)


# --- what to do -------------------------------------------------------------------------------------------------------


def missing_fix(applier: Object) -> str:
    """Return the fix for a deleted object: who recreates it and when, or the command that does."""
    if applier is AGENT:
        return BY_AGENT
    return _suspended(applier) or _again(applier, "recreates it", "to keep it deleted, remove it from")


def field_fix(wanted: Wanted, obj: Object, manager: str) -> str:
    """Return the fix for a changed field: who reverts it and when, or what to do."""
    applier = wanted.applier
    if applier is AGENT:
        return f"{BY_AGENT}; to keep the change, declare it in the configuration"
    kept = _left_alone(obj)
    if kept:
        return f"Flux does not revert this object, as it is marked {kept}: remove the mark, or revert the field"
    if applier["kind"] == "Kustomization" and not manager.startswith(managers.UNDONE) and not _suspended(applier):
        return (
            "Flux reverts fields that Git declares within its interval; it removes undeclared fields only if kubectl set them: "
            "remove the field, or commit it"
        )
    return _suspended(applier) or _again(applier, "reverts it", "to keep the change, declare it in")


def _left_alone(obj: Object) -> str:
    marks = {**(obj["metadata"].get("labels") or {}), **(obj["metadata"].get("annotations") or {})}
    return next((f"{name}={marks[name]}" for name, values in LEFT_ALONE.items() if marks.get(name) in values), "")


def _suspended(applier: Object) -> str:
    if not (applier.get("spec") or {}).get("suspend"):
        return ""
    kind, metadata = applier["kind"], applier["metadata"]
    command = f"flux resume {kind.lower()} {metadata['name']} -n {metadata['namespace']}"
    return f"{kind} {metadata['name']} is suspended, so Flux does not revert it: {command}; to keep the change, commit it"


def _again(applier: Object, does: str, keep: str) -> str:
    """Return when Flux or Helm reverts a field or recreates an object (`does`), and how to keep it as it is (`keep`)."""
    name, namespace = applier["metadata"]["name"], applier["metadata"]["namespace"]
    if applier["kind"] == "Kustomization":
        return f"Flux {does} within its interval; {keep} Git"
    if (applier["spec"].get("driftDetection") or {}).get("mode") == "enabled":
        return f"Flux {does} within its interval; {keep} the release's values"
    return (
        f"Helm {does} at the next upgrade only, as the HelmRelease does not set driftDetection.mode: enabled; to do so now: "
        f"flux reconcile helmrelease {name} -n {namespace} --force; {keep} the release's values"
    )
