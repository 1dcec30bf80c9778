"""Ctrl-C at 200 moments: each command ends within seconds, with status 130, and leaves no process behind."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from tests.processes import started

SEED = 20
SETTINGS = ("-p", "staging_cluster_count", "1", "-p", "prod_cluster_count", "1")
COMMANDS: dict[str, tuple[int, list[str]]] = {
    "help": (90, ["--help"]),
    "status": (70, ["sandbox", "status"]),
    "clusters": (16, ["clusters", *SETTINGS]),
    "watch": (12, ["releases", "--watch", *SETTINGS]),
    "doctor": (4, ["doctor", *SETTINGS]),
    "run": (8, ["run", "00", "01", *SETTINGS]),
}
"""Command -> (how many times it is interrupted, its arguments)."""

AT_ONCE = 2
WATCHED = 2.0
"""The span in seconds in which `--watch`, which does not end by itself, is interrupted."""

ENDS_WITHIN = 8.0
MARK = "INTERRUPT_TEST_TRIAL"


@dataclass
class Trial:
    """One start of a command. It gets the signal after `share` (0 to 1) of its usual duration; `None`: it gets no signal."""

    number: int
    name: str
    folder: Path
    share: float | None = None
    moment: float | None = None
    end: ExitStack = field(default_factory=ExitStack)
    sent: float = 0.0
    early: bool = False

    def start(self, home: Path, lives: dict[str, float]) -> None:
        self.folder.mkdir()
        arguments = COMMANDS[self.name][1] + (["--runs", str(self.folder / "runs")] if self.name == "run" else [])
        out, errors = (self.end.enter_context((self.folder / name).open("w")) for name in ("out", "errors"))
        environment = {**os.environ, "FLEET_HOME": str(home), MARK: f"{self.folder}."}
        command = [sys.executable, "-m", "fleetlib.cli", *arguments]
        self.process: Popen[Any] = self.end.enter_context(started(command, env=environment, stdout=out, stderr=errors))
        self.began = time.monotonic()
        self.moment = None if self.share is None else self.share * lives[self.name]

    def step(self) -> bool:
        """Send the signal when it is due. Return whether the command has ended."""
        if self.process.poll() is not None:
            self.ended = time.monotonic()
            return True
        if self.moment is not None and not self.sent and time.monotonic() >= self.began + self.moment:
            self.early = _threads(self.process.pid) < 2
            self.sent = time.monotonic()
            self.process.send_signal(signal.SIGINT)
        if self.sent and time.monotonic() > self.sent + ENDS_WITHIN:
            raise AssertionError(f"{self}: has not ended after {ENDS_WITHIN} s\n{(self.folder / 'errors').read_text()}")
        return False

    def problem(self, usual: int) -> str:
        """Return the problem with the command's end; "" if there is no problem."""
        errors = (self.folder / "errors").read_text()
        left = [pid for pid in Path("/proc").glob("[0-9]*") if self._started(pid)]
        if left:
            return f"left processes behind: {left}"
        for path in self.folder.glob("runs/*/run.json"):
            json.loads(path.read_text())
        status = self.process.returncode
        if self.early:  # before its first line Python's own handling applies
            return "" if status in (130, -signal.SIGINT, 1) else f"status {status}"
        if "Traceback" in errors or "Exception ignored" in errors:
            return errors
        return "" if status == 130 or status == usual else f"status {status}: {errors}"

    def _started(self, process: Path) -> bool:
        try:
            return f"{MARK}={self.folder}.".encode() in (process / "environ").read_bytes()
        except OSError:  # it has ended, or is another user's
            return False


def _threads(pid: int) -> int:
    """Return the number of threads: a program that handles interrupts itself has a second one."""
    return len(os.listdir(f"/proc/{pid}/task"))


def _all(trials: list[Trial], home: Path, lives: dict[str, float]) -> None:
    """Run the trials, `AT_ONCE` at a time. Store in `lives` the shortest duration of each command that ended by itself."""
    waiting, running = trials[::-1], list[Trial]()
    with ExitStack() as ends:
        while waiting or running:
            while waiting and len(running) < AT_ONCE:
                running.append(waiting.pop())
                ends.enter_context(running[-1].end)
                running[-1].start(home, lives)
            ended = [trial for trial in running if trial.step()]
            running = [trial for trial in running if trial not in ended]
            for trial in ended:
                if not trial.sent:
                    life = trial.ended - trial.began
                    lives[trial.name] = min(life, lives.get(trial.name, life))
            time.sleep(0.002)


@pytest.mark.timeout(1800)
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
def test_ctrl_c_at_any_moment(shared: Any, tmp_path: Path) -> None:
    usual: dict[str, Trial] = {}
    lives = {"watch": WATCHED}
    for number, name in enumerate(COMMANDS):
        usual[name] = Trial(number, name, tmp_path / f"usual-{name}", 1.0 if name == "watch" else None)
    _all(list(usual.values()), shared.home, lives)
    moments = random.Random(SEED)
    names = [name for name, (count, _) in COMMANDS.items() for _ in range(count)]
    moments.shuffle(names)
    trials = []
    for number, name in enumerate(names):
        trials.append(Trial(number, name, tmp_path / str(number), moments.uniform(0, 1)))
    _all(trials, shared.home, lives)
    found = {f"{t.number} {t.name} at {t.moment:.3f} s": t.problem(usual[t.name].process.returncode) for t in trials}
    assert not [f"{trial}: {problem}" for trial, problem in found.items() if problem]
    stopped = sum(trial.process.returncode == 130 for trial in trials)
    assert stopped > len(trials) / 2, "too many had ended, or not begun, when they were interrupted"
