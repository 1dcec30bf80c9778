"""Write the tables of docs/inspect.md from `fleetlib.inspect.columns`; a test holds the page against it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from fleetlib.inspect.columns import TABLES, Column, Table
from fleetlib.inspect.doctor import RULES

PAGE = Path(__file__).parent.parent / "docs" / "inspect.md"
RULES_BEGIN, RULES_END = "<!-- rules: made by tools/tables_page.py -->", "<!-- end of rules -->"
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


def rules() -> str:
    """What `doctor` looks for besides the layers' own states."""
    lines = ["| rule | looks for | without it |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {rule.title} | {rule.why} |" for name, rule in RULES.items())])


def page(text: str) -> str:
    """The page with its tables as they are now."""
    tables = "\n\n".join(section(table) for table in TABLES.values())
    for begin, end, made in ((BEGIN, END, tables), (RULES_BEGIN, RULES_END, rules())):
        text = re.sub(
            f"{re.escape(begin)}.*{re.escape(end)}",
            lambda _, b=begin, e=end, m=made: f"{b}\n\n{m}\n\n{e}",
            text,
            flags=re.DOTALL,
        )
    return text


def main() -> int:
    PAGE.write_text(page(PAGE.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
