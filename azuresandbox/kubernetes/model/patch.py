"""The three kinds of patch a Kubernetes API takes: JSON Patch, JSON Merge Patch and strategic merge patch.

Pure functions over decoded JSON: arguments are never changed, results may share parts with them. Tests compare them with
the real libraries.

Sources: RFC 6902; RFC 7386; Kubernetes' "strategic merge patch" (apimachinery's util/strategicpatch), whose directives are
`$patch`, `$retainKeys`, `$setElementOrder/<list>` and `$deleteFromPrimitiveList/<list>`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from azuresandbox import trees
from azuresandbox.kubernetes.model.decoding import gotext
from azuresandbox.kubernetes.model.schema import Schema
from azuresandbox.kubernetes.model.schema_nodes import Node

MAX_JSON_PATCH_OPERATIONS = 10_000


class PatchError(Exception):
    """The patch does not apply to this document. `message`: the real library's."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


# --- JSON Patch (RFC 6902) -------------------------------------------------------------------------------------------


def json_patch(doc: Any, ops: Sequence[Mapping[str, Any]]) -> Any:
    """Return `doc` after all operations `ops`. Raises PatchError at the first that does not apply."""
    if not isinstance(ops, list):
        raise PatchError("a JSON patch is a list of operations")
    if len(ops) > MAX_JSON_PATCH_OPERATIONS:
        raise PatchError(f"The allowed maximum operations in a JSON patch is {MAX_JSON_PATCH_OPERATIONS}, got {len(ops)}")
    result = trees.copy(doc)
    for op in ops:
        if not isinstance(op, Mapping):
            raise PatchError("an operation of a JSON patch is an object")
        name = op.get("op")
        operation = _OPERATIONS.get(name) if isinstance(name, str) else None
        if operation is None:
            raise PatchError(f"Unexpected kind: {name}")
        result = operation(result, op)
    return result


