"""Role assignments. Source: Microsoft.Authorization/roleAssignments."""

from __future__ import annotations

import uuid
from typing import Any

from fleetlib.change import Step
from fleetlib.clients.azure.calls import ArmRequest, collect
from fleetlib.clients.azure.clients import Azure
from fleetlib.errors import RetryableError


def definition_id(azure: Azure, scope: str, role: str) -> str:
    """Return the id of a role by its name. Raises `RetryableError` if Azure does not know the role."""
    found = collect(lambda: azure.authorization.role_definitions.list(scope, filter=f"roleName eq '{role}'"), role)
    if not found:
        raise RetryableError(f"Azure does not know the role {role!r}", target=scope, fix="check the role's name")
    return str(found[0]["id"])


def assigned(azure: Azure, scope: str, principal_id: str) -> list[dict[str, Any]]:
    """Return the principal's assignments that are effective at `scope`."""
    return collect(
        lambda: azure.authorization.role_assignments.list_for_scope(scope, filter=f"assignedTo('{principal_id}')"), scope
    )


def held(azure: Azure, principal_id: str) -> list[dict[str, Any]]:
    """All assignments of the principal in the subscription, at any scope."""
    query = f"principalId eq '{principal_id}'"
    return collect(lambda: azure.authorization.role_assignments.list_for_subscription(filter=query), principal_id)


def find(azure: Azure, scope: str, principal_id: str, role: str) -> dict[str, Any] | None:
    """Return the assignment of `role` at exactly `scope`; `None` if it does not exist."""
    wanted = definition_id(azure, scope, role).rpartition("/")[2]
    for item in assigned(azure, scope, principal_id):
        properties = item["properties"]
        if properties["scope"].lower() == scope.lower() and properties["roleDefinitionId"].rpartition("/")[2] == wanted:
            return item
    return None


def ensure(azure: Azure, scope: str, principal_id: str, role: str) -> Step:
    """Return the step that assigns the role. The assignment's name is derived from scope, principal and role, so all runs use
    the same.

    `principalType` is always sent: without it Azure may not find a new principal, and conditions on it refuse the request.
    """

    def create(current: Any) -> ArmRequest:
        from azure.mgmt.authorization.models import RoleAssignmentCreateParameters

        body = RoleAssignmentCreateParameters(
            role_definition_id=definition_id(azure, scope, role), principal_id=principal_id, principal_type="ServicePrincipal"
        )
        name = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{scope.lower()}|{principal_id}|{role}"))
        return ArmRequest(
            lambda **options: azure.authorization.role_assignments.create(scope, name, body, **options),
            f"assign the role {role}",
            scope,
        )

    return Step("role assignment", f"{role} on {_short(scope)}", lambda: find(azure, scope, principal_id, role), create)


def _short(scope: str) -> str:
    return scope.rpartition("/")[2]


def lacking(azure: Azure, actions: tuple[str, ...]) -> list[str]:
    """Return the `actions` that the caller's roles on the subscription do not allow."""
    scope = f"/subscriptions/{azure.subscription_id}"
    definitions = {
        d["id"].lower(): d["properties"] for d in collect(lambda: azure.authorization.role_definitions.list(scope), scope)
    }
    mine = [a["properties"]["roleDefinitionId"].lower() for a in assigned(azure, scope, caller_object_id(azure))]
    permissions = [p for role in mine if role in definitions for p in definitions[role]["permissions"]]
    return [action for action in actions if not any(_allows(permission, action) for permission in permissions)]


def caller_object_id(azure: Azure) -> str:
    """Return the caller's object id, from its token."""

    import base64
    import json

    token = azure.cloud.credential.get_token(azure.cloud.resource_manager + "/.default").token
    payload = token.split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["oid"])


def _allows(permission: dict[str, Any], action: str) -> bool:
    from fnmatch import fnmatchcase

    def matches(patterns: list[str] | None) -> bool:
        return any(fnmatchcase(action.lower(), pattern.lower()) for pattern in patterns or [])

    return matches(permission.get("actions")) and not matches(permission.get("notActions"))
