"""AKS clusters and their credentials. Source: Microsoft.ContainerService/managedClusters."""

from __future__ import annotations

from typing import Any

import yaml

from fleetlib.change import Step, differences
from fleetlib.clients.azure import rest
from fleetlib.clients.azure.calls import ArmRequest, collect, read, required
from fleetlib.clients.azure.clients import Azure
from fleetlib.clients.kube import Kube
from fleetlib.errors import FinalError, RetryableError


def get(azure: Azure, group: str, name: str) -> dict[str, Any] | None:
    """Return the cluster; `None` if it does not exist."""
    return read(lambda: azure.containers.managed_clusters.get(group, name), name)


def list_in(azure: Azure, group: str) -> list[dict[str, Any]]:
    """Return the clusters of a resource group."""
    return collect(lambda: azure.containers.managed_clusters.list_by_resource_group(group), group)


def desired(name: str, location: str, version: str, vm_size: str, nodes: int) -> dict[str, Any]:
    """Return the request body of the control-plane cluster, with the OIDC issuer and workload identity that ASO's identity
    needs.
    """
    properties: dict[str, Any] = {
        "dnsPrefix": name,
        "agentPoolProfiles": [
            {
                "name": "nodepool1",
                "mode": "System",
                "count": nodes,
                "vmSize": vm_size,
                "osType": "Linux",
                "type": "VirtualMachineScaleSets",
            }
        ],
        "oidcIssuerProfile": {"enabled": True},
        "securityProfile": {"workloadIdentity": {"enabled": True}},
    }
    if version:
        properties["kubernetesVersion"] = version
    return {"location": location, "identity": {"type": "SystemAssigned"}, "properties": properties}


def ensure(azure: Azure, group: str, name: str, body: dict[str, Any], timeout: float) -> Step:
    """Return the step that creates or updates the cluster as in `body`.

    It raises `RetryableError` while another operation runs on the cluster, `FinalError` if the cluster is in another region.
    """

    def compare(current: dict[str, Any]) -> list[str]:
        state = current["properties"]["provisioningState"]
        if state not in ("Succeeded", "Failed", "Canceled"):
            raise RetryableError(
                f"another operation is in progress on the cluster: {state}",
                target=name,
                fix="wait for it to end, then run again",
            )
        if current["location"] != body["location"]:
            here = current["location"]
            raise FinalError(
                f"the cluster is in another region: {here}", target=name, fix=f"set the parameter location to {here}"
            )
        lines = differences(_comparable(body), _comparable(current))
        return lines if state == "Succeeded" else [f"provisioningState: {state} -> Succeeded", *lines]

    def put(current: Any) -> ArmRequest:
        merged = body if current is None else _merged(current, body)
        return ArmRequest(
            lambda **options: azure.containers.managed_clusters.begin_create_or_update(group, name, merged, **options),
            f"create the cluster {name}" if current is None else f"update the cluster {name}",
            name,
            timeout,
        )

    return Step("managed cluster", name, lambda: get(azure, group, name), put, compare)


def _comparable(cluster: dict[str, Any]) -> dict[str, Any]:
    """Return the cluster with VM sizes in lower case and without its version: Azure returns both in other forms than those
    in the request.
    """
    properties = dict(cluster["properties"])
    pools = properties.get("agentPoolProfiles") or []
    properties["agentPoolProfiles"] = [{**pool, "vmSize": pool["vmSize"].lower()} for pool in pools]
    properties.pop("kubernetesVersion", None)
    return {"properties": properties}


def _merged(current: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """Merge `body` into the current cluster: a PUT replaces it, and settings that `body` lacks must be kept."""
    properties = {**current["properties"], **body["properties"]}
    for read_only in ("provisioningState", "powerState", "fqdn", "currentKubernetesVersion", "maxAgentPools", "resourceUID"):
        properties.pop(read_only, None)
    wanted = {pool["name"]: pool for pool in body["properties"]["agentPoolProfiles"]}
    pools = {pool["name"]: pool for pool in current["properties"].get("agentPoolProfiles") or []}
    properties["agentPoolProfiles"] = [{**pools.get(name, {}), **wanted.get(name, {})} for name in {**pools, **wanted}]
    return {**{k: v for k, v in current.items() if k in ("location", "tags", "identity", "sku")}, "properties": properties}


def delete(azure: Azure, group: str, name: str, timeout: float) -> Step:
    """Return the step that deletes the cluster."""

    def remove(current: Any) -> ArmRequest:
        return ArmRequest(
            lambda **options: azure.containers.managed_clusters.begin_delete(group, name, **options),
            f"delete the cluster {name}",
            name,
            timeout,
        )

    return Step("managed cluster", name, lambda: get(azure, group, name), remove, absent=True)


def issuer(cluster: dict[str, Any]) -> str:
    """Return the URL of the cluster's OIDC issuer; "" if it is off."""
    return ((cluster["properties"].get("oidcIssuerProfile")) or {}).get("issuerURL") or ""


def workload_identity(cluster: dict[str, Any]) -> bool:
    """Return whether workload identity is on."""
    profile = (cluster["properties"].get("securityProfile") or {}).get("workloadIdentity") or {}
    return bool(profile.get("enabled"))


def kubeconfig(azure: Azure, group: str, name: str, *, admin: bool = False) -> dict[str, Any]:
    """Return the kubeconfig that AKS issues, as a dictionary. It holds credentials: keep it out of outputs and readable files.

    Raises `FinalError` if the cluster does not exist.
    """
    import base64

    action = "listClusterAdminCredential" if admin else "listClusterUserCredential"
    path = f"{azure.group_id(group)}/providers/Microsoft.ContainerService/managedClusters/{name}/{action}"
    answer = required(rest.post(azure, path, rest.CONTAINER_SERVICE), f"cluster {name}", "01_create_control_plane")
    return yaml.load(base64.b64decode(answer["kubeconfigs"][0]["value"]), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def connect(azure: Azure, group: str, name: str) -> Kube:
    """Return a client of the cluster's Kubernetes API. Raises `FinalError` if the cluster does not exist."""
    return Kube(kubeconfig(azure, group, name), name, azure.cloud.home)


def versions(azure: Azure, location: str) -> list[dict[str, Any]]:
    """Return the Kubernetes versions that the region offers: [{version, isDefault, isPreview, capabilities, patchVersions}]."""
    found = required(
        read(lambda: azure.containers.managed_clusters.list_kubernetes_versions(location), location), f"region {location}", "00"
    )
    return found["values"]
