"""Write the tables of docs/inspect.md from `fleetlib.inspect.columns`; a test holds the page against it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from fleetlib.inspect.columns import TABLES, Column, Table

PAGE = Path(__file__).parent.parent / "docs" / "inspect.md"
BEGIN, END = "<!-- tables: made by tools/tables_page.py -->", "<!-- end of tables -->"


def section(table: Table) -> str:
    """One table: what a row is, then its columns, the index in bold."""
    lines = [f"### {table.name}", "", table.title, "", "| column | dtype | meaning |", "|---|---|---|"]
    lines += [_line(column, bold=True) for column in table.index]
    lines += [_line(column, bold=False) for column in table.columns]
    return "\n".join(lines)


def _line(column: Column, *, bold: bool) -> str:
    name = f"**{column.name}**" if bold else column.name
    values = (
        f" ({', '.join(column.values)})"
        if column.values and column.name not in ("status", "layer", "first_broken_layer")
        else ""
    )
    return f"| {name} | {column.dtype} | {column.meaning}{values} |"


def page(text: str) -> str:
    """The page with its tables as they are now."""
    tables = "\n\n".join(section(table) for table in TABLES.values())
    return re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: f"{BEGIN}\n\n{tables}\n\n{END}", text, flags=re.DOTALL)


def main() -> int:
    PAGE.write_text(page(PAGE.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
