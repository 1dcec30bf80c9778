"""Every operation of the management clients that fleetlib uses is emulated or refused by name, as docs/sandbox.md says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from azuresandbox import lifecycle
from tests.arm.arm_coverage import tool


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Any, Any]]:
    """Ask a sandbox every operation; yield operation -> answer."""
    state = tmp_path_factory.mktemp("coverage") / "sandbox"
    try:
        yield tool.answers(lifecycle.up(state))
    finally:
        lifecycle.down(state)


def test_every_operation_is_emulated_or_refused_by_name(found: dict[Any, Any]) -> None:
    assert len(found) > 400
    assert [f"{operation.client} {operation.name}: {answer}" for operation, answer in tool.absent(found)] == []


def test_refusals_name_the_missing_feature(found: dict[Any, Any]) -> None:
    for operation, answer in found.items():
        if answer.verdict == "refused":
            assert answer.code == "NotImplemented", operation
            assert answer.message.startswith("The sandbox does not emulate "), operation
            assert answer.message.endswith(" docs/sandbox.md lists what it emulates."), operation


def test_emulated_operations_answer(found: dict[Any, Any]) -> None:
    """Reading existing resources succeeds. Others are refused because of the request, not because the sandbox lacks them."""
    listings = [answer for operation, answer in found.items() if ".list" in operation.name and answer.verdict == "emulated"]
    assert len(listings) > 20
    assert {answer.status for answer in listings} == {200}
    assert {answer.status for answer in found.values()} <= {200, 201, 202, 204, 400, 404, 409, 501}


def test_the_document_and_the_list_of_types_are_up_to_date(found: dict[Any, Any]) -> None:
    again = "run python tools/coverage_table.py"
    text = tool.DOCUMENT.read_text()
    assert tool.replaced(text, tool.render(found)) == text, again
    assert tool.TYPES.read_text() == tool.rendered_types(), again
