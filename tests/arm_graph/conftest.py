"""Lets the tests of this folder import their own world, ARM's client and AKS's data plane."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "arm"), str(HERE.parent / "arm_aks")]
