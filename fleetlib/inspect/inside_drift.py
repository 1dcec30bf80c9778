"""Where a cluster is not as Flux has applied it: objects that are gone, and fields that somebody else has written.

Whoever changes a field owns it from then on, and Flux does not: so the API server itself remembers what a hand has changed, by whom and
when. A field that Flux owns, alone or with others, has the value that Flux applied. May import `applied`, `exemptions`, `managed_fields`, `managers`.
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
"""Maps that the server keeps as they are, so that what is not in them has been taken away."""

APPLIERS = {"Kustomization": "kustomize.toolkit.fluxcd.io", "HelmRelease": "helm.toolkit.fluxcd.io"}
"""Who applies, and the prefix of the labels by which it marks what it does. A release's come first: a Kustomization applies releases."""

BY_AGENT = "Azure's agent puts it right when the Flux configuration is next reconciled"
LEFT_ALONE = {
    "kustomize.toolkit.fluxcd.io/reconcile": ("disabled",),
    "kustomize.toolkit.fluxcd.io/ssa": ("Ignore", "IfNotPresent", "Merge"),
    "helm.toolkit.fluxcd.io/driftDetection": ("disabled",),
}
"""Labels or annotations by which an object is kept from being put right. Source: fluxcd.io, Kustomization and HelmRelease."""


def differences(cluster: str, applied: Applied) -> Iterator[Row]:
    """All of one cluster, in the order of its objects' names."""
    for key in sorted({*applied.wanted, *applied.objects}):
        obj, wanted = applied.objects.get(key), applied.wanted.get(key)
        start: Row = {"cluster": cluster, "layer": "workloads", "object": str(key)}
        if obj is not None:
            for row in _fields(key, obj, wanted or _applier(obj, applied)):
                yield start | row
            if wanted is None and _by_hand(key, obj, applied):
                yield start | _orphan(key, obj)
        elif wanted is not None and not _leaves(wanted):
            yield start | {"kind": "missing", "fix": missing_fix(wanted.applier)}


def _by_hand(key: Key, obj: Object, applied: Applied) -> bool:
    """Whether a tool has made an object in one of Flux's own namespaces. Programs make objects of their own all the time: those are none."""
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


def _leaves(wanted: Wanted) -> bool:
    """Whether the object may go by itself: with what applies it, or as a Job that is removed when it is done."""
    return bool(wanted.applier["metadata"].get("deletionTimestamp")) or bool(
        wanted.manifest and lookup(wanted.manifest, ("f:spec", "f:ttlSecondsAfterFinished")) is not None
    )


def _applier(obj: Object, applied: Applied) -> Wanted | None:
    """Who applies an object that is in nobody's books: by its labels, or Azure's agent. None: no part of Flux."""
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
    """Whether an entry is of whom the object is from. Azure does not say how its agent calls itself: there, whoever is no tool of people."""
    return managers.applies(entry) or (wanted.applier is AGENT and not managers.is_tool(str(entry.get("manager") or "")))


def _paths(entry: Mapping[str, Any]) -> Iterator[Raw]:
    """The fields of an entry that somebody may have declared."""
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
    """What is declared in texts and has nobody's name on it: it has been taken away, and nobody owns what is not there."""
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
    """Labels are no secrets; all else of a Secret, annotations too, may be."""
    return text(value) if path[:2] == LABELS else HIDDEN


def text(value: Any) -> str:
    """A value as a person reads it in a cell: texts as they are, all else as JSON."""
    return value if isinstance(value, str) else "(none)" if value is None else json.dumps(value)


# --- what to do -------------------------------------------------------------------------------------------------------


def missing_fix(applier: Object) -> str:
    """What makes a deleted object anew."""
    if applier is AGENT:
        return BY_AGENT
    return _suspended(applier) or _anew(applier, "makes it anew")


def field_fix(wanted: Wanted, obj: Object, manager: str) -> str:
    """What puts a field right, if anything does by itself."""
    applier = wanted.applier
    if applier is AGENT:
        return f"{BY_AGENT}; declare it there if it is meant to stay"
    kept = _left_alone(obj)
    if kept:
        return f"Flux leaves this object alone, as it is marked {kept}: take the mark away, or put the field right"
    if applier["kind"] == "Kustomization" and not manager.startswith(managers.UNDONE) and not _suspended(applier):
        return (
            "Flux puts back what Git declares within its interval; what Git does not declare it leaves, as it undoes kubectl's changes only: take "
            "it away, or commit it"
        )
    return _suspended(applier) or _anew(applier, "puts it back")


def _left_alone(obj: Object) -> str:
    marks = {**(obj["metadata"].get("labels") or {}), **(obj["metadata"].get("annotations") or {})}
    return next((f"{name}={marks[name]}" for name, values in LEFT_ALONE.items() if marks.get(name) in values), "")


def _suspended(applier: Object) -> str:
    if not (applier.get("spec") or {}).get("suspend"):
        return ""
    kind, metadata = applier["kind"], applier["metadata"]
    command = f"flux resume {kind.lower()} {metadata['name']} -n {metadata['namespace']}"
    return f"{kind} {metadata['name']} is suspended, so that nothing puts it back: {command}; commit it if it is meant to stay"


def _anew(applier: Object, does: str) -> str:
    name, namespace = applier["metadata"]["name"], applier["metadata"]["namespace"]
    if applier["kind"] == "Kustomization":
        return f"Flux {does} within its interval; commit it if it is meant to stay"
    if (applier["spec"].get("driftDetection") or {}).get("mode") == "enabled":
        return f"Flux {does} within its interval; declare it in the release's values if it is meant to stay"
    return (
        f"Helm {does} at the next upgrade only, as the HelmRelease does not set driftDetection.mode: enabled: flux reconcile helmrelease "
        f"{name} -n {namespace} --force; declare it in the values if it is meant to stay"
    )
