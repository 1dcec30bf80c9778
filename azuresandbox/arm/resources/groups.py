"""Resource groups, and their deletion with all their resources. Source: the Resource Groups REST API, 2021-04-01."""

from __future__ import annotations

import asyncio
import re

from azuresandbox.arm import access, engine, errors, filters, locations, models, operation_records, operations, records, retry
from azuresandbox.arm.errors import ArmError
from azuresandbox.arm.operation_records import IN_PROGRESS, Operation
from azuresandbox.arm.provider import Answer, Request, ResourceType, Route, Types, Work, delete, refuse
from azuresandbox.arm.records import Resource
from azuresandbox.arm.resource_id import GROUPS, ResourceId
from azuresandbox.arm.resources.registrations import VERSIONS

DELETE_SECONDS = 15.0
"""Seconds that the deletion of a group takes in addition to that of its resources."""

SUBSCRIPTION = "/subscriptions/{subscription}"
ONE = SUBSCRIPTION + "/resourcegroups/{group}"
ID = SUBSCRIPTION + "/resourceGroups/{group}"
ACTION = "Microsoft.Resources/subscriptions/resourceGroups/"


async def _delete_all(work: Work) -> None:
    """Delete the group's resources, rank by rank, each as its type demands, then the group."""
    while waves := _waves(work, work.types):
        await asyncio.gather(*(_delete_one(work, work.types, resource) for resource in waves[0]))
    await work.sandbox.clock.work(DELETE_SECONDS)


def _waves(work: Work, types: Types) -> list[list[Resource]]:
    """Return the resources by rank: extensions of a resource come before it."""
    found: dict[int, list[Resource]] = {}
    for resource in records.under(work.sandbox.store, work.operation.resource_id):
        if _counts(resource):
            found.setdefault(types(resource.type).rank, []).append(resource)
    return [found[rank] for rank in sorted(found)]


def _counts(resource: Resource) -> bool:
    """Return whether the group's deletion has to delete the resource itself.

    Role assignments are deleted with their scope, and nested resources with their parent.
    """
    return resource.id.namespace.lower() != "microsoft.authorization" and resource.id.parent.key == resource.id.scope.key


async def _delete_one(work: Work, types: Types, resource: Resource) -> None:
    """Delete one resource as its own DELETE would. A resource that cannot be deleted makes the group's deletion fail."""
    store, kind = work.sandbox.store, types(resource.type)
    for running in operation_records.active(store, resource.id.key):
        await _ended(work, running)
    current = records.get(store, resource.id)
    if current is None:
        return
    if kind.delete_runner is None:
        if kind.remove is not None:
            kind.remove(work.sandbox, current)
        records.delete(store, current.id)
        return
    operation = operations.start(
        work.sandbox,
        kind,
        kind.delete_runner,
        "Deleting",
        resource=current,
        caller=work.operation.caller,
        api_version=kind.api_versions[0],
    )
    ended = await _ended(work, operation)
    if ended is not None and ended.error is not None:
        raise ArmError(
            409,
            "ResourceGroupDeletionBlocked",
            f"Deletion of resource group '{ResourceId(work.operation.resource_id).name}' failed as resources with identifiers "
            f"'{resource.id.label}' could not be deleted. The provisioning state of the resource group will be rolled back. "
            "The tracking Id is '" + work.operation.id + "'.",
            details=[ended.error],
        )


async def _ended(work: Work, operation: Operation) -> Operation | None:
    """Wait for an operation's end and return it."""
    key = operation_records.DONE + operation.id
    watch = work.sandbox.store.watch(records.PARTITION, key)
    try:
        current = operation_records.get(work.sandbox.store, operation.id)
        if current is not None and current.status == IN_PROGRESS:
            await anext(watch)
        return operation_records.get(work.sandbox.store, operation.id)
    finally:
        watch.close()


DELETE = delete(_delete_all)
TYPE = ResourceType("resourceGroups", VERSIONS, model="resources.ResourceGroup", runners=(DELETE,))


def routes() -> tuple[Route, ...]:
    return (
        Route(
            "GET",
            SUBSCRIPTION + "/resourcegroups",
            TYPE,
            _list,
            action=ACTION + "read",
            scope=SUBSCRIPTION,
            id=SUBSCRIPTION,
            listing=True,
        ),
        Route("GET", ONE, TYPE, _get, action=ACTION + "read", scope=ID, id=ID),
        Route("PUT", ONE, TYPE, _put, action=ACTION + "write", scope=ID, id=ID),
        Route("PATCH", ONE, TYPE, _patch, action=ACTION + "write", scope=ID, id=ID),
        Route("DELETE", ONE, TYPE, _delete, action=ACTION + "delete", scope=ID, id=ID),
        Route(
            "POST",
            ONE + "/exportTemplate",
            TYPE,
            refuse("exporting a group's template"),
            action=ACTION + "exportTemplate/action",
            scope=ID,
            id=ID,
        ),
        Route(
            "POST",
            ONE + "/moveResources",
            TYPE,
            refuse("moving resources"),
            action=ACTION + "moveResources/action",
            scope=ID,
            id=ID,
        ),
        Route(
            "POST",
            ONE + "/validateMoveResources",
            TYPE,
            refuse("moving resources"),
            action=ACTION + "validateMoveResources/action",
            scope=ID,
            id=ID,
        ),
        Route("GET", SUBSCRIPTION + "/operationresults/{operation}", TYPE, _result),
    )


