"""Long-running operations: a background loop runs them from stored records, so that they survive `kill -9` and a restart.

The request that starts an operation writes its record. `run` watches these records and calls the type's runner; the answers
at `Azure-AsyncOperation` and `Location` read them. Source: "Track asynchronous Azure operations" and the ARM RPC's
asynchronous contract.
"""

from __future__ import annotations

import asyncio
import traceback
import uuid
from typing import Any

from azuresandbox.arm import operation_records, records, retry
from azuresandbox.arm.errors import ArmError
from azuresandbox.arm.operation_records import CANCELED, FAILED, IN_PROGRESS, PUT, RUNNING, SUCCEEDED, Operation, active
from azuresandbox.arm.provider import Answer, Caller, Request, ResourceType, Runner, Types, UnknownRunner, Work
from azuresandbox.arm.records import PARTITION, Resource
from azuresandbox.clock import rfc3339_micro
from azuresandbox.context import Memory, Sandbox


def begin(
    request: Request, runner: Runner, state: str, *, resource: Resource, creates: bool = False, **given: Any
) -> Operation:
    """Start an operation on a stored resource, whose provisioningState becomes `state` ("" leaves it).

    Raises the type's busy error if one is in progress. `given` reaches the runner as `work.operation.input`.
    """
    check_idle(request, resource)
    return start(
        request.sandbox,
        request.type,
        runner,
        state,
        resource=resource,
        caller=request.caller.object_id,
        api_version=request.api_version,
        creates=creates,
        given=given,
    )


def start(
    sandbox: Sandbox,
    kind: ResourceType,
    runner: Runner,
    state: str,
    *,
    resource: Resource,
    caller: str,
    api_version: str,
    creates: bool = False,
    given: dict[str, Any] | None = None,
) -> Operation:
    """Start an operation without a request, as the deletion of a group does. Does not check that the resource is idle.

    Raises `UnknownRunner` unless `runner` is one of the type's, because a restart finds it there by its name.
    """
    if runner not in kind.runners:
        raise UnknownRunner(kind.name, runner.name)
    operation = Operation(
        id=str(uuid.uuid4()),
        kind=runner.name,
        resource_id=str(resource.id),
        type=resource.type,
        location=resource.location.lower(),
        caller=caller,
        api_version=api_version,
        started=rfc3339_micro(sandbox.clock.now()),
        creates=creates,
        input=given or {},
        retry_after=kind.retry_after,
    )
    with sandbox.store.transaction():
        if state:
            resource.properties["provisioningState"] = state
        records.put(sandbox.store, resource)
        operation_records.put(sandbox.store, operation)
    return operation


def accepted(operation: Operation) -> Answer:
    """Return the 202 of a request that started an operation."""
    return Answer(202, None, operation=operation)


def check_idle(request: Request, resource: Resource) -> None:
    """Raise the type's busy error if an operation on the resource, or on one nested in it, is in progress.

    Operations on extensions of the resource do not count, because they belong to other providers.
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


def headers(sandbox: Sandbox, operation: Operation) -> dict[str, str]:
    """Return the headers that say where and when to poll. A PUT has no `Location`, because its result is the resource."""
    found = {"Azure-AsyncOperation": operation.url(sandbox.base, "operations"), **retry.after(sandbox, operation.retry_after)}
    if operation.kind != PUT:
        found["Location"] = operation.url(sandbox.base, "operationresults")
    return found


async def run(sandbox: Sandbox, types: Types) -> None:
    """Run operations until cancelled, first those from before a restart. `types`: full name -> resource type."""
    page = sandbox.store.list(PARTITION, RUNNING)
    watch = sandbox.store.watch(PARTITION, RUNNING, since=page.revision)
    async with asyncio.TaskGroup() as tasks:
        try:
            for record in page.records:
                _start(tasks, sandbox, types, operation_records.load(record.value))
            async for event in watch:
                if event.kind == "ADDED":
                    _start(tasks, sandbox, types, operation_records.load(event.record.value))
        finally:
            watch.close()


_RUNNING = Memory[dict[str, asyncio.Task[None]]](lambda sandbox: {})


def _start(tasks: asyncio.TaskGroup, sandbox: Sandbox, types: Types, operation: Operation) -> None:
    task = tasks.create_task(_work(sandbox, types, operation))
    running = _RUNNING.of(sandbox)
    running[operation.id] = task
    task.add_done_callback(lambda ended: running.pop(operation.id, None))


def cancel(sandbox: Sandbox, operation: Operation) -> None:
    """End an operation early. It and its resource become Canceled."""
    task = _RUNNING.of(sandbox).get(operation.id)
    if task is not None:
        task.cancel()
    operation.status = CANCELED
    operation.error = {"code": "OperationCanceled", "message": "The operation was canceled by a later request to abort it."}
    finish(sandbox, operation)


async def _work(sandbox: Sandbox, types: Types, operation: Operation) -> None:
    try:
        kind = types(operation.type)
        runner = kind.runner(operation.kind)
        fault = sandbox.faults.take("lro-failed", operation.resource_id)
        if fault is not None:
            raise ArmError(500, "InternalOperationError", fault.detail or "An internal error occurred during the operation.")
        await runner.run(Work(sandbox, operation, kind, types))
    except ArmError as error:
        operation.error = error.body()
    except Exception as error:  # a defect of one provider must not stop the operations of the others
        sandbox.log("arm", traceback.format_exc())
        operation.error = {"code": "InternalServerError", "message": f"The operation failed unexpectedly: {error!r}"}
    finish(sandbox, operation)


def finish(sandbox: Sandbox, operation: Operation) -> None:
    """Write the outcome of the operation; remove its resource after a deletion, else set its provisioningState."""
    if operation.status == IN_PROGRESS:
        operation.status = FAILED if operation.error else SUCCEEDED
    operation.ended = rfc3339_micro(sandbox.clock.now())

    def settle(resource: Resource) -> None:
        if "provisioningState" in resource.properties:
            resource.properties["provisioningState"] = operation.status

    with sandbox.store.transaction():
        if operation.deletes and not operation.error:
            records.delete(sandbox.store, operation.resource_id)
        else:
            records.update(sandbox.store, operation.resource_id, settle)
        operation_records.put_done(sandbox.store, operation)


def may_read(operation: Operation, caller: Caller) -> bool:
    """Return whether the caller started the operation: then it may poll it without any role at the subscription."""
    return operation.caller == caller.object_id
