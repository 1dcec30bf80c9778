"""This folder's helpers can be imported by name, and its fixtures are everybody's."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from fault_cloud import cloud, git, started

__all__ = ["cloud", "git", "started"]
