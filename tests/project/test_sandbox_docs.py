"""docs/sandbox.md names a test for each claim: the tests must exist, and every part of the sandbox must have a claim."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = set(re.findall(r"`(tests/[\w/]+\.py)`", (ROOT / "docs/sandbox.md").read_text()))


def test_every_named_test_exists() -> None:
    missing = [name for name in NAMED if not (ROOT / name).is_file()]
    assert not missing
    empty = [name for name in NAMED if not re.search(r"^(async )?def test_", (ROOT / name).read_text(), re.M)]
    assert not empty


def test_every_part_of_the_sandbox_has_a_claim() -> None:
    parts = {"entra", "arm", "arm_aks", "kubernetes", "machine", "aso", "flux_source", "flux_kustomize", "flux_helm", "sources"}
    assert parts <= {name.split("/")[1] for name in NAMED}
