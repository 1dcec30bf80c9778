"""Notebook hygiene, part of `make check`: the contract of docs/architecture.md, section "Notebooks"."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "notebooks"
MAX_LINES = 15
MAX_ONE_LINERS = 0.45
"""Share of the code cells, over all notebooks and without the parameters cells, that may have one line only."""

Cell = dict[str, Any]


def problems(path: Path) -> Iterator[str]:
    """Yield the problems of a notebook, a sentence each."""
    cells = cells_of(path)
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    if not re.fullmatch(r"\d\d_[a-z_]+", path.stem):
        yield "is not named NN_verb_object"
    if not 15 <= len(cells) <= 40:
        yield f"has {len(cells)} cells, not 15 to 40"
    if cells[0]["cell_type"] != "markdown" or not _source(cells[0]).startswith(f"# {path.stem[:2]} · "):
        yield "does not start with its title"
    if "**Question:**" not in _source(cells[0]):
        yield "does not say which question it answers"
    tagged = [cell for cell in code if "parameters" in cell["metadata"].get("tags", ())]
    if len(tagged) != 1:
        yield f"has {len(tagged)} cells tagged parameters, not one"
    for cell in tagged:
        yield from _untyped(cell)
    for number, cell in enumerate(cells):
        yield from (f"cell {number}: {text}" for text in _cell_problems(cell))
    if any(all(c["cell_type"] == "code" for c in cells[i : i + 4]) for i in range(len(cells) - 3)):
        yield "has four code cells in a row without prose"
    if not any("assert" in _source(cell) or "verify()" in _source(cell) for cell in code):
        yield "verifies nothing"
    if "01" <= path.stem[:2] <= "08" and not any("exercises.check(" in _source(cell) for cell in code):
        yield "has no exercise that checks itself"
    yield from (f"applies {name!r} without showing it first" for name in _not_shown(code))


def _not_shown(code: list[Cell]) -> Iterator[str]:
    """The steps that the notebook applies by name and has not shown before."""
    shown: set[str] = set()
    for verb, name in re.findall(r'\.(show|apply)\("([^"]+)"\)', "\n".join(map(_source, code))):
        if verb == "show":
            shown.add(name)
        elif name not in shown:
            yield name


def one_liners(paths: Iterable[Path]) -> tuple[int, int]:
    """(code cells of one line, all code cells), without the parameters cells."""
    code = [
        cell
        for path in paths
        for cell in cells_of(path)
        if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", ())
    ]
    return sum(len(_source(cell).strip().splitlines()) == 1 for cell in code), len(code)


def cells_of(path: Path) -> list[Cell]:
    cells: list[Cell] = json.loads(path.read_text())["cells"]
    return cells


def _cell_problems(cell: Cell) -> Iterator[str]:
    source = _source(cell)
    if cell["cell_type"] != "code":
        return
    if len(source.splitlines()) > MAX_LINES:
        yield f"has more than {MAX_LINES} lines"
    if any(isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef) for node in ast.walk(ast.parse(source))):
        yield "defines something: that belongs in fleetlib"
    if cell.get("execution_count") is None:
        yield "has not been executed: run `make outputs`"
    if any(output["output_type"] in ("error", "stream") and output.get("name") != "stdout" for output in cell["outputs"]):
        yield "stores an error or a warning"


def _untyped(cell: Cell) -> Iterator[str]:
    for node in ast.parse(_source(cell)).body:
        if not isinstance(node, ast.AnnAssign):
            yield "has a parameter without a type"


def _source(cell: Cell) -> str:
    return "".join(cell["source"])


def main() -> int:
    paths = sorted(FOLDER.glob("*.ipynb"))
    found = [f"{path.name}: {text}" for path in paths for text in problems(path)]
    short, count = one_liners(paths)
    if short > MAX_ONE_LINERS * count:
        found.append(f"{short} of {count} code cells have one line: show, query and assert more")
    print("\n".join(found) or "notebooks: clean")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
