"""Conversion between an ASO object and its ARM resource: ids, bodies, status.

A spec is ARM's body with the members of `properties` beside the others, references instead of ids, and Secrets' names and keys
instead of secrets. Source: the generated `ConvertToARM` and `PopulateFromARM` of Azure/azure-service-operator v2, and
`genruntime.ResourceHierarchy`.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from azuresandbox.machine.images.aso.kinds import (
    FROM_CONFIG,
    REFERENCE_LISTS,
    REFERENCES,
    SECRET_MAPS,
    SECRET_MEMBERS,
    TOP_LEVEL,
    Kind,
)
from azuresandbox.machine.types import Object

NOT_ARM = frozenset({"owner", "azureName", "operatorSpec"})
Resolve = Callable[[Object], Awaitable[str]]
"""Returns the ARM id of a reference."""
Lookup = Callable[[str, Object], Awaitable[Any]]
"""Returns a value: `secret` and `config` of a Secret or ConfigMap at {name, key}, `secrets` all data of a Secret {name}."""

ROLES = {
    "Owner": "8e3af657-a8ff-443c-a75c-2fe8c4bcb635",
    "Contributor": "b24988ac-6180-42a0-ab88-20f7382dd24c",
    "Reader": "acdd72a7-3385-48ef-bd42-f606fba81ae7",
    "User Access Administrator": "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9",
    "Managed Identity Operator": "f1a07417-d97a-45cb-824c-7a7467783830",
    "Azure Kubernetes Service Contributor Role": "ed7f3fbd-7b88-4dd4-9017-9adb7ce333f8",
    "Network Contributor": "4d97b98b-1d4f-4787-a291-c67834d212e7",
    "AcrPull": "7f951dda-4ed3-4680-a7ca-43fe172d538d",
}
"""Built-in roles that `wellKnownName` may name (learn.microsoft.com: Azure built-in roles)."""


def resource_id(kind: Kind, name: str, owner_id: str, subscription: str) -> str:
    """Return the ARM id of the resource `name` below its owner."""
    if kind.owner is None:
        return f"/subscriptions/{subscription}/resourceGroups/{name}"
    segment = kind.arm_type if "/" not in kind.arm_type else f"providers/{kind.arm_type}"
    return f"{owner_id.rstrip('/')}/{segment}/{name}"


def default_name(kind: Kind, obj: Object, owner_id: str) -> str:
    """Return the name in Azure of an object without `azureName`: its own name, or for a role assignment a stable GUID."""
    metadata, spec = obj["metadata"], obj["spec"]
    if kind.kind != "RoleAssignment":
        return str(metadata["name"])
    reference = spec.get("roleDefinitionReference") or {}
    principal = spec.get("principalId") or str(spec.get("principalIdFromConfig"))
    role = reference.get("armId") or reference.get("wellKnownName") or reference.get("name") or ""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join((metadata["namespace"], metadata["name"], owner_id, principal, role))))


async def to_arm(kind: Kind, obj: Object, name: str, resolve: Resolve, lookup: Lookup) -> Object:
    """Return the body of the PUT request. Raises the errors of `resolve` and `lookup`."""
    spec = {key: value for key, value in obj["spec"].items() if key not in NOT_ARM}
    members = await _object(spec, resolve, lookup)
    body: Object = {"name": name}
    properties = {key: value for key, value in members.items() if key not in TOP_LEVEL}
    body |= {key: value for key, value in members.items() if key in TOP_LEVEL}
    if kind.has_properties and (properties or kind.kind != "UserAssignedIdentity"):
        body["properties"] = properties
    return body


async def _object(spec: Object, resolve: Resolve, lookup: Lookup) -> Object:
    found: Object = {}
    for key, value in spec.items():
        if key in REFERENCES and isinstance(value, dict):
            found[REFERENCES[key]] = await resolve(value)
        elif key in REFERENCE_LISTS and isinstance(value, list):
            found[REFERENCE_LISTS[key]] = [await resolve(item) for item in value]
        elif key == "userAssignedIdentities" and isinstance(value, list):
            found[key] = {await resolve(item.get("reference") or {}): {} for item in value}
        elif key.endswith(FROM_CONFIG) and _keyed(value):
            found[key.removesuffix(FROM_CONFIG)] = await lookup("config", value)
        elif key in SECRET_MEMBERS and _keyed(value):
            found[key] = await lookup("secret", value)
        elif key in SECRET_MAPS and isinstance(value, dict) and set(value) == {"name"}:
            found[key] = await lookup("secrets", value)
        else:
            found[key] = await _value(value, resolve, lookup)
    return found


async def _value(value: Any, resolve: Resolve, lookup: Lookup) -> Any:
    if isinstance(value, dict):
        return await _object(value, resolve, lookup)
    if isinstance(value, list):
        return [await _value(item, resolve, lookup) for item in value]
    return value


def _keyed(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"name", "key"}


def to_status(resource: Object, conditions: list[Object]) -> Object:
    """Return ARM's resource as the object's status: the members of `properties` beside the others."""
    own = {key: value for key, value in resource.items() if key != "properties" and value is not None}
    properties = {key: value for key, value in (resource.get("properties") or {}).items() if value is not None}
    if "type" in properties and "type" in own:
        properties["properties_type"] = properties.pop("type")
    return {**own, **properties, "conditions": conditions}


def value_at(resource: Object, path: str) -> Any:
    """Return the member of an ARM resource at a dotted path, or `None`."""
    found: Any = resource
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found
