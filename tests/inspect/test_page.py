"""docs/inspect.md says what the tables hold."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from fleetlib.inspect.columns import TABLES
from fleetlib.inspect.fleet import MAKERS, Fleet

ROOT = Path(__file__).parents[2]


def test_the_page_has_the_tables_as_they_are() -> None:
    spec = importlib.util.spec_from_file_location("tables_page", ROOT / "tools" / "tables_page.py")
    assert spec is not None and spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    text = maker.PAGE.read_text()
    assert maker.page(text) == text, "run tools/tables_page.py"


def test_every_table_has_a_method_with_a_docstring_and_an_example() -> None:
    methods = {"findings": "doctor"}
    for name in MAKERS:
        method = getattr(Fleet, methods.get(name, name))
        assert ">>> fleet." in (method.__doc__ or ""), name
    assert set(MAKERS) <= set(TABLES)
