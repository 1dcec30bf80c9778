"""Known differences are documented, and each documented one is used."""

from __future__ import annotations

from tests.conformance import known
from tests.conformance.servers import ROOT


def test_reasons_are_documented_and_used() -> None:
    text = " ".join((ROOT / "docs" / "sandbox.md").read_text().split())
    assert [reason for reason in known.REASONS.values() if reason not in text] == []
    assert {name for _, _, name in known.DIFFERENCES} == set(known.REASONS)
