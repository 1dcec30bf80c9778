"""This folder's helpers, and the Kubernetes tests' cluster, can be imported by name."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).parent.parent
for folder in ("kubernetes", "crash"):
    sys.path.insert(0, str(TESTS / folder))
