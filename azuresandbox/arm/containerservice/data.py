"""The tables of Microsoft.ContainerService: api-versions, durations, and properties that are not emulated."""

from __future__ import annotations

NAMESPACE = "Microsoft.ContainerService"
CLUSTERS = f"{NAMESPACE}/managedClusters"
POOLS = f"{CLUSTERS}/agentPools"

_API_VERSIONS = """
2026-08-01 2026-07-01 2026-06-01 2026-05-01 2026-04-01 2026-03-01 2026-02-01 2026-01-01
2025-10-02-preview 2025-10-01 2025-09-01 2025-08-01 2025-07-01 2025-05-01 2025-04-01 2025-03-01 2025-02-01 2025-01-01
2024-10-01 2024-09-01 2024-08-01 2024-07-01 2024-06-01 2024-05-01 2024-04-02-preview 2024-02-01 2024-01-01
2023-11-02-preview 2023-11-01 2023-10-01 2023-09-01 2023-08-01 2023-07-01 2023-06-01 2023-05-01 2023-04-01 2023-03-01
2023-02-02-preview 2023-02-01 2023-01-01 2022-11-01 2022-09-01 2022-07-01 2022-06-01 2022-04-01 2022-03-01 2022-02-01
2022-01-01 2021-10-01 2021-09-01 2021-08-01 2021-07-01 2021-05-01 2021-03-01 2021-02-01
"""
API_VERSIONS = tuple(_API_VERSIONS.split())
"""All stable versions since 2021, and the previews that Azure Service Operator has kinds for; newest first."""

DURATIONS = {
    "cluster create": 240.0,
    "cluster update": 45.0,
    "cluster upgrade": 300.0,
    "cluster delete": 300.0,
    "cluster stop": 120.0,
    "cluster start": 150.0,
    "node": 60.0,
    "pool create": 120.0,
    "pool update": 30.0,
    "pool delete": 120.0,
}
"""Seconds that AKS takes. `node`: for each node added or upgraded in a pool; pools change in parallel."""

PATIENCE = 3600.0
"""Seconds until an operation gives up waiting for the data plane."""

DEFAULT_SIZES = (
    "Standard_D2s_v5",
    "Standard_D2as_v5",
    "Standard_D2s_v4",
    "Standard_DS2_v2",
    "Standard_D2s_v3",
    "Standard_D2s_v6",
)
"""The size of a pool that names no size: the first one that the region has and the family's quota allows."""

TIERS = ("Free", "Standard", "Premium")

NOT_EMULATED: dict[str, str] = {
    "aadProfile": "clusters with Microsoft Entra integration (aadProfile)",
    "apiServerAccessProfile.enablePrivateCluster": "private clusters",
    "apiServerAccessProfile.authorizedIPRanges": "authorized IP ranges of the API server",
    "fqdnSubdomain": "private clusters with a subdomain of their own (fqdnSubdomain)",
    "podIdentityProfile.enabled": "pod-managed identity",
    "httpProxyConfig": "HTTP proxies of clusters (httpProxyConfig)",
    "serviceMeshProfile": "the service mesh add-on (serviceMeshProfile)",
    "ingressProfile.webAppRouting.enabled": "the application routing add-on (ingressProfile)",
    "azureMonitorProfile.metrics.enabled": "Azure Monitor for clusters (azureMonitorProfile)",
    "windowsProfile": "Windows nodes (windowsProfile)",
    "diskEncryptionSetID": "disk encryption sets",
    "securityProfile.azureKeyVaultKms.enabled": "encryption of etcd with Azure Key Vault (azureKeyVaultKms)",
    "workloadAutoScalerProfile.keda.enabled": "the KEDA add-on (workloadAutoScalerProfile.keda)",
    "workloadAutoScalerProfile.verticalPodAutoscaler.enabled": "the vertical pod autoscaler (workloadAutoScalerProfile)",
    "aiToolchainOperatorProfile.enabled": "the AI toolchain operator",
    "hostedSystemProfile.enabled": "hosted system components (hostedSystemProfile)",
}
"""Cluster property -> the feature that it asks for."""

POOL_NOT_EMULATED: dict[str, str] = {
    "creationData": "pools made from snapshots (creationData)",
    "gpuInstanceProfile": "GPU instances",
    "hostGroupID": "dedicated hosts",
    "capacityReservationGroupID": "capacity reservations",
    "virtualMachinesProfile": "pools of single virtual machines (type VirtualMachines)",
    "gatewayProfile": "gateway pools",
    "windowsProfile": "Windows nodes",
}

REFUSED_ACTIONS: dict[str, str] = {
    "runcommand": "running commands in a cluster through ARM (az aks command invoke): use kubectl with the cluster's "
    "credentials",
    "rotateclustercertificates": "rotating a cluster's certificates",
    "rotateserviceaccountsigningkeys": "rotating a cluster's service account signing keys",
    "resetaadprofile": "Microsoft Entra integration of clusters",
    "resetserviceprincipalprofile": "clusters with a service principal",
    "resolveprivatelinkserviceid": "private clusters",
}
REFUSED_POOL_ACTIONS: dict[str, str] = {
    "upgradenodeimageversion": "newer node images: there is one image for each osSKU",
    "deletemachines": "deleting single machines of a pool: scale the pool instead",
    "abort": "aborting an operation on a pool",
}
REFUSED_TYPES: dict[str, str] = {
    "managedClusters/maintenanceConfigurations": "planned maintenance (maintenanceConfigurations)",
    "managedClusters/trustedAccessRoleBindings": "trusted access",
    "managedClusters/privateEndpointConnections": "private clusters",
    "managedClusters/managedNamespaces": "managed namespaces",
    "managedClusters/identityBindings": "identity bindings",
    "managedClusters/agentPools/machines": "machines of pools: the nodes are objects of the cluster's Kubernetes API",
    "snapshots": "node pool snapshots",
    "fleets": "Azure Kubernetes Fleet Manager",
}
