"""The helpers of this folder, and those of ARM's and Flux's tests that it builds on, can be imported by name."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).parent.parent
for folder in ("arm", "arm_aks", "flux_kustomize", "aso"):
    sys.path.insert(0, str(TESTS / folder))
