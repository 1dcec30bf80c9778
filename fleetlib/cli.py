"""`fleet`: argument parsing and printing only. Exit status 0 good, 1 a finding or a failed stage, 2 bad usage."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from fleetlib import __version__
from fleetlib.cloud import fleet_home, project_root
from fleetlib.errors import FinalError, FleetError, ParameterError
from fleetlib.inspect.columns import TABLES
from fleetlib.parameters import Parameters, read_file

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


def _stages(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The stages' numbers and names, for a shell."""
    names = sorted(path.stem for path in (project_root() / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    return [name for name in (*(n[:2] for n in names), *names) if name.startswith(incomplete)]


@main.command("run")
@click.argument("stages", nargs=-1, shell_complete=_stages)
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

    written = gather.of_run(done, lambda: connect(Parameters(**done.parameters)), [project_root() / "reports"])
    path = report.write(written, done.folder)
    _copies(done.folder, json_file, junit_file)
    clusters = written.table("clusters")
    if clusters is not None and not done.failed:
        click.echo("\n" + _rendered(clusters.frame, "table", wide=False))
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
    """Write a report on the fleet as it is now: HTML, JSON, JUnit. Exit status 1 if something is broken, or cannot be read."""
    from fleetlib import report
    from fleetlib.inspect.fleet import Fleet
    from fleetlib.report import gather
    from fleetlib.report.model import FAULTS, about
    from fleetlib.run import Run
    from fleetlib.session import connect

    earlier = [into or project_root() / "reports", project_root() / "runs"]
    if folder is not None:
        done = Run.load(folder.resolve())
        written = gather.of_run(done, lambda: connect(Parameters.check(done.parameters)), earlier)
    else:
        written = gather.of_fleet(Fleet(connect(Parameters.check(_values(file, pairs)))), earlier)
    target = into or folder or project_root() / "reports"
    path = report.write(written, target)
    _copies(target, json_file, junit_file)
    for finding in written.findings:
        sign = "✗" if finding["status"] in FAULTS else "…"
        click.echo(f"{sign} {about(finding)}: {finding['layer']} {finding['message'] or finding['reason'] or ''}".rstrip())
    for why in written.unread.values():
        click.echo(f"not read: {why}", err=True)
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


DEEP = {
    "clusters": "Ask each cluster too: its workloads.", "sources": "Ask each cluster itself: all details.",
    "kustomizations": "Ask each cluster itself: all details.", "releases": "Ask each cluster itself: all details.",
    "events": "Those of each cluster too.", "versions": "Ask each cluster for its Flux, not the control plane alone.",
}  # fmt: skip
"""The tables that have more to say when every cluster is asked, and what."""

COMMANDS = (
    "clusters", "environments", "pools", "nodes", "workloads", "sources", "kustomizations", "releases", "extensions", "events",
    "operations", "versions", "costs", "roles",
)  # fmt: skip
"""The tables that are commands of their own name."""


WIDE = click.option("--wide", is_flag=True, help="All columns, nothing cut.")
WATCH = click.option("-w", "--watch", is_flag=True, help="Show it again as it changes, until Ctrl-C.")
INTERVAL = click.option(
    "--interval", type=click.FloatRange(min=1), default=15.0, show_default=True, help="With --watch: seconds until Azure is asked again."
)  # fmt: skip

Pairs = tuple[tuple[str, str], ...]


def _fleet(file: Path | None, pairs: Pairs) -> Any:
    from fleetlib.inspect.fleet import Fleet
    from fleetlib.session import connect

    return Fleet(connect(Parameters.check(_values(file, pairs), str(file or "-p"))))


def _table(name: str) -> None:
    def show(file: Path | None, pairs: Pairs, output: str, wide: bool, watch: bool, interval: float, **options: Any) -> None:
        fleet = _fleet(file, pairs)

        def read() -> Any:
            return getattr(fleet, name)(**options)

        if watch:
            _watch(fleet, read, output, wide, interval)
        _print(read(), output, wide)

    decorators = [FILE, PAIRS, OUTPUT, WIDE, WATCH, INTERVAL]
    if name in DEEP:
        decorators.append(click.option("--deep", is_flag=True, help=DEEP[name]))
    command: Any = show
    for decorate in reversed(decorators):
        command = decorate(command)
    main.command(name, help=TABLES[name].title)(command)


def _colours() -> bool:
    """Whether somebody looks, and likes colours (https://no-color.org)."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def _print(frame: Any, output: str, wide: bool = False) -> None:
    """The table; sides that could not be read on standard error, with exit status 1: what is printed is not all there is."""
    click.echo(_rendered(frame, output, wide))
    _complain(frame)
    if frame.attrs["unread"]:
        sys.exit(1)


def _complain(frame: Any) -> None:
    for why in frame.attrs["unread"].values():
        click.echo(f"not read: {why}", err=True)


def _rendered(frame: Any, output: str, wide: bool) -> str:
    from fleetlib.inspect import show

    if output != "table":
        return show.as_json(frame) if output == "json" else show.as_csv(frame)
    terminal = sys.stdout.isatty()
    return show.text(frame, width=shutil.get_terminal_size().columns if terminal else None, wide=wide, colour=_colours())


def _watch(fleet: Any, read: Callable[[], Any], output: str, wide: bool, interval: float) -> NoReturn:
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
                _complain(frame)
            before = frame
    except KeyboardInterrupt:
        pass
    sys.exit(130)


def _news(frame: Any, output: str, wide: bool, *, first: bool) -> str:
    from fleetlib.inspect import show

    if output == "json":
        return "\n".join(json.dumps(row) for row in show.records(frame))
    return show.as_csv(frame, header=first) if output == "csv" else _rendered(frame, output, wide)


for _name in COMMANDS:
    _table(_name)


@main.command("doctor")
@FILE
@PAIRS
@OUTPUT
@WATCH
@INTERVAL
def find(file: Path | None, pairs: tuple[tuple[str, str], ...], output: str, watch: bool, interval: float) -> None:
    """What is wrong, in words: what it means, how to look closer, what mends it. Exit status 1 if anything is broken."""
    from fleetlib.inspect import show

    fleet = _fleet(file, pairs)
    if watch:
        _watch(fleet, fleet.doctor, output, wide=False, interval=interval)
    frame = fleet.doctor()
    click.echo(show.findings(frame, colour=_colours()) if output == "table" else _rendered(frame, output, wide=True))
    _complain(frame)
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
def compare(
    file: Path | None, pairs: tuple[tuple[str, str], ...], output: str, wide: bool, watch: bool, interval: float, shallow: bool
) -> None:  # fmt: skip
    """Where what is declared and what there is differ, field by field, in both directions. Exit status 1 if there is any."""
    fleet = _fleet(file, pairs)
    if watch:
        _watch(fleet, lambda: fleet.drift(deep=not shallow), output, wide, interval)
    frame = fleet.drift(deep=not shallow)
    _print(frame, output, wide)
    sys.exit(1 if len(frame) else 0)


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
    """Shell lines that make az, SDKs, kubectl and curl use it: eval "$(fleet sandbox env)". No secret is among them."""
    from fleetlib.sandbox import lifecycle, shell

    for line in shell.lines(_state(), lifecycle.endpoint(_state()), os.environ):
        click.echo(line)


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
