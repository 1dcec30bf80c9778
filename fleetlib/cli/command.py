"""The command `fleet` itself, and the options that its subcommands share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from fleetlib import __version__
from fleetlib.errors import FleetError, ParameterError
from fleetlib.parameters import Parameters, read_file

Pairs = tuple[tuple[str, str], ...]
"""(name, text) of the parameters given with -p."""

FILE = click.option("-f", "--file", "file", type=click.Path(path_type=Path), help="Read parameters from this YAML file.")


class _Pair(click.ParamType[Any]):
    """The name or the value of a parameter; the shell completes names."""

    name = "text"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in Parameters.model_fields if name.startswith(incomplete)]


PAIRS = click.option(
    "-p",
    "--parameter",
    "pairs",
    nargs=2,
    type=_Pair(),
    multiple=True,
    metavar="KEY VALUE",
    help="Set one parameter; wins over the file. May be repeated.",
)
OUTPUT = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="Choose the format. JSON and CSV have all columns.",
)


class _Group(click.Group):
    """A group that prints a `FleetError` and exits with status 2 for a `ParameterError`, else 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ParameterError as error:
            click.echo(str(error), err=True)
            sys.exit(2)
        except FleetError as error:
            click.echo(str(error), err=True)
            sys.exit(1)


@click.group(cls=_Group)
@click.version_option(__version__, prog_name="fleet")
def main() -> None:
    """Run, inspect and change a fleet of AKS clusters.

    Without parameters, every command works on the embedded sandbox and starts it if it does not run.

    Exit status: 0 success, 1 a finding or a failure, 2 wrong usage or a wrong parameter, 130 interrupted.
    """


def values_of(file: Path | None, pairs: Pairs) -> dict[str, Any]:
    """Return the file's values with the pairs over them. A pair's text is converted to the parameter's type."""
    values = read_file(file) if file else {}
    for key, text in pairs:
        values[key] = _typed(key, text)
    return values


def _typed(key: str, text: str) -> Any:
    kind = getattr(Parameters.model_fields.get(key), "annotation", str)
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            return text
    return text
