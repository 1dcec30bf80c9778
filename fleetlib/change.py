"""The one mechanism of every stage: read, plan, apply the difference.

A `Step` concerns one object. `plan()` reads and compares and changes nothing; `apply()` writes only if something differs. May
import `errors` only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

CREATE, UPDATE, DELETE, UNCHANGED = "create", "update", "delete", "unchanged"


@dataclass(frozen=True)
class Change:
    """What a step would do, or did. `differences` are lines such as `nodeCount: 1 -> 3`."""

    step: str
    target: str
    action: str
    differences: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.action != UNCHANGED

    def __str__(self) -> str:
        detail = f" ({'; '.join(self.differences)})" if self.differences else ""
        return f"{self.action}: {self.target}{detail}"

    def _repr_html_(self) -> str:
        return table(("step", "object", "action", "differences"), [self.row()])

    def row(self) -> tuple[str, str, str, str]:
        return self.step, self.target, self.action, "; ".join(self.differences)


@dataclass(frozen=True)
class Step:
    """One object of a stage: how it is read, what should be different, how that is written.

    `read()` gives the object as it is, or None; `compare(object)` the lines that differ (only asked if it exists);
    `write(object)` makes it so. `absent=True` turns the step into a deletion.
    """

    title: str
    target: str
    read: Callable[[], Any]
    write: Callable[[Any], Any]
    compare: Callable[[Any], Sequence[str]] = lambda current: ()
    absent: bool = False

    def plan(self) -> Change:
        return self._planned(self.read())

    def apply(self) -> Change:
        """Apply the difference, if there is one. Raises what `write` raises."""
        current = self.read()
        change = self._planned(current)
        if change:
            self.write(current)
        return change

    def _planned(self, current: Any) -> Change:
        if self.absent:
            return Change(self.title, self.target, UNCHANGED if current is None else DELETE)
        if current is None:
            return Change(self.title, self.target, CREATE)
        differences = tuple(self.compare(current))
        return Change(self.title, self.target, UPDATE if differences else UNCHANGED, differences)


@dataclass(frozen=True)
class Plan:
    """The changes of a stage, in order. True if there is something to do."""

    changes: tuple[Change, ...]

    def __bool__(self) -> bool:
        return any(self.changes)

    def __str__(self) -> str:
        return "\n".join(map(str, self.changes)) if self else "nothing to do: everything is as declared"

    def _repr_html_(self) -> str:
        return table(("step", "object", "action", "differences"), [change.row() for change in self.changes])


@dataclass(frozen=True)
class Check:
    """One promise of a stage, and what the system says of it."""

    promise: str
    evidence: str
    kept: bool
    fix: str = ""

    def __str__(self) -> str:
        return f"{'ok  ' if self.kept else 'FAIL'} {self.promise}: {self.evidence}"

    def _repr_html_(self) -> str:
        return Checks((self,))._repr_html_()


@dataclass(frozen=True)
class Checks:
    """The verification of a stage."""

    checks: tuple[Check, ...] = field(default_factory=tuple)

    @property
    def broken(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.kept)

    def __str__(self) -> str:
        return "\n".join(map(str, self.checks))

    def _repr_html_(self) -> str:
        rows = [("✓" if c.kept else "✗", c.promise, c.evidence, c.fix if not c.kept else "") for c in self.checks]
        return table(("", "promise", "evidence", "next step"), rows)


def differences(desired: Any, actual: Any, path: str = "") -> list[str]:
    """Where `actual` does not have what `desired` says, as lines `path: is -> should be`. What is not desired is free.

    Mappings are compared key by key; lists of mappings with a `name` by name, other lists whole; strings exactly, but for
    nothing else: a caller that knows better compares itself.
    """
    if isinstance(desired, Mapping) and isinstance(actual, Mapping):
        lines = (differences(value, actual.get(key), f"{path}.{key}" if path else key) for key, value in desired.items())
        return [line for found in lines for line in found]
    if _named(desired) and _named(actual):
        current = {item["name"]: item for item in actual}
        found = (differences(item, current.get(item["name"]), f"{path}[{item['name']}]") for item in desired)
        return [line for lines in found for line in lines]
    return [] if desired == actual else [f"{path}: {_short(actual)} -> {_short(desired)}"]


def table(header: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """An HTML table; every text is escaped."""
    head = "".join(f"<th style='text-align:left'>{escape(name)}</th>" for name in header)
    body = "".join(
        "<tr>" + "".join(f"<td style='text-align:left'>{escape(str(v))}</td>" for v in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _named(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, Mapping) and "name" in v for v in value)


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 80 else text[:77] + "..."
