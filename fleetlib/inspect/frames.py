"""DataFrames that know what they are: built column by column after `columns`, with colours and links in a notebook.

May import `columns`. Importing this module imports pandas.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

import pandas

from fleetlib.inspect.columns import KIND, STATUS, TABLES, TEXT, TIME, Column, Table

COLOURS = {
    "broken": ("#9b1c31", "✗"), "unreachable": ("#9b1c31", "⊘"), "progressing": ("#1f5f99", "…"), "stopped": ("#5c5c5c", "■"),
    "unknown": ("#5c5c5c", "?"), "ok": ("#0b6e4f", "✓"),
}  # fmt: skip
"""Status -> (colour, sign): legible on white and on dark, and told apart by the sign where colours are not."""

SHOWN = 60
"""Rows that a notebook shows; the worst ones."""


class View(pandas.DataFrame):
    """A table of the fleet: a DataFrame in every respect, shown with status colours and portal links, worst rows first."""

    @property
    def _constructor(self) -> Any:
        return View

    def __repr__(self) -> str:
        shown = brief(self)
        return super().__repr__() if shown is self else repr(pandas.DataFrame(shown))

    def _repr_html_(self) -> str | None:
        table = TABLES.get(self.attrs.get("table", ""))
        if table is None or not {column.name for column in table.index} <= {*self.index.names, *self.columns}:
            return super()._repr_html_()  # type: ignore[misc]
        return _html(self, table)


def build(table: Table, rows: Iterable[Mapping[str, Any]], *, source: str, read: datetime, **attrs: Any) -> View:
    """The table's DataFrame from its rows; what a row lacks is missing. Sorted by the index, events newest first."""
    values: dict[str, list[Any]] = {column.name: [] for column in table.all}
    for row in rows:
        unknown = row.keys() - values.keys()
        if unknown:
            raise KeyError(f"table {table.name} has no column {', '.join(sorted(unknown))}")
        for name, cells in values.items():
            cells.append(row.get(name))
    for column in table.index:
        if column.dtype in (TEXT, KIND):  # a key is never missing: a cluster that did not answer has an empty one
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
        return pandas.Categorical(values, categories=sorted({value for value in values if value is not None}, key=_natural))
    return pandas.array(list(values), dtype=column.dtype)  # type: ignore[call-overload]


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts `prod-2` before `prod-10`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def worst_first(frame: pandas.DataFrame) -> pandas.DataFrame:
    """The rows by status, worst first, otherwise in their order."""
    return frame.sort_values("status", kind="stable") if "status" in frame else frame


def brief(frame: pandas.DataFrame) -> pandas.DataFrame:
    """The columns for a person: the table's own choice of them, without those that are empty in all rows.

    Columns that somebody has chosen, by selecting or adding some, are left as they are.
    """
    table = TABLES.get(frame.attrs.get("table", ""))
    if table is None or [column.name for column in table.columns] != list(frame.columns):
        return frame
    return frame[[name for name in table.brief if not _empty(frame[name])] or list(table.brief)]


def _empty(column: Any) -> bool:
    return len(column) > 0 and all(text(value) == "" for value in column)


def text(value: Any) -> str:
    """A value as a person reads it: nothing for missing ones, minutes for times."""
    if value is None or value is pandas.NA or value is pandas.NaT or value != value:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, float):
        return f"{value:,.2f}".rstrip("0").rstrip(".")
    return str(value)


def short(words: str) -> str:
    """Commits and digests in a text by their first eight characters."""
    return re.sub(r"\b([0-9a-f]{8})[0-9a-f]{32,56}\b", r"\1", words)


def _html(frame: Any, table: Table) -> str:
    frame = worst_first(frame)
    shown = brief(frame).head(SHOWN)
    if shown is not frame and "status" in shown:
        shown = shown.drop(columns="status")  # the sign at the row's head says it
    header = "".join(f"<th style='text-align:left'>{escape(str(name))}</th>" for name in (*frame.index.names, *shown.columns))
    rows = "".join(_row(frame, shown, position) for position in range(len(shown)))
    read = frame.attrs.get("read")
    note = " · ".join(escape(str(part)) for part in (
        f"{len(frame)} row{'s' * (len(frame) != 1)}" + (f", the first {SHOWN} shown" if len(frame) > SHOWN else ""),
        frame.attrs.get("source", ""), f"read {read:%Y-%m-%d %H:%M:%S} UTC" if read else "",
        *(f"{name} left: {left}" for name, left in frame.attrs.get("budget", {}).items())) if part)  # fmt: skip
    unread = "".join(
        f"<div style='color:{COLOURS['broken'][0]}'>not read: {escape(why)}</div>"
        for why in frame.attrs.get("unread", {}).values()
    )
    return (
        f"<table><thead><tr>{header}</tr></thead><tbody>{rows}</tbody></table>"
        f"<div style='font-size:85%;opacity:.75'>{note}</div>{unread}"
    )


def _row(frame: Any, shown: Any, position: int) -> str:
    status = frame["status"].iloc[position] if "status" in frame else None
    colour, sign = COLOURS.get(status, ("", "")) if isinstance(status, str) else ("", "")
    keys = frame.index[position] if isinstance(frame.index, pandas.MultiIndex) else (frame.index[position],)
    link = text(frame["portal"].iloc[position]) if "portal" in frame else ""
    mark = f"<span style='color:{colour}' role='img' aria-label='{status}' title='{status}'>{sign}</span> " if sign else ""
    cells = [_key(text(key), "" if number else mark, "" if number else link) for number, key in enumerate(keys)]
    cells += [_cell(name, shown[name].iloc[position]) for name in shown.columns]
    return f"<tr>{''.join(cells)}</tr>"


def _key(value: str, mark: str, link: str) -> str:
    words = escape(value)
    if link:
        words = f"<a href='{escape(link, quote=True)}' target='_blank'>{words}</a>"
    return f"<th style='text-align:left;white-space:nowrap'>{mark}{words}</th>"


def _cell(name: str, value: Any) -> str:
    words = escape(short(text(value)))
    if name == "status" and words in STATUS:
        words = f"<span style='color:{COLOURS[words][0]};font-weight:600'>{words}</span>"
    wrap = ";white-space:nowrap" if len(words) < 40 else ""
    return f"<td style='text-align:left{wrap}'>{words}</td>"
