"""Who may do what on the control plane's and the fleet's group, and whether that is what the runbook needs.

A handful of calls: two groups' assignments and identities, one list of role definitions. May import `reading`, `layers`, `azure`.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from fleetlib.clients.azure import rest
from fleetlib.clients.azure.roles import caller_object_id
from fleetlib.inspect.layers import BROKEN, OK
from fleetlib.inspect.reading import Item, Items, Reading
from fleetlib.inspect.rows import Row

NEEDED = "Contributor"
"""The role that the runbook gives to ASO's identity on both groups (notebooks 02 and 04)."""

DEFINITIONS = "providers/Microsoft.Authorization/roleDefinitions"
ASSIGNMENTS = "providers/Microsoft.Authorization/roleAssignments"
IDENTITIES = "providers/Microsoft.ManagedIdentity/userAssignedIdentities"


@dataclass(frozen=True)
class Roles:
    """What ARM says: assignments, the names of roles and principals by id, in lower case, and ASO's principal."""

    assignments: Items = field(default_factory=list)
    roles: dict[str, str] = field(default_factory=dict)
    principals: dict[str, str] = field(default_factory=dict)
    aso: str = ""


def read(reading: Reading) -> Roles:
    """Asks ARM, five times at once. A group that is not there yet has no assignments."""
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
    """(object id, name): the groups' managed identities, and those of the clusters and their nodes."""
    yield caller_object_id(reading.session.azure).lower(), "(you)"
    for item in identities:
        yield item["properties"]["principalId"].lower(), item["name"]
    for name, cluster in {**reading.arm.control_plane, **reading.arm.fleet}.items():
        if principal := (cluster.get("identity") or {}).get("principalId"):
            yield principal.lower(), name
        for profile in (cluster["properties"].get("identityProfile") or {}).values():
            if profile.get("objectId"):
                yield profile["objectId"].lower(), f"{name} (nodes)"


def roles(reading: Reading) -> Iterator[Row]:
    """One row an assignment; one more, broken, for each that the runbook needs and that is not there."""
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
            "message": f"ASO's identity has no {NEEDED} on it: run notebook {'02' if scope.endswith(p.controlplane_group) else '04'} again",
        }


def _row(known: Roles, groups: list[str], item: Item) -> Row:
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
    """The scope's last part: a group's or resource's name, `subscription`, or / for the tenant's root and management groups."""
    parts = scope.strip("/").split("/")
    return "subscription" if len(parts) == 2 and parts[0].lower() == "subscriptions" else parts[-1] or "/"
