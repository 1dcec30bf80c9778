"""Caches for all clusters of the process: equal artifacts and builds are kept once. They contain no secret of a cluster."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")

SIZE = 16


def remembered(cache: OrderedDict[str, Value], key: str, make: Callable[[], Value]) -> Value:
    """Return the value of a key, made on first use. The cache keeps the SIZE values that were used last."""
    if key not in cache:
        cache[key] = make()
        if len(cache) > SIZE:
            cache.popitem(last=False)
    cache.move_to_end(key)
    return cache[key]
