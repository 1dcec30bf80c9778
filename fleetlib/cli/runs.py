"""`fleet run`, `fleet report` and `fleet publish`: the commands for CI."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetlib.cli.command import FILE, PAIRS, Pairs, main, values_of
from fleetlib.cli.printing import rendered
from fleetlib.clients import sandbox
from fleetlib.clients.cloud import project_root
from fleetlib.errors import FinalError
from fleetlib.parameters import Parameters

if TYPE_CHECKING:
    from fleetlib.execution.run import Run

JSON_FILE = click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Also write the JSON report to this file."
)
JUNIT_FILE = click.option(
    "--junit",
    "junit_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the JUnit XML report to this file.",
)


def _stages(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the stages' numbers and names, for the shell's completion."""
    names = sorted(path.stem for path in (project_root() / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    return [name for name in (*(n[:2] for n in names), *names) if name.startswith(incomplete)]


@main.command("run")
@click.argument("stages", nargs=-1, shell_complete=_stages)
@FILE
@PAIRS
@click.option("--resume", is_flag=True, help="Skip the stages that the last run has done.")
@click.option("--notebooks", "folder", type=click.Path(path_type=Path), help="Folder of the notebooks; default: notebooks/.")
@click.option("--runs", type=click.Path(path_type=Path), help="Folder for executed notebooks and reports; default: runs/.")
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
    """Run stages as notebooks and write a report.

    Prints one line for each stage. The report is HTML, JSON, JUnit XML and Markdown, in the run's folder.

    STAGES are numbers or names, such as 06 or 06_deploy_workload_clusters; without one, all stages but the tear-down (99) run.

    Exit status: 0 if all stages are done, 1 if one failed, 2 if a parameter is wrong, 130 if interrupted.
    """
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
        click.echo("\ninterrupted during a stage: continue with the same command and --resume", err=True)

    try:
        with interrupt.if_stuck(stopped):
            done = run.execute(paths, values, runs or project_root() / "runs", resume=resume, tell=tell, starting=starting)
    except KeyboardInterrupt:
        stopped()
        sys.exit(interrupt.STATUS)
    _conclude(done, json_file, junit_file)
    sys.exit(1 if done.failed else 0)


def _conclude(done: Run, json_file: Path | None, junit_file: Path | None) -> None:
    """Write the report on a run, and print the clusters, the errors, the number of changes and the report's path."""
    from fleetlib import report  # imported late: the clients and pandas take a second, in which the first stage can run
    from fleetlib.clients.session import connect
    from fleetlib.execution.run import counted
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
        click.echo(f"\n{counted(done.changes)}" if done.changes else "\nNothing changed: everything was as declared.")
    click.echo(f"report: {os.path.relpath(path)}")


def _copies(folder: Path, json_file: Path | None, junit_file: Path | None) -> None:
    """Copy the JSON and JUnit files to the paths that --json and --junit give."""
    import shutil

    for name, target in (("report.json", json_file), ("junit.xml", junit_file)):
        if target is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, target)


@main.command("report")
@FILE
@PAIRS
@click.option("--run", "folder", type=click.Path(path_type=Path), help="Include the run in this folder, such as runs/latest.")
@click.option(
    "--into", type=click.Path(path_type=Path), help="Folder for the report's files; default: the run's folder, or reports/."
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
    """Write a report on the current fleet.

    The report is HTML, JSON, JUnit XML and Markdown. Prints the findings and the path of the HTML page.

    Exit status: 0 if all is well, 1 if something is broken or cannot be read, 2 if a parameter is wrong.
    """
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
@click.option(
    "--chart",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of the chart; default: charts/podinfocluster.",
)
@FILE
@PAIRS
def publish(chart: Path | None, file: Path | None, pairs: Pairs) -> None:
    """Lint, package and push the cluster chart.

    The chart of this checkout is pushed to the registry of the parameter chart_registry. Sign in to the registry first
    (az acr login, docker login). Notebook 05 shows the same step by step.

    Exit status: 0 if the version is published, 1 if the lint fails or the version is published with other content.
    """
    import tempfile

    from fleetlib.clients import gitops
    from fleetlib.clients.session import connect

    session = connect(Parameters.check(values_of(file, pairs)))
    source = gitops.Chart(chart or project_root() / "charts" / "podinfocluster")
    errors = [line for line in source.lint() if line.startswith("ERROR")]
    if errors:
        raise FinalError(
            "the chart does not pass Helm's lint",
            target=str(source.folder),
            said="; ".join(errors),
            fix="correct the chart: helm lint shows the same errors",
        )
    with tempfile.TemporaryDirectory() as folder:
        change = gitops.publish(session.registry, source, source.package(Path(folder))).apply()
    click.echo(str(change) if change else f"{change.target} is already published")
