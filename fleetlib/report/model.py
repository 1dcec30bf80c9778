"""What a report holds, apart from how it is written: the run, the fleet's tables, the findings, the plots, the history."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from fleetlib.execution.run import Run
from fleetlib.inspect.columns import TABLES
from fleetlib.inspect.drawing import Plot

if TYPE_CHECKING:
    import pandas

GOOD = frozenset({"Succeeded", "Compliant", "Ready", "Running", "done", "kept", "ok", "deployed"})
BAD = frozenset({"Failed", "Non-Compliant", "NonCompliant", "missing", "failed", "broken", "error", "unreachable", "Unread"})
BUSY = frozenset(
    {
        "Creating",
        "Updating",
        "Deleting",
        "Pending",
        "Progressing",
        "Reconciling",
        "Upgrading",
        "Unknown",
        "warning",
        "progressing",
        "stopped",
        "unknown",
        "Stopped",
        "Suspended",
    }
)
"""Words of Azure, ASO, Flux and this project that say how something is, by what a reader should think of them."""


def mood(value: object) -> str:
    """`good`, `bad`, `busy`, or nothing for a value that does not say how something is."""
    text = str(value)
    return "good" if text in GOOD else "bad" if text in BAD else "busy" if text in BUSY else ""


@dataclass(frozen=True)
class Table:
    """A table of `Fleet` in the report."""

    frame: pandas.DataFrame

    @property
    def name(self) -> str:
        return str(self.frame.attrs["table"])

    @property
    def title(self) -> str:
        return self.name.capitalize()

    @property
    def meaning(self) -> str:
        """What a row is."""
        return TABLES[self.name].title

    @property
    def columns(self) -> list[dict[str, str]]:
        """`name`, `dtype` and `meaning` of each column, the index first."""
        return [{"name": c.name, "dtype": c.dtype, "meaning": c.meaning} for c in TABLES[self.name].all]

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """One mapping a row, for JSON: what is not known is None."""
        from fleetlib.inspect import show

        return list(show.records(self.frame))

    def __len__(self) -> int:
        return len(self.frame)


FAULTS = frozenset({"broken", "unreachable"})
"""Status of what CI should stop for. Other findings, and other clusters that are not well, are warnings."""

Finding = dict[str, Any]
"""A row of the table `findings`, by the names of its columns; None for what it does not say."""


def about(finding: Finding) -> str:
    """What a finding is about: `cluster: object`; the object alone if it begins with the cluster's name."""
    cluster, obj = finding["cluster"] or "", finding["object"] or ""
    return obj if obj.startswith(cluster) and obj else ": ".join(filter(None, (cluster, obj)))


@dataclass(frozen=True)
class Point:
    """How the fleet was at a time: so many clusters, so many of them compliant."""

    time: datetime
    clusters: int
    compliant: int


@dataclass
class Report:
    """All of it. `run` is None for a report on the fleet alone; `unread`: what could not be read, and why."""

    made: datetime
    parameters: dict[str, Any]
    run: Run | None = None
    tables: list[Table] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    history: list[Point] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"Fleet run {self.run.folder.name}" if self.run else f"Fleet on {self.parameters['cloud']}"

    @property
    def faults(self) -> list[Finding]:
        return [finding for finding in self.findings if finding["status"] in FAULTS]

    @property
    def bad(self) -> bool:
        """Whether CI should stop here: a failed stage, a fault, or something that could not be read."""
        return bool(self.unread or self.faults) or bool(self.run and self.run.failed)

    def table(self, name: str) -> Table | None:
        return next((table for table in self.tables if table.name == name), None)
