"""The fixtures of `fault_cloud`, for all tests of this folder."""

from __future__ import annotations

from tests.faults.fault_cloud import cloud, git, started

__all__ = ["cloud", "git", "started"]
