"""Tables as text for a terminal, as JSON and CSV for programs, and the changes between two readings of a table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from fleetlib.inspect import frames
from fleetlib.inspect.columns import TABLES, TIME

ANSI = {"broken": "31;1", "unreachable": "31;1", "progressing": "34", "stopped": "2", "unknown": "2", "ok": "32"}
"""Status -> its colour in a terminal."""


def text(frame: Any, *, width: int | None = None, wide: bool = False, colour: bool = False) -> str:
    """Return the table as aligned columns, worst rows first, cut to lines of `width` characters. `wide`: all columns, uncut."""
    shown = frames.worst_first(frame) if frame.attrs.get("table") != "events" else frame
    shown = (shown if wide else frames.brief(shown)).reset_index()
    if shown.empty:
        return good_news(frame) or "none"
    written = frames.text if wide else lambda value: frames.short(frames.text(value))
    cells = [[str(name), *map(written, shown[name])] for name in shown.columns]
    widths = [max(map(len, column)) for column in cells]
    if width is not None and not wide:
        widths = _fit(widths, width - 2 * (len(widths) - 1))
    numbers = [shown[name].dtype.kind in "iuf" for name in shown.columns]
    lines = []
    for row in zip(*cells, strict=True):
        parts = [_cell(*part) for part in zip(row, widths, numbers, strict=True)]
        lines.append("  ".join(_painted(part) if colour else part for part in parts).rstrip())
    return "\n".join(lines)


def _cell(value: str, width: int, number: bool) -> str:
    value = " ".join(value.split())
    cut = value if len(value) <= width else value[: width - 1] + "…"
    return cut.rjust(width) if number else cut.ljust(width)


def _painted(part: str) -> str:
    return _coloured(part, part.strip())


def _coloured(words: str, status: str) -> str:
    code = ANSI.get(status)
    return f"\x1b[{code}m{words}\x1b[0m" if code else words


LEAST = 12
"""The fewest characters to which a column is cut: shorter names could not be recognized."""


def _fit(widths: list[int], total: int) -> list[int]:
    """Narrow the widest column repeatedly until all fit, or all have their least width."""
    widths = list(widths)
    while sum(widths) > total:
        widest = max(range(len(widths)), key=widths.__getitem__)
        if widths[widest] <= LEAST:
            break
        widths[widest] -= 1
    return widths


def good_news(frame: Any) -> str:
    """Return the meaning of an empty table where that is good news; "" for other tables."""
    words = TABLES[frame.attrs["table"]].empty
    return f"{words} in the part that could be read" if words and frame.attrs["unread"] else words


def findings(frame: Any, *, colour: bool = False) -> str:
    """Return the table `findings` as text: a paragraph for each finding."""
    if frame.empty:
        return good_news(frame)
    parts = []
    for row in records(frame):
        sign = frames.COLOURS[row["status"]][1]
        where = "" if row["object"].startswith(row["cluster"]) else f" on {row['cluster']}"
        head = f"{sign} {row['object']}{where}: {row['status']}"
        said = ": ".join(part for part in (row["reason"], row["message"]) if part)
        since = f", since {row['since'][:19].replace('T', ' ')} UTC" if row["since"] else ""
        lines = [_coloured(head, row["status"]) if colour else head, f"  {row['meaning']}"]
        lines += [f"  says: {said}{since}"] if said else []
        lines += [f"  look: {line}" for line in (row["look"] or "").splitlines()]
        parts.append("\n".join([*lines, f"  fix:  {row['fix']}"]))
    return "\n\n".join(parts)


def records(frame: Any) -> Iterator[dict[str, Any]]:
    """Yield the rows as dictionaries, index first: plain values, times as ISO 8601 in UTC, `None` for missing values."""
    flat = frame.reset_index()
    columns = [_plain(flat[name]) for name in flat.columns]
    for values in zip(*columns, strict=True):
        yield dict(zip(map(str, flat.columns), values, strict=True))


def _plain(column: Any) -> list[Any]:
    missing = column.isna()
    if str(column.dtype) == TIME:
        values = [value.isoformat() for value in column]
    else:
        values = [value.item() if hasattr(value, "item") else value for value in column.astype(object)]
    return [None if gone else value for value, gone in zip(values, missing, strict=True)]


def as_json(frame: Any) -> str:
    """Return all columns as a JSON list of records."""
    return json.dumps(list(records(frame)), indent=1)


def as_csv(frame: Any, *, header: bool = True) -> str:
    """Return all columns as CSV; missing values are empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if header:
        writer.writerow([*frame.index.names, *frame.columns])
    writer.writerows(row.values() for row in records(frame))
    return out.getvalue().rstrip("\n")


def changed(before: Any, after: Any) -> Any:
    """Return the rows of `after` that are new or changed."""
    known = {repr(list(row.values())) for row in records(before)}
    return after[[repr(list(row.values())) not in known for row in records(after)]]


def gone(before: Any, after: Any) -> list[str]:
    """Return the index values, joined by `/`, of the rows of `before` that `after` does not have."""
    left = {str(key) for key in after.index}
    return [_key(key) for key in before.index if str(key) not in left]


def _key(key: Any) -> str:
    return "/".join(map(str, key)) if isinstance(key, tuple) else str(key)
