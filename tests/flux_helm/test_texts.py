"""The tables of texts of the Flux controllers: each row is used, and each use fills in all parts of its template."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from string import Formatter
from types import ModuleType

import pytest

from azuresandbox.machine.images.flux.helm import texts as helm
from azuresandbox.machine.images.flux.kustomize import texts as kustomize
from azuresandbox.machine.images.flux.source import texts as source
from azuresandbox.machine.images.flux.texts import Text

TABLES = (helm, kustomize, source)


def rows(table: ModuleType) -> dict[str, list[Text]]:
    """Return name -> the texts of that name: one, or those of several actions."""
    found: dict[str, list[Text]] = {}
    for name, value in vars(table).items():
        if isinstance(value, Text):
            found[name] = [value]
        elif isinstance(value, dict) and value and all(isinstance(item, Text) for item in value.values()):
            found[name] = list(value.values())
    return found


def trees(table: ModuleType) -> Iterator[ast.AST]:
    assert table.__file__ is not None
    for file in sorted(Path(table.__file__).parent.glob("*.py")):
        if file.name != "texts.py":
            yield from ast.walk(ast.parse(file.read_text(), str(file)))


def row_name(node: ast.AST) -> str:
    """Return X for the expressions `texts.X` and `texts.X[...]`, "" for others."""
    node = node.value if isinstance(node, ast.Subscript) else node
    is_row = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "texts"
    return node.attr if is_row and isinstance(node, ast.Attribute) else ""


def parts(text: Text) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text.template) if name}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: str(table.__name__.rsplit(".", 2)[1]))
def test_every_row_is_used(table: ModuleType) -> None:
    used = {row_name(node) for node in trees(table)} - {""}
    assert used == set(rows(table))


@pytest.mark.parametrize("table", TABLES, ids=lambda table: str(table.__name__.rsplit(".", 2)[1]))
def test_every_use_fills_in_the_template(table: ModuleType) -> None:
    found = rows(table)
    for node in trees(table):
        if isinstance(node, ast.Call) and (name := row_name(node.func)):
            given = {keyword.arg for keyword in node.keywords if keyword.arg}
            expands = any(keyword.arg is None for keyword in node.keywords)
            for text in found[name]:
                assert given <= parts(text) if expands else given == parts(text), f"{name}, line {node.lineno}"
