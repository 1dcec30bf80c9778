"""A healthy fleet as documents of Git, the control plane, ARM and Resource Graph, without a server.

A test changes it: `documents.clusters[name]["properties"]["provisioningState"] = "Failed"`, then `documents.reading()`.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas

from fleetlib.clients.cloud import Cloud
from fleetlib.clients.session import Session
from fleetlib.environments import Environment
from fleetlib.errors import FleetError
from fleetlib.inspect.fleet import Fleet
from fleetlib.inspect.reading import FLUX, HUB, Arm, Git, Graph, Inside, Reading
from fleetlib.parameters import Parameters

HEAD = "c42724889d6c198b7a15821b7c148ce0ee0641c9"
CONTENT = "bfdf6a413f659208b8fd40339cddbcbd5e19cb4b"
SINCE = "2026-01-02T03:04:05Z"
SUBSCRIPTION = "1f0c3c2e-5d1b-4a27-8f7a-0e9b6a4d2c10"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/myfleet-rg"

Document = dict[str, Any]


def at(frame: pandas.DataFrame, *key: str) -> pandas.Series[Any]:
    """Return the row with these index values."""
    found = frame.xs(key if len(key) > 1 else key[0])
    assert isinstance(found, pandas.Series)
    return found


def condition(status: str = "True", reason: str = "Succeeded", message: str = "", **more: str) -> Document:
    return {"type": "Ready", "status": status, "reason": reason, "message": message, "lastTransitionTime": SINCE, **more}


def kubernetes(
    api_version: str, kind: str, namespace: str, name: str, spec: Document, status: Document | None = None
) -> Document:
    metadata = {
        "name": name,
        "namespace": namespace,
        "generation": 1,
        "creationTimestamp": "2026-01-02T03:00:00Z",
        "uid": f"uid-{name}",
    }
    status = {"observedGeneration": 1, "conditions": [condition()], **(status or {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec, "status": status}


def flux(kind: str, name: str, spec: Document, status: Document | None = None) -> Document:
    return kubernetes(FLUX[kind][0], kind, "cluster-config", name, spec, status)


def aso(kind: str, name: str, spec: Document, status: Document | None = None) -> Document:
    obj = kubernetes(HUB[kind][0], kind, "clusters", name, spec, status)
    obj["status"].pop("observedGeneration")  # ASO keeps it in the condition
    return obj


def cluster(name: str, environment: str, group: str = GROUP, **properties: Any) -> Document:
    pool = {
        "name": "system",
        "mode": "System",
        "count": 1,
        "minCount": 1,
        "maxCount": 3,
        "enableAutoScaling": True,
        "osSKU": "AzureLinux",
        "vmSize": "Standard_D2as_v6",
        "orchestratorVersion": "1.35.8",
        "currentOrchestratorVersion": "1.35.8",
        "provisioningState": "Succeeded",
        "nodeImageVersion": "AKSAzureLinux-V3gen2-202611.04.0",
        "powerState": {"code": "Running"},
    }
    return {
        "id": f"{group}/providers/Microsoft.ContainerService/managedClusters/{name}",
        "name": name,
        "location": "eastus2",
        "type": "Microsoft.ContainerService/managedClusters",
        "tags": {"environment": environment},
        "sku": {"name": "Base", "tier": "Free"},
        "systemData": {"createdAt": "2026-01-02T03:00:00.5Z"},
        "properties": {
            "provisioningState": "Succeeded",
            "powerState": {"code": "Running"},
            "kubernetesVersion": "1.35",
            "currentKubernetesVersion": "1.35.8",
            "agentPoolProfiles": [pool],
            **properties,
        },
    }


def extension(cluster_id: str) -> Document:
    return {
        "id": f"{cluster_id}/providers/Microsoft.KubernetesConfiguration/extensions/flux".lower(),
        "name": "flux",
        "type": "microsoft.kubernetesconfiguration/extensions",
        "properties": {
            "extensionType": "microsoft.flux",
            "provisioningState": "Succeeded",
            "currentVersion": "1.19.5",
            "autoUpgradeMinorVersion": True,
            "releaseTrain": "Stable",
            "statuses": [],
        },
    }


def configuration(cluster_id: str) -> Document:
    def told(kind: str, name: str, message: str) -> Document:
        return {
            "kind": kind,
            "name": name,
            "namespace": "cluster-config",
            "complianceState": "Compliant",
            "statusConditions": [condition(message=message)],
            "helmReleaseProperties": None,
        }

    return {
        "id": f"{cluster_id}/providers/Microsoft.KubernetesConfiguration/fluxConfigurations/cluster-config".lower(),
        "name": "cluster-config",
        "type": "microsoft.kubernetesconfiguration/fluxconfigurations",
        "properties": {
            "provisioningState": "Succeeded",
            "complianceState": "Compliant",
            "sourceSyncedCommitId": f"main@sha1:{CONTENT}",
            "statuses": [
                told("GitRepository", "cluster-config", f"stored artifact for revision 'main@sha1:{CONTENT}'"),
                told("Kustomization", "cluster-config-apps", f"Applied revision: main@sha1:{CONTENT}"),
                told(
                    "HelmRelease", "podinfo", "Helm install succeeded for release podinfo/podinfo.v1 with chart podinfo@6.9.2"
                ),
            ],
        },
    }


@dataclass
class Documents:
    """A healthy fleet with `counts` clusters by environment. Change its documents, then call `reading()` or `fleet()`."""

    counts: dict[str, int] = field(default_factory=lambda: {"podinfo-staging": 1, "podinfo-prod": 2})
    head: str = HEAD
    environments: dict[str, Environment] = field(default_factory=dict)
    hub: dict[str, list[Document]] = field(default_factory=dict)
    clusters: dict[str, Document] = field(default_factory=dict)
    control_plane: dict[str, Document] = field(default_factory=dict)
    extensions: dict[str, list[Document]] = field(default_factory=dict)
    configurations: dict[str, list[Document]] = field(default_factory=dict)
    inside: dict[str, Inside] = field(default_factory=dict)
    unread: dict[str, FleetError] = field(default_factory=dict)
    parameters: Parameters = field(default_factory=Parameters)

    def __post_init__(self) -> None:
        self.hub = {kind: [] for kind in (*HUB, *FLUX)}
        revision = {"artifact": {"revision": f"main@sha1:{HEAD}"}}
        url = {"url": "https://github.com/contoso/aks-fleet", "interval": "1m", "ref": {"branch": "main"}}
        self.hub["GitRepository"] = [flux("GitRepository", "cluster-config", url, revision)]
        chart = {"url": "oci://contosofleet.azurecr.io/charts/podinfocluster", "interval": "5m", "ref": {"tag": "0.1.0"}}
        self.hub["OCIRepository"] = [
            flux("OCIRepository", "aso-cluster-charts", chart, {"artifact": {"revision": "0.1.0@sha256:38c4defb"}})
        ]
        spec = {"sourceRef": {"kind": "GitRepository", "name": "cluster-config"}, "path": "./flux/clusters", "prune": True}
        applied = {"lastAppliedRevision": f"main@sha1:{HEAD}", "inventory": {"entries": [{"id": "a"}]}}
        self.hub["Kustomization"] = [flux("Kustomization", "cluster-config-clusters", spec, applied)]
        self.hub["ResourceGroup"] = [aso("ResourceGroup", "myfleet-rg", {"location": "eastus2"})]
        hub_group = GROUP.replace("myfleet-rg", "controlplane-rg")
        self.control_plane["asocluster-aks"] = cluster("asocluster-aks", "", hub_group)
        self.extensions["asocluster-aks"] = [extension(self.control_plane["asocluster-aks"]["id"])]
        for release, count in self.counts.items():
            self._environment(release, count)

    def _environment(self, release: str, count: int) -> None:
        name = release.replace("-", "")
        values = {"clusterCount": count, "location": "eastus2", "vmSize": "Standard_D2as_v6"}
        self.environments[release] = Environment(name, release, f"flux/clusters/{name}.yaml", 0, values)
        history = [
            {
                "name": release,
                "namespace": "clusters",
                "version": 1,
                "status": "deployed",
                "chartName": "podinfocluster",
                "chartVersion": "0.1.0",
            }
        ]
        self.hub["HelmRelease"].append(
            flux("HelmRelease", name, {"chartRef": {"name": "aso-cluster-charts"}}, {"history": history})
        )
        for item in self.environments[release].clusters():
            self.add(item, release)

    def add(self, name: str, release: str) -> None:
        """Add a cluster to ASO and Azure."""
        owner = {"owner": {"name": name}}
        self.hub["ManagedCluster"].append(aso("ManagedCluster", name, {"owner": {"name": "myfleet-rg"}, "location": "eastus2"}))
        self.hub["Extension"].append(
            aso("Extension", f"{name}-flux", {**owner, "azureName": "flux", "extensionType": "microsoft.flux"})
        )
        self.hub["FluxConfiguration"].append(
            aso("FluxConfiguration", f"{name}-config", {**owner, "azureName": "cluster-config"})
        )
        for kind in ("ManagedCluster", "Extension", "FluxConfiguration"):
            self.hub[kind][-1]["metadata"]["labels"] = {"fleet/environment": release}
        self.clusters[name] = cluster(name, release)
        self.extensions[name] = [extension(self.clusters[name]["id"])]
        self.configurations[name] = [configuration(self.clusters[name]["id"])]

    def object(self, kind: str, name: str) -> Document:
        """Return an object of the control plane."""
        return next(obj for obj in self.hub[kind] if obj["metadata"]["name"] == name)

    def reading(self) -> Reading:
        cloud = Cloud(
            name="AzureCloud",
            resource_manager="https://arm.invalid",
            authority="https://entra.invalid",
            home=Path("/nonexistent"),
            portal="https://portal.invalid",
        )
        reading = Reading(Session(self.parameters, cloud))
        parts = copy.deepcopy(
            {
                "git": Git(self.head, self.environments),
                "hub": self.hub,
                "arm": Arm(self.clusters, self.control_plane),
                "graph": Graph(self.extensions, self.configurations),
            }
        )
        reading.unread.update(self.unread)
        reading._parts.update({side: part for side, part in parts.items() if side not in self.unread})
        reading._inside.update(copy.deepcopy(self.inside))
        return reading

    def fleet(self) -> Fleet:
        reading = self.reading()
        reading.prepare = lambda *sides: None  # type: ignore[method-assign]
        return Fleet(reading.session, reading)
