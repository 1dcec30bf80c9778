"""docs/inspect.md and docs/doctor.md have the tables of `fleetlib.inspect`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from fleetlib.inspect import doctor, layers
from fleetlib.inspect.columns import LAYERS, TABLES
from fleetlib.inspect.fleet import MAKERS, Fleet
from fleetlib.inspect.rules import RULES

ROOT = Path(__file__).parents[2]


def test_the_pages_equal_the_generated_tables() -> None:
    spec = importlib.util.spec_from_file_location("tables_page", ROOT / "tools" / "tables_page.py")
    assert spec is not None and spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    for name in maker.PAGES:
        text = (ROOT / "docs" / name).read_text()
        assert maker.page(name, text) == text, "run tools/tables_page.py"


def test_every_meaning_has_a_fix() -> None:
    """A suspended or unknown object needs another fix than a broken one."""
    assert {key for key in doctor.MEANING if key[1]} - set(layers.NEXT) == set()
    assert {layer for layer, _ in doctor.MEANING} == set(doctor.LOOK) == set(LAYERS)
    assert all(rule.fix and rule.meaning for rule in RULES.values())


def test_every_table_has_a_method_with_a_docstring_and_an_example() -> None:
    methods = {"findings": "doctor"}
    for name in MAKERS:
        method = getattr(Fleet, methods.get(name, name))
        assert ">>> fleet." in (method.__doc__ or ""), name
    assert set(MAKERS) <= set(TABLES)
