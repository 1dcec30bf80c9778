"""The kinds that Azure Service Operator manages here, as data: their versions, their ARM types, their owners.

Source: the types and CRDs of Azure/azure-service-operator v2. `tools/aso_schemas.py` reads the same tables to write
`data/schemas.json`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

RESOURCES, CONTAINERS, CONFIGURATION = "resources.azure.com", "containerservice.azure.com", "kubernetesconfiguration.azure.com"
IDENTITY, AUTHORIZATION = "managedidentity.azure.com", "authorization.azure.com"

ANY_OWNER = ("", "")
"""The reference to the owner names its group and kind."""


@dataclass(frozen=True)
class Kind:
    """One ASO kind. `versions`: oldest first; `storage`: the stored version, whose ARM api-version is sent.

    `arm_type`: with its provider, or only the last segment for a child of its owner's type. `owner`: (group, kind),
    `ANY_OWNER`, or `None` for a resource of the subscription. `config_maps`, `secrets`: the exports, name in `operatorSpec` ->
    place in ARM.
    """

    group: str
    kind: str
    plural: str
    versions: tuple[str, ...]
    storage: str
    arm_type: str
    owner: tuple[str, str] | None
    required: tuple[str, ...]
    config_maps: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    has_properties: bool = True
    name_pattern: str = ""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.storage}"

    @property
    def arm_api_version(self) -> str:
        """Return ARM's api-version: `v1api20240901` -> `2024-09-01`, `v1api20240402preview` -> `2024-04-02-preview`."""
        text = self.storage.removeprefix("v1api")
        suffix = "-preview" if text.endswith("preview") else ""
        return f"{text[:4]}-{text[4:6]}-{text[6:8]}{suffix}"

    @property
    def crd_name(self) -> str:
        return f"{self.plural}.{self.group}"


GROUP_OWNER = (RESOURCES, "ResourceGroup")
CLUSTER_VERSIONS = ("v1api20231001", "v1api20240901", "v1api20250801")

KINDS: tuple[Kind, ...] = (
    Kind(
        RESOURCES,
        "ResourceGroup",
        "resourcegroups",
        ("v1api20200601",),
        "v1api20200601",
        "resourceGroups",
        None,
        ("location",),
        has_properties=False,
    ),
    Kind(
        CONTAINERS,
        "ManagedCluster",
        "managedclusters",
        CLUSTER_VERSIONS,
        "v1api20240901",
        "Microsoft.ContainerService/managedClusters",
        GROUP_OWNER,
        ("location", "owner"),
        config_maps={"oidcIssuerProfile": "properties.oidcIssuerProfile.issuerURL", "principalId": "identity.principalId"},
        secrets={"adminCredentials": "listClusterAdminCredential", "userCredentials": "listClusterUserCredential"},
        name_pattern="^[a-zA-Z0-9]$|^[a-zA-Z0-9][-_a-zA-Z0-9]{0,61}[a-zA-Z0-9]$",
    ),
    Kind(
        CONTAINERS,
        "ManagedClustersAgentPool",
        "managedclustersagentpools",
        CLUSTER_VERSIONS,
        "v1api20240901",
        "agentPools",
        (CONTAINERS, "ManagedCluster"),
        ("owner",),
        name_pattern="^[a-z][a-z0-9]{0,11}$",
    ),
    Kind(
        CONFIGURATION,
        "Extension",
        "extensions",
        ("v1api20230501", "v1api20241101"),
        "v1api20230501",
        "Microsoft.KubernetesConfiguration/extensions",
        ANY_OWNER,
        ("owner",),
        config_maps={"principalId": "identity.principalId"},
    ),
    Kind(
        CONFIGURATION,
        "FluxConfiguration",
        "fluxconfigurations",
        ("v1api20230501", "v1api20241101"),
        "v1api20230501",
        "Microsoft.KubernetesConfiguration/fluxConfigurations",
        ANY_OWNER,
        ("owner",),
    ),
    Kind(
        IDENTITY,
        "UserAssignedIdentity",
        "userassignedidentities",
        ("v1api20181130", "v1api20230131"),
        "v1api20230131",
        "Microsoft.ManagedIdentity/userAssignedIdentities",
        GROUP_OWNER,
        ("location", "owner"),
        config_maps={name: f"properties.{name}" for name in ("principalId", "clientId", "tenantId")},
    ),
    Kind(
        IDENTITY,
        "FederatedIdentityCredential",
        "federatedidentitycredentials",
        ("v1api20220131preview", "v1api20230131"),
        "v1api20230131",
        "federatedIdentityCredentials",
        (IDENTITY, "UserAssignedIdentity"),
        ("owner",),
        name_pattern="^[a-zA-Z0-9]{1}[a-zA-Z0-9-_]{2,119}$",
    ),
    Kind(
        AUTHORIZATION,
        "RoleAssignment",
        "roleassignments",
        ("v1api20200801preview", "v1api20220401"),
        "v1api20220401",
        "Microsoft.Authorization/roleAssignments",
        ANY_OWNER,
        ("owner", "roleDefinitionReference"),
    ),
)

