"""The properties that AKS fills in: the managed cluster and its pools as a PUT returns them.

Pure functions over JSON documents. The values are those that AKS answered in late 2025 (read from the recordings of real calls
in Azure Service Operator's tests).
"""

from __future__ import annotations

import copy
import hashlib
from typing import Any

Document = dict[str, Any]

CLUSTER: Document = {
    "enableRBAC": True,
    "supportPlan": "KubernetesOfficial",
    "networkProfile": {
        "networkPlugin": "azure",
        "networkPluginMode": "overlay",
        "networkPolicy": "none",
        "networkDataplane": "azure",
        "loadBalancerSku": "standard",
        "loadBalancerProfile": {"managedOutboundIPs": {"count": 1}, "backendPoolType": "nodeIPConfiguration"},
        "podCidr": "10.244.0.0/16",
        "serviceCidr": "10.0.0.0/16",
        "dnsServiceIP": "10.0.0.10",
        "outboundType": "loadBalancer",
        "podCidrs": ["10.244.0.0/16"],
        "serviceCidrs": ["10.0.0.0/16"],
        "ipFamilies": ["IPv4"],
    },
    "autoUpgradeProfile": {"nodeOSUpgradeChannel": "NodeImage"},
    "disableLocalAccounts": False,
    "securityProfile": {},
    "storageProfile": {
        "diskCSIDriver": {"enabled": True},
        "fileCSIDriver": {"enabled": True},
        "snapshotController": {"enabled": True},
    },
    "oidcIssuerProfile": {"enabled": False},
    "workloadAutoScalerProfile": {},
    "metricsProfile": {"costAnalysis": {"enabled": False}},
    "nodeProvisioningProfile": {"mode": "Manual", "defaultNodePools": "Auto"},
    "bootstrapProfile": {"artifactSource": "Direct"},
}

AUTO_SCALER: Document = {
    "balance-similar-node-groups": "false",
    "daemonset-eviction-for-empty-nodes": False,
    "daemonset-eviction-for-occupied-nodes": True,
    "expander": "random",
    "ignore-daemonsets-utilization": False,
    "max-empty-bulk-delete": "10",
    "max-graceful-termination-sec": "600",
    "max-node-provision-time": "15m",
    "max-total-unready-percentage": "45",
    "new-pod-scale-up-delay": "0s",
    "ok-total-unready-count": "3",
    "scale-down-delay-after-add": "10m",
    "scale-down-delay-after-delete": "10s",
    "scale-down-delay-after-failure": "3m",
    "scale-down-unneeded-time": "10m",
    "scale-down-unready-time": "20m",
    "scale-down-utilization-threshold": "0.5",
    "scan-interval": "10s",
    "skip-nodes-with-local-storage": "false",
    "skip-nodes-with-system-pods": "true",
}
"""The autoscaler's profile, filled in once a pool has autoscaling enabled."""

POOL: Document = {
    "count": 1,
    "osDiskSizeGB": 128,
    "osDiskType": "Managed",
    "kubeletDiskType": "OS",
    "maxPods": 250,
    "type": "VirtualMachineScaleSets",
    "enableAutoScaling": False,
    "scaleDownMode": "Delete",
    "enableNodePublicIP": False,
    "mode": "User",
    "osType": "Linux",
    "enableFIPS": False,
    "upgradeSettings": {"maxSurge": "10%", "maxUnavailable": "0"},
    "securityProfile": {"sshAccess": "LocalUser", "enableVTPM": False, "enableSecureBoot": False},
}

OS_SKU = {"Linux": "Ubuntu", "Windows": "Windows2022"}
MAX_AGENT_POOLS = 100

NODE_IMAGES = {
    "Ubuntu": "AKSUbuntu-2404gen2containerd-202611.04.0",
    "Ubuntu2204": "AKSUbuntu-2204gen2containerd-202611.04.0",
    "Ubuntu2404": "AKSUbuntu-2404gen2containerd-202611.04.0",
    "AzureLinux": "AKSAzureLinux-V3gen2-202611.04.0",
    "AzureLinux3": "AKSAzureLinux-V3gen2-202611.04.0",
}
"""osSKU -> the node image that new nodes get."""

