"""JSON trees (dicts, lists, strings, numbers, booleans, None), read, written and copied thousands of times.

The creation of one cluster is about a thousand documents. Code that runs less often uses the standard library.
"""

from __future__ import annotations

import marshal
from typing import Any, TypeVar

import orjson

Tree = TypeVar("Tree")

parse = orjson.loads
"""Parse JSON text or bytes. Raises `ValueError`, also for NaN and lone surrogates."""

dump = orjson.dumps
"""Return compact JSON as bytes. Raises `TypeError` if the value is not a tree."""

Raw = orjson.Fragment
"""JSON bytes that `dump` copies unchanged, anywhere in a tree."""


def copy(tree: Tree) -> Tree:
    """Return a copy that shares nothing with the tree, at an eighth of the cost of `copy.deepcopy`.

    Raises `ValueError` if the value is not a tree.
    """
    return marshal.loads(marshal.dumps(tree))  # type: ignore[no-any-return, arg-type]


def same(one: Any, other: Any) -> bool:
    """Return whether two trees are equal in types too: 1, 1.0 and true are three values.

    Trees whose members are in another order are not equal either.
    """
    return one == other and marshal.dumps(one, 2) == marshal.dumps(other, 2)
