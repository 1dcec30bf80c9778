"""Shared behaviour of all stages: preflight, plan, show and apply step by step, verify.

A stage names its steps in order. Each step is made when it is needed, since it may need what an earlier step created.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from fleetlib.change import CREATE, Change, Check, Checks, Outcome, Plan, Step
from fleetlib.clients.session import Session
from fleetlib.errors import PreflightError, VerificationError
from fleetlib.request import Shown


class Missing(Exception):
    """A step cannot be made yet: it needs what an earlier step (`after`) creates."""

    def __init__(self, after: str) -> None:
        super().__init__(after)
        self.after = after


class Stage:
    """One documented stage over a session. Subclasses give `requirements`, `steps`, `commands` and `promises`."""

    notebook: ClassVar[str] = ""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.parameters = session.parameters
        self.applied: list[Change] = []

    # --- given by a subclass -----------------------------------------------------------------------------------------

    def requirements(self) -> Iterable[Check]:
        """Check the work of earlier stages; `fix` names the notebook that does it."""
        return ()

    def steps(self) -> Mapping[str, Callable[[], Step]]:
        """Name -> a function that makes the step, in order."""
        return {}

    def commands(self) -> Mapping[str, str]:
        """Name of a step -> the `az`, `kubectl`, `helm` or `git` commands that do the same by hand."""
        return {}

    def promises(self) -> Iterable[Check]:
        """Ask the cluster and ARM for the results of the stage."""
        return ()

    # --- called by a notebook ----------------------------------------------------------------------------------------

    def preflight(self) -> Checks:
        """Check the requirements. Raises `PreflightError` with the first missing one and the notebook that creates it."""
        checks = Checks(tuple(self.requirements()))
        if checks.broken:
            first = checks.broken[0]
            raise PreflightError(f"not ready: {first.promise}", target=self.notebook, said=first.evidence, fix=first.fix)
        return checks

    def plan(self) -> Plan:
        """The changes that `apply` would make. Reads only."""
        return Plan(tuple(self._plan(name, make) for name, make in self.steps().items()))

    def _plan(self, name: str, make: Callable[[], Step]) -> Change:
        try:
            return make().plan()
        except Missing as missing:
            return Change(name, f"(known after {missing.after})", CREATE)

    def show(self, name: str) -> Shown:
        """The request of a step, as `apply` would send it now, with the same command by hand. Secrets are masked."""
        command = self.commands().get(name, "")
        try:
            shown = self.steps()[name]().show()
        except Missing as missing:
            return Shown(f"known after {missing.after}", action=f"{CREATE} {name}", command=command)
        return replace(shown, command=command).without([self.session.cloud.client_secret])

    def apply(self, name: str) -> Change:
        """Do one step, if it is not done yet."""
        change = self.steps()[name]().apply()
        self.note(change)
        return change

    def note(self, change: Change) -> None:
        """Count a change as made by this run and record it now: a later step may fail, and the report must still name it."""
        self.applied.append(change)
        self._record(Checks(()))

    def apply_all(self) -> Plan:
        return Plan(tuple(self.apply(name) for name in self.steps()))

    def verify(self) -> Checks:
        """Ask the cluster and ARM. Raises `VerificationError` with every promise that is not kept, and its fix."""
        checks = Checks(tuple(self.promises()))
        self._record(checks)
        if checks.broken:
            said = "\n    ".join(f"{check.promise}: {check.evidence}" for check in checks.broken)
            fix = "\n    ".join(dict.fromkeys(check.fix for check in checks.broken if check.fix))
            raise VerificationError(
                f"{len(checks.broken)} of {len(checks.checks)} promises are not kept", target=self.notebook, said=said, fix=fix
            )
        return checks

    @property
    def changed(self) -> bool:
        """Whether this run of the stage changed anything."""
        return any(self.applied)

    def outcome(self) -> Outcome:
        """The changes that this run of the stage made."""
        return Outcome(tuple(change for change in self.applied if change))

    def _record(self, checks: Checks) -> None:
        """Write changes and checks to the file that `fleet run` names; without such a file, write nothing."""
        path = os.environ.get("FLEET_RECORD")
        if path:
            record = {
                "notebook": self.notebook,
                "changes": [change.row() for change in self.applied if change],
                "checks": [(c.promise, c.evidence, c.kept, c.fix) for c in checks.checks],
            }
            Path(path).write_text(json.dumps(record))


def promise(text: str, kept: bool, evidence: str = "", fix: str = "") -> Check:
    return Check(text, evidence or ("yes" if kept else "no"), kept, fix)
