"""The content of a report, independent of its format: the run, the fleet's tables, the findings, the plots, the history."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypedDict

from fleetlib.execution.run import Run
from fleetlib.inspect.columns import TABLES
from fleetlib.inspect.drawing import Plot
from fleetlib.inspect.finding import FindingRow

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
"""The states of Azure, ASO, Flux and this project, by their colour in the report."""


def mood(value: object) -> str:
    """Return `good`, `bad` or `busy` for the name of a state; "" for other values."""
    text = str(value)
    return "good" if text in GOOD else "bad" if text in BAD else "busy" if text in BUSY else ""


class ColumnDocument(TypedDict):
    """A column in the JSON document. `dtype` is pandas' name of it."""

    name: str
    dtype: str
    meaning: str


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
        """The table's title in `columns`: it says what one row is."""
        return TABLES[self.name].title

    @property
    def columns(self) -> list[ColumnDocument]:
        """The columns, the index first."""
        return [{"name": c.name, "dtype": c.dtype, "meaning": c.meaning} for c in TABLES[self.name].all]

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """The rows as dictionaries for JSON; `None` for missing values."""
        from fleetlib.inspect import show

        return list(show.records(self.frame))

    def __len__(self) -> int:
        return len(self.frame)


FAULTS = frozenset({"broken", "unreachable"})
"""The statuses for which CI should stop. Findings and clusters of other statuses are warnings."""


def about(finding: FindingRow) -> str:
    """Return `cluster: object` of a finding; the object alone if it begins with the cluster's name."""
    cluster, obj = finding["cluster"] or "", finding["object"] or ""
    return obj if obj.startswith(cluster) and obj else ": ".join(filter(None, (cluster, obj)))


@dataclass(frozen=True)
class Point:
    """The numbers of clusters and of compliant clusters at a time (with its time zone)."""

    time: datetime
    clusters: int
    compliant: int


@dataclass
class Report:
    """A report.

    `run` is `None` for a report on the fleet alone; `unread` maps each side that could not be read to its error.
    """

    made: datetime
    parameters: dict[str, Any]
    run: Run | None = None
    tables: list[Table] = field(default_factory=list)
    findings: list[FindingRow] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    history: list[Point] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"Fleet run {self.run.folder.name}" if self.run else f"Fleet on {self.parameters['cloud']}"

    @property
    def faults(self) -> list[FindingRow]:
        """The findings for which CI should stop."""
        return [finding for finding in self.findings if finding["status"] in FAULTS]

    @property
    def bad(self) -> bool:
        """Whether CI should stop: a stage failed, there is a fault, or a side could not be read."""
        return bool(self.unread or self.faults) or bool(self.run and self.run.failed)

    def table(self, name: str) -> Table | None:
        """Return a table by its name; `None` if the report does not have it."""
        return next((table for table in self.tables if table.name == name), None)
