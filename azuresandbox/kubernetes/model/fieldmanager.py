"""Server-side apply and managedFields: which field manager owns which field of an object.

The rules are those of structured-merge-diff (sigs.k8s.io/structured-merge-diff, `merge.Updater`) as the API server uses them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from azuresandbox.kubernetes.model.fieldsets import MEMBER, Trie, difference, intersection, is_member, owned, paths, union
from azuresandbox.kubernetes.model.schema import Schema
from azuresandbox.kubernetes.model.schema_nodes import Node

_UNTRACKED = (
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "managedFields",
    "name",
    "namespace",
    "resourceVersion",
    "selfLink",
    "uid",
    "clusterName",
)
"""Members of metadata that no field manager owns. Source: apimachinery, `stripMeta`."""


_UNMANAGED = "before-first-apply"
"""The manager of all fields of an object without managedFields, when a configuration is first applied to it."""


class ApplyConflict(Exception):
    """Another manager owns a field that this apply would change. `causes`: (message, field) pairs with the API's messages."""

    def __init__(self, causes: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(message for message, _ in causes))
        self.causes = causes


@dataclass
class _Manager:
    """One field manager: an entry of managedFields."""

    name: str
    operation: str
    subresource: str
    api_version: str
    time: str
    fields: Trie

    @property
    def identity(self) -> tuple[str, str, str, str]:
        return self.name, self.operation, self.subresource, self.api_version if self.operation == "Update" else ""

    def dump(self) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "manager": self.name,
            "operation": self.operation,
            "apiVersion": self.api_version,
            "fieldsType": "FieldsV1",
            "fieldsV1": self.fields,
        }
        if self.time:
            entry["time"] = self.time
        if self.subresource:
            entry["subresource"] = self.subresource
        return entry


def apply(
    live: dict[str, Any] | None,
    applied: dict[str, Any],
    manager: str,
    force: bool,
    schema: Schema,
    time: str,
    subresource: str = "",
) -> dict[str, Any]:
    """Return the object after `manager` has applied `applied` to `live` (`None`: it does not exist). Raises `ApplyConflict`.

    Returns `live` itself if the apply changes no field.
    """
    before = live or {}
    managers = _load(before)
    if live is not None and not managers:
        managers = _load(update(None, live, _UNMANAGED, schema, time, subresource))
    mine = _Manager(manager, "Apply", subresource, applied["apiVersion"], time, _fields_of(applied, schema.root))
    old = managers.get(mine.identity)
    others = [other for identity, other in managers.items() if identity != mine.identity]
    base = _without_managed(before)
    merged = _merge(base, applied, schema.root)
    changed, _ = _compare(base, merged, schema.root) if live is not None else ({}, {})
    _check_conflicts(others, changed, mine.fields, force)
    if old is not None:
        dropped, kept = difference(old.fields, mine.fields), union(mine.fields, {"f:metadata": {"f:name": {}}})
        for other in others:
            dropped, kept = difference(dropped, other.fields), union(kept, other.fields)
        merged = _remove(merged, dropped, kept, schema.root)
    _, removed = _compare(base, merged, schema.root)
    for other in others:
        _shrink(other, removed)
    if live is not None and base == merged:
        mine.time = old.time if old is not None else ""
    entries = [other for other in others if other.fields] + ([mine] if mine.fields else [])
    result = _with_managed(merged, entries)
    if live is not None and _same(live, result):
        return live
    return result


def update(
    before: dict[str, Any] | None,
    after: dict[str, Any],
    manager: str,
    schema: Schema,
    time: str,
    subresource: str = "",
) -> dict[str, Any]:
    """Return `after` with managedFields: `manager` owns the fields that it changed, and other managers lose them.

    Fields that it removed have no manager any longer.
    """
    given = (after.get("metadata") or {}).get("managedFields")
    managers = {} if given == [] else _load(after if given else before or after)
    old, new = _without_managed(before or {}), _without_managed(after)
    changed, removed = _compare(old, new, schema.root)
    identity = _Manager(manager, "Update", subresource, after["apiVersion"], time, {})
    mine = managers.pop(identity.identity, identity)
    for other in managers.values():
        _shrink(other, removed)
        _shrink(other, changed)
    mine.fields = difference(union(mine.fields, changed), removed, whole=True)
    if changed:
        mine.time = time
    entries = [other for other in managers.values() if other.fields] + ([mine] if mine.fields else [])
    return _with_managed(new, entries)


def _load(obj: dict[str, Any]) -> dict[tuple[str, str, str, str], _Manager]:
    managers: dict[tuple[str, str, str, str], _Manager] = {}
    for entry in (obj.get("metadata") or {}).get("managedFields") or []:
        loaded = _Manager(
            entry.get("manager", ""),
            entry.get("operation", "Update"),
            entry.get("subresource", ""),
            entry.get("apiVersion", ""),
            entry.get("time", ""),
            entry.get("fieldsV1") or {},
        )
        managers[loaded.identity] = loaded
    return managers


