"""Every stage keeps its promises when it runs twice, and the second run makes no changes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytestmark = pytest.mark.xdist_group("runbook")


@pytest.mark.parametrize("number", ["00", "01", "02", "03", "04", "05", "06"])
def test_a_second_run_makes_no_changes(number: str, fleet: Callable[..., object]) -> None:
    current = fleet(number)
    stage = current.stage(number)  # type: ignore[attr-defined]
    assert not stage.plan(), str(stage.plan())
    stage.apply_all()
    if hasattr(stage, "wait"):
        stage.wait()
    stage.verify()
    assert not stage.changed, stage.outcome()
