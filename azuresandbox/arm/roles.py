"""The built-in role definitions, as data: real names, ids, actions.

Source: "Azure built-in roles" and the pages of its groups.
"""

from __future__ import annotations

from dataclasses import dataclass

_READ_BASICS = (
    "Microsoft.Authorization/*/read",
    "Microsoft.Insights/alertRules/*",
    "Microsoft.Resources/deployments/*",
    "Microsoft.Resources/subscriptions/resourceGroups/read",
    "Microsoft.Support/*",
)


@dataclass(frozen=True)
class Role:
    """A role definition. `id` is its GUID."""

    id: str
    name: str
    description: str
    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    data_actions: tuple[str, ...] = ()
    not_data_actions: tuple[str, ...] = ()


_AKS = "Microsoft.ContainerService/managedClusters"
_USER = (f"{_AKS}/listClusterUserCredential/action", f"{_AKS}/read")

_KUBERNETES = (
    "Microsoft.Authorization/*/read",
    "Microsoft.Resources/subscriptions/operationresults/read",
    "Microsoft.Resources/subscriptions/read",
    "Microsoft.Resources/subscriptions/resourceGroups/read",
)
"""ARM's actions of the roles for clusters with Azure RBAC; their data actions are about Kubernetes objects."""

_READ_BY_READERS = """
apps/controllerrevisions apps/daemonsets apps/deployments apps/replicasets apps/statefulsets
autoscaling/horizontalpodautoscalers batch/cronjobs batch/jobs configmaps discovery.k8s.io/endpointslices endpoints
events.k8s.io/events events extensions/daemonsets extensions/deployments extensions/ingresses extensions/networkpolicies
extensions/replicasets limitranges metrics.k8s.io/pods metrics.k8s.io/nodes namespaces networking.k8s.io/ingresses
networking.k8s.io/networkpolicies persistentvolumeclaims pods policy/poddisruptionbudgets replicationcontrollers resourcequotas
serviceaccounts services
"""
_DONE_BY_WRITERS = """
apps/controllerrevisions/read apps/daemonsets/* apps/deployments/* apps/replicasets/* apps/statefulsets/*
autoscaling/horizontalpodautoscalers/* batch/cronjobs/* coordination.k8s.io/leases/read coordination.k8s.io/leases/write
coordination.k8s.io/leases/delete discovery.k8s.io/endpointslices/read batch/jobs/* configmaps/* endpoints/*
events.k8s.io/events/read events/* extensions/daemonsets/* extensions/deployments/* extensions/ingresses/*
extensions/networkpolicies/* extensions/replicasets/* limitranges/read metrics.k8s.io/pods/read metrics.k8s.io/nodes/read
namespaces/read networking.k8s.io/ingresses/* networking.k8s.io/networkpolicies/* persistentvolumeclaims/* pods/*
policy/poddisruptionbudgets/* replicationcontrollers/* resourcequotas/read secrets/* serviceaccounts/* services/*
"""

