"""The folder's helpers can be imported by name."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "flux_kustomize"))
sys.path.insert(0, str(Path(__file__).parent))
