"""The names that the whole Kubernetes API uses for its documents, and how they become bytes."""

from __future__ import annotations

from typing import Any

from azuresandbox import trees

Object = dict[str, Any]
"""A Kubernetes object as decoded JSON."""


def dump(obj: Object) -> bytes:
    """Compact JSON, `apiVersion` and `kind` first."""
    head: Object = {"apiVersion": obj["apiVersion"], "kind": obj["kind"]}
    return trees.dump(head | obj)


def head(api_version: str) -> bytes:
    """How the bytes of every object of an apiVersion begin."""
    return b'{"apiVersion":' + trees.dump(api_version) + b","
