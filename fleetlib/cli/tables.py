"""A command for each of the fleet's tables, and `fleet doctor` and `fleet drift`. May import `inspect` and what is below."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from fleetlib.cli.command import FILE, OUTPUT, PAIRS, Pairs, main, values_of
from fleetlib.cli.printing import colours, complain, keep_watching, print_table, rendered
from fleetlib.inspect.columns import TABLES
from fleetlib.parameters import Parameters

DEEP = {
    "clusters": "Ask each cluster too: its workloads.",
    "sources": "Ask each cluster itself: all details.",
    "kustomizations": "Ask each cluster itself: all details.",
    "releases": "Ask each cluster itself: all details.",
    "events": "Those of each cluster too.",
    "versions": "Ask each cluster for its Flux, not the control plane alone.",
}
"""The tables that have more to say when every cluster is asked, and what."""

COMMANDS = (
    "clusters",
    "environments",
    "pools",
    "nodes",
    "workloads",
    "sources",
    "kustomizations",
    "releases",
    "extensions",
    "events",
    "operations",
    "versions",
    "costs",
    "roles",
)
"""The tables that are commands of their own name."""


WIDE = click.option("--wide", is_flag=True, help="All columns, nothing cut.")
WATCH = click.option("-w", "--watch", is_flag=True, help="Show it again as it changes, until Ctrl-C.")
INTERVAL = click.option(
    "--interval",
    type=click.FloatRange(min=1),
    default=15.0,
    show_default=True,
    help="With --watch: seconds until Azure is asked again.",
)


def _fleet(file: Path | None, pairs: Pairs) -> Any:
    from fleetlib.clients.session import connect
    from fleetlib.inspect.fleet import Fleet

    return Fleet(connect(Parameters.check(values_of(file, pairs), str(file or "-p"))))


def _table(name: str) -> None:
    def show(file: Path | None, pairs: Pairs, output: str, wide: bool, watch: bool, interval: float, **options: Any) -> None:
        fleet = _fleet(file, pairs)

        def read() -> Any:
            return getattr(fleet, name)(**options)

        if watch:
            keep_watching(fleet, read, output, wide, interval)
        print_table(read(), output, wide)

    decorators = [FILE, PAIRS, OUTPUT, WIDE, WATCH, INTERVAL]
    if name in DEEP:
        decorators.append(click.option("--deep", is_flag=True, help=DEEP[name]))
    command: Any = show
    for decorate in reversed(decorators):
        command = decorate(command)
    main.command(name, help=TABLES[name].title)(command)


for _name in COMMANDS:
    _table(_name)


@main.command("doctor")
@FILE
@PAIRS
@OUTPUT
@WATCH
@INTERVAL
@click.option("--deep", is_flag=True, help="Ask each cluster, too: what should run there, and does not.")
def find(file: Path | None, pairs: Pairs, output: str, watch: bool, interval: float, deep: bool) -> None:
    """What is wrong, in words: what it means, how to look closer, what mends it. Exit status 1 if anything is broken."""
    from fleetlib.inspect import show

    fleet = _fleet(file, pairs)
    if watch:
        keep_watching(fleet, lambda: fleet.doctor(deep=deep), output, wide=False, interval=interval)
    frame = fleet.doctor(deep=deep)
    more = "" if deep or len(frame) or output != "table" else " (--deep asks each cluster, too)"
    click.echo(show.findings(frame, colour=colours()) + more if output == "table" else rendered(frame, output, wide=True))
    complain(frame)
    if frame.attrs["unread"] or frame.status.isin(["broken", "unreachable"]).any():
        sys.exit(1)


@main.command("drift")
@FILE
@PAIRS
@OUTPUT
@WIDE
@WATCH
@INTERVAL
@click.option("--shallow", is_flag=True, help="Do not ask each cluster for changes made by hand.")
def compare(file: Path | None, pairs: Pairs, output: str, wide: bool, watch: bool, interval: float, shallow: bool) -> None:
    """Where what is declared and what there is differ, field by field, in both directions. Exit status 1 if there is any."""
    fleet = _fleet(file, pairs)
    if watch:
        keep_watching(fleet, lambda: fleet.drift(deep=not shallow), output, wide, interval)
    frame = fleet.drift(deep=not shallow)
    print_table(frame, output, wide)
    sys.exit(1 if len(frame) else 0)
