"""Long-running operations as they are stored: `op/<id>` in partition `arm` while one runs, `done/<id>` afterwards."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from azuresandbox.arm.records import PARTITION
from azuresandbox.store import Store

IN_PROGRESS, SUCCEEDED, FAILED, CANCELED = "InProgress", "Succeeded", "Failed", "Canceled"
PUT, DELETE = "put", "delete"
"""The kinds of operation that PUT (or PATCH) and DELETE start; actions start a resource type's other kinds."""

RUNNING, DONE = "op/", "done/"
KEPT = 500
"""Finished operations kept for clients that still poll."""


@dataclass
class Operation:
    """One long-running operation.

    `kind`: the stored name of its runner (`provider.Runner`). `type`: the resource type's full name. `creates`: the PUT created
    the resource. `caller`: the object id of the principal that started it. `input`: JSON that the request passes to the runner.
    """

    id: str
    kind: str
    resource_id: str
    type: str
    location: str
    caller: str
    api_version: str
    started: str
    creates: bool = False
    status: str = IN_PROGRESS
    ended: str = ""
    error: dict[str, Any] | None = None
    input: dict[str, Any] = field(default_factory=dict)
    retry_after: float = 15.0

    @property
    def deletes(self) -> bool:
        return self.kind == DELETE

    @property
    def namespace(self) -> str:
        return self.type.split("/", 1)[0]

    @property
    def subscription(self) -> str:
        return self.resource_id.split("/")[2]

    def url(self, base: str, kind: str) -> str:
        """Return the URL of the operation's state (`operations`) or result (`operationresults`)."""
        place = f"/locations/{self.location}" if self.location else ""
        path = f"/subscriptions/{self.subscription}/providers/{self.namespace}{place}/{kind}/{self.id}"
        return f"{base}{path}?api-version={self.api_version}"

    def body(self) -> dict[str, Any]:
        """Return the body that `Azure-AsyncOperation` answers with."""
        shown = {
            "id": self.url("", "operations").partition("?")[0],
            "name": self.id,
            "status": self.status,
            "startTime": self.started,
            "endTime": self.ended or None,
            "error": self.error,
        }
        return {key: value for key, value in shown.items() if value is not None}


_FIELDS = frozenset(one.name for one in fields(Operation))


def load(value: bytes) -> Operation:
    """Return the stored operation. Fields that only an older version wrote are ignored."""
    return Operation(**{name: found for name, found in json.loads(value).items() if name in _FIELDS})


def put(store: Store, operation: Operation) -> None:
    """Write a running operation."""
    store.put(PARTITION, RUNNING + operation.id, _dump(operation))


def put_done(store: Store, operation: Operation) -> None:
    """Move a finished operation to the records that clients can still poll. Drops the oldest ones."""
    store.delete(PARTITION, RUNNING + operation.id)
    store.put(PARTITION, DONE + operation.id, _dump(operation))
    _drop_oldest(store)


def get(store: Store, operation_id: str) -> Operation | None:
    """Return the operation, running or finished; `None` if there is no such id."""
    record = store.get(PARTITION, RUNNING + operation_id.lower()) or store.get(PARTITION, DONE + operation_id.lower())
    return load(record.value) if record else None


def active(store: Store, prefix: str) -> list[Operation]:
    """Return the operations in progress on the resource of that id and on all below it."""
    key = prefix.lower()
    found = [load(record.value) for record in store.list(PARTITION, RUNNING).records]
    chosen = [o for o in found if o.resource_id.lower() == key or o.resource_id.lower().startswith(key + "/")]
    return [operation for operation in chosen if operation.status == IN_PROGRESS]


def _drop_oldest(store: Store) -> None:
    if store.count(PARTITION, DONE) <= 2 * KEPT:
        return
    done = sorted(store.list(PARTITION, DONE).records, key=lambda record: record.revision)
    for record in done[:-KEPT]:
        store.delete(PARTITION, record.key)


def _dump(operation: Operation) -> bytes:
    return json.dumps(asdict(operation), separators=(",", ":")).encode()
