"""DataFrames of the fleet's tables: built from rows as `columns` defines them, with colours and links in a notebook.

Importing this module imports pandas.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any

import pandas

from fleetlib.inspect.columns import KIND, SIGNS, STATUS, TABLES, TEXT, TIME, Column, Table, natural

_COLOURS = {
    "broken": "#9b1c31",
    "unreachable": "#9b1c31",
    "progressing": "#1f5f99",
    "stopped": "#5c5c5c",
    "unknown": "#5c5c5c",
    "ok": "#0b6e4f",
}
COLOURS = {status: (colour, SIGNS[status]) for status, colour in _COLOURS.items()}
"""Status -> (colour, sign). The colours are legible on white and on dark; the sign shows the status without colours."""

SHOWN = 60
"""The most rows that a notebook shows, worst first."""


class View(pandas.DataFrame):
    """A table of the fleet: a DataFrame that a notebook shows with status colours and portal links, worst rows first."""

    @property
    def _constructor(self) -> Any:
        return View

    def __repr__(self) -> str:
        shown = brief(self)
        if shown is self:
            return super().__repr__()
        return repr(pandas.DataFrame({name: _shortened(shown[name]) for name in shown.columns}, index=shown.index))

    def _repr_html_(self) -> str | None:
        table = TABLES.get(self.attrs.get("table", ""))
        if table is None or not {column.name for column in table.index} <= {*self.index.names, *self.columns}:
            return super()._repr_html_()  # type: ignore[misc]
        return _html(self, table)


def build(table: Table, rows: Iterable[Mapping[str, Any]], *, source: str, read: datetime, **attrs: Any) -> View:
    """Build the table's DataFrame from its rows, sorted by the index (events newest first). A column that a row lacks is
    missing.

    `source`, `read` and `attrs` go to `.attrs`. Raises `KeyError` for a column that the table does not have.
    """
    values: dict[str, list[Any]] = {column.name: [] for column in table.all}
    for row in rows:
        unknown = row.keys() - values.keys()
        if unknown:
            raise KeyError(f"table {table.name} has no column {', '.join(sorted(unknown))}")
        for name, cells in values.items():
            cells.append(row.get(name))
    for column in table.index:
        if column.dtype in (TEXT, KIND):  # an index value is never missing: the row of an unreachable cluster has ""
            values[column.name] = ["" if value is None else value for value in values[column.name]]
    frame = View({column.name: _array(column, values[column.name]) for column in table.all})
    names = [column.name for column in table.index]
    frame = frame.sort_values(names, kind="stable", ascending=table.name != "events").set_index(names)
    frame.attrs.update(table=table.name, source=source, read=read, **attrs)
    return frame


def _array(column: Column, values: Sequence[Any]) -> Any:
    if column.dtype == TIME:
        return pandas.to_datetime(pandas.Series(values, dtype="object"), utc=True, format="ISO8601").dt.as_unit("ns")
    if column.dtype == KIND and column.values:
        return pandas.Categorical(values, categories=list(column.values), ordered=True)
    if column.dtype == KIND:
        return pandas.Categorical(values, categories=sorted({value for value in values if value is not None}, key=natural))
    return pandas.array(list(values), dtype=column.dtype)  # type: ignore[call-overload]


def worst_first(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Sort the rows by status, worst first; rows of the same status keep their order."""
    return frame.sort_values("status", kind="stable") if "status" in frame else frame


