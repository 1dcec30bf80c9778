"""`Microsoft.Resources/tags/default`: the tags of a resource or group as a resource of its own.

Source: the Tags REST API, 2021-04-01.
"""

from __future__ import annotations

from azuresandbox.arm import errors, models, operation_records, records
from azuresandbox.arm.errors import ArmError
from azuresandbox.arm.provider import Answer, Document, Request, ResourceType
from azuresandbox.arm.records import Resource
from azuresandbox.arm.resources.registrations import VERSIONS

Tags = dict[str, str]


def _target(request: Request) -> Resource:
    scope = request.id.scope
    if request.id.name.lower() != "default":
        raise ArmError(400, "InvalidTagsResourceName", "The name of a tags resource must be 'default'.")
    found = records.get(request.sandbox.store, scope)
    if found is None:
        if scope.group and not scope.namespace:
            raise errors.group_not_found(scope.group)
        if not scope.group:
            raise errors.not_emulated("tags of subscriptions")
        raise errors.resource_not_found(scope.label, scope.group)
    return found


def _described(resource: Resource) -> Document:
    return {
        "id": f"{resource.id}/providers/Microsoft.Resources/tags/default",
        "name": "default",
        "type": "Microsoft.Resources/tags",
        "properties": {"tags": resource.document.get("tags") or {}},
    }


def _store(request: Request, resource: Resource, tags: Tags) -> Answer:
    if operation_records.active(request.sandbox.store, resource.id.key):
        message = f"The resource '{resource.id}' is busy: an operation on it is in progress."
        raise ArmError(409, "Conflict", message)
    resource.document["tags"] = tags
    records.put(request.sandbox.store, resource)
    return Answer(200, _described(resource))


async def _handle(request: Request) -> Answer:
    resource = _target(request)
    if request.method == "GET":
        return Answer(200, _described(resource))
    if request.method == "DELETE":
        _store(request, resource, {})
        return Answer(200)
    mismatch = models.first_mismatch(f"resources.Tags{'Patch' if request.method == 'PATCH' else ''}Resource", request.body)
    if mismatch is not None:
        raise errors.malformed(mismatch)
    given: Tags = (request.body.get("properties") or {}).get("tags") or {}
    if request.method == "PUT":
        return _store(request, resource, given)
    return _store(
        request, resource, _merged(resource.document.get("tags") or {}, given, str(request.body.get("operation", "")))
    )


def _merged(current: Tags, given: Tags, operation: str) -> Tags:
    match operation.lower():
        case "replace":
            return given
        case "merge":
            return {**current, **given}
        case "delete":
            return {name: value for name, value in current.items() if given.get(name) != value}
    message = f"The tags operation '{operation}' is invalid: it must be Replace, Merge or Delete."
    raise ArmError(400, "InvalidRequestContent", message)


TYPE = ResourceType("tags", VERSIONS, tracked=False, verbs=frozenset({"GET", "PUT", "PATCH", "DELETE"}), whole=_handle)
