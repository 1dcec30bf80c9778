"""Runs the notebooks in order by papermill, keeps what they did, resumes, and writes the report.

What it adds to plain papermill: the order, parameter names checked before anything runs, resuming where a run stopped, one
line a stage, and a page to read afterwards. May import everything but `cli`.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from fleetlib import interrupt
from fleetlib.errors import ParameterError
from fleetlib.execution import kernels
from fleetlib.imports import without_iri_grammars
from fleetlib.parameters import Parameters

NOT_BY_DEFAULT = ("99",)
"""Stages that run only when they are named: nobody tears down by accident."""

_ANSI = re.compile("\x1b\\[[0-9;]*[A-Za-z]")


def uncoloured(text: str) -> str:
    """Without the colours of terminals, which some programs put into their messages."""
    return _ANSI.sub("", text)


@dataclass
class StageResult:
    """One notebook's run. `status`: done, failed or skipped (done in the run that is resumed)."""

    notebook: str
    status: str
    seconds: float = 0.0
    output: str = ""
    error: str = ""
    changes: list[list[str]] = field(default_factory=list)
    checks: list[list[Any]] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        if self.status == "failed":
            first = self.error.splitlines()[0] if self.error else "failed"
            return f"{first} (after {counted(len(self.changes))})" if self.changes else first
        if self.status == "skipped":
            return "done in the run that is resumed"
        return counted(len(self.changes)) if self.changes else "nothing to change"


def counted(count: int) -> str:
    """So many changes, in words."""
    return f"{count} change{'' if count == 1 else 's'}"


@dataclass
class Run:
    """A run of some stages: its folder holds the executed notebooks, `run.json` and the report."""

    folder: Path
    parameters: dict[str, Any]
    results: list[StageResult] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        return any(result.status == "failed" for result in self.results)

    @property
    def changes(self) -> int:
        """What this run changed, a failed stage's changes among them; a skipped stage changed things in an earlier run."""
        return sum(len(result.changes) for result in self.results if result.status != "skipped")

    @property
    def seconds(self) -> float:
        """How long its stages took; without those it skipped."""
        return sum(result.seconds for result in self.results if result.status != "skipped")

    @classmethod
    def load(cls, folder: Path) -> Run:
        """A run from its folder. Raises `ParameterError` if there is none in it."""
        try:
            stored = json.loads((folder / "run.json").read_text())
            return cls(folder, stored["parameters"], [StageResult(**item) for item in stored["results"]])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ParameterError("there is no run in this folder", target=str(folder), said=str(error)) from None

    def save(self) -> None:
        text = json.dumps({"parameters": self.parameters, "results": [asdict(result) for result in self.results]}, indent=1)
        written = self.folder / "run.json.new"
        written.write_text(text)
        written.replace(self.folder / "run.json")  # whole, also if the run is stopped now


def notebooks(folder: Path, stages: Sequence[str] = ()) -> list[Path]:
    """The notebooks to run, in order: those named (`06`, `06_deploy_workload_clusters`), or all but the tear-down."""
    found = {path.stem: path for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))}
    if not found:
        raise ParameterError(
            "there are no notebooks here", target=str(folder), fix="run from the project's folder, or name it with --notebooks"
        )
    if not stages:
        return [path for name, path in found.items() if not name.startswith(NOT_BY_DEFAULT)]
    return [_find(found, stage) for stage in stages]


def _find(found: dict[str, Path], stage: str) -> Path:
    matches = [path for name, path in found.items() if name == stage or name.startswith(f"{stage}_")]
    if len(matches) != 1:
        raise ParameterError(f"there is no stage {stage!r}", fix=f"choose from: {', '.join(found)}")
    return matches[0]


def execute(
    paths: Sequence[Path],
    values: dict[str, Any],
    runs: Path,
    *,
    resume: bool = False,
    tell: Callable[[StageResult], None],
    starting: Callable[[str], None] = lambda name: None,
) -> Run:
    """Run the notebooks until one fails. Raises `ParameterError` before anything runs if a value is wrong.

    With `resume`, the last run with the same parameters goes on: what it had done is skipped.
    """
    parameters = Parameters.check(values, "the parameters given to fleet run").model_dump()
    runs = runs.absolute()  # the kernels work in the notebooks' folder
    done = _done_before(runs, parameters) if resume else {}
    run = Run(_folder(runs), parameters)
    ahead = _Ahead([path for path in paths if path.stem not in done], run.folder)
    Run(run.folder, parameters, list(done.values())).save()  # what --resume finds if this run is stopped in its first stage
    _point_latest(runs, run.folder)
    with interrupt.if_stuck(ahead.kill), ahead:
        ahead.start(1)  # the first is waited for: none beside it
        for path in paths:
            starting(path.stem)
            result = done.get(path.stem) or _one(path, run, values, ahead)
            run.results.append(result)
            run.save()
            tell(result)
            if result.status == "failed":
                break
            if len(run.results) == 1 < len(paths):
                kernels.preload()
    return run


