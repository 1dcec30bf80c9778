"""Differences between two states of an object, and field managers that are replaced. Source: fluxcd/pkg/ssa."""

from __future__ import annotations

import base64
import copy
import re
from collections.abc import Iterable, Mapping
from typing import Any

from azuresandbox.machine.images.flux.ssa.refs import ref_of
from azuresandbox.machine.types import Object, Objects


def in_metadata(obj: Mapping[str, Any] | None, wanted: Mapping[str, str]) -> bool:
    """Return whether one of the object's labels or annotations is among `wanted` (values in any case)."""
    metadata = (obj or {}).get("metadata") or {}
    values = {**(metadata.get("labels") or {}), **(metadata.get("annotations") or {})}
    return any(str(values.get(name, "")).lower() == value.lower() for name, value in wanted.items())


def normalise(obj: Object) -> Object:
    """Return the object as a typed client sends it: Secrets in base64, ports with their protocol, no status."""
    obj = {name: value for name, value in obj.items() if name != "status"}
    obj["metadata"] = {k: v for k, v in obj["metadata"].items() if k not in ("creationTimestamp", "managedFields")}
    if (obj["apiVersion"], obj["kind"]) == ("v1", "Secret") and "stringData" in obj:
        text = obj.pop("stringData") or {}
        obj["data"] = {**(obj.get("data") or {}), **{k: base64.b64encode(str(v).encode()).decode() for k, v in text.items()}}
    if (obj["apiVersion"], obj["kind"]) == ("v1", "Service"):
        obj = copy.deepcopy(obj)
        for port in (obj.get("spec") or {}).get("ports") or ():
            port.setdefault("protocol", "TCP")
    return obj


def drifted(existing: Object, planned: Object, ignore: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether applying would change an object. `planned` is the answer to a dry-run."""
    return comparable(existing, ignore) != comparable(planned, ignore)


def comparable(obj: Object, ignore: Iterable[Mapping[str, Any]]) -> Object:
    """Return the parts of an object that are compared. `ignore` are rules of a target and JSON pointers to leave out."""
    metadata = {part: obj["metadata"].get(part) or {} for part in ("labels", "annotations")}
    return {"metadata": metadata, **_content(obj, ignore)}


def _content(obj: Object, ignore: Iterable[Mapping[str, Any]]) -> Object:
    content = {name: value for name, value in obj.items() if name not in ("metadata", "status")}
    paths = [path for rule in ignore if _rule_matches(rule.get("target"), obj) for path in rule.get("paths") or ()]
    if paths:
        content = copy.deepcopy(content)
        for path in paths:
            _remove_pointer(content, path)
    return content


def _rule_matches(target: Mapping[str, Any] | None, obj: Object) -> bool:
    if not target:
        return True
    ref = ref_of(obj)
    found = {"kind": ref.kind, "name": ref.name, "namespace": ref.namespace, "group": ref.group}
    return all(re.fullmatch(str(target[part]), value) for part, value in found.items() if target.get(part))


def _remove_pointer(node: Any, pointer: str) -> None:
    *steps, last = [step.replace("~1", "/").replace("~0", "~") for step in pointer.lstrip("/").split("/")]
    for step in steps:
        if isinstance(node, list) and step.isdigit() and int(step) < len(node):
            node = node[int(step)]
        elif isinstance(node, dict) and step in node:
            node = node[step]
        else:
            return
    if isinstance(node, dict):
        node.pop(last, None)


def without_managers(existing: Object, unwanted: set[tuple[str, str]], owner: str) -> Objects | None:
    """Return the managed fields with the entries of `unwanted` (prefix of the manager, operation) merged into the owner's.

    Returns `None` if there is no such entry.
    """
    entries: Objects = existing["metadata"].get("managedFields") or []

    def is_unwanted(entry: Object) -> bool:
        manager, operation = str(entry.get("manager") or ""), entry.get("operation")
        return not entry.get("subresource") and any(
            manager.startswith(prefix) and operation == wanted for prefix, wanted in unwanted
        )

    taken = [entry for entry in entries if is_unwanted(entry)]
    if not taken:
        return None
    kept = [copy.deepcopy(entry) for entry in entries if not is_unwanted(entry)]
    owned = [e for e in kept if (e.get("manager"), e.get("operation")) == (owner, "Apply") and not e.get("subresource")]
    own = owned[0] if owned else None
    if own is None:
        own = {**copy.deepcopy(taken[0]), "manager": owner, "operation": "Apply"}
        kept.append(own)
    for entry in taken:
        own["fieldsV1"] = _union(own.get("fieldsV1") or {}, entry.get("fieldsV1") or {})
    return kept


def _union(a: Object, b: Object) -> Object:
    return {**a, **{name: _union(a.get(name) or {}, value) for name, value in b.items()}}
