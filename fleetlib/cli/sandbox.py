"""`fleet sandbox ...`: start, stop, look at and break the sandbox."""

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
    """The embedded Azure cloud: start, stop, look, break."""


def _state() -> Path:
    return fleet_home() / "sandbox"


@sandbox.command()
@click.option("--clock", type=click.Choice(seam.CLOCKS), default="instant", show_default=True)
def up(clock: str) -> None:
    """Start it, or say that it runs."""
    before = seam.runs(_state())
    where = seam.up(_state(), clock, project_root())
    click.echo(f"{'already runs' if before else 'started'}: {where.base}")


@sandbox.command()
def down() -> None:
    """Stop it; everything is kept."""
    click.echo("stopped" if seam.down(_state()) else "it was not running")


@sandbox.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
def reset(yes: bool) -> None:
    """Stop it and forget everything in it."""
    if not yes:
        click.confirm("Delete every resource, cluster and repository of the sandbox?", abort=True)
    seam.reset(_state())
    click.echo("the sandbox is empty")


@sandbox.command()
def status() -> None:
    """What runs in it, as JSON."""
    click.echo(json.dumps(seam.ask(_state(), "GET", "/sandbox/status"), indent=1))


@sandbox.command()
@click.option("-n", "--lines", default=50, show_default=True)
def logs(lines: int) -> None:
    """The last lines of its log."""
    path = _state() / "sandbox.log"
    if not path.exists():
        raise ParameterError("there is no log: the sandbox has not run yet", target=str(path))
    click.echo("\n".join(path.read_text().splitlines()[-lines:]))


@sandbox.command()
def env() -> None:
    """Shell lines that make az, SDKs, kubectl and curl use it: eval "$(fleet sandbox env)". No secret is among them."""
    for line in seam.shell_lines(_state(), os.environ):
        click.echo(line)


@sandbox.command()
@click.argument("url")
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False)
def mirror(url: str, path: Path | None) -> None:
    """Serve the local Git repository at PATH as the public URL; or, without PATH, stand in for the registry oci://..."""
    if not url.startswith(("https://", "oci://")):
        raise ParameterError("only https:// (Git) and oci:// (a registry) can be mirrored", target=url)
    if url.startswith("oci://") == (path is not None):
        raise ParameterError("a Git URL (https://) needs the folder of a clone; a registry (oci://) takes none", target=url)
    body = {"url": url} | ({"path": str(path.absolute())} if path else {})
    seam.ask(_state(), "POST", "/sandbox/mirrors", body)
    click.echo(f"{url} is served from {f'a copy of {path}' if path else 'here: push to it what it shall have'}")


@sandbox.command()
@click.argument("name", required=False)
@click.option("--target", default="*", show_default=True, help="Glob over what the fault strikes.")
@click.option("--times", default=1, show_default=True, help="How often it strikes; -1: until disarmed.")
@click.option("--detail", default="", help="What some faults take: vcpu-quota a number, or family=number,...")
@click.option("--disarm", is_flag=True, help="Disarm NAME, or all faults.")
def fault(name: str | None, target: str, times: int, detail: str, disarm: bool) -> None:
    """Arm a named fault, or list them."""
    if disarm:
        answer = seam.ask(_state(), "DELETE", "/sandbox/faults", {"name": name})
    elif name:
        body = {"name": name, "target": target, "times": times, "detail": detail}
        answer = seam.ask(_state(), "POST", "/sandbox/faults", body)
    else:
        answer = seam.ask(_state(), "GET", "/sandbox/faults")
    click.echo(json.dumps(answer, indent=1))
