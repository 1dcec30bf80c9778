"""Write the tables of docs/inspect.md and docs/doctor.md from what `fleetlib.inspect` has them in; a test holds the pages against it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from fleetlib import diagnosis
from fleetlib.inspect import doctor, layers
from fleetlib.inspect.columns import TABLES, Column, Table
from fleetlib.inspect.rules import RULES

DOCS = Path(__file__).parent.parent / "docs"


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


def states() -> str:
    """What `doctor` says of a layer that is not well, when no known cause fits."""
    lines = ["| layer | status | it means | next | look |", "|---|---|---|---|---|"]
    for (layer, status), meaning in doctor.MEANING.items():
        fix = layers.NEXT.get((layer, status)) or layers.NEXT.get((layer, ""), "")
        look = "<br>".join(f"`{command}`" for command in doctor.LOOK[layer])
        lines.append(f"| {layer} | {status or 'any other'} | {meaning} | {fix} | {look} |")
    return "\n".join(lines)


def causes() -> str:
    """The messages whose cause is known, in the order in which they are looked for."""
    lines = ["| in the message (regular expression) | it means | what mends it | by itself? |", "|---|---|---|---|"]
    for cause in diagnosis.CAUSES:
        pattern = cause.pattern.replace("|", "\\|").replace("`", "'")
        lines.append(f"| `{pattern}` | {cause.meaning} | {cause.fix} | {'no' if cause.final else 'perhaps'} |")
    return "\n".join(lines)


def rules() -> str:
    """What `doctor` looks for besides the layers' own states."""
    lines = ["| rule | looks for | without it | it means | what mends it |", "|---|---|---|---|---|"]
    lines += [f"| {name} | {rule.title} | {rule.why} | {rule.meaning} | {rule.fix} |" for name, rule in RULES.items()]
    return "\n".join(lines)


def tables() -> str:
    return "\n\n".join(section(table) for table in TABLES.values())


PAGES = {"inspect.md": {"tables": tables}, "doctor.md": {"states": states, "causes": causes, "rules": rules}}
"""Page -> part -> what makes it. A part stands between two comments."""


def page(name: str, text: str) -> str:
    """The page with its parts as they are now."""
    for part, make in PAGES[name].items():
        begin, end = f"<!-- {part}: made by tools/tables_page.py -->", f"<!-- end of {part} -->"
        assert begin in text and end in text, (name, part)
        whole = f"{begin}\n\n{make()}\n\n{end}"
        text = re.sub(f"{re.escape(begin)}.*{re.escape(end)}", lambda _, whole=whole: whole, text, flags=re.DOTALL)
    return text


def main() -> int:
    for name in PAGES:
        path = DOCS / name
        path.write_text(page(name, path.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
