"""A finding: one fault of the fleet, with its meaning and its fix."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypedDict


class FindingRow(TypedDict):
    """A row of the table `findings`; `columns.TABLES` has the meaning of each column."""

    finding: int
    status: str
    layer: str
    cluster: str
    object: str
    reason: str | None
    message: str | None
    since: str | None
    meaning: str
    look: str | None
    fix: str


@dataclass(frozen=True)
class Finding:
    """One fault. `cluster` is the cluster to look at, `held` are those that the fault holds back, `same` others with the same
    fault.

    `reason` and `message` are verbatim, `since` is an ISO 8601 time, `look` are shell commands. `held` and `same` are not part
    of the identity of a finding.
    """

    status: str
    layer: str
    cluster: str
    object: str
    reason: str
    message: str
    meaning: str = ""
    fix: str = ""
    since: str | None = None
    look: tuple[str, ...] = ()
    held: tuple[str, ...] = field(default=(), compare=False)
    same: tuple[str, ...] = field(default=(), compare=False)

    def row(self, number: int) -> FindingRow:
        """Return the finding as row `number` of its table."""
        more = f" It holds back {_several(self.held)}." if self.held else ""
        more += f" The same fault is on {_several(self.same)}." if self.same else ""
        return {
            "finding": number,
            "status": self.status,
            "layer": self.layer,
            "cluster": self.cluster,
            "object": self.object,
            "reason": self.reason or None,
            "message": self.message or None,
            "since": self.since,
            "meaning": self.meaning + more,
            "look": "\n".join(self.look) or None,
            "fix": self.fix,
        }


def _several(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
