"""Sets of fields, in the form in which managedFields stores them (FieldsV1).

A set is a trie whose keys are `f:<name>`, `k:<keys>`, `v:<value>`, and `.` where the node itself is in the set and has
children; an empty trie is a leaf that is in the set. Source: sigs.k8s.io/structured-merge-diff, `fieldpath`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

Trie = dict[str, Any]


MEMBER = "."


def _node_union(left: Trie, right: Trie) -> Trie:
    """Return the union of two nodes below the root."""
    member = is_member(left) or is_member(right)
    children = union({k: v for k, v in left.items() if k != MEMBER}, {k: v for k, v in right.items() if k != MEMBER})
    return owned(children) if member else children


def union(left: Trie, right: Trie) -> Trie:
    """Return the union of two sets."""
    result = dict(left)
    for key, value in right.items():
        result[key] = _node_union(result[key], value) if key in result else value
    return result


def difference(left: Trie, right: Trie, whole: bool = False) -> Trie:
    """Return the fields of `left` that are not in `right`. `whole`: a leaf of `right` also removes everything below it."""
    result: Trie = {}
    for key, value in left.items():
        if key not in right:
            result[key] = value
            continue
        if key == MEMBER:
            continue
        rest = _node_difference(value, right[key], whole)
        if rest is not None:
            result[key] = rest
    return result


def _node_difference(left: Trie, right: Trie, whole: bool) -> Trie | None:
    owned, taken = is_member(left), is_member(right)
    if whole and not right:
        return None
    children = difference({k: v for k, v in left.items() if k != MEMBER}, right, whole)
    keep = owned and not taken
    if children:
        return {MEMBER: {}, **children} if keep else children
    return {} if keep else None


def intersection(left: Trie, right: Trie) -> Trie:
    result: Trie = {}
    for key, value in left.items():
        if key == MEMBER or key not in right:
            continue
        both = is_member(value) and is_member(right[key])
        children = intersection(value, right[key])
        if children:
            result[key] = {MEMBER: {}, **children} if both else children
        elif both:
            result[key] = {}
    return result


def is_member(node: Trie) -> bool:
    """Return whether the node itself is in the set."""
    return not node or MEMBER in node


def paths(fields: Trie, prefix: str = "") -> Iterator[str]:
    """Yield the paths of a set's members, as conflicts name them: `.spec.containers[name="x"].image`."""
    for key, value in sorted(fields.items()):
        if key == MEMBER:
            continue
        path = prefix + _segment(key)
        if is_member(value):
            yield path
        yield from paths(value, path)


def _segment(key: str) -> str:
    kind, text = key[0], key[2:]
    if kind == "f":
        return f".{text}"
    if kind == "k":
        return "[" + ",".join(f"{name}={json.dumps(value)}" for name, value in json.loads(text).items()) + "]"
    return f"[={text}]"


def owned(children: Trie | None) -> Trie:
    """Return a node that is in the set itself, with its children."""
    return {MEMBER: {}, **children} if children else {}
