"""The table of role assignments on the control plane's and the fleet's group, with those that the runbook needs.

It takes five requests: the assignments and identities of two groups, and the role definitions.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NotRequired, TypedDict

from fleetlib.clients.azure import rest
from fleetlib.clients.azure.roles import caller_object_id
from fleetlib.inspect.layers import BROKEN, OK
from fleetlib.inspect.reading import Item, Items, Reading

NEEDED = "Contributor"
"""The role that the runbook assigns to ASO's identity on both groups (notebooks 02 and 04)."""

DEFINITIONS = "providers/Microsoft.Authorization/roleDefinitions"
ASSIGNMENTS = "providers/Microsoft.Authorization/roleAssignments"
IDENTITIES = "providers/Microsoft.ManagedIdentity/userAssignedIdentities"


@dataclass(frozen=True)
class Roles:
    """Role assignments in ARM, the names of roles and principals by id (in lower case), and ASO's principal id."""

    assignments: Items = field(default_factory=list)
    roles: dict[str, str] = field(default_factory=dict)
    principals: dict[str, str] = field(default_factory=dict)
    aso: str = ""


class RoleRow(TypedDict):
    """A row of the table `roles`; `columns.TABLES` has the meaning of each column."""

    assignment: str
    scope: str
    role: str
    principal: str | None
    principal_id: str | None
    principal_type: str | None
    inherited: bool
    needed: bool
    status: str
    message: NotRequired[str]
    created: NotRequired[str | None]
    id: NotRequired[str]


def read(reading: Reading) -> Roles:
    """Read the roles from ARM with five requests in parallel. A group that does not exist has no assignments."""
    azure, p = reading.session.azure, reading.session.parameters
    groups = [azure.group_id(group) for group in (p.controlplane_group, p.fleet_group)]
    with ThreadPoolExecutor(5) as pool:
        definitions = pool.submit(
            rest.items, azure, f"/subscriptions/{azure.subscription_id}/{DEFINITIONS}", rest.AUTHORIZATION
        )
        assigned = pool.map(lambda group: rest.items(azure, f"{group}/{ASSIGNMENTS}", rest.AUTHORIZATION), groups)
        identities = [
            item
            for found in pool.map(lambda group: rest.items(azure, f"{group}/{IDENTITIES}", rest.MANAGED_IDENTITY), groups)
            for item in found
        ]
    assignments = {item["id"].lower(): item for found in assigned for item in found}
    names = {item["name"].lower(): item["properties"]["roleName"] for item in definitions.result()}
    aso = next((i["properties"]["principalId"] for i in identities if i["name"].lower() == p.aso_identity.lower()), "")
    return Roles(list(assignments.values()), names, dict(_principals(reading, identities)), aso)


def _principals(reading: Reading, identities: Items) -> Iterator[tuple[str, str]]:
    """Yield (object id, name) of the caller, the groups' managed identities, the clusters and their nodes."""
    yield caller_object_id(reading.session.azure).lower(), "(you)"
    for item in identities:
        yield item["properties"]["principalId"].lower(), item["name"]
    for name, cluster in {**reading.arm.control_plane, **reading.arm.fleet}.items():
        if principal := (cluster.get("identity") or {}).get("principalId"):
            yield principal.lower(), name
        for profile in (cluster["properties"].get("identityProfile") or {}).values():
            if profile.get("objectId"):
                yield profile["objectId"].lower(), f"{name} (nodes)"


def roles(reading: Reading) -> Iterator[RoleRow]:
    """Yield one row for each assignment, and one with status `broken` for each missing assignment that the runbook needs."""
    known = reading.also("roles", read, Roles())
    if "roles" in reading.unread:
        return
    p = reading.session.parameters
    missing = [reading.session.azure.group_id(group) for group in (p.controlplane_group, p.fleet_group)]
    for item in known.assignments:
        row = _row(known, missing, item)
        if row["needed"]:
            missing.remove(next(scope for scope in missing if scope.lower() == item["properties"]["scope"].lower()))
        yield row
    for scope in missing:
        notebook = "02" if scope.endswith(p.controlplane_group) else "04"
        yield {
            "assignment": "",
            "scope": _last(scope),
            "role": NEEDED,
            "principal": p.aso_identity,
            "principal_id": known.aso or None,
            "principal_type": "ServicePrincipal",
            "inherited": False,
            "needed": True,
            "status": BROKEN,
            "message": f"ASO's identity does not have the role {NEEDED} on it: run notebook {notebook} again",
        }


def _row(known: Roles, groups: list[str], item: Item) -> RoleRow:
    properties = item["properties"]
    scope, principal = properties["scope"], properties["principalId"]
    role = known.roles.get(properties["roleDefinitionId"].rpartition("/")[2].lower(), properties["roleDefinitionId"])
    at = scope.lower() in (group.lower() for group in groups)
    return {
        "assignment": item["name"],
        "scope": _last(scope),
        "role": role,
        "principal": known.principals.get(principal.lower()),
        "principal_id": principal,
        "principal_type": properties.get("principalType"),
        "inherited": "/resourcegroups/" not in scope.lower(),
        "needed": at and role == NEEDED and principal.lower() == known.aso.lower(),
        "status": OK,
        "created": properties.get("createdOn"),
        "id": item["id"],
    }


def _last(scope: str) -> str:
    """Return the scope's last part: a name, `subscription`, or `/` for the tenant's root."""
    parts = scope.strip("/").split("/")
    return "subscription" if len(parts) == 2 and parts[0].lower() == "subscriptions" else parts[-1] or "/"
