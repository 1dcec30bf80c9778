"""Tables on a terminal, in a pipe, and as they change. May import `inspect`."""

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
    """Whether somebody looks, and likes colours (https://no-color.org)."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def print_table(frame: Any, output: str, wide: bool = False) -> None:
    """The table; sides that could not be read on standard error, with exit status 1: what is printed is not all there is."""
    click.echo(rendered(frame, output, wide))
    complain(frame)
    if frame.attrs["unread"]:
        sys.exit(1)


def complain(frame: Any) -> None:
    for why in frame.attrs["unread"].values():
        click.echo(f"not read: {why}", err=True)


def rendered(frame: Any, output: str, wide: bool) -> str:
    from fleetlib.inspect import show

    if output != "table":
        return show.as_json(frame) if output == "json" else show.as_csv(frame)
    terminal = sys.stdout.isatty()
    return show.text(frame, width=shutil.get_terminal_size().columns if terminal else None, wide=wide, colour=colours())


def keep_watching(fleet: Any, read: Callable[[], Any], output: str, wide: bool, interval: float) -> NoReturn:
    """Until Ctrl-C. On a terminal the table is drawn anew; elsewhere only the rows that changed follow: JSON as one record a line."""
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