def brief(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Return the table with its brief columns, without those that are empty in all rows.

    A table whose columns the user has selected or extended is returned as it is.
    """
    table = TABLES.get(frame.attrs.get("table", ""))
    if table is None or [column.name for column in table.columns] != list(frame.columns):
        return frame
    return frame[[name for name in table.brief if not _empty(frame[name])] or list(table.brief)]


def _empty(column: Any) -> bool:
    return len(column) > 0 and all(text(value) == "" for value in column)


def text(value: Any) -> str:
    """Return a value as text for people: "" for missing values, times to the second, numbers with two decimals."""
    if isinstance(value, str):
        return value
    if value is None or value is pandas.NA or value is pandas.NaT or value != value:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, float):
        return f"{value:,.2f}".rstrip("0").rstrip(".")
    return str(value)


def short(words: str) -> str:
    """Shorten the commits and digests in a text to their first eight characters."""
    return _DIGEST.sub(r"\1", words) if len(words) >= 40 else words


def _shortened(column: Any) -> Any:
    """Shorten the digests in a column of texts."""
    return column.map(short, na_action="ignore") if str(column.dtype) == TEXT else column


_DIGEST = re.compile(r"\b([0-9a-f]{8})[0-9a-f]{32,56}\b")


@dataclass(frozen=True)
class Line:
    """One row as text: its status and link ("" if the table has none), its index values (`keys`) and its other cells."""

    status: str
    link: str
    keys: tuple[str, ...]
    cells: tuple[str, ...]


def lines(frame: Any, most: int | None = None) -> tuple[list[tuple[str, bool]], list[Line]]:
    """Return the brief columns as (name, whether numeric), index first, and at most `most` rows, worst first.

    The status becomes each row's sign, not a column, unless the user has chosen the columns.
    """
    ordered = worst_first(frame) if frame.attrs.get("table") != "events" else frame
    ordered = ordered if most is None else ordered.head(most)
    shown = brief(ordered)
    if shown is not ordered and "status" in shown:
        shown = shown.drop(columns="status")
    keys = [list(map(text, ordered.index.get_level_values(level).tolist())) for level in range(ordered.index.nlevels)]
    cells = [[short(text(value)) for value in shown[name].tolist()] for name in shown.columns]
    blank = [""] * len(ordered)
    statuses = [text(value) for value in ordered["status"].tolist()] if "status" in ordered else blank
    links = [text(value) for value in ordered["portal"].tolist()] if "portal" in ordered else blank
    header = [(str(name), False) for name in ordered.index.names] + [
        (str(name), shown[name].dtype.kind in "iuf") for name in shown.columns
    ]
    rows = zip(
        statuses, links, zip(*keys, strict=True), zip(*cells, strict=True) if cells else [()] * len(ordered), strict=True
    )
    return header, [Line(*row) for row in rows]


def said(frame: Any, most: int | None = None) -> list[str]:
    """Return facts about a table: its number of rows (the first `most` are shown), source, time, and the budgets
    that are left.
    """
    read, count = frame.attrs.get("read"), len(frame)
    parts = [
        f"{count} row{'s' * (count != 1)}" + (f", the first {most} shown" if most is not None and count > most else ""),
        frame.attrs.get("source", ""),
        f"read {read:%Y-%m-%d %H:%M:%S} UTC" if read else "",
        *(f"{name} left: {left}" for name, left in frame.attrs.get("budget", {}).items()),
    ]
    return [part for part in parts if part]


def _html(frame: Any, table: Table) -> str:
    names, rows = lines(frame, SHOWN)
    header = "".join(f"<th style='text-align:left'>{escape(name)}</th>" for name, _ in names)
    body = "".join(_row(line, [name for name, _ in names[len(line.keys) :]]) for line in rows)
    unread = "".join(
        f"<div style='color:{COLOURS['broken'][0]}'>not read: {escape(why)}</div>"
        for why in frame.attrs.get("unread", {}).values()
    )
    if frame.empty:
        words = "none" if frame.attrs.get("unread") or not table.empty else f"✓ {table.empty}"
        return f"<b>{words}</b><div style='font-size:85%;opacity:.75'>{escape(' · '.join(said(frame, SHOWN)))}</div>{unread}"
    return (
        f"<table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table>"
        f"<div style='font-size:85%;opacity:.75'>{escape(' · '.join(said(frame, SHOWN)))}</div>{unread}"
    )


def _row(line: Line, names: list[str]) -> str:
    colour, sign = COLOURS.get(line.status, ("", ""))
    mark = (
        f"<span style='color:{colour}' role='img' aria-label='{line.status}' title='{line.status}'>{sign}</span> "
        if sign
        else ""
    )
    cells = [_key(key, "" if number else mark, "" if number else line.link) for number, key in enumerate(line.keys)]
    return f"<tr>{''.join([*cells, *map(_cell, names, line.cells)])}</tr>"


def _key(value: str, mark: str, link: str) -> str:
    words = escape(value)
    if link:
        words = f"<a href='{escape(link, quote=True)}' target='_blank'>{words}</a>"
    return f"<th style='text-align:left;white-space:nowrap'>{mark}{words}</th>"


def _cell(name: str, value: str) -> str:
    words = escape(value)
    if name == "status" and words in STATUS:
        words = f"<span style='color:{COLOURS[words][0]};font-weight:600'>{words}</span>"
    wrap = ";white-space:nowrap" if len(words) < 40 else ""
    return f"<td style='text-align:left{wrap}'>{words}</td>"
