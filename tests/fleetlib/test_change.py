"""A step writes only differences; a verification names every promise that is not kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetlib.change import Change, Check, Checks, Outcome, Plan, Step, differences
from fleetlib.diagnosis import explain
from fleetlib.errors import VerificationError
from fleetlib.request import Shown
from fleetlib.stages.stage import Stage, promise


@dataclass
class _Put:
    """A request that stores a value in a dictionary and counts the writes."""

    box: dict[str, Any]
    value: Any

    def send(self) -> str:
        self.box["writes"] = self.box.get("writes", 0) + 1
        self.box["value"] = self.value
        return "stored"

    def shown(self) -> Shown:
        return Shown("PUT /thing", f'{{"v": {self.value}}}', "json")


def _step(
    box: dict[str, Any], wanted: Any, *, absent: bool = False, settle: Callable[[Any], None] = lambda answer: None
) -> Step:
    def compare(current: Any) -> list[str]:
        return differences({"v": wanted}, {"v": current})

    return Step("step", "thing", lambda: box.get("value"), lambda current: _Put(box, wanted), compare, absent, settle)


def test_a_step_applies_once() -> None:
    box: dict[str, Any] = {}
    step = _step(box, 3)
    assert step.plan().action == "create"
    assert box == {}
    assert [step.apply().action, step.apply().action] == ["create", "unchanged"]
    box["value"] = 1
    assert str(step.apply()) == "update: thing (v: 1 -> 3)"
    assert box["writes"] == 2


def test_showing_a_step_sends_nothing() -> None:
    box: dict[str, Any] = {}
    shown = _step(box, 3).show()
    assert repr(shown) == 'create step: thing\n\nPUT /thing\n{"v": 3}'
    assert box == {}


def test_a_step_that_finds_no_difference_says_that_its_request_is_not_sent() -> None:
    assert _step({"value": 3}, 3).show().action == "unchanged step: thing (the request is not sent)"


def test_a_step_settles_with_the_answer_to_its_request() -> None:
    answers: list[Any] = []
    step = _step({}, 3, settle=answers.append)
    step.apply()
    step.apply()
    assert answers == ["stored"]


def test_an_absent_step_deletes_once() -> None:
    box: dict[str, Any] = {"value": 1}
    step = _step(box, None, absent=True)
    assert [step.apply().action, step.apply().action] == ["delete", "unchanged"]


def test_named_lists_are_compared_by_name() -> None:
    desired = {"pools": [{"name": "system", "max": 3}]}
    actual = {"pools": [{"name": "user", "max": 9}, {"name": "system", "max": 1, "min": 0}], "more": True}
    assert differences(desired, actual) == ["pools[system].max: 1 -> 3"]


@given(st.recursive(st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8))
def test_a_value_has_no_differences_from_itself(value: Any) -> None:
    assert differences(value, value) == []


class _Broken(Stage):
    notebook = "42_break_things"

    def promises(self) -> Iterable[Check]:
        yield promise("one holds", True)
        yield promise("two holds", False, "AADSTS700213: no match", "fix two")
        yield promise("three holds", False, "nothing there", "fix three")


def test_verification_names_every_broken_promise_and_its_fix() -> None:
    stage = _Broken.__new__(_Broken)
    stage.applied = []
    with pytest.raises(VerificationError) as error:
        stage.verify()
    text = str(error.value)
    assert "2 of 3 promises are not kept" in text
    assert all(words in text for words in ("AADSTS700213: no match", "nothing there", "fix two", "fix three"))


def test_plans_checks_and_changes_are_readable_text() -> None:
    made, kept = Change("group", "a-rg", "create"), Change("cluster", "a", "update", ("nodes: 1 -> 3",))
    assert repr(Plan((made, kept))) == "create  group    a-rg\nupdate  cluster  a     nodes: 1 -> 3"
    assert repr(made) == "create  group  a-rg"
    assert repr(Checks((promise("it runs", True), promise("all hold", False, "no", "try again")))) == (
        "✓  it runs   yes\n✗  all hold  no   try again"
    )
    assert repr(Outcome((made,))) == repr(made)
    assert repr(Outcome(())) == "nothing changed: everything was as declared"


def test_tables_leave_out_columns_that_are_empty() -> None:
    assert "differences" not in Plan((Change("group", "a-rg", "create"),))._repr_html_()


def test_html_escapes_messages() -> None:
    html = Checks((promise("p", False, "<script>alert(1)</script>"),))._repr_html_()
    assert "<script>" not in html


@pytest.mark.parametrize(
    ("message", "notebook"),
    [
        (
            "AADSTS700211: No matching federated identity record found for presented assertion issuer 'x'",
            "02_create_aso_identity",
        ),
        ("AuthorizationFailed: The client 'x' does not have authorization to perform action 'y'", "04_prepare_fleet"),
        (
            "failed to find layer with media type 'application/vnd.cncf.helm.chart.content.v1.tar+gzip'",
            "05_publish_cluster_chart",
        ),
        ("ErrCode_InsufficientVCPUQuota: Insufficient regional vcpu quota left", "00_check_prerequisites"),
    ],
)
def test_known_messages_lead_to_their_notebook(message: str, notebook: str) -> None:
    cause = explain(message)
    assert cause is not None
    assert notebook in cause.fix


def test_an_unknown_message_has_no_cause() -> None:
    assert explain("the moon is in the wrong phase") is None
