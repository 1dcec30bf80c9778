"""Notebook hygiene, part of `make check`: the contract of docs/architecture.md, section "Notebooks"."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "notebooks"
MAX_LINES = 15


def problems(path: Path) -> Iterator[str]:
    """What is wrong with a notebook, a sentence each."""
    cells = json.loads(path.read_text())["cells"]
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
    if any("assert" in _source(cell) or "verify()" in _source(cell) for cell in code) is False:
        yield "verifies nothing"


def _cell_problems(cell: Any) -> Iterator[str]:
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


def _untyped(cell: Any) -> Iterator[str]:
    for node in ast.parse(_source(cell)).body:
        if not isinstance(node, ast.AnnAssign):
            yield "has a parameter without a type"


def _source(cell: Any) -> str:
    return "".join(cell["source"])


def main() -> int:
    found = [f"{path.name}: {text}" for path in sorted(FOLDER.glob("*.ipynb")) for text in problems(path)]
    print("\n".join(found) or "notebooks: clean")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
