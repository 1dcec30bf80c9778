"""docs/controllers.md: it equals its data, each row has a source, and the tests that it names exist."""

from __future__ import annotations

import ast
import importlib.util
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def table() -> Any:
    spec = importlib.util.spec_from_file_location("controllers_table", ROOT / "tools/controllers_table.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


TABLE = table()


@cache
def functions(path: str) -> frozenset[str]:
    """Return the names of the tests in a file: its module-level functions called test_*."""
    tree = ast.parse((ROOT / path).read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in tree.body if isinstance(node, kinds) and node.name.startswith("test_"))


def test_the_page_equals_its_data() -> None:
    assert TABLE.PAGE.read_text() == TABLE.page(), "run python tools/controllers_table.py"


@pytest.mark.parametrize("row", TABLE.rows(), ids=lambda row: f"{row.controller}-{row.about}".replace(" ", "-"))
def test_a_row_has_a_source_and_tests_that_exist(row: Any) -> None:
    assert row.link.startswith("https://") and row.tests
    for test in row.tests:
        path, _, name = test.partition("::")
        assert Path(path).name.startswith("test_"), test
        assert name in functions(path), test


@pytest.mark.parametrize("source", ["", "somewhere", "internal/x.go", "http://example.org/"])
def test_a_text_that_is_not_a_source_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match="neither a page nor path#symbol"):
        TABLE.link(source, "fluxcd/pkg", "v1")


def test_every_controller_of_the_fleet_has_conditions_events_retries_and_finalizers() -> None:
    """Most issues of the controllers are about these; Azure's agent has states instead."""
    wanted = {"condition", "event", "retry", "annotation", "finalizer", "order"}
    said = {
        row.controller: {other.about for other in TABLE.rows() if other.controller == row.controller} for row in TABLE.rows()
    }
    assert {name for name, about in said.items() if wanted <= about} >= {
        "source-controller",
        "kustomize-controller",
        "helm-controller",
        "Azure Service Operator",
    }
