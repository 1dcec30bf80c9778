"""What all stages have in common: preflight, plan, apply step by step, verify.

A stage names its steps in order; each is made when it is needed, since a later one needs what an earlier one created.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import ClassVar

from fleetlib.change import CREATE, Change, Check, Checks, Plan, Step
from fleetlib.clients.session import Session
from fleetlib.errors import PreflightError, VerificationError


class Missing(Exception):
    """A step cannot be made yet, since what it needs is made by an earlier step (`after`)."""

    def __init__(self, after: str) -> None:
        super().__init__(after)
        self.after = after


class Stage:
    """One documented stage over a session. Subclasses give `requirements`, `steps` and `promises`."""

    notebook: ClassVar[str] = ""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.parameters = session.parameters
        self.applied: list[Change] = []

    # --- what a subclass gives ---------------------------------------------------------------------------------------

    def requirements(self) -> Iterable[Check]:
        """What earlier stages must have done; `fix` names the notebook."""
        return ()

    def steps(self) -> Mapping[str, Callable[[], Step]]:
        """Name -> how to make the step; in order."""
        return {}

    def promises(self) -> Iterable[Check]:
        """What the cluster and ARM must say after the stage."""
        return ()

    # --- what a notebook calls ---------------------------------------------------------------------------------------

    def preflight(self) -> Checks:
        """Raises `PreflightError` that names what is missing and the notebook which makes it."""
        checks = Checks(tuple(self.requirements()))
        if checks.broken:
            first = checks.broken[0]
            raise PreflightError(f"not ready: {first.promise}", target=self.notebook, said=first.evidence, fix=first.fix)
        return checks

    def plan(self) -> Plan:
        """What `apply` would do. Reads only."""
        return Plan(tuple(self._plan(name, make) for name, make in self.steps().items()))

    def _plan(self, name: str, make: Callable[[], Step]) -> Change:
        try:
            return make().plan()
        except Missing as missing:
            return Change(name, f"(known after {missing.after})", CREATE)

    def apply(self, name: str) -> Change:
        """Do one step, if it is not done yet."""
        change = self.steps()[name]().apply()
        self.applied.append(change)
        self._record(Checks(()))  # already now: a later step may fail, and what this one changed shall be known
        return change

    def apply_all(self) -> Plan:
        return Plan(tuple(self.apply(name) for name in self.steps()))

    def verify(self) -> Checks:
        """Ask the cluster and ARM. Raises `VerificationError` with every promise that is not kept, and its mend."""
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

    def outcome(self) -> str:
        """One sentence on what this run did."""
        done = [change for change in self.applied if change]
        return "; ".join(map(str, done)) if done else "nothing changed: everything was as declared"

    def _record(self, checks: Checks) -> None:
        """Tell `fleet run`, which names the file, what was done and what was found; by hand nothing is written."""
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
