"""Printing of tables: to a terminal, to a pipe, and again as they change."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import click

from fleetlib import interrupt


def colours() -> bool:
    """Return whether to use colours: on a terminal, unless NO_COLOR is set (https://no-color.org)."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def print_table(frame: Any, output: str, wide: bool = False) -> None:
    """Print the table. If it is incomplete, print the reasons to standard error and exit with status 1."""
    click.echo(rendered(frame, output, wide))
    complain(frame)
    if frame.attrs["unread"]:
        sys.exit(1)


def complain(frame: Any) -> None:
    """Print the reasons for the parts that could not be read, to standard error."""
    for why in frame.attrs["unread"].values():
        click.echo(f"not read: {why}", err=True)


def rendered(frame: Any, output: str, wide: bool) -> str:
    """Return the table as text (`table`, cut to a terminal's width unless `wide`), `json` or `csv`."""
    from fleetlib.inspect import show

    if output != "table":
        return show.as_json(frame) if output == "json" else show.as_csv(frame)
    terminal = sys.stdout.isatty()
    return show.text(frame, width=shutil.get_terminal_size().columns if terminal else None, wide=wide, colour=colours())


def keep_watching(fleet: Any, read: Callable[[], Any], output: str, wide: bool, interval: float) -> NoReturn:
    """Print the table, and again as it changes, until Ctrl-C; then exit with status 130.

    On a terminal the whole table is redrawn. Elsewhere only the changed rows are printed; JSON has one record on each line.
    """
    from fleetlib.inspect import show, watching

    before = None
    redraw = sys.stdout.isatty() and output == "table"
    try:
        for _ in watching.ticks(fleet.session, interval):
            frame = read()
            if redraw:
                click.clear()
            news = frame if before is None or redraw else show.changed(before, frame)
            if len(news) or before is None:
                click.echo(_news(news, output, wide, first=before is None))
            if before is not None and not redraw:
                for key in show.gone(before, frame):
                    click.echo(f"gone: {key}", err=output != "table")
            if before is None or redraw or frame.attrs["unread"] != before.attrs["unread"]:
                complain(frame)
            before = frame
    except KeyboardInterrupt:
        pass
    sys.exit(interrupt.STATUS)


def _news(frame: Any, output: str, wide: bool, *, first: bool) -> str:
    from fleetlib.inspect import show

    if output == "json":
        return "\n".join(json.dumps(row) for row in show.records(frame))
    return show.as_csv(frame, header=first) if output == "csv" else rendered(frame, output, wide)
