"""`fleet run`, `fleet report`, `fleet publish`: what CI calls. May import `report`, `run` and what is below."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from fleetlib.cli.command import FILE, PAIRS, Pairs, main, values_of
from fleetlib.cli.printing import rendered
from fleetlib.clients import sandbox
from fleetlib.clients.cloud import project_root
from fleetlib.errors import FinalError
from fleetlib.parameters import Parameters

JSON_FILE = click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the report as JSON there as well."
)
JUNIT_FILE = click.option(
    "--junit",
    "junit_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the report as JUnit XML there as well.",
)


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
    pairs: Pairs,
    resume: bool,
    folder: Path | None,
    runs: Path | None,
    json_file: Path | None,
    junit_file: Path | None,
) -> None:
    """Run stages (all but the tear-down, if none is named) as notebooks, and write a report: HTML, JSON, JUnit."""
    from fleetlib import interrupt
    from fleetlib.execution import run

    values = values_of(file, pairs)
    if Parameters.check(values, str(file or "-p")).cloud == "sandbox":
        sandbox.require()
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

    def stopped() -> None:
        click.echo("\nstopped in the middle of a stage: go on with the same command and --resume", err=True)

    try:
        with interrupt.if_stuck(stopped):
            done = run.execute(paths, values, runs or project_root() / "runs", resume=resume, tell=tell, starting=starting)
    except KeyboardInterrupt:
        stopped()
        sys.exit(interrupt.STATUS)
    from fleetlib import report  # what reads the fleet is imported when there is one
    from fleetlib.clients.session import connect
    from fleetlib.report import gather

    written = gather.of_run(done, lambda: connect(Parameters(**done.parameters)), [project_root() / "reports"])
    path = report.write(written, done.folder)
    _copies(done.folder, json_file, junit_file)
    clusters = written.table("clusters")
    if clusters is not None and not done.failed:
        click.echo("\n" + rendered(clusters.frame, "table", wide=False))
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
    file: Path | None,
    pairs: Pairs,
    folder: Path | None,
    into: Path | None,
    json_file: Path | None,
    junit_file: Path | None,
) -> None:
    """Write a report on the fleet as it is now: HTML, JSON, JUnit. Exit status 1 if something is broken, or cannot be read."""
    from fleetlib import report
    from fleetlib.clients.session import connect
    from fleetlib.execution.run import Run
    from fleetlib.inspect.fleet import Fleet
    from fleetlib.report import gather
    from fleetlib.report.model import FAULTS, about

    earlier = [into or project_root() / "reports", project_root() / "runs"]
    if folder is not None:
        done = Run.load(folder.resolve())
        written = gather.of_run(done, lambda: connect(Parameters.check(done.parameters)), earlier)
    else:
        written = gather.of_fleet(Fleet(connect(Parameters.check(values_of(file, pairs)))), earlier)
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
def publish(chart: Path | None, file: Path | None, pairs: Pairs) -> None:
    """Lint, package and push the cluster chart of this checkout to `chart_registry`, for CI. Notebook 05 does it step by step.

    Sign in to the registry before (az acr login, docker login). A published version with other content is refused.
    """
    import tempfile

    from fleetlib.clients import gitops
    from fleetlib.clients.session import connect

    session = connect(Parameters.check(values_of(file, pairs)))
    source = gitops.Chart(chart or project_root() / "charts" / "podinfocluster")
    errors = [line for line in source.lint() if line.startswith("ERROR")]
    if errors:
        raise FinalError("the chart does not pass Helm's lint", target=str(source.folder), said="; ".join(errors))
    with tempfile.TemporaryDirectory() as folder:
        change = gitops.publish(session.registry, source, source.package(Path(folder))).apply()
    click.echo(str(change) if change else f"{change.target} is published already")
