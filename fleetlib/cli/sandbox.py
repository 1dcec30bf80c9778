"""`fleet sandbox ...`: start, stop and inspect the sandbox, and arm its faults."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from fleetlib.cli.command import main
from fleetlib.clients import sandbox as seam
from fleetlib.clients.cloud import fleet_home, project_root
from fleetlib.errors import ParameterError


@main.group()
def sandbox() -> None:
    """Run the sandbox, an Azure cloud on this machine."""


def _state() -> Path:
    return fleet_home() / "sandbox"


@sandbox.command()
@click.option(
    "--clock",
    type=click.Choice(seam.CLOCKS),
    default="instant",
    show_default=True,
    help="How long operations take: no time, seconds, or minutes as on Azure.",
)
def up(clock: str) -> None:
    """Start the sandbox if it does not run, and print its URL."""
    before = seam.runs(_state())
    where = seam.up(_state(), clock, project_root())
    click.echo(f"{'already runs' if before else 'started'}: {where.base}")


@sandbox.command()
def down() -> None:
    """Stop the sandbox and keep its state."""
    click.echo("stopped" if seam.down(_state()) else "the sandbox was not running")


@sandbox.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
def reset(yes: bool) -> None:
    """Stop the sandbox and delete its state."""
    if not yes:
        click.confirm("Delete every resource, cluster and repository of the sandbox?", abort=True)
    seam.reset(_state())
    click.echo("the sandbox is empty")


@sandbox.command()
def status() -> None:
    """Print the sandbox's status, as JSON."""
    click.echo(json.dumps(seam.ask(_state(), "GET", "/sandbox/status"), indent=1))


@sandbox.command()
@click.option("-n", "--lines", default=50, show_default=True, help="Number of lines to print.")
def logs(lines: int) -> None:
    """Print the last lines of the sandbox's log."""
    path = _state() / "sandbox.log"
    if not path.exists():
        raise ParameterError("there is no log: the sandbox has not run yet", target=str(path), fix="fleet sandbox up")
    click.echo("\n".join(path.read_text().splitlines()[-lines:]))


@sandbox.command()
def env() -> None:
    """Print shell variables for az, SDKs, kubectl, curl.

    They make these programs use the sandbox, and contain no secret. Load them with: eval "$(fleet sandbox env)"
    """
    for line in seam.shell_lines(_state(), os.environ):
        click.echo(line)


@sandbox.command()
@click.argument("url")
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False)
def mirror(url: str, path: Path | None) -> None:
    """Serve a local Git repository as a public URL.

    A copy of the repository at PATH is served. For a registry (URL oci://...) give no PATH: the sandbox serves an empty
    registry under that URL.
    """
    if not url.startswith(("https://", "oci://")):
        raise ParameterError(
            "this URL cannot be mirrored", target=url, fix="give a Git URL (https://...) or a registry (oci://...)"
        )
    if url.startswith("oci://") == (path is not None):
        fix = "give a Git URL (https://) with the folder of a clone, a registry (oci://) without one"
        raise ParameterError("URL and PATH do not fit together", target=url, fix=fix)
    body = {"url": url} | ({"path": str(path.absolute())} if path else {})
    seam.ask(_state(), "POST", "/sandbox/mirrors", body)
    click.echo(f"{url} is served from {f'a copy of {path}' if path else 'an empty registry: push charts to it'}")


@sandbox.command()
@click.argument("name", required=False)
@click.option("--target", default="*", show_default=True, help="Glob over the names that the fault applies to.")
@click.option("--times", default=1, show_default=True, help="How many times the fault occurs; -1: until disarmed.")
@click.option("--detail", default="", help="Argument of the fault, such as vcpu-quota's: a number, or family=number,...")
@click.option("--disarm", is_flag=True, help="Disarm NAME, or all faults.")
def fault(name: str | None, target: str, times: int, detail: str, disarm: bool) -> None:
    """Arm a fault, or list all faults, as JSON."""
    if disarm:
        answer = seam.ask(_state(), "DELETE", "/sandbox/faults", {"name": name})
    elif name:
        body = {"name": name, "target": target, "times": times, "detail": detail}
        answer = seam.ask(_state(), "POST", "/sandbox/faults", body)
    else:
        answer = seam.ask(_state(), "GET", "/sandbox/faults")
    click.echo(json.dumps(answer, indent=1))
