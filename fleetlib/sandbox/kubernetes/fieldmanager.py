"""Server-side apply and managedFields (being written; signatures are final)."""

from __future__ import annotations

from typing import Any

from fleetlib.sandbox.kubernetes.schema import Schema


class ApplyConflict(Exception):
    """Another manager owns a field this apply would change. `causes`: (message, field) pairs worded as the API does."""

    def __init__(self, causes: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(message for message, _ in causes))
        self.causes = causes


def apply(
    live: dict[str, Any] | None, applied: dict[str, Any], manager: str, force: bool, schema: Schema, time: str, subresource: str = ""
) -> dict[str, Any]:
    raise NotImplementedError


def update(
    before: dict[str, Any] | None, after: dict[str, Any], manager: str, operation: str, schema: Schema, time: str, subresource: str = ""
) -> dict[str, Any]:
    return after
