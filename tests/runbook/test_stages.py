"""Every stage does what it promises, twice in a row: the second time nothing changes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytestmark = pytest.mark.xdist_group("runbook")


@pytest.mark.parametrize("number", ["00", "01", "02", "03", "04", "05", "06"])
def test_a_second_run_changes_nothing(number: str, fleet: Callable[..., object]) -> None:
    current = fleet(number)
    stage = current.stage(number)  # type: ignore[attr-defined]
    assert not stage.plan(), str(stage.plan())
    stage.apply_all()
    if hasattr(stage, "wait"):
        stage.wait()
    stage.verify()
    assert not stage.changed, stage.outcome()
