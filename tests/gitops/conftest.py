"""The helpers of this folder, and the little Kubernetes API of Flux's tests, can be imported by name."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).parent.parent
for folder in ("flux_kustomize", "gitops"):
    sys.path.insert(0, str(TESTS / folder))
