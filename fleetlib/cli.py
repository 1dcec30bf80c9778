"""`fleet`: argument parsing and printing only. Exit status 0 good, 1 a finding or a failed stage, 2 bad usage."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from fleetlib import __version__
from fleetlib.cloud import fleet_home, project_root
from fleetlib.errors import FinalError, FleetError, ParameterError
from fleetlib.parameters import Parameters, read_file

FILE = click.option("-f", "--file", "file", type=click.Path(path_type=Path), help="YAML file of parameters.")
PAIRS = click.option(
    "-p", "--parameter", "pairs", nargs=2, multiple=True, metavar="KEY VALUE", help="One parameter; wins over the file."
)
OUTPUT = click.option("-o", "--output", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
JSON_FILE = click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the report as JSON there as well."
)
JUNIT_FILE = click.option(
    "--junit",
    "junit_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the report as JUnit XML there as well.",
)


class _Group(click.Group):
    """Turns a `FleetError` into its text and the right exit status."""

    def invoke(self, ctx: click.Context) -> Any:
        from fleetlib.sandbox.lifecycle import SandboxError

        try:
            return super().invoke(ctx)
        except ParameterError as error:
            click.echo(str(error), err=True)
            sys.exit(2)
        except (FleetError, SandboxError) as error:
            click.echo(str(error), err=True)
            sys.exit(1)


@click.group(cls=_Group)
@click.version_option(__version__, prog_name="fleet")
def main() -> None:
    """Executable runbooks for fleets of AKS clusters."""


def _values(file: Path | None, pairs: tuple[tuple[str, str], ...]) -> dict[str, Any]:
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


@main.command("run")
@click.argument("stages", nargs=-1)
@FILE
@PAIRS
@click.option("--resume", is_flag=True, help="Go on where the last run stopped.")
@click.option("--notebooks", "folder", type=click.Path(path_type=Path), help="Folder of the notebooks.")
@click.option("--runs", type=click.Path(path_type=Path), help="Where executed notebooks and reports go.")
@JSON_FILE
@JUNIT_FILE
def run_stages(
    stages: tuple[str, ...],
    file: Path | None,
    pairs: tuple[tuple[str, str], ...],
    resume: bool,
    folder: Path | None,
    runs: Path | None,
    json_file: Path | None,
    junit_file: Path | None,
) -> None:
    """Run stages (all but the tear-down, if none is named) as notebooks, and write a report: HTML, JSON, JUnit."""
    from fleetlib import run

    values = _values(file, pairs)
    Parameters.check(values, str(file or "-p"))
    paths = run.notebooks(folder or project_root() / "notebooks", stages)
    interactive = sys.stderr.isatty()

    def starting(name: str) -> None:
        if interactive:
            click.echo(f"… {name}", nl=False, err=True)

    def tell(result: run.StageResult) -> None:
        if interactive:
            click.echo("\r\033[K", nl=False, err=True)
        mark = {"done": "✓", "failed": "✗", "skipped": "-"}[result.status]
        click.echo(f"{mark} {result.notebook:<30} {result.seconds:6.1f} s  {result.sentence}")

    try:
        done = run.execute(paths, values, runs or project_root() / "runs", resume=resume, tell=tell, starting=starting)
    except KeyboardInterrupt:
        click.echo("\nstopped in the middle of a stage: go on with the same command and --resume", err=True)
        sys.exit(130)
    from fleetlib import report  # what reads the fleet is imported when there is one
    from fleetlib.report import gather
    from fleetlib.session import connect

    written = gather.of_run(done, lambda: connect(Parameters(**done.parameters)))
    path = report.write(written, done.folder)
    _copies(done.folder, json_file, junit_file)
    clusters = written.table("clusters")
    if clusters is not None and not done.failed:
        click.echo("\n" + _text(clusters.frame.drop(columns=["message", "declared"])))
    for result in done.results:
        if result.error:
            click.echo(f"\n{result.error}", err=True)
    if not done.failed:
        click.echo(f"\n{run.counted(done.changes)}" if done.changes else "\nNothing changed: everything was as declared.")
    click.echo(f"report: {os.path.relpath(path)}")
    sys.exit(1 if done.failed else 0)


def _copies(folder: Path, json_file: Path | None, junit_file: Path | None) -> None:
    """The files for programs once more, where CI looks for them."""
    import shutil

    for name, target in (("report.json", json_file), ("junit.xml", junit_file)):
        if target is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, target)


@main.command("report")
@FILE
@PAIRS
@click.option(
    "--run", "folder", type=click.Path(path_type=Path), help="Folder of a run to report on as well, such as runs/latest."
)
@click.option(
    "--into", type=click.Path(path_type=Path), help="Folder for the files; that of the run, or reports/, if not given."
)
@JSON_FILE
@JUNIT_FILE
def write_report(
    file: Path | None, pairs: tuple[tuple[str, str], ...], folder: Path | None, into: Path | None, json_file: Path | None,
    junit_file: Path | None,
) -> None:  # fmt: skip
    """Write a report on the fleet as it is now: HTML, JSON, JUnit. Exit status 1 if it has a finding."""
    from fleetlib import report
    from fleetlib.report import gather
    from fleetlib.run import Run
    from fleetlib.session import connect

    if folder is not None:
        done = Run.load(folder.resolve())
        written = gather.of_run(done, lambda: connect(Parameters.check(done.parameters)))
    else:
        written = gather.of_fleet(connect(Parameters.check(_values(file, pairs))))
    target = into or folder or project_root() / "reports"
    path = report.write(written, target)
    _copies(target, json_file, junit_file)
    for finding in written.findings:
        click.echo(f"✗ {finding.target}: {finding.layer} {finding.message}".rstrip())
    if written.unread:
        click.echo(written.unread, err=True)
    click.echo(f"report: {os.path.relpath(path)}")
    sys.exit(1 if written.bad else 0)


@main.command()
@click.option("--chart", type=click.Path(path_type=Path, exists=True, file_okay=False), help="The chart's folder.")
@FILE
@PAIRS
def publish(chart: Path | None, file: Path | None, pairs: tuple[tuple[str, str], ...]) -> None:
    """Lint, package and push the cluster chart of this checkout to `chart_registry`, for CI. Notebook 05 does it step by step.

    Sign in to the registry before (az acr login, docker login). A published version with other content is refused.
    """
    import tempfile

    from fleetlib import gitops
    from fleetlib.session import connect

    session = connect(Parameters.check(_values(file, pairs)))
    source = gitops.Chart(chart or project_root() / "charts" / "podinfocluster")
    errors = [line for line in source.lint() if line.startswith("ERROR")]
    if errors:
        raise FinalError("the chart does not pass Helm's lint", target=str(source.folder), said="; ".join(errors))
    with tempfile.TemporaryDirectory() as folder:
        change = gitops.publish(session.registry, source, source.package(Path(folder))).apply()
    click.echo(str(change) if change else f"{change.target} is published already")


def _text(frame: Any) -> str:
    """The frame for a terminal: texts to the left, numbers to the right, no column of empty texts."""
    shown = frame.reset_index().fillna("")
    shown = shown.drop(columns=[name for name in ("message",) if name in shown and not shown[name].astype(bool).any()])
    columns = []
    for name in shown.columns:
        cells = [str(name), *(str(cell) for cell in shown[name])]
        width = max(map(len, cells))
        numbers = frame[name].dtype.kind in "iuf" if name in frame else False
        columns.append([cell.rjust(width) if numbers else cell.ljust(width) for cell in cells])
    return "\n".join("  ".join(row).rstrip() for row in zip(*columns, strict=True))


def _print(frame: Any, output: str) -> None:
    if output == "json":
        click.echo(frame.reset_index().to_json(orient="records", indent=1))
    else:
        click.echo(frame.to_csv() if output == "csv" else _text(frame), nl=output != "csv")


def _table(name: str, help_text: str, function: str) -> None:
    @main.command(name, help=help_text)
    @FILE
    @PAIRS
    @OUTPUT
    def show(file: Path | None, pairs: tuple[tuple[str, str], ...], output: str) -> None:
        from fleetlib.inspect import tables
        from fleetlib.session import connect

        session = connect(Parameters.check(_values(file, pairs)))
        _print(getattr(tables, function)(session), output)


_table("clusters", "The workload clusters, one row each, through every layer.", "clusters")
_table("environments", "The environments: clusters declared, provisioned, compliant.", "environments_table")
_table("sources", "The control plane's sources, kustomizations and releases.", "sources")


@main.command()
@click.argument("name", required=False)
@click.option("--hub", is_flag=True, help="The control-plane cluster.")
@click.option("--admin", is_flag=True, help="The admin credential instead of the user's.")
@FILE
@PAIRS
def kubeconfig(name: str | None, hub: bool, admin: bool, file: Path | None, pairs: tuple[tuple[str, str], ...]) -> None:
    """Write a cluster's kubeconfig (0600) and print its path: KUBECONFIG=$(fleet kubeconfig --hub) kubectl get nodes."""
    import yaml

    from fleetlib.azure import managed_clusters
    from fleetlib.session import connect

    if hub == bool(name):
        raise ParameterError("name a workload cluster, or say --hub")
    session = connect(Parameters.check(_values(file, pairs)))
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