ROLES: tuple[Role, ...] = (
    Role(
        "8e3af657-a8ff-443c-a75c-2fe8c4bcb635",
        "Owner",
        "Grants full access to manage all resources, including the ability to assign roles in Azure RBAC.",
        actions=("*",),
    ),
    Role(
        "b24988ac-6180-42a0-ab88-20f7382dd24c",
        "Contributor",
        "Grants full access to manage all resources, but does not allow you to assign roles in Azure RBAC, manage assignments "
        "in Azure Blueprints, or share image galleries.",
        actions=("*",),
        not_actions=(
            "Microsoft.Authorization/*/Delete",
            "Microsoft.Authorization/*/Write",
            "Microsoft.Authorization/elevateAccess/Action",
            "Microsoft.Blueprint/blueprintAssignments/write",
            "Microsoft.Blueprint/blueprintAssignments/delete",
            "Microsoft.Compute/galleries/share/action",
            "Microsoft.Purview/consents/write",
            "Microsoft.Purview/consents/delete",
            "Microsoft.Resources/deploymentStacks/manageDenySetting/action",
            "Microsoft.Subscription/cancel/action",
            "Microsoft.Subscription/enable/action",
        ),
    ),
    Role(
        "acdd72a7-3385-48ef-bd42-f606fba81ae7",
        "Reader",
        "View all resources, but does not allow you to make any changes.",
        actions=("*/read",),
    ),
    Role(
        "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9",
        "User Access Administrator",
        "Lets you manage user access to Azure resources.",
        actions=("*/read", "Microsoft.Authorization/*", "Microsoft.Support/*"),
    ),
    Role(
        "f58310d9-a9f6-439a-9e8d-f62e7b41a168",
        "Role Based Access Control Administrator",
        "Manage access to Azure resources by assigning roles using Azure RBAC. This role does not allow you to manage access "
        "using other ways, such as Azure Policy.",
        actions=(
            "Microsoft.Authorization/roleAssignments/write",
            "Microsoft.Authorization/roleAssignments/delete",
            "*/read",
            "Microsoft.Support/*",
        ),
    ),
    Role(
        "ed7f3fbd-7b88-4dd4-9017-9adb7ce333f8",
        "Azure Kubernetes Service Contributor Role",
        "Grants access to read and write Azure Kubernetes Service clusters",
        actions=(
            "Microsoft.Authorization/*/read",
            "Microsoft.ContainerService/locations/*",
            f"{_AKS}/*",
            "Microsoft.ContainerService/managedclustersnapshots/*",
            "Microsoft.ContainerService/snapshots/*",
            "Microsoft.Insights/alertRules/*",
            "Microsoft.Resources/deployments/*",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
        ),
    ),
    Role(
        "0ab0b1a8-8aac-4efd-b8c2-3ee1fb270be8",
        "Azure Kubernetes Service Cluster Admin Role",
        "List cluster admin credential action.",
        actions=(
            f"{_AKS}/listClusterAdminCredential/action",
            f"{_AKS}/accessProfiles/listCredential/action",
            f"{_AKS}/read",
            f"{_AKS}/runcommand/action",
        ),
    ),
    Role(
        "1afdec4b-e479-420e-99e7-f82237c7c5e6",
        "Azure Kubernetes Service Cluster Monitoring User",
        "List cluster monitoring user credential action.",
        actions=(f"{_AKS}/listClusterMonitoringUserCredential/action", f"{_AKS}/read"),
    ),
    Role(
        "4abbcc35-e782-43d8-92c5-2d3f1bd2253f",
        "Azure Kubernetes Service Cluster User Role",
        "List cluster user credential action.",
        actions=_USER,
    ),
    Role(
        "e40ec5ca-96e0-45a2-b4ff-59039f2c2b59",
        "Managed Identity Contributor",
        "Create, Read, Update, and Delete User Assigned Identity",
        actions=(
            "Microsoft.ManagedIdentity/userAssignedIdentities/read",
            "Microsoft.ManagedIdentity/userAssignedIdentities/write",
            "Microsoft.ManagedIdentity/userAssignedIdentities/delete",
            "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/read",
            "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/write",
            "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/delete",
            "Microsoft.ManagedIdentity/userAssignedIdentities/revokeTokens/action",
            *_READ_BASICS,
        ),
    ),
    Role(
        "f1a07417-d97a-45cb-824c-7a7467783830",
        "Managed Identity Operator",
        "Read and Assign User Assigned Identity",
        actions=(
            "Microsoft.ManagedIdentity/userAssignedIdentities/*/read",
            "Microsoft.ManagedIdentity/userAssignedIdentities/*/assign/action",
            *_READ_BASICS,
        ),
    ),
    Role(
        "85cb6faf-e071-4c9b-8136-154b5a04f717",
        "Kubernetes Extension Contributor",
        "Can create, update, get, list and delete Kubernetes Extensions, and get extension async operations",
        actions=(
            "Microsoft.Authorization/*/read",
            "Microsoft.Insights/alertRules/*",
            "Microsoft.Resources/deployments/*",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
            "Microsoft.KubernetesConfiguration/extensions/write",
            "Microsoft.KubernetesConfiguration/extensions/read",
            "Microsoft.KubernetesConfiguration/extensions/delete",
            "Microsoft.KubernetesConfiguration/extensions/operations/read",
        ),
    ),
    Role(
        "3498e952-d568-435e-9b2c-8d77e338d7f7",
        "Azure Kubernetes Service RBAC Admin",
        "Lets you manage all resources under cluster/namespace, except update or delete resource quotas and namespaces.",
        actions=(*_KUBERNETES, f"{_AKS}/listClusterUserCredential/action"),
        not_actions=(),
        data_actions=(f"{_AKS}/*",),
        not_data_actions=(
            f"{_AKS}/resourcequotas/write",
            f"{_AKS}/resourcequotas/delete",
            f"{_AKS}/namespaces/write",
            f"{_AKS}/namespaces/delete",
        ),
    ),
    Role(
        "b1ff04bb-8a4e-4dc4-8eb5-8693973ce19b",
        "Azure Kubernetes Service RBAC Cluster Admin",
        "Lets you manage all resources in the cluster.",
        actions=(*_KUBERNETES, f"{_AKS}/listClusterUserCredential/action"),
        not_actions=(),
        data_actions=(f"{_AKS}/*",),
    ),
    Role(
        "7f6c6a51-bcf8-42ba-9220-52d62157d7db",
        "Azure Kubernetes Service RBAC Reader",
        "Allows read-only access to see most objects in a namespace. It does not allow viewing roles or role bindings. "
        "This role "
        "does not allow viewing Secrets, since reading the contents of Secrets enables access to ServiceAccount credentials in "
        "the namespace, which would allow API access as any ServiceAccount in the namespace (a form of privilege escalation). "
        "Applying this role at cluster scope will give access across all namespaces.",
        actions=_KUBERNETES,
        not_actions=(),
        data_actions=tuple(f"{_AKS}/{kind}/read" for kind in _READ_BY_READERS.split()),
    ),
    Role(
        "a7ffa36f-339b-4b5c-8bdf-e2c188b2c0eb",
        "Azure Kubernetes Service RBAC Writer",
        "Allows read/write access to most objects in a namespace.This role does not allow viewing or modifying roles or role "
        "bindings. However, this role allows accessing Secrets and running Pods as any ServiceAccount in the namespace, "
        "so it can "
        "be used to gain the API access levels of any ServiceAccount in the namespace. Applying this role at cluster "
        "scope will "
        "give access across all namespaces.",
        actions=_KUBERNETES,
        not_actions=(),
        data_actions=tuple(f"{_AKS}/{action}" for action in _DONE_BY_WRITERS.split()),
    ),
)

_BY_ID = {role.id: role for role in ROLES}

OWNER = ROLES[0].id


def by_id(definition_id: str) -> Role | None:
    """Return the role of a definition's id (`/.../roleDefinitions/<guid>`) or of the bare GUID."""
    return _BY_ID.get(definition_id.rpartition("/")[2].lower())


def by_name(name: str) -> Role | None:
    return next((role for role in ROLES if role.name.lower() == name.lower()), None)
