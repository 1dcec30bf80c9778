"""Kubernetes objects as the machine's modules pass them on: JSON trees."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]
"""A Kubernetes object, or an object in one."""

Objects = list[Object]
