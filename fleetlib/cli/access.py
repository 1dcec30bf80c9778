"""What makes other programs use the fleet: kubeconfigs, and the shell's completion. May import `session` and what is below."""

from __future__ import annotations

import os
from pathlib import Path

import click

from fleetlib.cli.command import FILE, PAIRS, Pairs, main, values_of
from fleetlib.errors import FinalError, FleetError, ParameterError
from fleetlib.parameters import Parameters


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes SHELL complete commands, options, stages and parameters: eval "$(fleet completion bash)"."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(main, {}, "fleet", "_FLEET_COMPLETE").source())


@main.command()
@click.argument("name", required=False)
@click.option("--hub", is_flag=True, help="The control-plane cluster.")
@click.option("--admin", is_flag=True, help="The admin credential instead of the user's.")
@FILE
@PAIRS
def kubeconfig(name: str | None, hub: bool, admin: bool, file: Path | None, pairs: Pairs) -> None:
    """Write a cluster's kubeconfig (0600) and print its path: KUBECONFIG=$(fleet kubeconfig --hub) kubectl get nodes."""
    import yaml

    from fleetlib.clients.azure import managed_clusters
    from fleetlib.clients.session import connect

    if hub == bool(name):
        raise ParameterError("name a workload cluster, or say --hub")
    session = connect(Parameters.check(values_of(file, pairs)))
    p = session.parameters
    group, cluster = (p.controlplane_group, p.controlplane_cluster) if hub else (p.fleet_group, str(name))
    try:
        config = managed_clusters.kubeconfig(session.azure, group, cluster, admin=admin)
    except FleetError as error:
        if name and error.what.endswith("does not exist"):
            error = FinalError(
                error.what, target=group, fix="`fleet clusters` lists the workload clusters; --hub is the control plane"
            )
        raise error from None
    text = yaml.safe_dump(config)
    path = session.cloud.home / "kubeconfig" / f"{cluster}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file_object:
        file_object.write(text)
    click.echo(str(path))
