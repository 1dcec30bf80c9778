"""The result of a wait as a table of layers, objects and their conditions, without times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fleetlib.change import aligned, table
from fleetlib.clients.kube import Object, condition

Row = tuple[str, str, str]
"""(layer, object, condition). The layers are those of `inspect.columns.LAYERS`."""

SHOWN = 3
"""Objects of one kind and condition that are shown by name. Of more, two names and the number of the others are shown."""

HEADER = ("layer", "object", "condition")


@dataclass(frozen=True, repr=False)
class Conditions:
    """One row an object, in the order of the layers. Equal rows are joined when shown, so that large fleets stay readable."""

    rows: tuple[Row, ...]

    def __repr__(self) -> str:
        return aligned(self.joined()) if self.rows else "nothing to wait for"

    def _repr_html_(self) -> str:
        return table(HEADER, self.joined()) if self.rows else "<p>Nothing to wait for.</p>"

    def joined(self) -> list[Row]:
        """The rows, one for all objects of the same layer, kind and condition."""
        groups: dict[tuple[str, str, str], list[str]] = {}
        for layer, name, words in self.rows:
            kind, _, rest = name.partition(" ")
            groups.setdefault((layer, kind, words), []).append(rest)
        return [(layer, f"{kind} {_names(names)}".rstrip(), words) for (layer, kind, words), names in groups.items()]


def observed(
    layer: str, kind: tuple[str, str], objects: Mapping[str, Object], condition_type: str = "Ready"
) -> tuple[Row, ...]:
    """The rows of these objects (by name), sorted by name."""
    return tuple((layer, f"{kind[1]} {name}", _words(objects[name], condition_type)) for name in sorted(objects))


def _words(obj: Object, condition_type: str) -> str:
    status, reason, _ = condition(obj, condition_type)
    return f"{condition_type}: {status}" + (f" ({reason})" if reason else "") if status else f"no condition {condition_type}"


def _names(names: list[str]) -> str:
    if len(names) <= SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[: SHOWN - 1])} and {len(names) - SHOWN + 1} more"