def _stored(request: Request) -> Resource:
    found = records.get(request.sandbox.store, request.id)
    if found is None:
        raise errors.group_not_found(request.id.name)
    return found


async def _list(request: Request) -> Answer:
    found = list(records.under(request.sandbox.store, request.id, GROUPS))
    if request.narrowed:
        found = access.readable(request.sandbox.store, request.caller, found)
    chosen = filters.apply(request.query.get("filter", ""), found)
    return engine.paged(request, [resource.document for resource in chosen])


async def _get(request: Request) -> Answer:
    if request.method == "HEAD":
        return Answer(204 if records.get(request.sandbox.store, request.id) else 404)
    return Answer(200, _stored(request).document)


async def _put(request: Request) -> Answer:
    name = request.id.name
    if re.fullmatch(r"[\w().-]{1,90}", name) is None or name.endswith("."):
        raise ArmError(
            400,
            "InvalidResourceGroup",
            f"The provided resource group name '{name}' is invalid: it may hold up to 90 letters, digits, '-', '.', '(', ')' "
            "and "
            "'_', and not end with a period.",
        )
    _check(request, "resources.ResourceGroup")
    current = records.get(request.sandbox.store, request.id)
    if current is not None and current.state == "Deleting":
        raise errors.group_being_deleted(current.id.name)
    group = records.group(
        request.sandbox.subscription_id,
        current.id.name if current else name,
        _location(request, current),
        request.body.get("tags") or {},
        str(request.body.get("managedBy") or (current.document.get("managedBy", "") if current else "")),
    )
    records.put(request.sandbox.store, group)
    return Answer(200 if current else 201, group.document)


def _location(request: Request, current: Resource | None) -> str:
    if not request.body.get("location"):
        raise errors.location_required()
    asked = locations.normalize(str(request.body["location"]))
    if asked not in locations.NAMES:
        message = (
            f"The provided location '{request.body['location']}' is not available for resource group. List of available "
            "regions "
            f"is '{','.join(locations.NAMES)}'."
        )
        raise ArmError(400, "LocationNotAvailableForResourceGroup", message)
    if current is not None and current.location != asked:
        message = (
            f"Invalid resource group location '{asked}'. The Resource group already exists in location '{current.location}'."
        )
        raise ArmError(409, "InvalidResourceGroupLocation", message)
    return asked


async def _patch(request: Request) -> Answer:
    group = _stored(request)
    _check(request, "resources.ResourceGroupPatchable")
    if group.state == "Deleting":
        raise errors.group_being_deleted(group.id.name)
    if request.body.get("tags") is not None:
        group.document["tags"] = request.body["tags"]
    records.put(request.sandbox.store, group)
    return Answer(200, group.document)


def _check(request: Request, model: str) -> None:
    mismatch = models.first_mismatch(model, request.body)
    if mismatch is not None:
        raise errors.malformed(mismatch)


async def _delete(request: Request) -> Answer:
    group = _stored(request)
    running = [
        o for o in operation_records.active(request.sandbox.store, group.id.key) if o.resource_id.lower() == group.id.key
    ]
    operation = running[0] if running else operations.begin(request, DELETE, "Deleting", resource=group)
    return Answer(202, None, _pending(request, operation))


def _pending(request: Request, operation: Operation) -> dict[str, str]:
    """Return the headers of a group's deletion. Clients poll it only at `Location`, a path of ARM's own."""
    path = f"{request.sandbox.base}/subscriptions/{request.sandbox.subscription_id}/operationresults/{operation.id}"
    location = {"Location": f"{path}?api-version={request.api_version}"}
    return location | retry.after(request.sandbox, operation.retry_after)


async def _result(request: Request) -> Answer:
    operation = operation_records.get(request.sandbox.store, request.id.name)
    if operation is None:
        raise ArmError(404, "JobNotFound", f"The job '{request.id.name}' could not be found.")
    if operation.status == IN_PROGRESS:
        return Answer(202, None, _pending(request, operation))
    if operation.error is not None:
        raise ArmError(409, operation.error["code"], operation.error["message"], details=operation.error.get("details"))
    return Answer(200)
