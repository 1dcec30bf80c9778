"""Create, update, read, list and delete any resource by the rules of Azure Resource Manager.

The resource type (`provider.ResourceType`) says how it differs. Source: the ARM RPC's "Proxy and tracked resources" and the
behaviour of management.azure.com.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlencode

from azuresandbox.arm import access, errors, filters, locations, models, operation_records, operations, records
from azuresandbox.arm.errors import ArmError
from azuresandbox.arm.operation_records import Operation
from azuresandbox.arm.provider import Answer, Document, Request, Write
from azuresandbox.arm.records import Resource
from azuresandbox.arm.resource_id import GROUPS, ResourceId
from azuresandbox.clock import rfc3339_micro

PAGE = 1000
"""Items of a list on one page, unless `$top` asks for fewer."""

READ_ONLY = ("id", "name", "type", "systemData", "etag", "eTag")


async def handle(request: Request) -> Answer:
    """Answer one call on a resource: PUT, PATCH, GET, HEAD or DELETE."""
    kind = request.type
    verb = "GET" if request.method == "HEAD" else request.method
    if verb not in kind.verbs:
        raise errors.method_not_allowed(request.method, _full(request))
    if kind.whole is not None:
        return await kind.whole(request)
    if verb == "GET" and kind.get is not None:
        return await kind.get(request)
    return {"GET": _get, "PUT": _put, "PATCH": _patch, "DELETE": _delete}[verb](request)


async def list_all(request: Request, type_name: str) -> Answer:
    """Return the resources of a type below `request.id`, filtered and paged."""
    if "LIST" not in request.type.verbs:
        raise errors.method_not_allowed("GET", type_name)
    if request.type.lists is not None:
        return await request.type.lists(request)
    _check_parents(request, request.id, "read")
    found = [r for r in records.under(request.sandbox.store, request.id, type_name) if not _hidden(request.id, r)]
    if request.narrowed:
        found = access.readable(request.sandbox.store, request.caller, found)
    return paged(request, [_shown(request, resource) for resource in filters.apply(request.query.get("filter", ""), found)])


async def act(request: Request, action: str) -> Answer:
    """Answer a POST on an existing resource."""
    handler = request.type.actions.get(action.lower())
    if handler is None:
        raise errors.not_emulated(f"the action '{action}' of {_full(request)}")
    if request.type.get is None:
        stored(request)
    return await handler(request)


def stored(request: Request) -> Resource:
    """Return the resource of the request. Raises the fitting 404."""
    _check_parents(request, request.id, "read")
    found = records.get(request.sandbox.store, request.id)
    if found is None:
        raise errors.resource_not_found(request.id.label, request.id.group)
    return found


def paged(request: Request, items: list[Document]) -> Answer:
    """Return a page, `{"value": [...], "nextLink": ...}`, by `$top` and `$skiptoken`."""
    start = _skipped(request.query.get("skiptoken", ""))
    size = min(PAGE, max(1, int(request.query["top"]))) if request.query.get("top", "").isdigit() else PAGE
    body: Document = {"value": items[start : start + size]}
    if start + size < len(items):
        query = {"api-version": request.api_version} | {
            f"${name}": value for name, value in request.query.items() if name in ("top", "filter", "expand")
        }
        body["nextLink"] = (
            f"{request.sandbox.base}{request.path}?{urlencode({**query, '$skiptoken': f'offset:{start + size}'})}"
        )
    return Answer(200, body)


def _skipped(token: str) -> int:
    match = re.fullmatch(r"offset:(\d{1,9})", token)
    if token and match is None:
        raise ArmError(400, "InvalidSkipToken", "The skip token in the request is invalid.")
    return int(match[1]) if match else 0


def _get(request: Request) -> Answer:
    resource = stored(request)
    if request.method == "HEAD":
        return Answer(204)
    return Answer(200, _shown(request, resource), {"ETag": f'"{resource.etag}"'})


def _put(request: Request) -> Answer:
    _check_name(request)
    _check_parents(request, request.id, "write")
    _check_body(request, request.type.model)
    current = records.get(request.sandbox.store, request.id)
    _check_etag(request, current)
    body = {
        key: value
        for key, value in _normalized(request, request.type.model).items()
        if key not in READ_ONLY and value is not None
    }
    identifier = current.id if current else request.id
    document: Document = {"id": str(identifier), "name": identifier.name, "type": _full(request)}
    if request.type.tracked:
        document |= {"location": _location(request, current, body), "tags": body.get("tags") or {}}
    document |= {key: value for key, value in body.items() if key not in ("location", "tags")}
    return _write(request, current, document)


def _patch(request: Request) -> Answer:
    current = stored(request)
    _check_body(request, request.type.patch_model or "resources.Tags")
    _check_etag(request, current)
    document = json.loads(json.dumps(current.document))
    if request.body.get("tags") is not None:
        document["tags"] = request.body["tags"]
    return _write(request, current, document)


def _write(request: Request, current: Resource | None, document: Document) -> Answer:
    if current is not None:
        operations.check_idle(request, current)
    write = Write(request, current, document, dict(current.private) if current else {})
    document["systemData"] = _system_data(request, current)
    if request.type.prepare is not None:
        request.type.prepare(write)
    resource = Resource(ResourceId(document["id"]), document, write.private, current.revision if current else 0)
    created = current is None
    runner = request.type.put_runner
    if runner is None:
        records.put(request.sandbox.store, resource)
        return Answer(201 if created else 200, _shown(request, resource), {"ETag": f'"{resource.etag}"'})
    operation = operations.begin(request, runner, "Creating" if created else "Updating", resource=resource, creates=created)
    return Answer(201 if created else 200, _shown(request, resource), operation=operation)


def _delete(request: Request) -> Answer:
    _check_parents(request, request.id, "delete")
    current = records.get(request.sandbox.store, request.id)
    if current is None:
        return Answer(204)
    _check_etag(request, current)
    running = operation_records.active(request.sandbox.store, request.id.key)
    deleting = [operation for operation in running if operation.deletes and _same(operation, current)]
    if deleting:
        return operations.accepted(deleting[0])
    if request.sandbox.faults.take("finalizer-stuck", str(request.id)) is not None:
        raise errors.scope_locked(str(request.id))
    given = request.type.check_delete(request, current) if request.type.check_delete else {}
    if request.type.delete_runner is not None:
        return operations.accepted(operations.begin(request, request.type.delete_runner, "Deleting", resource=current, **given))
    if request.type.remove is not None:
        request.type.remove(request.sandbox, current)
    records.delete(request.sandbox.store, request.id)
    return Answer(200)


def _same(operation: Operation, resource: Resource) -> bool:
    return operation.resource_id.lower() == resource.id.key


def _shown(request: Request, resource: Resource) -> Document:
    document = request.type.show(request, resource) if request.type.show else resource.document
    return {**document, request.type.etag_at: resource.etag} if request.type.etag_at else document


def _hidden(scope: ResourceId, resource: Resource) -> bool:
    """Return whether a list at `scope` leaves the resource out: a list at a group does not show extensions of its resources."""
    return bool(scope.namespace) and resource.id.parent.key != scope.key


def _full(request: Request) -> str:
    """Return the type with its namespace, as the table writes it."""
    return f"{request.namespace}/{request.type.name}"


def _system_data(request: Request, current: Resource | None) -> Document:
    now, who = rfc3339_micro(request.sandbox.clock.now()), request.caller.app_id
    created = (current.document.get("systemData") if current else None) or {
        "createdBy": who,
        "createdByType": "Application",
        "createdAt": now,
    }
    return {**created, "lastModifiedBy": who, "lastModifiedByType": "Application", "lastModifiedAt": now}


def _check_parents(request: Request, resource_id: ResourceId, verb: str) -> None:
    """Raise unless the resource group and all parent resources exist. A group that is being deleted takes no writes."""
    store = request.sandbox.store
    if resource_id.group:
        group = records.get(store, f"/subscriptions/{resource_id.subscription}/resourceGroups/{resource_id.group}")
        if group is None:
            raise errors.group_not_found(resource_id.group)
        if group.state == "Deleting" and verb == "write":
            raise errors.group_being_deleted(resource_id.group)
    above = resource_id.parent
    if above.namespace and resource_id.type != GROUPS and records.get(store, above) is None:
        if resource_id.scope.key == above.key:
            raise errors.resource_not_found(above.label, above.group)
        raise errors.parent_not_found(verb, resource_id.kind, str(above))


def _check_name(request: Request) -> None:
    rule, name = request.type.name_rule, request.id.name
    if rule and re.fullmatch(rule, name) is None:
        if request.type.name_error is not None:
            raise request.type.name_error(name)
        message = f"The resource name '{name}' is invalid. The name must match the pattern '{rule}'."
        raise ArmError(400, "InvalidResourceName", message)


def _check_body(request: Request, model: str) -> None:
    """Refuse properties that the model does not have, and values of the wrong kind."""
    mismatch = models.first_mismatch(model, request.body) if model else None
    if mismatch is None:
        return
    raise request.type.malformed(mismatch) if request.type.malformed else errors.malformed(mismatch)


def _normalized(request: Request, model: str) -> Document:
    body: Any = models.normalized(model, request.body) if model else request.body
    return dict(body)


def _location(request: Request, current: Resource | None, body: Document) -> str:
    """Return the requested location.

    Raises LocationRequired, LocationNotAvailableForResourceType or InvalidResourceLocation.
    """
    if not body.get("location"):
        raise errors.location_required()
    asked = locations.normalize(str(body["location"]))
    regions = request.type.regions or locations.NAMES
    if asked not in regions:
        raise errors.location_not_available(str(body["location"]), _full(request), regions)
    if current is not None and locations.normalize(current.location) != asked:
        raise errors.location_changed(current.id.name, current.location, current.id.group, asked)
    return asked


def _check_etag(request: Request, current: Resource | None) -> None:
    match, none_match = (request.headers.get(name, "").strip() for name in ("if-match", "if-none-match"))
    if match and (current is None or match not in ("*", f'"{current.etag}"', current.etag)):
        raise errors.precondition_failed(match, str(request.id))
    if none_match and current is not None and none_match in ("*", f'"{current.etag}"', current.etag):
        raise errors.precondition_failed(none_match, str(request.id))