def _pointer(op: Mapping[str, Any], member: str) -> list[str]:
    text = op.get(member)
    if not isinstance(text, str):
        raise PatchError(f"{op['op']} operation has no {member}: missing value")
    if text == "":
        return []
    if not text.startswith("/"):
        raise PatchError(f'{op["op"]} operation does not apply: doc is missing {member}: "{text}": missing value')
    return [part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/")]


def _value(op: Mapping[str, Any]) -> Any:
    if "value" not in op:
        raise PatchError(f"{op['op']} operation has no value: missing value")
    return trees.copy(op["value"])


def _missing(op: Mapping[str, Any], member: str) -> PatchError:
    return PatchError(f'{op["op"]} operation does not apply: doc is missing path: "{op[member]}": missing value')


def _index(part: str, length: int, op: Mapping[str, Any], *, inserting: bool) -> int:
    if inserting and part == "-":
        return length
    if not part.isascii() or not part.removeprefix("-").isdigit() or (len(part) > 1 and part[0] == "0"):
        raise PatchError(f"{op['op']} operation does not apply: value was not a proper array index: '{part}'")
    index = int(part)
    if index < 0:
        index += length + inserting
    if index < 0 or index > length or (index == length and not inserting):
        raise PatchError(
            f"{op['op']} operation does not apply: Unable to access invalid index: {part}: invalid index referenced"
        )
    return index


def _get(doc: Any, parts: Sequence[str], op: Mapping[str, Any], member: str) -> Any:
    for part in parts:
        if isinstance(doc, dict):
            if part not in doc:
                raise _missing(op, member)
            doc = doc[part]
        elif isinstance(doc, list):
            doc = doc[_index(part, len(doc), op, inserting=False)]
        else:
            raise _missing(op, member)
    return doc


def _seen(doc: Any, parts: Sequence[str], op: Mapping[str, Any], member: str) -> Any:
    """Return the value at `parts`; like the API server's library, `None` for a missing member of a map."""
    if not parts:
        return doc
    parent = _get(doc, parts[:-1], op, member)
    return parent.get(parts[-1]) if isinstance(parent, dict) else _get(parent, parts[-1:], op, member)


def _insert(doc: Any, parts: Sequence[str], value: Any, op: Mapping[str, Any]) -> Any:
    if not parts:
        return value
    parent = _get(doc, parts[:-1], op, "path")
    if isinstance(parent, dict):
        parent[parts[-1]] = value
    elif isinstance(parent, list):
        parent.insert(_index(parts[-1], len(parent), op, inserting=True), value)
    else:
        raise _missing(op, "path")
    return doc


def _take(doc: Any, parts: Sequence[str], op: Mapping[str, Any], member: str) -> Any:
    """Remove and return the value at `parts`."""
    if not parts:
        raise PatchError(f"{op['op']} operation does not apply: the whole document cannot be removed")
    parent = _get(doc, parts[:-1], op, member)
    _get(parent, parts[-1:], op, member)
    return parent.pop(parts[-1] if isinstance(parent, dict) else _index(parts[-1], len(parent), op, inserting=False))


def _add(doc: Any, op: Mapping[str, Any]) -> Any:
    return _insert(doc, _pointer(op, "path"), _value(op), op)


def _remove(doc: Any, op: Mapping[str, Any]) -> Any:
    _take(doc, _pointer(op, "path"), op, "path")
    return doc


def _replace(doc: Any, op: Mapping[str, Any]) -> Any:
    parts, value = _pointer(op, "path"), _value(op)
    if not parts:
        return value
    parent = _get(doc, parts[:-1], op, "path")
    if not isinstance(parent, dict):
        _get(parent, parts[-1:], op, "path")
    parent[parts[-1] if isinstance(parent, dict) else _index(parts[-1], len(parent), op, inserting=False)] = value
    return doc


def _move(doc: Any, op: Mapping[str, Any]) -> Any:
    source, target = _pointer(op, "from"), _pointer(op, "path")
    if source == target:
        _get(doc, source, op, "from")
        return doc
    if target[: len(source)] == source:
        raise PatchError("move operation does not apply: a value cannot be moved into one of its children")
    return _insert(doc, target, _take(doc, source, op, "from"), op)


def _copy(doc: Any, op: Mapping[str, Any]) -> Any:
    source = _pointer(op, "from")
    if not source:
        raise PatchError("copy operation does not apply: the whole document cannot be copied into itself")
    value = trees.copy(_seen(doc, source, op, "from"))
    return _insert(doc, _pointer(op, "path"), value, op)


def _test(doc: Any, op: Mapping[str, Any]) -> Any:
    if not same(_seen(doc, _pointer(op, "path"), op, "path"), _value(op)):
        raise PatchError(f"testing value {op['path']} failed: test failed")
    return doc


_OPERATIONS: dict[str, Callable[[Any, Mapping[str, Any]], Any]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
}


def same(left: Any, right: Any) -> bool:
    """Return whether two values are equal as JSON: 1 equals 1.0, true does not equal 1."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


# --- JSON Merge Patch (RFC 7386) -------------------------------------------------------------------------------------


def merge_patch(doc: Any, patch: Any) -> Any:
    """Return `doc` with the members of `patch`; null removes a member, a list replaces a list.

    Like the API server's library, and beyond the RFC, maps within lists lose their nulls, unless they replace a map.
    """
    if not isinstance(patch, dict):
        return patch if isinstance(doc, dict) else _pruned(patch)
    result = dict(doc) if isinstance(doc, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _pruned(member) for key, member in value.items() if member is not None}
    return [_pruned(item) for item in value] if isinstance(value, list) else value


# --- strategic merge patch -------------------------------------------------------------------------------------------

_DIRECTIVE = "$patch"
_RETAIN = "$retainKeys"
_ORDER = "$setElementOrder/"
_REMOVE = "$deleteFromPrimitiveList/"


def strategic_merge_patch(doc: dict[str, Any], patch: dict[str, Any], schema: Schema) -> dict[str, Any]:
    """Return `doc` after a strategic merge patch; `schema` says which lists merge, and by which key.

    Raises PatchError for a malformed directive, an item without its merge key, or lists of mixed types.
    """
    if not isinstance(patch, dict):
        raise PatchError("invalid JSON document")
    return _merge_map(trees.copy(doc), trees.copy(patch), schema.root)


def _child(node: Node | None, key: str) -> Node | None:
    return node.fields[key] if node is not None else None


def _merge_map(original: dict[str, Any], patch: dict[str, Any], node: Node | None) -> dict[str, Any]:
    if _DIRECTIVE in patch:
        directive = patch.pop(_DIRECTIVE)
        if directive == "replace":
            return patch
        if directive == "delete":
            return {}
        raise PatchError(f"unknown patch type: {directive} in map: {gotext({_DIRECTIVE: directive, **patch})}")
    _retain_keys(original, patch)
    _merge_ordered_lists(original, patch, node)
    for key, value in patch.items():
        removing = key.startswith(_REMOVE)
        if removing:
            key = key[len(_REMOVE) :]
        if value is None:
            original.pop(key, None)
        elif key not in original or _kind(original[key]) != _kind(value):
            if not removing:
                _set_plain(original, key, value)
        elif isinstance(value, dict):
            child = _child(node, key)
            replaces = child is not None and "replace" in child.patch_strategy
            original[key] = value if replaces else _merge_map(original[key], value, child)
        elif isinstance(value, list):
            original[key] = _merge_list(original[key], value, _child(node, key), removing=removing)
        else:
            original[key] = value
    return original


def _set_plain(original: dict[str, Any], key: str, value: Any) -> None:
    """Set a value that has no counterpart, without its nulls and directives."""
    kept, value = _without_directives(_without_nulls(value))
    if kept:
        original[key] = value
    else:
        original.pop(key, None)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(member) for key, member in value.items() if member is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _without_directives(value: Any) -> tuple[bool, Any]:
    if isinstance(value, dict):
        if _DIRECTIVE in value:
            return False, None
        pairs = {key: _without_directives(member) for key, member in value.items()}
        return True, {key: member for key, (kept, member) in pairs.items() if kept}
    if isinstance(value, list):
        return True, [item for kept, item in map(_without_directives, value) if kept]
    return True, value


def _retain_keys(original: dict[str, Any], patch: dict[str, Any]) -> None:
    if _RETAIN not in patch:
        return
    retained = patch.pop(_RETAIN)
    if not isinstance(retained, list):
        raise PatchError("invalid patch format of retainKeys")
    for key, value in patch.items():
        if value is not None and not key.startswith((_REMOVE, _ORDER)) and key not in retained:
            raise PatchError("invalid patch format of retainKeys")
    for key in [key for key in original if key not in retained]:
        del original[key]


def _merge_ordered_lists(original: dict[str, Any], patch: dict[str, Any], node: Node | None) -> None:
    """Merge each list that has a `$setElementOrder`, and put its items in that order."""
    for directive in [key for key in patch if key.startswith(_ORDER)]:
        order, key = patch.pop(directive), directive[len(_ORDER) :]
        live, wanted, child = original.get(key), patch.pop(key, None), _child(node, key)
        if not all(part is None or isinstance(part, list) for part in (live, wanted)) or not isinstance(order, list):
            raise PatchError("invalid patch format of setElementOrder list")
        merge_key = child.patch_merge_key if child is not None else ""
        _check_order(wanted or [], order, merge_key)
        if live is None and wanted is None:
            continue
        if wanted is None:
            merged = live or []
        elif live is None:
            merged = _without_directives(wanted)[1]
        else:
            merged = _merge_list(list(live), wanted, child, removing=False)
        if not merged and not order and wanted is not None:
            raise PatchError("no elements in any of the given slices")
        original[key] = _ordered(merged, order, live or [], merge_key)


def _check_order(wanted: list[Any], order: list[Any], merge_key: str) -> None:
    if not wanted or not order:
        return
    position = 0
    for item in wanted:
        if isinstance(item, dict) and _DIRECTIVE in item:
            continue
        identity = _identity(item, merge_key)
        while position < len(order) and _identity(order[position], merge_key) != identity:
            position += 1
        if position == len(order):
            raise PatchError(
                f"The order in patch list:\n{gotext(wanted)}\n doesn't match $setElementOrder list:\n{gotext(order)}\n"
            )
        position += 1


def _merge_list(original: list[Any], patch: list[Any], node: Node | None, *, removing: bool) -> list[Any]:
    if not removing and (node is None or "merge" not in node.patch_strategy):
        return patch
    if not original and not patch:
        return original
    kinds = {_kind(item) for item in original + patch}
    if "list" in kinds:
        raise PatchError("lists of lists are not supported")
    if len(kinds) > 1:
        raise PatchError(f"list element types are not identical: {gotext([original, patch])}")
    merge_key = node.patch_merge_key if node is not None else ""
    if kinds != {"map"}:
        if removing:
            gone = set(map(_scalar, patch))
            return [item for item in original if _scalar(item) not in gone]
        return _ordered(list({_scalar(item): item for item in original + patch}.values()), patch, original, "")
    if not merge_key or node is None:
        raise PatchError(f"cannot merge lists without merge key for {node.name if node is not None else 'an unknown type'}")
    merged, patch = _apply_item_directives(original, patch, merge_key)
    original = list(merged)
    for item in patch:
        identity = _identity(item, merge_key)
        found = next((at for at, old in enumerate(merged) if merge_key in old and _scalar(old[merge_key]) == identity), None)
        if found is None:
            merged.append(item)
        else:
            merged[found] = _merge_map(merged[found], item, node.items)
    return _ordered(merged, patch, original, merge_key)


def _apply_item_directives(original: list[Any], patch: list[Any], merge_key: str) -> tuple[list[Any], list[Any]]:
    plain: list[Any] = []
    kept, replace = list(original), False
    for item in patch:
        directive = item.get(_DIRECTIVE)
        if directive is None:
            plain.append(item)
        elif directive == "delete":
            identity = _identity(item, merge_key)
            kept = [old for old in kept if merge_key not in old or _scalar(old[merge_key]) != identity]
        elif directive == "replace":
            replace = True
        elif directive == "merge":
            raise PatchError("merging lists cannot yet be specified in the patch")
        else:
            raise PatchError(f"unknown patch type: {directive} in map: {gotext(item)}")
    return (plain, []) if replace else (kept, plain)


def _ordered(merged: list[Any], patch_order: list[Any], live_order: list[Any], merge_key: str) -> list[Any]:
    """Return the items of the patch in its order, the others where the live order puts them between those."""
    wanted = [_identity(item, merge_key) for item in patch_order]
    live = [_identity(item, merge_key) for item in live_order]
    named = [item for item in merged if _identity(item, merge_key) in wanted]
    others = [item for item in merged if _identity(item, merge_key) not in wanted]
    named.sort(key=lambda item: wanted.index(_identity(item, merge_key)))
    others.sort(key=functools.cmp_to_key(lambda a, b: _before(live, _identity(a, merge_key), _identity(b, merge_key))))
    result: list[Any] = []
    while named and others:
        left, right = _identity(others[0], merge_key), _identity(named[0], merge_key)
        first = left in live and right in live and live.index(left) < live.index(right)
        result.append(others.pop(0) if first else named.pop(0))
    return result + others + named


def _before(order: list[Any], left: Any, right: Any) -> int:
    return order.index(left) - order.index(right) if left in order and right in order else 0


def _identity(item: Any, merge_key: str) -> Any:
    if not merge_key:
        return _scalar(item)
    if not isinstance(item, dict):
        raise PatchError(f"expected a map[string]interface {{}}, but received a {_kind(item)}")
    if merge_key not in item:
        raise PatchError(f"map: {gotext(item)} does not contain declared merge key: {merge_key}")
    return _scalar(item[merge_key])


def _scalar(value: Any) -> Any:
    """Return a hashable key of a value under which true differs from 1."""
    return (type(value) is bool, value) if not isinstance(value, dict | list) else (False, gotext(value))


def _kind(value: Any) -> str:
    """Return the name of the value's type; patches compare types, not only values."""
    if isinstance(value, dict):
        return "map"
    return type(value).__name__ if value is not None else "nil"