@main.group()
def sandbox() -> None:
    """The embedded Azure cloud: start, stop, look, break."""


def _state() -> Path:
    return fleet_home() / "sandbox"


@sandbox.command()
@click.option("--clock", type=click.Choice(["instant", "demo", "realistic"]), default="instant", show_default=True)
def up(clock: str) -> None:
    """Start it, or say that it runs."""
    from fleetlib.sandbox import lifecycle

    before = lifecycle.running(_state())
    where = lifecycle.up(_state(), clock, project_root())
    click.echo(f"{'already runs' if before else 'started'}: {where.base}")


@sandbox.command()
def down() -> None:
    """Stop it; everything is kept."""
    from fleetlib.sandbox import lifecycle

    click.echo("stopped" if lifecycle.down(_state()) else "it was not running")


@sandbox.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
def reset(yes: bool) -> None:
    """Stop it and forget everything in it."""
    from fleetlib.sandbox import lifecycle

    if not yes:
        click.confirm("Delete every resource, cluster and repository of the sandbox?", abort=True)
    lifecycle.reset(_state())
    click.echo("the sandbox is empty")


@sandbox.command()
def status() -> None:
    """What runs in it, as JSON."""
    from fleetlib.sandbox import lifecycle

    click.echo(json.dumps(lifecycle.ask(_state(), "GET", "/sandbox/status"), indent=1))


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
    """Shell lines that make other tools (az, terraform, SDKs) use it: eval "$(fleet sandbox env)"."""
    from fleetlib.sandbox import lifecycle

    where = lifecycle.endpoint(_state())
    values = {
        "AZURE_AUTHORITY_HOST": where.base, "AZURE_TENANT_ID": where.tenant_id, "AZURE_CLIENT_ID": where.client_id,
        "AZURE_CLIENT_SECRET": where.client_secret, "AZURE_SUBSCRIPTION_ID": where.subscription_id,
        "ARM_ENDPOINT": where.base, "REQUESTS_CA_BUNDLE": str(where.ca_file), "SSL_CERT_FILE": str(where.ca_file),
        "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost",
    }  # fmt: skip
    for name, value in values.items():
        click.echo(f"export {name}={shlex.quote(value)}")


