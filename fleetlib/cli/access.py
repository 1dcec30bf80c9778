"""`fleet kubeconfig` and `fleet completion`: access for other programs and for the shell."""

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
    """Print the completion script for a shell.

    It completes commands, options, stages and parameters. Load it with: eval "$(fleet completion bash)"
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(main, {}, "fleet", "_FLEET_COMPLETE").source())


@main.command()
@click.argument("name", required=False)
@click.option("--hub", is_flag=True, help="Write the control-plane cluster's kubeconfig.")
@click.option("--admin", is_flag=True, help="Use the admin credential instead of the user credential.")
@FILE
@PAIRS
def kubeconfig(name: str | None, hub: bool, admin: bool, file: Path | None, pairs: Pairs) -> None:
    """Write a cluster's kubeconfig and print its path.

    Only the current user can read the file. NAME is a workload cluster. Example: KUBECONFIG=$(fleet kubeconfig --hub) kubectl
    get nodes
    """
    import yaml

    from fleetlib.clients.azure import managed_clusters
    from fleetlib.clients.session import connect

    if hub == bool(name):
        raise ParameterError("give either the name of a workload cluster or --hub")
    session = connect(Parameters.check(values_of(file, pairs)))
    p = session.parameters
    group, cluster = (p.controlplane_group, p.controlplane_cluster) if hub else (p.fleet_group, str(name))
    try:
        config = managed_clusters.kubeconfig(session.azure, group, cluster, admin=admin)
    except FleetError as error:
        if name and error.what.endswith("does not exist"):
            error = FinalError(
                error.what, target=group, fix="`fleet clusters` lists the workload clusters; use --hub for the control plane"
            )
        raise error from None
    text = yaml.safe_dump(config)
    path = session.cloud.home / "kubeconfig" / f"{cluster}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file_object:
        file_object.write(text)
    click.echo(str(path))
