"""A command for each of the fleet's tables, and `fleet doctor` and `fleet drift`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from fleetlib.cli.command import FILE, OUTPUT, PAIRS, Pairs, main, values_of
from fleetlib.cli.printing import colours, complain, keep_watching, print_table, rendered
from fleetlib.parameters import Parameters

DEEP = {
    "clusters": "Also read the workloads of each cluster.",
    "sources": "Read each cluster itself: all details.",
    "kustomizations": "Read each cluster itself: all details.",
    "releases": "Read each cluster itself: all details.",
    "events": "Also read the events of each cluster.",
    "versions": "Read Flux's version from each cluster, not from the control plane alone.",
}
"""Table -> the help of its option --deep, for the tables that hold more when each cluster is read."""

COMMANDS = {
    "clusters": "List the workload clusters. A row has the state of each layer, and the first broken one.",
    "environments": "List the environments: clusters declared and ready.",
    "pools": "List the node pools.",
    "nodes": "List the nodes of each cluster.",
    "workloads": "List the workloads of each cluster. These are Deployments, StatefulSets and DaemonSets.",
    "sources": "List Flux's sources: Git, OCI, Helm and buckets.",
    "kustomizations": "List Flux's kustomizations.",
    "releases": "List Flux's Helm releases.",
    "extensions": "List the extensions: Azure's build of Flux.",
    "events": "List Kubernetes events, newest first.",
    "operations": "List how long each layer of each cluster took.",
    "versions": "List the versions that run and are offered.",
    "costs": "Estimate costs at list prices. They are of nodes and control planes only.",
    "roles": "List role assignments on the resource groups.",
}
"""Table -> the help of its command."""

EXIT = "Exit status: 0 if the table is complete, 1 if a part of the fleet could not be read, 2 for wrong usage."

WIDE = click.option("--wide", is_flag=True, help="Print all columns, uncut.")
WATCH = click.option("-w", "--watch", is_flag=True, help="Print again as the table changes, until Ctrl-C.")
INTERVAL = click.option(
    "--interval",
    type=click.FloatRange(min=1),
    default=15.0,
    show_default=True,
    help="With --watch: the longest time between two reads, in seconds.",
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
    main.command(name, help=COMMANDS[name], epilog=EXIT)(command)


for _name in COMMANDS:
    _table(_name)


@main.command("doctor")
@FILE
@PAIRS
@OUTPUT
@WATCH
@INTERVAL
@click.option("--deep", is_flag=True, help="Also read the workloads of each cluster.")
def find(file: Path | None, pairs: Pairs, output: str, watch: bool, interval: float, deep: bool) -> None:
    """Find faults, and print how to fix them.

    Each finding has its meaning, the verbatim message, commands to look closer, and the fix.

    Exit status: 0 if nothing is broken, 1 if something is broken or cannot be read, 2 for wrong usage.
    """
    from fleetlib.inspect import show

    fleet = _fleet(file, pairs)
    if watch:
        keep_watching(fleet, lambda: fleet.doctor(deep=deep), output, wide=False, interval=interval)
    frame = fleet.doctor(deep=deep)
    more = "" if deep or len(frame) or output != "table" else " (--deep also reads the workloads of each cluster)"
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
@click.option("--shallow", is_flag=True, help="Do not compare the objects inside the clusters.")
def compare(file: Path | None, pairs: Pairs, output: str, wide: bool, watch: bool, interval: float, shallow: bool) -> None:
    """Compare the declared with the actual fleet.

    Prints each difference: a declared object that is missing, an object that is not declared, a field that was changed.

    Exit status: 0 if there is no difference, 1 if there is one or something cannot be read, 2 for wrong usage.
    """
    fleet = _fleet(file, pairs)
    if watch:
        keep_watching(fleet, lambda: fleet.drift(deep=not shallow), output, wide, interval)
    frame = fleet.drift(deep=not shallow)
    print_table(frame, output, wide)
    sys.exit(1 if len(frame) else 0)
