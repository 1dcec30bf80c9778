"""Role definitions: Azure's built-in ones, the same at every scope. Custom roles are refused by name."""

from __future__ import annotations

import re

from azuresandbox.arm import engine, errors, roles
from azuresandbox.arm.errors import ArmError
from azuresandbox.arm.provider import Answer, Document, Request, ResourceType
from azuresandbox.arm.roles import Role

VERSIONS = (
    "2022-05-01-preview",
    "2022-04-01",
    "2018-07-01",
    "2018-01-01-preview",
    "2016-07-01",
    "2015-07-01",
    "2015-06-01",
)


def definition_id(role: Role, subscription: str) -> str:
    prefix = f"/subscriptions/{subscription}" if subscription else ""
    return f"{prefix}/providers/Microsoft.Authorization/roleDefinitions/{role.id}"


def permissions(role: Role) -> Document:
    """Return the role's permissions, as documents show them."""
    return {
        "actions": list(role.actions),
        "notActions": list(role.not_actions),
        "dataActions": list(role.data_actions),
        "notDataActions": list(role.not_data_actions),
    }


def _described(role: Role, subscription: str) -> Document:
    return {
        "properties": {
            "roleName": role.name,
            "type": "BuiltInRole",
            "description": role.description,
            "assignableScopes": ["/"],
            "permissions": [permissions(role)],
            "createdOn": "2015-02-02T21:55:09.8806423Z",
            "updatedOn": "2023-07-10T15:10:53.8947880Z",
            "createdBy": None,
            "updatedBy": None,
        },
        "id": definition_id(role, subscription),
        "type": "Microsoft.Authorization/roleDefinitions",
        "name": role.id,
    }


async def _list(request: Request) -> Answer:
    chosen = [role for role in roles.ROLES if _selected(request.query.get("filter", ""), role)]
    return engine.paged(request, [_described(role, request.id.subscription) for role in chosen])


def _selected(expression: str, role: Role) -> bool:
    """Return whether a filter selects the role.

    `roleName eq 'x'`, `type eq 'BuiltInRole'` and `atScopeAndBelow()` are understood; the last one selects all built-in roles.
    """
    for clause in filter(None, re.split(r"\s+and\s+", expression.strip(), flags=re.IGNORECASE)):
        if re.fullmatch(r"atScope(AndBelow)?\(\)", clause, re.IGNORECASE):
            continue
        match = re.fullmatch(r"(roleName|type)\s+eq\s+'((?:[^']|'')*)'", clause, re.IGNORECASE)
        if match is None:
            raise ArmError(400, "InvalidFilter", f"The filter '{expression}' is not supported for role definitions.")
        found = role.name if match[1].lower() == "rolename" else "BuiltInRole"
        if found.lower() != match[2].replace("''", "'").lower():
            return False
    return True


async def _handle(request: Request) -> Answer:
    if request.method in ("PUT", "DELETE"):
        raise errors.not_emulated("custom role definitions: use a built-in role")
    role = roles.by_id(request.id.name)
    if role is None:
        raise definition_missing(request.id.name)
    return Answer(200, _described(role, request.id.subscription))


def definition_missing(name: str) -> ArmError:
    return ArmError(404, "RoleDefinitionDoesNotExist", f"The specified role definition with ID '{name}' does not exist.")


TYPE = ResourceType(
    "roleDefinitions", VERSIONS, tracked=False, verbs=frozenset({"GET", "LIST", "PUT", "DELETE"}), whole=_handle, lists=_list
)
