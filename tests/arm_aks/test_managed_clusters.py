"""AKS clusters through the unmodified SDK."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import yaml
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure_world import BASE, GROUP, Azure


def body(**properties: Any) -> dict[str, Any]:
    pool = {"name": "system", "mode": "System", "vmSize": "standard_d2as_v6", "osType": "Linux", "osSKU": "AzureLinux",
            "enableAutoScaling": True, "minCount": 1, "maxCount": 3}  # fmt: skip
    return {
        "location": "East US 2", "identity": {"type": "SystemAssigned"},
        "properties": {"dnsPrefix": "podinfo-prod-0", "agentPoolProfiles": [pool], **properties},
    }  # fmt: skip


def test_a_cluster_is_created_told_to_the_data_plane_and_succeeds(azure: Azure) -> None:
    poller = azure.clusters.begin_create_or_update(GROUP, "podinfo-prod-0-aks", body())
    cluster = poller.result().as_dict()
    properties = cluster["properties"]
    assert (properties["provisioningState"], cluster["location"]) == ("Succeeded", "eastus2")
    assert properties["currentKubernetesVersion"] == "1.35.8"
    assert properties["nodeResourceGroup"] == f"MC_{GROUP}_podinfo-prod-0-aks_eastus2"
    (pool,) = properties["agentPoolProfiles"]
    assert (pool["provisioningState"], pool["count"], pool["vmSize"]) == ("Succeeded", 1, "standard_d2as_v6")
    goal = azure.plane.last("cluster")
    assert goal.pools[0]["vm_size"] == "Standard_D2as_v6" and goal.version == "1.35.8"
    assert goal.oidc_issuer == properties["oidcIssuerProfile"]["issuerURL"]