def _without_managed(obj: dict[str, Any]) -> dict[str, Any]:
    if "managedFields" not in (obj.get("metadata") or {}):
        return obj
    return {**obj, "metadata": {key: value for key, value in obj["metadata"].items() if key != "managedFields"}}


def _with_managed(obj: dict[str, Any], entries: list[_Manager]) -> dict[str, Any]:
    ordered = sorted(
        entries, key=lambda entry: (entry.operation != "Apply", entry.time, entry.name, entry.api_version, entry.subresource)
    )
    metadata = {**obj.get("metadata", {})}
    if ordered:
        metadata["managedFields"] = [entry.dump() for entry in ordered]
    return {**obj, "metadata": metadata}


def _same(left: dict[str, Any], right: dict[str, Any]) -> bool:
    """Return whether the objects differ at most in the times of managedFields."""

    def timeless(obj: dict[str, Any]) -> list[Any]:
        entries = (obj.get("metadata") or {}).get("managedFields") or []
        return sorted(([{**entry, "time": ""} for entry in entries]), key=lambda entry: json.dumps(entry, sort_keys=True))

    return _without_managed(left) == _without_managed(right) and timeless(left) == timeless(right)


def _check_conflicts(others: list[_Manager], changed: Trie, wanted: Trie, force: bool) -> None:
    clash = intersection(changed, wanted)
    causes: list[tuple[str, str]] = []
    for other in others:
        shared = intersection(other.fields, clash)
        if not shared:
            continue
        if force:
            other.fields = difference(other.fields, shared)
            continue
        origin = f'"{other.name}"' + (f' with subresource "{other.subresource}"' if other.subresource else "")
        using = f" using {other.api_version}" if other.operation == "Update" else ""
        for path in paths(shared):
            causes.append((f"conflict with {origin}{using}", path))
    if causes:
        raise ApplyConflict(causes)


def _shrink(manager: _Manager, fields: Trie) -> None:
    """Remove fields from a manager."""
    left = difference(manager.fields, fields, whole=True)
    if left != manager.fields:
        manager.fields = left


def _fields_of(obj: dict[str, Any], root: Node) -> Trie:
    """Return the fields of an applied object."""
    return _strip(_walk(obj, root, {"apiVersion", "kind"}) or {})


def _strip(fields: Trie) -> Trie:
    """Return the fields without those that no manager owns."""
    result = {key: value for key, value in fields.items() if key not in ("f:apiVersion", "f:kind", MEMBER)}
    metadata = {
        key: value for key, value in result.get("f:metadata", {}).items() if key[2:] not in _UNTRACKED and key != MEMBER
    }
    result.pop("f:metadata", None)
    return {"f:metadata": metadata, **result} if metadata else result


def _walk(value: Any, node: Node | None, skip: set[str] | None = None) -> Trie | None:
    """Return all fields of a value as a set whose root is this value; `None` for a list without elements that can be owned.

    Source: structured-merge-diff, `toFieldSetWalker`.
    """
    if isinstance(value, dict) and not _atomic_map(node):
        fields: Trie = {}
        for name, member in value.items():
            if skip and name in skip:
                continue
            below = _walk(member, _child(node, name))
            if node is None or name not in node.fields.declared():
                fields[f"f:{name}"] = owned(below)
            elif below is not None:
                fields[f"f:{name}"] = below
        return fields if fields or not value else None
    if isinstance(value, list) and _granular(node):
        assert node is not None
        return {_element(item, node): owned(_walk(item, node.items)) for item in value} or None
    return {}


def _child(node: Node | None, name: str) -> Node | None:
    return node.fields[name] if node is not None else None


def _atomic_map(node: Node | None) -> bool:
    return node is not None and node.atomic


def _granular(node: Node | None) -> bool:
    return node is not None and node.list_type in ("map", "set")


def _element(item: Any, node: Node) -> str:
    if node.list_type == "set":
        return "v:" + json.dumps(item, separators=(",", ":"), sort_keys=True)
    return "k:" + json.dumps(_keys(item, node), separators=(",", ":"))


def _keys(item: Any, node: Node) -> dict[str, Any]:
    found = {}
    for name in sorted(node.map_keys):
        value = item.get(name) if isinstance(item, dict) else None
        child = _child(node.items, name)
        if value is None and child is not None and child.has_default:
            value = child.default
        if value is not None:
            found[name] = value
    return found


