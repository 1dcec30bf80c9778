"""The objects that AKS itself installs in a cluster: a few add-ons in kube-system, one replica each, and storage classes.

The add-ons' programs only run until they are stopped.
"""

from __future__ import annotations

from typing import Any

from azuresandbox.machine.cluster import APPS, Cluster
from azuresandbox.machine.types import Object

SYSTEM = "kube-system"
REGISTRY = "mcr.microsoft.com/oss/v2"

DEPLOYMENTS: tuple[tuple[str, str, str], ...] = (
    ("coredns", f"{REGISTRY}/kubernetes/coredns:v1.12.1-6", "100m"),
    ("konnectivity-agent", f"{REGISTRY}/kubernetes/apiserver-network-proxy/agent:v0.31.4", "20m"),
    ("metrics-server", f"{REGISTRY}/kubernetes/metrics-server:v0.7.2-9", "44m"),
)
"""(name, image, CPU request) of each Deployment."""
WORKLOAD_IDENTITY = ("azure-wi-webhook-controller-manager", f"{REGISTRY}/azure/workload-identity/webhook:v1.5.1", "100m")
DAEMONS: tuple[tuple[str, str, str], ...] = (
    ("cloud-node-manager", f"{REGISTRY}/kubernetes/azure-cloud-node-manager:v1.33.2", "50m"),
    ("kube-proxy", f"{REGISTRY}/kubernetes/kube-proxy:v1.33.3", "100m"),
)
"""(name, image, CPU request) of each DaemonSet."""
IMAGES = tuple(image.rpartition(":")[0] for _, image, _ in (*DEPLOYMENTS, WORKLOAD_IDENTITY, *DAEMONS))

CLASSES = {"default": "disk.csi.azure.com", "managed-csi": "disk.csi.azure.com", "azurefile-csi": "file.csi.azure.com"}
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


async def install(cluster: Cluster) -> None:
    """Create the missing objects; existing ones are not changed."""
    deployments = list(DEPLOYMENTS)
    if cluster.goal.workload_identity:
        deployments.append(WORKLOAD_IDENTITY)
    wanted = [_workload("Deployment", *entry) for entry in deployments] + [_workload("DaemonSet", *entry) for entry in DAEMONS]
    for obj in wanted:
        cache = cluster.cache(APPS, obj["kind"])
        await cache.synced.wait()
        if cache.get(obj["metadata"]["name"], SYSTEM) is None:
            await cluster.ensure(obj)
    known = cluster.cache("storage.k8s.io/v1", "StorageClass")
    await known.synced.wait()
    for name, provisioner in CLASSES.items():
        if known.get(name) is None:
            await cluster.ensure(_storage_class(name, provisioner))
    if not cluster.goal.workload_identity:
        webhook = cluster.cache(APPS, "Deployment").get(WORKLOAD_IDENTITY[0], SYSTEM)
        if webhook is not None:
            await cluster.delete(webhook)


def _workload(kind: str, name: str, image: str, cpu: str) -> Object:
    labels = {"k8s-app": name}
    container = {"name": name, "image": image, "resources": {"requests": {"cpu": cpu, "memory": "50Mi"}}}
    pod: dict[str, Any] = {
        "containers": [container],
        "priorityClassName": "system-node-critical",
        "tolerations": [{"key": "CriticalAddonsOnly", "operator": "Exists"}],
    }
    if kind == "DaemonSet":
        pod |= {"hostNetwork": True, "tolerations": [{"operator": "Exists"}]}
    managed = {**labels, "addonmanager.kubernetes.io/mode": "Reconcile", "kubernetes.io/cluster-service": "true"}
    return {
        "apiVersion": APPS,
        "kind": kind,
        "metadata": {"name": name, "namespace": SYSTEM, "labels": managed},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}},
    }


def _storage_class(name: str, provisioner: str) -> Object:
    annotations = {DEFAULT_CLASS: "true"} if name == "default" else {}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name, "annotations": annotations},
        "provisioner": provisioner,
        "allowVolumeExpansion": True,
        "volumeBindingMode": "Immediate",
        "parameters": {"skuname": "StandardSSD_LRS" if provisioner.startswith("disk") else "Standard_LRS"},
    }
