"""Long-running operations: records that a background loop works off, so that they survive `kill -9` and a restart.

An operation is a record `op/<id>` in partition `arm`. The request that starts one writes it; `run` watches these records and
calls the type's runner. What a client polls (`Azure-AsyncOperation`, `Location`) reads them. Source: "Track asynchronous Azure
operations" and the ARM RPC's asynchronous contract. May import `arm`'s core modules.
"""

from __future__ import annotations

import asyncio
import json
import traceback
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from azuresandbox.arm import records
from azuresandbox.arm.errors import ArmError
from azuresandbox.arm.provider import Answer, Caller, Request, ResourceType
from azuresandbox.arm.records import PARTITION, Resource
from azuresandbox.clock import rfc3339_micro
from azuresandbox.context import Memory, Sandbox
from azuresandbox.store import Store

IN_PROGRESS, SUCCEEDED, FAILED, CANCELED = "InProgress", "Succeeded", "Failed", "Canceled"
KEPT = 500
"""Finished operations kept for clients that still poll."""


@dataclass
class Operation:
    """`kind`: put, delete, or one of the type's own (start, stop). `type`: the resource type's full name.

    `creates`: the PUT made the resource. `caller`: object id of who started it. `result`: what `Location` answers in the end,
    None for the resource itself. `input`: what the starter hands to the runner; JSON.
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
    result: Any = None
    input: dict[str, Any] = field(default_factory=dict)
    retry_after: float = 15.0

    @property
    def namespace(self) -> str:
        return self.type.split("/", 1)[0]

    @property
    def subscription(self) -> str:
        return self.resource_id.split("/")[2]

    def url(self, base: str, kind: str) -> str:
        """Where its state (`operations`) or its result (`operationresults`) is read."""
        place = f"/locations/{self.location}" if self.location else ""
        path = f"/subscriptions/{self.subscription}/providers/{self.namespace}{place}/{kind}/{self.id}"
        return f"{base}{path}?api-version={self.api_version}"

    def body(self) -> dict[str, Any]:
        """What `Azure-AsyncOperation` answers."""
        fields = {
            "id": self.url("", "operations").partition("?")[0],
            "name": self.id,
            "status": self.status,
            "startTime": self.started,
            "endTime": self.ended or None,
            "error": self.error,
        }
        return {key: value for key, value in fields.items() if value is not None}


@dataclass
class Work:
    """What a runner gets. Time passes with `await work.sandbox.clock.work(seconds)`."""

    sandbox: Sandbox
    operation: Operation
    type: ResourceType
    types: Callable[[str], ResourceType]
    """Full name -> type, for operations that reach other resources."""

    def resource(self) -> Resource:
        """The resource as stored now. Raises `ArmError` if somebody removed it."""
        found = records.get(self.sandbox.store, self.operation.resource_id)
        if found is None:
            raise ArmError(409, "OperationPreempted", "The resource was removed while the operation was running.")
        return found

    def update(self, change: Callable[[Resource], None]) -> Resource:
        """Change the stored resource in one step."""
        found = records.update(self.sandbox.store, self.operation.resource_id, change)
        return found if found is not None else self.resource()

    def save_result(self, result: Any) -> None:
        """What the `Location` URL answers in the end, if that is not the resource."""
        self.operation.result = result
        _save(self.sandbox.store, self.operation)


def begin(request: Request, kind: str, state: str, *, resource: Resource, creates: bool = False, **given: Any) -> Operation:
    """Start an operation on a stored resource, whose provisioningState becomes `state` ("" leaves it).

    Raises the type's busy error if one is in progress. `given` reaches the runner as `work.operation.input`.
    """
    check_idle(request, resource)
    return start(
        request.sandbox,
        kind,
        state,
        resource=resource,
        caller=request.caller.object_id,
        api_version=request.api_version,
        retry_after=request.type.retry_after,
        creates=creates,
        given=given,
    )


def start(
    sandbox: Sandbox,
    kind: str,
    state: str,
    *,
    resource: Resource,
    caller: str,
    api_version: str,
    retry_after: float = 15.0,
    creates: bool = False,
    given: dict[str, Any] | None = None,
) -> Operation:
    """Start an operation without a request, as the deletion of a group does; nothing is checked."""
    operation = Operation(
        str(uuid.uuid4()),
        kind,
        str(resource.id),
        resource.type,
        resource.location.lower(),
        caller,
        api_version,
        rfc3339_micro(sandbox.clock.now()),
        creates,
        input=given or {},
        retry_after=retry_after,
    )
    with sandbox.store.transaction():
        if state:
            resource.properties["provisioningState"] = state
        records.put(sandbox.store, resource)
        _save(sandbox.store, operation)
    return operation


def accepted(operation: Operation) -> Answer:
    """The 202 of an action that started an operation."""
    return Answer(202, None, operation=operation)


def check_idle(request: Request, resource: Resource) -> None:
    """Raise the type's busy error if an operation on the resource, or on one nested in it, is in progress.

    Operations of other providers on what extends the resource do not count: they are none of its provider's business.
    """
    key = resource.id.key
    running = [o for o in active(request.sandbox.store, key) if "/providers/" not in o.resource_id.lower()[len(key) :]]
    if running:
        raise busy(request.type, resource, running[0])


def busy(kind: ResourceType, resource: Resource, operation: Operation) -> ArmError:
    if kind.busy is not None:
        return kind.busy(resource, operation)
    return ArmError(
        409,
        "AnotherOperationInProgress",
        "Another operation on this or dependent resource is in progress. To retrieve status of the operation use uri: "
        + operation.url("https://management.azure.com", "operations"),
    )


def active(store: Store, prefix: str) -> list[Operation]:
    """Operations in progress on the resource of that id and on all below it."""
    key = prefix.lower()
    found = [_load(record.value) for record in store.list(PARTITION, "op/").records]
    chosen = [o for o in found if o.resource_id.lower() == key or o.resource_id.lower().startswith(key + "/")]
    return [operation for operation in chosen if operation.status == IN_PROGRESS]


def get(store: Store, operation_id: str) -> Operation | None:
    record = store.get(PARTITION, f"op/{operation_id.lower()}")
    record = record or store.get(PARTITION, f"done/{operation_id.lower()}")
    return _load(record.value) if record else None


def headers(sandbox: Sandbox, operation: Operation) -> dict[str, str]:
    """Where to poll and when. `Location` is left out where the resource itself is the result (PUT)."""
    found = {"Azure-AsyncOperation": operation.url(sandbox.base, "operations"), **retry_after(sandbox, operation.retry_after)}
    if operation.kind != "put":
        found["Location"] = operation.url(sandbox.base, "operationresults")
    return found


def retry_after(sandbox: Sandbox, seconds: float) -> dict[str, str]:
    """The real system's `Retry-After: seconds` as fast as the clock runs. Under a second only the headers in milliseconds
    can say it; azure-core reads them only when `Retry-After` is not there."""
    delay = sandbox.clock.poll_after(seconds)
    milliseconds = str(round(delay * 1000))
    found = {"retry-after-ms": milliseconds, "x-ms-retry-after-ms": milliseconds}
    return {"Retry-After": str(round(delay)), **found} if delay >= 1 else found


async def run(sandbox: Sandbox, types: Callable[[str], ResourceType]) -> None:
    """Work off operations, those of before a restart first. `types`: full name -> its entry."""
    page = sandbox.store.list(PARTITION, "op/")
    watch = sandbox.store.watch(PARTITION, "op/", since=page.revision)
    async with asyncio.TaskGroup() as tasks:
        try:
            for record in page.records:
                _start(tasks, sandbox, types, _load(record.value))
            async for event in watch:
                if event.kind == "ADDED":
                    _start(tasks, sandbox, types, _load(event.record.value))
        finally:
            watch.close()


_RUNNING = Memory[dict[str, asyncio.Task[None]]](lambda sandbox: {})


def _start(tasks: asyncio.TaskGroup, sandbox: Sandbox, types: Callable[[str], ResourceType], operation: Operation) -> None:
    task = tasks.create_task(_work(sandbox, types, operation))
    running = _RUNNING.of(sandbox)
    running[operation.id] = task
    task.add_done_callback(lambda ended: running.pop(operation.id, None))


def cancel(sandbox: Sandbox, operation: Operation) -> None:
    """End an operation before its time; it and its resource become Canceled."""
    task = _RUNNING.of(sandbox).get(operation.id)
    if task is not None:
        task.cancel()
    operation.status = CANCELED
    operation.error = {"code": "OperationCanceled", "message": "The operation was canceled by a later request to abort it."}
    finish(sandbox, operation)


async def _work(sandbox: Sandbox, types: Callable[[str], ResourceType], operation: Operation) -> None:
    kind = types(operation.type)
    work = Work(sandbox, operation, kind, types)
    try:
        fault = sandbox.faults.take("lro-failed", operation.resource_id)
        if fault is not None:
            raise ArmError(500, "InternalOperationError", fault.detail or "An internal error occurred during the operation.")
        await kind.runners[operation.kind](work)
    except ArmError as error:
        operation.error = error.body()
    except Exception as error:  # a defect of a provider must not stop the others' operations
        sandbox.log("arm", traceback.format_exc())
        operation.error = {"code": "InternalServerError", "message": f"The operation failed unexpectedly: {error!r}"}
    finish(sandbox, operation)


def finish(sandbox: Sandbox, operation: Operation) -> None:
    """Write the outcome: of the operation, and of its resource (gone after a deletion, else its provisioningState)."""
    if operation.status == IN_PROGRESS:
        operation.status = FAILED if operation.error else SUCCEEDED
    operation.ended = rfc3339_micro(sandbox.clock.now())

    def settle(resource: Resource) -> None:
        if "provisioningState" in resource.properties:
            resource.properties["provisioningState"] = operation.status

    with sandbox.store.transaction():
        if operation.kind == "delete" and not operation.error:
            records.delete(sandbox.store, operation.resource_id)
        else:
            records.update(sandbox.store, operation.resource_id, settle)
        sandbox.store.delete(PARTITION, f"op/{operation.id}")
        sandbox.store.put(PARTITION, f"done/{operation.id}", _dump(operation))
        _forget_oldest(sandbox.store)


def _forget_oldest(store: Store) -> None:
    if store.count(PARTITION, "done/") <= 2 * KEPT:
        return
    done = sorted(store.list(PARTITION, "done/").records, key=lambda record: record.revision)
    for record in done[:-KEPT]:
        store.delete(PARTITION, record.key)


def may_read(operation: Operation, caller: Caller) -> bool:
    """Who started an operation may follow it, whatever its rights at the subscription are."""
    return operation.caller == caller.object_id


def _save(store: Store, operation: Operation) -> None:
    store.put(PARTITION, f"op/{operation.id}", _dump(operation))


def _dump(operation: Operation) -> bytes:
    return json.dumps(asdict(operation), separators=(",", ":")).encode()


def _load(value: bytes) -> Operation:
    return Operation(**json.loads(value))