def _merge(live: Any, applied: Any, node: Node | None) -> Any:
    """Return the live value with the applied one merged into it."""
    if isinstance(applied, dict) and isinstance(live, dict) and not _atomic_map(node):
        return {**live, **{name: _merge(live.get(name), value, _child(node, name)) for name, value in applied.items()}}
    if isinstance(applied, list) and isinstance(live, list) and _granular(node):
        assert node is not None
        return _merge_list(live, applied, node)
    return applied


def _merge_list(live: list[Any], applied: list[Any], node: Node) -> list[Any]:
    """Return the applied elements in their order; live ones stay before the next element that both lists have."""
    wanted = {_element(item, node): item for item in applied}
    present = {_element(item, node): item for item in live}
    shared = [key for key in wanted if key in present]
    rest, result = list(present), []
    for key, item in wanted.items():
        while rest and rest[0] != key and (rest[0] not in wanted or shared and rest[0] != shared[0]):
            passed = rest.pop(0)
            if passed not in wanted:
                result.append(present[passed])
        if rest and (rest[0] == key or not shared):
            rest.pop(0)
        if shared and shared[0] == key:
            shared.pop(0)
        result.append(_merge(present.get(key), item, node.items))
    return result + [present[key] for key in rest if key not in wanted]


def _remove(value: Any, fields: Trie, kept: Trie, node: Node | None) -> Any:
    """Return `value` without `fields`; fields that are still owned (`kept`) stay, and so do their holders."""
    if isinstance(value, dict):
        return _remove_members(value, fields, kept, node)
    if isinstance(value, list) and node is not None:
        return _remove_elements(value, fields, kept, node)
    return value


def _remove_members(value: dict[str, Any], fields: Trie, kept: Trie, node: Node | None) -> dict[str, Any]:
    result = {}
    for name, child in value.items():
        below = fields.get(f"f:{name}")
        if below is None:
            result[name] = child
        elif below and not _kept(f"f:{name}", kept, node, name):
            continue  # an owned member is removed whole if no field below it has a manager
        elif below:
            rest = _remove(child, below, kept.get(f"f:{name}", {}), _child(node, name))
            if rest or not child or f"f:{name}" in kept:
                result[name] = rest
        elif f"f:{name}" in kept:
            result[name] = child
    return result


def _kept(key: str, kept: Trie, node: Node | None, name: str) -> bool:
    return key in kept or node is None or name not in node.fields.declared()


def _remove_elements(value: list[Any], fields: Trie, kept: Trie, node: Node) -> list[Any]:
    result = []
    for item in value:
        key = _element(item, node)
        below = fields.get(key)
        if below is None:
            result.append(item)
        elif key in kept or not is_member(below):
            result.append(_remove(item, {k: v for k, v in below.items() if k != MEMBER}, kept.get(key, {}), node.items))
    return result


def _compare(before: dict[str, Any], after: dict[str, Any], root: Node) -> tuple[Trie, Trie]:
    """Return the fields that were added or modified, and those that were removed, between two objects."""
    changed, removed = _changes(before, after, root)
    return _strip(changed), _strip(removed)


def _changes(before: Any, after: Any, node: Node | None) -> tuple[Trie, Trie]:
    """Return the changed and the removed fields below two values; both are empty if the values differ as wholes.

    Source: structured-merge-diff, `compareWalker`.
    """
    if before is after or before == after:
        return {}, {}
    left, right = _members(before, node, after), _members(after, node, before)
    changed: Trie = {}
    removed: Trie = {}
    for key, (value, child) in right.items():
        if key not in left:
            changed[key] = _new(value, child)
        elif left[key][0] != value:
            old = left[key][0]
            below, gone = _changes(old, value, child)
            if below or not gone and not (_members(old, child, value) or _members(value, child, old)):
                changed[key] = below
            if gone:
                removed[key] = gone
    for key, (value, child) in left.items():
        if key not in right:
            removed[key] = _new(value, child)
    return changed, removed


def _members(value: Any, node: Node | None, other: Any) -> dict[str, tuple[Any, Node | None]]:
    """Return the parts of a value that are owned one by one; empty if it, or the other value, is owned as a whole."""
    if not _composite(value, node) or not (other is None or _composite(other, node)):
        return {}
    if isinstance(value, dict):
        return {f"f:{name}": (member, _child(node, name)) for name, member in value.items()}
    assert node is not None
    return {_element(item, node): (item, node.items) for item in value}


def _composite(value: Any, node: Node | None) -> bool:
    return isinstance(value, dict) and not _atomic_map(node) or isinstance(value, list) and _granular(node)


def _new(value: Any, node: Node | None) -> Trie:
    """Return all fields of a value that was added or removed: itself, and everything in it."""
    return owned({key: _new(member, child) for key, (member, child) in _members(value, node, None).items()})
