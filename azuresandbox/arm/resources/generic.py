"""Resources of any type: the lists of a subscription and of a group. Source: the Resources REST API, 2021-04-01.

The engine reads, writes and deletes a single resource, by its id.
"""

from __future__ import annotations

from typing import Any

from azuresandbox.arm import access, engine, errors, filters, records
from azuresandbox.arm.provider import Answer, Request, ResourceType, Route, Types
from azuresandbox.arm.records import Resource
from azuresandbox.arm.resource_id import GROUPS
from azuresandbox.arm.resources.registrations import VERSIONS

TYPE = ResourceType("resources", VERSIONS, tracked=False)
SUBSCRIPTION = "/subscriptions/{subscription}"
GROUP = SUBSCRIPTION + "/resourceGroups/{group}"
SHOWN = ("id", "name", "type", "kind", "managedBy", "location", "tags", "sku", "plan", "identity")
"""Members of a document in a list of resources; the others are read from the resource's provider."""


def routes(types: Types) -> tuple[Route, ...]:
    async def inside(request: Request) -> Answer:
        if records.get(request.sandbox.store, request.id) is None:
            raise errors.group_not_found(request.id.name)
        return _list(request, types)

    async def everywhere(request: Request) -> Answer:
        return _list(request, types)

    return (
        Route(
            "GET",
            SUBSCRIPTION + "/resources",
            TYPE,
            everywhere,
            action="Microsoft.Resources/subscriptions/resources/read",
            scope=SUBSCRIPTION,
            id=SUBSCRIPTION,
            listing=True,
        ),
        Route(
            "GET",
            GROUP + "/resources",
            TYPE,
            inside,
            action="Microsoft.Resources/subscriptions/resourceGroups/resources/read",
            scope=GROUP,
            id=GROUP,
            listing=True,
        ),
    )


def _list(request: Request, types: Types) -> Answer:
    tracked = [r for r in records.under(request.sandbox.store, request.id) if r.type != GROUPS and _listed(r, types)]
    if request.narrowed:
        tracked = access.readable(request.sandbox.store, request.caller, tracked)
    chosen = filters.apply(request.query.get("filter", ""), tracked)
    return engine.paged(request, [_short(request, resource) for resource in chosen])


def _listed(resource: Resource, types: Types) -> bool:
    """Return whether a list of resources shows it: only tracked resources that are neither nested nor extensions."""
    return resource.id.parent.key == resource.id.scope.key and types(resource.type).tracked


def _short(request: Request, resource: Resource) -> dict[str, Any]:
    found = {key: resource.document[key] for key in SHOWN if key in resource.document}
    wanted = request.query.get("expand", "").lower().split(",")
    if "provisioningstate" in wanted and resource.state:
        found["provisioningState"] = resource.state
    system = resource.document.get("systemData") or {}
    if "createdtime" in wanted:
        found["createdTime"] = system.get("createdAt")
    if "changedtime" in wanted:
        found["changedTime"] = system.get("lastModifiedAt")
    return found
