"""What a report holds, apart from how it is written: the run, the fleet's tables, the findings, the plots."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from fleetlib.inspect.drawing import Plot
from fleetlib.run import Run

if TYPE_CHECKING:
    import pandas

GOOD = frozenset({"Succeeded", "Compliant", "Ready", "True", "Running", "done", "kept", "ok", "none"})
BAD = frozenset({"Failed", "Non-Compliant", "NonCompliant", "False", "missing", "failed", "broken", "error", "unreachable"})
BUSY = frozenset(
    {"Creating", "Updating", "Deleting", "Pending", "Progressing", "Reconciling", "Upgrading", "Unknown", "warning"}
)
"""Words of Azure, ASO, Flux and this project that say how something is, by what a reader should think of them."""


def mood(value: object) -> str:
    """`good`, `bad`, `busy`, or nothing for a value that does not say how something is."""
    text = str(value)
    return "good" if text in GOOD else "bad" if text in BAD else "busy" if text in BUSY else ""


@dataclass(frozen=True)
class Table:
    """A frame with the words around it. `note` says what a row is and where it comes from."""

    name: str
    title: str
    frame: pandas.DataFrame
    note: str = ""

    @cached_property
    def columns(self) -> list[tuple[str, bool]]:
        """(name, whether it holds numbers), the index first."""
        flat = self._flat()
        return [(str(name), flat[name].dtype.kind in "iuf") for name in flat.columns]

    @cached_property
    def rows(self) -> list[list[Any]]:
        """Plain values; what is not known is an empty text."""
        flat = self._flat().astype(object)
        return [[_plain(value) for value in row] for row in flat.itertuples(index=False)]

    def records(self) -> list[dict[str, Any]]:
        """One mapping a row, for JSON: what is not known is None."""
        names = [name for name, _ in self.columns]
        return [{name: None if value == "" else value for name, value in zip(names, row, strict=True)} for row in self.rows]

    def _flat(self) -> pandas.DataFrame:
        return self.frame.reset_index() if any(self.frame.index.names) else self.frame.reset_index(drop=True)


def _plain(value: Any) -> Any:
    import pandas

    if not isinstance(value, list | tuple | dict) and pandas.isna(value):
        return ""
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return value.item() if hasattr(value, "item") else value


@dataclass(frozen=True)
class Finding:
    """Something that is not as declared. `severity`: error or warning; `message` verbatim; `commands` to look closer."""

    target: str
    layer: str
    message: str
    reason: str = ""
    explanation: str = ""
    fix: str = ""
    commands: tuple[str, ...] = ()
    severity: str = "error"


@dataclass
class Report:
    """All of it. `run` is None for a report on the fleet alone; `unread` says why the fleet could not be read, if so."""

    made: datetime
    parameters: dict[str, Any]
    run: Run | None = None
    tables: list[Table] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    unread: str = ""

    @property
    def title(self) -> str:
        return f"Fleet run {self.run.folder.name}" if self.run else f"Fleet on {self.parameters['cloud']}"

    @property
    def bad(self) -> bool:
        """Whether CI should stop here: a failed stage, or a finding that is an error."""
        return bool(self.unread) or bool(self.run and self.run.failed) or any(f.severity == "error" for f in self.findings)

    def table(self, name: str) -> Table | None:
        return next((table for table in self.tables if table.name == name), None)
