"""The command `fleet` itself, and the options that several of its commands take. May import `parameters`, `cloud` and what is below."""

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
"""Parameters as they were given: name, text."""

FILE = click.option("-f", "--file", "file", type=click.Path(path_type=Path), help="YAML file of parameters.")


class _Pair(click.ParamType[Any]):
    """A parameter's name, or its value: completed from the parameters there are."""

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
    help="One parameter; wins over the file.",
)
OUTPUT = click.option("-o", "--output", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)


class _Group(click.Group):
    """Turns a `FleetError` into its text and the right exit status."""

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
    """Executable runbooks for fleets of AKS clusters."""


def values_of(file: Path | None, pairs: Pairs) -> dict[str, Any]:
    """File, then pairs; a pair's text is read as the parameter's type demands."""
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
