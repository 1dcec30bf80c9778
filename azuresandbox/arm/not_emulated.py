"""Types that Azure has and the sandbox does not emulate, for a 501 that names them instead of a 404.

`data/types.json` lists the types of the management clients' own operations (`tools/coverage_table.py` writes it); the tables
here say what to use instead.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

MANAGEMENT_GROUPS = "/providers/microsoft.management/"

NAMESPACES = {
    "microsoft.network": "virtual networks and load balancers",
    "microsoft.storage": "storage accounts",
    "microsoft.keyvault": "key vaults",
    "microsoft.insights": "monitoring",
    "microsoft.operationalinsights": "Log Analytics",
    "microsoft.containerregistry": "Azure container registries: the sandbox has an OCI registry of its own",
    "microsoft.policyinsights": "Azure Policy",
    "microsoft.features": "preview features",
    "microsoft.kubernetes": "Azure Arc connected clusters",
    "microsoft.management": "management groups: the subscription is the highest scope",
}
"""Namespace in lower case -> its subject."""

TYPES = {
    "microsoft.resourcegraph/queries": "saved Resource Graph queries (Microsoft.ResourceGraph/queries)",
    **{
        f"microsoft.resourcegraph/{name.lower()}": f"Microsoft.ResourceGraph/{name}: query Microsoft.ResourceGraph/resources"
        for name in ("resourcesHistory", "resourceChanges", "resourceChangeDetails")
    },
    "microsoft.resources/deployments": "template deployments (Microsoft.Resources/deployments): create resources one by one",
    "microsoft.resources/deploymentstacks": "deployment stacks (Microsoft.Resources/deploymentStacks)",
    "microsoft.containerservice/fleets": "Azure Kubernetes Fleet Manager",
    "microsoft.authorization/locks": "management locks",
    "microsoft.authorization/denyassignments": "deny assignments",
    "microsoft.authorization/policyassignments": "Azure Policy",
    "microsoft.authorization/policydefinitions": "Azure Policy",
    "microsoft.managedidentity/identities": "system-assigned identities as resources",
    "microsoft.authorization/provideroperations": "the catalogue of all providers' operations: Azure's documentation has it",
    "microsoft.containerservice/managedclusters/accessprofiles": "access profiles: use listClusterUserCredential or "
    "listClusterAdminCredential",
    "microsoft.containerservice/managedclusters/commandresults": "running commands in a cluster through ARM: "
    "use kubectl with its credentials",
    "microsoft.containerservice/managedclusters/meshupgradeprofiles": "the service mesh add-on",
    "microsoft.containerservice/locations/meshrevisionprofiles": "the service mesh add-on",
    "microsoft.containerservice/managedclusters/privatelinkresources": "private clusters",
    "microsoft.containerservice/locations/trustedaccessroles": "trusted access",
}
"""Type in lower case -> its subject, and what to use instead."""

ANYWHERE = {
    "operations": "the list of a provider's operations: Azure's documentation has it",
}
"""The same for a type that each namespace has."""


def reason(namespace: str, kind: str) -> str:
    """Return the type's subject for the message; "" if Azure does not know the type either.

    `kind` may be the last word of a POST on the namespace itself.
    """
    full, kind = f"{namespace}/{kind}".lower(), kind.lower()
    if namespace.lower() in NAMESPACES:
        return f"{namespace} ({NAMESPACES[namespace.lower()]})"
    if full in TYPES:
        return TYPES[full]
    known = _known().get(namespace.lower(), {})
    if kind in known:
        return ANYWHERE.get(kind) or f"{known['']}/{known[kind]}"
    return ""


@cache
def _known() -> dict[str, dict[str, str]]:
    """Return namespace in lower case -> type in lower case -> type as written; under "" the namespace as written."""
    names: dict[str, list[str]] = json.loads((Path(__file__).parent / "data" / "types.json").read_text())
    return {space.lower(): {"": space, **{kind.lower(): kind for kind in kinds}} for space, kinds in names.items()}
