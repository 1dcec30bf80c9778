"""This folder's helpers can be imported by name, and its fixtures are everybody's."""

from __future__ import annotations

from tests.faults.fault_cloud import cloud, git, started

__all__ = ["cloud", "git", "started"]