READ_ONLY = frozenset(
    (
        "provisioningState",
        "powerState",
        "maxAgentPools",
        "currentKubernetesVersion",
        "fqdn",
        "privateFQDN",
        "azurePortalFQDN",
        "resourceUID",
        "status",
    )
)
"""Cluster properties that AKS sets. A PUT that carries them (read, changed, written back) is accepted, and they are ignored."""

POOL_READ_ONLY = frozenset(["eTag", "provisioningState", "currentOrchestratorVersion", "nodeImageVersion", "status"])


def merged(base: Document, over: Document) -> Document:
    """Return `over` merged into `base`, key by key. Null means not given, as for AKS."""
    result = copy.deepcopy(base)
    for key, value in over.items():
        if value is None:
            continue
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def pool(wanted: Document, current: Document | None, version: str) -> Document:
    """Return a pool's properties: the given ones over the current ones or the defaults. `version`: the control plane's."""
    given = {key: value for key, value in wanted.items() if key not in POOL_READ_ONLY}
    base = copy.deepcopy(POOL) if current is None else copy.deepcopy(current)
    if current is not None and given.get("enableAutoScaling", current.get("enableAutoScaling")):
        given.pop("count", None)  # the autoscaler owns the count
    result = merged(base, given)
    for replaced in ("nodeLabels", "nodeTaints", "tags", "availabilityZones"):  # sets are replaced, not merged
        if wanted.get(replaced) is not None:
            result[replaced] = copy.deepcopy(wanted[replaced])
    if result["enableAutoScaling"]:
        result["count"] = min(max(result["count"], result.get("minCount") or 1), result.get("maxCount") or result["count"])
    else:
        result.pop("minCount", None)
        result.pop("maxCount", None)
    result.setdefault("osSKU", OS_SKU[result["osType"]])
    result.setdefault("orchestratorVersion", version)
    result.setdefault("powerState", {"code": "Running"})
    result["nodeImageVersion"] = NODE_IMAGES.get(result["osSKU"], NODE_IMAGES["Ubuntu"])
    return result


def cluster(wanted: Document, current: Document | None) -> Document:
    """Return a cluster's properties without its pools: the given ones over the current ones or the defaults."""
    given = {key: value for key, value in wanted.items() if key not in READ_ONLY and key != "agentPoolProfiles"}
    return merged(CLUSTER if current is None else current, given)


def identities(properties: Document, resource_group_id: str, name: str, client_id: str, object_id: str) -> None:
    """Complete the kubelet's identity and the outbound address, which AKS creates in the node resource group."""
    properties.setdefault("servicePrincipalProfile", {"clientId": "msi"})
    properties.setdefault("identityProfile", {}).setdefault(
        "kubeletidentity",
        {
            "resourceId": f"{resource_group_id}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}-agentpool",
            "clientId": client_id,
            "objectId": object_id,
        },
    )
    profile = properties["networkProfile"].get("loadBalancerProfile")
    if profile is not None:
        address = f"{resource_group_id}/providers/Microsoft.Network/publicIPAddresses/{object_id}"
        profile.setdefault("effectiveOutboundIPs", [{"id": address}])


def node_resource_group(group: str, name: str, location: str) -> str:
    """Return AKS's name for the resource group of the nodes, cut to 80 characters."""
    return f"MC_{group}_{name}_{location}"[:80]


def fqdn_suffix(resource_uid: str) -> str:
    """Return the eight characters that make the API server's name unique: letters and digits, stable for the cluster's life."""
    alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
    digest = hashlib.sha256(resource_uid.encode()).digest()
    return "".join(alphabet[byte % len(alphabet)] for byte in digest[:8])