BY_CRD: dict[str, Kind] = {kind.crd_name: kind for kind in KINDS}

TOP_LEVEL = frozenset({"location", "tags", "sku", "identity", "extendedLocation", "kind", "plan", "zones", "managedBy"})
"""Members of an ARM resource beside `properties`. In `spec`, they are beside the members of `properties`."""

REFERENCES: dict[str, str] = {
    "vnetSubnetReference": "vnetSubnetID",
    "podSubnetReference": "podSubnetID",
    "proximityPlacementGroupReference": "proximityPlacementGroupID",
    "nodePublicIPPrefixReference": "nodePublicIPPrefixID",
    "hostGroupReference": "hostGroupID",
    "capacityReservationGroupReference": "capacityReservationGroupID",
    "diskEncryptionSetReference": "diskEncryptionSetID",
    "sourceResourceReference": "sourceResourceId",
    "keyVaultResourceReference": "keyVaultResourceId",
    "logAnalyticsWorkspaceResourceReference": "logAnalyticsWorkspaceResourceId",
    "subnetReference": "subnetId",
    "gatewayIdentityReference": "gatewayIdentityId",
    "resourceReference": "resourceId",
    "roleDefinitionReference": "roleDefinitionId",
    "reference": "id",
}
"""A member of `spec` that refers to another resource -> the ARM member that takes the id."""

REFERENCE_LISTS: dict[str, str] = {
    "applicationSecurityGroupsReferences": "applicationSecurityGroups",
    "dnsZoneResourceReferences": "dnsZoneResourceIds",
}

SECRET_MEMBERS = frozenset(
    {
        "secret",
        "adminPassword",
        "httpsCACert",
        "accessKey",
        "accountKey",
        "sasToken",
        "clientSecret",
        "clientCertificate",
        "clientCertificatePassword",
    }
)
"""Members whose value is read from a Secret in the object's namespace: `{name, key}`."""

SECRET_MAPS = frozenset({"configurationProtectedSettings"})
"""Members whose value is all data of a Secret: `{name}`."""

FROM_CONFIG = "FromConfig"
"""Suffix of the members whose value is read from a ConfigMap: `{name, key}`."""

CONFIG_MEMBERS: dict[str, tuple[str, ...]] = {
    "FederatedIdentityCredential": ("issuer", "subject"),
    "RoleAssignment": ("principalId",),
}

_NAMES = (
    "alertsmanagement",
    "apimanagement",
    "app",
    "appconfiguration",
    "authorization",
    "batch",
    "cache",
    "cdn",
    "cognitiveservices",
    "compute",
    "containerinstance",
    "containerregistry",
    "containerservice",
    "datafactory",
    "dataprotection",
    "dbformariadb",
    "dbformysql",
    "dbforpostgresql",
    "devices",
    "documentdb",
    "entra",
    "eventgrid",
    "eventhub",
    "insights",
    "keyvault",
    "kubernetesconfiguration",
    "kusto",
    "machinelearningservices",
    "managedidentity",
    "monitor",
    "network",
    "network.frontdoor",
    "notificationhubs",
    "operationalinsights",
    "quota",
    "redhatopenshift",
    "resources",
    "search",
    "servicebus",
    "signalrservice",
    "sql",
    "storage",
    "subscription",
    "synapse",
    "web",
)
REAL_GROUPS = frozenset(f"{name}.azure.com" for name in _NAMES)
"""Groups of ASO v2. A pattern may name those without a kind in `KINDS`; others are unknown."""
