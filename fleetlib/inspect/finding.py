"""One thing that is wrong with the fleet, in words. May import nothing of `inspect` but `rows`."""

from __future__ import annotations

from dataclasses import dataclass, field

from fleetlib.inspect.rows import Row


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. `cluster` is where to look, `held` the clusters it holds back, `same` others with the same fault."""

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

    def row(self, number: int) -> Row:
        more = f" It holds back {_several(self.held)}." if self.held else ""
        more += f" The same on {_several(self.same)}." if self.same else ""
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