@sandbox.command()
@click.argument("url")
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False)
def mirror(url: str, path: Path | None) -> None:
    """Serve the local Git repository at PATH as the public URL; or, without PATH, stand in for the registry oci://..."""
    from fleetlib.sandbox import lifecycle

    if not url.startswith(("https://", "oci://")):
        raise ParameterError("only https:// (Git) and oci:// (a registry) can be mirrored", target=url)
    if url.startswith("oci://") == (path is not None):
        raise ParameterError("a Git URL (https://) needs the folder of a clone; a registry (oci://) takes none", target=url)
    body = {"url": url} | ({"path": str(path.absolute())} if path else {})
    lifecycle.ask(_state(), "POST", "/sandbox/mirrors", body)
    click.echo(f"{url} is served from {f'a copy of {path}' if path else 'here: push to it what it shall have'}")


@sandbox.command()
@click.argument("name", required=False)
@click.option("--target", default="*", show_default=True, help="Glob over what the fault strikes.")
@click.option("--times", default=1, show_default=True, help="How often it strikes; -1: until disarmed.")
@click.option("--detail", default="", help="What some faults take: vcpu-quota a number, or family=number,...")
@click.option("--disarm", is_flag=True, help="Disarm NAME, or all faults.")
def fault(name: str | None, target: str, times: int, detail: str, disarm: bool) -> None:
    """Arm a named fault, or list them."""
    from fleetlib.sandbox import lifecycle

    if disarm:
        answer = lifecycle.ask(_state(), "DELETE", "/sandbox/faults", {"name": name})
    elif name:
        body = {"name": name, "target": target, "times": times, "detail": detail}
        try:
            answer = lifecycle.ask(_state(), "POST", "/sandbox/faults", body)
        except lifecycle.Refused as error:
            raise click.UsageError(str(error)) from None
    else:
        answer = lifecycle.ask(_state(), "GET", "/sandbox/faults")
    click.echo(json.dumps(answer, indent=1))


if __name__ == "__main__":
    main()
