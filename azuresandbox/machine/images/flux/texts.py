"""A text that a controller writes into a condition, an event or its log. Each controller keeps its texts in one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Said(NamedTuple):
    """The reason and message of a condition or event; for a log line, `reason` is ""."""

    reason: str
    message: str


@dataclass(frozen=True)
class Text:
    """A row of a controller's table. `template` has the parts of the message that vary in braces."""

    reason: str
    template: str

    def __call__(self, **parts: object) -> Said:
        """Fill in the template. Raises `KeyError` for a part that is missing."""
        return Said(self.reason, self.template.format(**parts))
