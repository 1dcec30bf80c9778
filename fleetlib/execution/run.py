"""Runs of the notebooks by papermill.

This adds to plain papermill: the order, a check of the parameters before the first notebook, a record of each stage's changes
and checks, and resuming a run that stopped.
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
from typing import Any, Literal, NamedTuple

from fleetlib import interrupt
from fleetlib.errors import ParameterError
from fleetlib.execution import kernels
from fleetlib.imports import without_iri_grammars
from fleetlib.parameters import Parameters

NOT_BY_DEFAULT = ("99",)
"""Stages that run only when they are named: the tear-down must not run by accident."""

_ANSI = re.compile("\x1b\\[[0-9;]*[A-Za-z]")


def uncoloured(text: str) -> str:
    """Remove terminal colours, which some programs put into their messages."""
    return _ANSI.sub("", text)


class RecordedChange(NamedTuple):
    """A change that a stage made; see `fleetlib.change.Change`.

    In `run.json` and `report.json` it is a list of these values.
    """

    step: str
    target: str
    action: str
    differences: str


class RecordedCheck(NamedTuple):
    """A promise that a stage verified; `fix` is empty if it is kept. In `run.json` and `report.json` a list of these values."""

    promise: str
    evidence: str
    kept: bool
    fix: str


@dataclass
class StageResult:
    """The run of one notebook.

    `skipped`: it was done in the run that is resumed. `output` is the executed notebook's file name.
    """

    notebook: str
    status: Literal["done", "failed", "skipped"]
    seconds: float = 0.0
    output: str = ""
    error: str = ""
    changes: list[RecordedChange] = field(default_factory=list)
    checks: list[RecordedCheck] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.changes = [RecordedChange(*change) for change in self.changes]
        self.checks = [RecordedCheck(*check) for check in self.checks]

    @property
    def sentence(self) -> str:
        """The result in one line: the number of changes, or the first line of the error."""
        if self.status == "failed":
            first = self.error.splitlines()[0] if self.error else "failed"
            return f"{first} (after {counted(len(self.changes))})" if self.changes else first
        if self.status == "skipped":
            return "already done in the resumed run"
        return counted(len(self.changes)) if self.changes else "nothing to change"


def counted(count: int) -> str:
    """Return the number of changes in words: `1 change`, `2 changes`."""
    return f"{count} change{'' if count == 1 else 's'}"


@dataclass
class Run:
    """A run of some stages. Its folder has the executed notebooks, `run.json` and the report."""

    folder: Path
    parameters: dict[str, Any]
    results: list[StageResult] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        return any(result.status == "failed" for result in self.results)

    @property
    def changes(self) -> int:
        """The number of changes of this run, including those of a failed stage.

        Skipped stages made theirs in an earlier run.
        """
        return sum(len(result.changes) for result in self.results if result.status != "skipped")

    @property
    def seconds(self) -> float:
        """The duration of its stages, without the skipped ones."""
        return sum(result.seconds for result in self.results if result.status != "skipped")

    @classmethod
    def load(cls, folder: Path) -> Run:
        """Load a run from its folder. Raises `ParameterError` if the folder has no `run.json`, or one that cannot be read."""
        try:
            stored = json.loads((folder / "run.json").read_text())
            return cls(folder, stored["parameters"], [StageResult(**item) for item in stored["results"]])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ParameterError("this folder does not have a run", target=str(folder), said=str(error)) from None

    def save(self) -> None:
        """Write `run.json`."""
        text = json.dumps({"parameters": self.parameters, "results": [asdict(result) for result in self.results]}, indent=1)
        written = self.folder / "run.json.new"
        written.write_text(text)
        written.replace(self.folder / "run.json")  # atomic: an interrupt leaves a whole file


def notebooks(folder: Path, stages: Sequence[str] = ()) -> list[Path]:
    """Return the notebooks to run, in order: those named (`06`, `06_deploy_workload_clusters`), or all but the tear-down.

    Raises `ParameterError` if the folder has no notebooks, or lacks one that is named.
    """
    found = {path.stem: path for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))}
    if not found:
        raise ParameterError(
            "the folder does not have notebooks",
            target=str(folder),
            fix="run from the project's folder, or name the notebooks' folder with --notebooks",
        )
    if not stages:
        return [path for name, path in found.items() if not name.startswith(NOT_BY_DEFAULT)]
    return [_find(found, stage) for stage in stages]


def _find(found: dict[str, Path], stage: str) -> Path:
    matches = [path for name, path in found.items() if name == stage or name.startswith(f"{stage}_")]
    if len(matches) != 1:
        raise ParameterError(f"there is no stage {stage!r}", fix=f"choose one of: {', '.join(found)}")
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
    """Run the notebooks in order until one fails, and return the run. `runs` is the folder for the folders of runs.

    `resume`: skip the stages that the last run has done; it must have had the same parameters. `starting` is called with the
    name of each stage before it runs, `tell` with its result. Raises `ParameterError` before the first notebook if a value is
    wrong.
    """
    parameters = Parameters.check(values, "the parameters given to fleet run").model_dump()
    runs = runs.absolute()  # the kernels run in the notebooks' folder
    done = _done_before(runs, parameters) if resume else {}
    run = Run(_folder(runs), parameters)
    ahead = _Ahead([path for path in paths if path.stem not in done], run.folder)
    Run(run.folder, parameters, list(done.values())).save()  # for --resume, if this run stops in its first stage
    _point_latest(runs, run.folder)
    with interrupt.if_stuck(ahead.kill), ahead:
        ahead.start(1)  # only one: the run waits for it, and a second one would delay it
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
    """The kernels of a run's notebooks, started while earlier notebooks run: a kernel takes longer to start than a
    short stage.
    """

    COUNT = 2

    def __init__(self, paths: Sequence[Path], folder: Path) -> None:
        self._folder = folder
        self._left = deque(paths)
        self._waiting: deque[kernels.Kernel] = deque()
        self._alive: list[kernels.Kernel] = []

    def __enter__(self) -> None:
        """Start no kernel yet: if an interrupt came before the block, the kernel would not be stopped."""

    def __exit__(self, *error: object) -> None:
        for kernel in list(self._alive):
            self._stop(kernel)

    def record(self, path: Path) -> Path:
        """Return the file to which this notebook's kernel writes the stage's changes and checks."""
        return self._folder / f"{path.stem}.json"

    @contextmanager
    def kernel(self) -> Iterator[kernels.Kernel]:
        """Give the next notebook's kernel to the block, and stop it afterwards."""
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
        """Kill all kernels, called in another thread while the main thread is stuck."""
        for kernel in list(self._alive):
            kernel.kill()


def _one(path: Path, run: Run, values: dict[str, Any], ahead: _Ahead) -> StageResult:
    with without_iri_grammars():
        import papermill
        from papermill.exceptions import PapermillExecutionError

    # papermill warns of names that are not in the notebook's cell; they are checked already, and a stage may use them
    logging.getLogger("papermill").setLevel(logging.ERROR)
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
        result.changes = [RecordedChange(*change) for change in found["changes"]]
        result.checks = [RecordedCheck(*check) for check in found["checks"]]
        record.unlink()
    return result


def _used_by(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Return the values that differ from the defaults.

    Every notebook gets all: a stage may use names that its cell does not show.
    """
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
            "the last run cannot be resumed: it had other parameters",
            target=str(last),
            fix="give the same parameters, or run without --resume: a stage does not repeat changes that are already made",
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