class _Ahead:
    """The kernels of a run's notebooks, started while notebooks before them run: a short stage is over before a kernel is up."""

    COUNT = 2

    def __init__(self, paths: Sequence[Path], folder: Path) -> None:
        self._folder = folder
        self._left = deque(paths)
        self._waiting: deque[kernels.Kernel] = deque()
        self._alive: list[kernels.Kernel] = []

    def __enter__(self) -> None:
        """Start nothing: what is started here would outlive an interrupt that comes before the block."""

    def __exit__(self, *error: object) -> None:
        for kernel in list(self._alive):
            self._stop(kernel)

    def record(self, path: Path) -> Path:
        """Where the kernel of this notebook writes what its stage did."""
        return self._folder / f"{path.stem}.json"

    @contextmanager
    def kernel(self) -> Iterator[kernels.Kernel]:
        """The next notebook's kernel, for as long as the block."""
        kernel = self._waiting.popleft()
        try:
            self.start(self.COUNT)
            yield kernel
        finally:
            self._stop(kernel)

    def start(self, count: int) -> None:
        while self._left and len(self._waiting) < count:
            path = self._left.popleft()
            environment = {"FLEET_RECORD": str(self.record(path)), "FLEET_PROGRESS": "off"}
            with interrupt.held():  # a kernel that has started is known here
                kernel = kernels.start(path.parent, environment)
                self._alive.append(kernel)
                self._waiting.append(kernel)

    def _stop(self, kernel: kernels.Kernel) -> None:
        with interrupt.held():
            kernel.stop()
            self._alive.remove(kernel)

    def kill(self) -> None:
        """End all kernels from another thread, while this one is stuck."""
        for kernel in list(self._alive):
            kernel.kill()


def _one(path: Path, run: Run, values: dict[str, Any], ahead: _Ahead) -> StageResult:
    with without_iri_grammars():
        import papermill
        from papermill.exceptions import PapermillExecutionError

    logging.getLogger("papermill").setLevel(
        logging.ERROR
    )  # names are checked already; a stage may use more than its cell shows
    result = StageResult(path.stem, "done", output=path.name)
    began = time.monotonic()
    try:
        with ahead.kernel() as kernel:
            papermill.execute_notebook(
                str(path),
                str(run.folder / path.name),
                parameters=_used_by(path, values),
                cwd=str(path.parent),
                progress_bar=False,
                log_output=False,
                km=kernel,
            )
    except PapermillExecutionError as error:
        result.status, result.error = "failed", uncoloured(str(error.evalue))
    result.seconds = round(time.monotonic() - began, 2)
    record = ahead.record(path)
    if record.exists():
        found = json.loads(record.read_text())
        result.changes, result.checks = found["changes"], found["checks"]
        record.unlink()
    return result


def _used_by(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    """All values that differ from the defaults go to every notebook: a stage may need names its own cell does not show."""
    defaults = Parameters.check({}).model_dump()
    return {name: value for name, value in values.items() if value != defaults[name]}


def _done_before(runs: Path, parameters: dict[str, Any]) -> dict[str, StageResult]:
    folders = [runs / "latest", *(path.parent for path in sorted(runs.glob("*/run.json"), reverse=True))]
    last = next((folder for folder in folders if (folder / "run.json").exists()), None)
    if last is None:
        return {}
    before = Run.load(last)
    if before.parameters != parameters:
        raise ParameterError(
            "the last run had other parameters, so it cannot be resumed",
            target=str(last),
            fix="give the same parameters, or run without --resume: what is done already is not done again",
        )
    return {r.notebook: _skipped(r) for r in before.results if r.status in ("done", "skipped")}


def _skipped(result: StageResult) -> StageResult:
    return StageResult(result.notebook, "skipped", result.seconds, result.output, "", result.changes, result.checks)


def _folder(runs: Path) -> Path:
    runs.mkdir(parents=True, exist_ok=True)
    name = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    folder = runs / name
    number = 1
    while folder.exists():
        number += 1
        folder = runs / f"{name}-{number}"
    folder.mkdir()
    return folder


def _point_latest(runs: Path, folder: Path) -> None:
    link = folder / "latest"
    link.symlink_to(folder.name)
    link.replace(runs / "latest")
