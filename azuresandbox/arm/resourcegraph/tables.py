"""The tables of Resource Graph: which resources are their rows, and the columns. Data and pure functions.

Source: "Azure Resource Graph table and resource type reference"; the columns are those of its answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from azuresandbox import trees
from azuresandbox.arm.resource_id import GROUPS, SUBSCRIPTIONS, ResourceId
from azuresandbox.arm.resourcegraph.evaluate import DYNAMIC, STRING, Json
from azuresandbox.arm.roles import Role
from azuresandbox.context import SUBSCRIPTION_NAME

Document = dict[str, Any]

RESOURCES, CONTAINERS, KUBERNETES, AUTHORIZATION = (
    "resources",
    "resourcecontainers",
    "kubernetesconfigurationresources",
    "authorizationresources",
)
DEFAULT = RESOURCES
"""The table of a query that does not name one."""

TABLES = {
    GROUPS: CONTAINERS,
    SUBSCRIPTIONS: CONTAINERS,
    "Microsoft.KubernetesConfiguration/extensions": KUBERNETES,
    "Microsoft.KubernetesConfiguration/fluxConfigurations": KUBERNETES,
    "Microsoft.Authorization/roleAssignments": AUTHORIZATION,
    "Microsoft.Authorization/roleDefinitions": AUTHORIZATION,
}
"""Type -> its table. Other tracked resources are in `resources`; nested ones (agent pools) are in no table."""

_NAMES = {GROUPS: "microsoft.resources/subscriptions/resourcegroups", SUBSCRIPTIONS: "microsoft.resources/subscriptions"}

_REFUSED = """
advisorresources aksresources alertsmanagementresources appserviceresources awsresources azurebusinesscontinuityresources
batchresources capabilityresources chaosresources communitygalleryresources computeresources costmanagementresources
desktopvirtualizationresources dnsresources edgeorderresources elasticsanresources extendedlocationresources featureresources
guestconfigurationresources healthresourcechanges healthresources impactreportresources insightresources insightsresources
iotsecurityresources kustoresources maintenanceresources managedservicesresources migrateresources monitorresources
networkresources orbitalresources patchassessmentresources patchinstallationresources policyresources quotaresources
recoveryservicesresources resourcechanges resourcecontainerchanges securityresources servicefabricresources
servicehealthresources spotresources sportresources supportresources tagsresources
"""
REFUSED = frozenset(_REFUSED.split())
"""Tables that Azure has and the sandbox does not emulate."""

COLUMNS = {
    "id": STRING,
    "name": STRING,
    "type": STRING,
    "tenantId": STRING,
    "kind": STRING,
    "location": STRING,
    "resourceGroup": STRING,
    "subscriptionId": STRING,
    "managedBy": STRING,
    "sku": DYNAMIC,
    "plan": DYNAMIC,
    "properties": DYNAMIC,
    "tags": DYNAMIC,
    "identity": DYNAMIC,
    "zones": DYNAMIC,
    "extendedLocation": DYNAMIC,
}
"""The columns of an answer, unless the query projects."""

HIDDEN = {"apiVersion": STRING}
"""Columns that are shown only to a query that names them."""

_DYNAMIC = tuple(name for name, kind in COLUMNS.items() if kind == DYNAMIC)
_NULL = Json(b"null")


@dataclass(frozen=True, slots=True)
class Entry:
    """A resource as Resource Graph keeps it: its table, its type as ARM writes it, and its cells."""

    table: str
    type: str
    id: ResourceId
    cells: dict[str, Any]


def entry(document: Document, resource_id: ResourceId, tenant: str, api_version: str) -> Entry:
    """Return the row of a resource as ARM shows it."""
    kind = str(document["type"])
    cells: dict[str, Any] = {
        "id": document["id"],
        "name": document["name"],
        "type": _NAMES.get(kind, kind.lower()),
        "tenantId": tenant,
        "kind": str(document.get("kind") or ""),
        "location": str(document.get("location") or ""),
        "resourceGroup": resource_id.group.lower(),
        "subscriptionId": resource_id.subscription,
        "managedBy": str(document.get("managedBy") or ""),
    }
    shown = {**document, "properties": _SHAPES.get(kind, _as_it_is)(document.get("properties") or {})}
    for name in _DYNAMIC:
        value = shown.get(name)
        cells[name] = _NULL if value is None else Json(trees.dump(value))
    cells["apiVersion"] = api_version
    return Entry(TABLES.get(kind, RESOURCES), kind, resource_id, cells)


def subscription(subscription_id: str, tenant: str) -> Entry:
    """Return the subscription's row of `resourcecontainers`."""
    document = {
        "id": f"/subscriptions/{subscription_id}",
        "name": SUBSCRIPTION_NAME,
        "type": SUBSCRIPTIONS,
        "properties": {
            "state": "Enabled",
            "managedByTenants": [],
            "subscriptionPolicies": {
                "locationPlacementId": "Public_2014-09-01",
                "quotaId": "PayAsYouGo_2014-09-01",
                "spendingLimit": "Off",
            },
        },
    }
    return entry(document, ResourceId(str(document["id"])), tenant, "2022-12-01")


def definition(role: Role, tenant: str) -> Entry:
    """Return a built-in role's row of `authorizationresources`."""
    permissions = {
        "actions": role.actions,
        "notActions": role.not_actions,
        "dataActions": role.data_actions,
        "notDataActions": role.not_data_actions,
    }
    document = {
        "id": f"/providers/Microsoft.Authorization/RoleDefinitions/{role.id}",
        "name": role.id,
        "type": "Microsoft.Authorization/roleDefinitions",
        "properties": {
            "roleName": role.name,
            "type": "BuiltInRole",
            "description": role.description,
            "assignableScopes": ["/"],
            "permissions": [permissions],
        },
    }
    return entry(document, ResourceId(str(document["id"])), tenant, "2022-04-01")


def _as_it_is(properties: Document) -> Document:
    return properties


def _extension(properties: Document) -> Document:
    """Return an extension's properties, with capital initials: documented samples ask for `properties.ExtensionType`."""
    return {name[:1].upper() + name[1:]: value for name, value in properties.items()}


def _assignment(properties: Document) -> Document:
    """Return an assignment's properties. `authorizationresources` names definitions without their subscription."""
    definition = str(properties["roleDefinitionId"]).rpartition("/")[2]
    return {**properties, "roleDefinitionId": f"/providers/Microsoft.Authorization/RoleDefinitions/{definition}"}


_SHAPES = {"Microsoft.KubernetesConfiguration/extensions": _extension, "Microsoft.Authorization/roleAssignments": _assignment}
