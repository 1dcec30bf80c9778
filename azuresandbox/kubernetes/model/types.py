"""Kubernetes objects as decoded JSON, and as bytes."""

from __future__ import annotations

from typing import Any

from azuresandbox import trees

Object = dict[str, Any]
"""A Kubernetes object as decoded JSON."""


def dump(obj: Object) -> bytes:
    """Return compact JSON, `apiVersion` and `kind` first."""
    head: Object = {"apiVersion": obj["apiVersion"], "kind": obj["kind"]}
    return trees.dump(head | obj)


def head(api_version: str) -> bytes:
    """Return the first bytes of every object of an apiVersion."""
    return b'{"apiVersion":' + trees.dump(api_version) + b","
