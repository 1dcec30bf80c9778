"""Write the tables in docs/inspect.md and docs/doctor.md from `fleetlib.inspect`. A test compares them."""

from __future__ import annotations

import sys
from pathlib import Path

from fleetlib import diagnosis
from fleetlib.inspect import doctor, layers
from fleetlib.inspect.columns import TABLES, Column, Table
from fleetlib.inspect.rules import RULES

DOCS = Path(__file__).parent.parent / "docs"


def section(table: Table) -> str:
    """Return the section of one table: its title, then its columns with the index in bold."""
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


def states() -> str:
    """Return the table of the faults of a layer without a known cause."""
    lines = ["| layer | status | meaning | fix | commands to look closer |", "|---|---|---|---|---|"]
    for (layer, status), meaning in doctor.MEANING.items():
        fix = layers.NEXT.get((layer, status)) or layers.NEXT.get((layer, ""), "")
        look = "<br>".join(f"`{command}`" for command in doctor.LOOK[layer])
        lines.append(f"| {layer} | {status or 'any other'} | {meaning} | {fix} | {look} |")
    return "\n".join(lines)


def causes() -> str:
    """Return the table of the known causes, in the order of the search."""
    lines = ["| message (regular expression) | meaning | fix | may end by itself |", "|---|---|---|---|"]
    for cause in diagnosis.CAUSES:
        pattern = cause.pattern.replace("|", "\\|").replace("`", "'")
        lines.append(f"| `{pattern}` | {cause.meaning} | {cause.fix} | {'no' if cause.final else 'yes'} |")
    return "\n".join(lines)


def rules() -> str:
    """Return the table of the rules."""
    lines = ["| rule | fault | consequence | meaning | fix |", "|---|---|---|---|---|"]
    lines += [f"| {name} | {rule.title} | {rule.why} | {rule.meaning} | {rule.fix} |" for name, rule in RULES.items()]
    return "\n".join(lines)


def tables() -> str:
    return "\n\n".join(section(table) for table in TABLES.values())


PAGES = {"inspect.md": {"tables": tables}, "doctor.md": {"states": states, "causes": causes, "rules": rules}}
"""Page -> part -> the function that returns it. In the page, a part is between two comments."""


def page(name: str, text: str) -> str:
    """Return the page with its generated parts replaced."""
    for part, make in PAGES[name].items():
        begin, end = f"<!-- {part}: made by tools/tables_page.py -->", f"<!-- end of {part} -->"
        assert begin in text and end in text, (name, part)
        whole = f"{begin}\n\n{make()}\n\n{end}"
        before, after = text.partition(begin)[0], text.partition(end)[2]
        text = f"{before}{whole}{after}"
    return text


def main() -> int:
    for name in PAGES:
        path = DOCS / name
        path.write_text(page(name, path.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
