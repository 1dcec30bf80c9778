"""The one mechanism of every stage: read, plan, show, apply the difference.

A `Step` concerns one object. `plan()` reads and compares; `show()` describes the request that `apply()` would send; `apply()`
sends it only if something differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any

from fleetlib.request import Request, Shown

CREATE, UPDATE, DELETE, UNCHANGED = "create", "update", "delete", "unchanged"

HEADER = ("step", "object", "action", "differences")


@dataclass(frozen=True, repr=False)
class Change:
    """A change that a step would make, or made. `differences` are lines such as `nodeCount: 1 -> 3`."""

    step: str
    target: str
    action: str
    differences: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.action != UNCHANGED

    def __str__(self) -> str:
        detail = f" ({'; '.join(self.differences)})" if self.differences else ""
        return f"{self.action}: {self.target}{detail}"

    def __repr__(self) -> str:
        return aligned([self.words()])

    def _repr_html_(self) -> str:
        return table(HEADER, [self.row()])

    def row(self) -> tuple[str, str, str, str]:
        return self.step, self.target, self.action, "; ".join(self.differences)

    def words(self) -> tuple[str, str, str, str]:
        """The row for a terminal, the action first."""
        return self.action, self.step, self.target, "; ".join(self.differences)


@dataclass(frozen=True)
class Step:
    """One object of a stage: how it is read, what should be different, which request makes it so.

    `read()` gives the object as it is, or `None`; `compare(object)` gives the lines that differ (asked only if the object
    exists); `request(object)` gives the request; `settle(answer)` waits for what follows the request's answer.
    `absent=True` turns the step into a deletion.
    """

    title: str
    target: str
    read: Callable[[], Any]
    request: Callable[[Any], Request]
    compare: Callable[[Any], Sequence[str]] = lambda current: ()
    absent: bool = False
    settle: Callable[[Any], None] = lambda answer: None

    def plan(self) -> Change:
        return self._planned(self.read())

    def show(self) -> Shown:
        """The request that `apply` would send now. If nothing differs, it says that the request is not sent."""
        current = self.read()
        change = self._planned(current)
        words = f"{change.action} {self.title}: {self.target}"
        return replace(self.request(current).shown(), action=words if change else f"{words} (the request is not sent)")

    def apply(self) -> Change:
        """Send the request, if something differs. Raises what `send` and `settle` raise."""
        current = self.read()
        change = self._planned(current)
        if change:
            self.settle(self.request(current).send())
        return change

    def _planned(self, current: Any) -> Change:
        if self.absent:
            return Change(self.title, self.target, UNCHANGED if current is None else DELETE)
        if current is None:
            return Change(self.title, self.target, CREATE)
        differences = tuple(self.compare(current))
        return Change(self.title, self.target, UPDATE if differences else UNCHANGED, differences)


@dataclass(frozen=True, repr=False)
class Plan:
    """The changes of a stage, in order. True if there is something to do."""

    changes: tuple[Change, ...]

    def __bool__(self) -> bool:
        return any(self.changes)

    def __str__(self) -> str:
        return "\n".join(map(str, self.changes)) if self else "nothing to do: everything is as declared"

    def __repr__(self) -> str:
        return aligned([change.words() for change in self.changes])

    def _repr_html_(self) -> str:
        return table(HEADER, [change.row() for change in self.changes])


@dataclass(frozen=True, repr=False)
class Outcome(Plan):
    """The changes that a run of a stage made; those steps that found nothing to do are left out."""

    def __str__(self) -> str:
        return "; ".join(map(str, self.changes)) if self else "nothing changed: everything was as declared"

    def __repr__(self) -> str:
        return super().__repr__() if self else str(self)

    def _repr_html_(self) -> str:
        return super()._repr_html_() if self else f"<p>{escape(str(self))}</p>"


@dataclass(frozen=True, repr=False)
class Check:
    """One promise of a stage, with the system's answer as evidence. `fix` is the next step if it is not kept."""

    promise: str
    evidence: str
    kept: bool
    fix: str = ""

    def __str__(self) -> str:
        return f"{'ok  ' if self.kept else 'FAIL'} {self.promise}: {self.evidence}"

    def __repr__(self) -> str:
        return repr(Checks((self,)))

    def _repr_html_(self) -> str:
        return Checks((self,))._repr_html_()

    def row(self) -> tuple[str, str, str, str]:
        """Sign, promise, evidence, and the next step if the promise is not kept."""
        return "✓" if self.kept else "✗", self.promise, self.evidence, "" if self.kept else self.fix


@dataclass(frozen=True, repr=False)
class Checks:
    """The verification of a stage."""

    checks: tuple[Check, ...] = field(default_factory=tuple)

    @property
    def broken(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.kept)

    def __str__(self) -> str:
        return "\n".join(map(str, self.checks))

    def __repr__(self) -> str:
        return aligned([check.row() for check in self.checks])

    def _repr_html_(self) -> str:
        return table(("", "promise", "evidence", "next step"), [check.row() for check in self.checks])


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of texts as lines of a terminal: columns two spaces apart, the last one as long as it is."""
    columns = zip(*(row[:-1] for row in rows), strict=True)
    widths = [max(map(len, column)) for column in columns]
    lines = ("  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[-1]]) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def differences(desired: Any, actual: Any, path: str = "") -> list[str]:
    """The values of `desired` that `actual` does not have, as lines `path: is -> should be`. Others are ignored.

    Mappings are compared key by key, lists of mappings with a `name` by name, other lists and texts as a whole.
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
    """An HTML table without the columns that are empty in all rows; every text is escaped."""
    names, lines = list(header), list(rows)
    kept = [number for number, name in enumerate(names) if not name or any(row[number] for row in lines)]
    names, lines = [names[number] for number in kept], [[row[number] for number in kept] for row in lines]
    head = "".join(f"<th style='text-align:left'>{escape(name)}</th>" for name in names)
    body = "".join(
        "<tr>" + "".join(f"<td style='text-align:left'>{escape(str(v))}</td>" for v in row) + "</tr>" for row in lines
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _named(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, Mapping) and "name" in v for v in value)


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 80 else text[:77] + "..."
