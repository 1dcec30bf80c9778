"""Two usual ways to read a fleet cluster by cluster: a script of the official SDKs, and kubectl in a loop.

Both get their credentials and addresses before the measurement, and neither is slowed down.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from azure.mgmt.containerservice import ContainerServiceClient
from azure.mgmt.kubernetesconfiguration.extensions import KubernetesConfigurationExtensionsMgmtClient
from azure.mgmt.kubernetesconfiguration.fluxconfigurations import KubernetesConfigurationFluxConfigurationsMgmtClient
from kubernetes import client, config

from fleetlib.clients.session import Session

AKS = ("Microsoft.ContainerService", "managedClusters")
ASO = (
    ("containerservice.azure.com", "v1api20240901", "managedclusters", "{}"),
    ("kubernetesconfiguration.azure.com", "v1api20230501", "extensions", "{}-flux"),
    ("kubernetesconfiguration.azure.com", "v1api20230501", "fluxconfigurations", "{}-config"),
)
"""(group, version, plural, name) of a cluster's objects on the control plane."""


class Script:
    """A script of the official SDKs. For each cluster it reads three resources in ARM, three ASO objects and the workloads."""

    def __init__(self, session: Session) -> None:
        p = session.parameters
        self._group, self._namespace = p.fleet_group, p.cluster_namespace
        make, subscription = session.cloud.client, session.azure.subscription_id
        self._aks = make(ContainerServiceClient, subscription).managed_clusters
        self._extensions = make(KubernetesConfigurationExtensionsMgmtClient, subscription).extensions
        self._flux = make(KubernetesConfigurationFluxConfigurationsMgmtClient, subscription).flux_configurations
        self._hub = client.CustomObjectsApi(self._api(p.controlplane_group, p.controlplane_cluster))

    def _api(self, group: str, name: str) -> Any:
        credential = self._aks.list_cluster_user_credentials(group, name).kubeconfigs[0].value
        return config.new_client_from_config_dict(yaml.safe_load(credential.decode()))

    def names(self) -> list[str]:
        return sorted(cluster.name for cluster in self._aks.list_by_resource_group(self._group))

    def ask(self, name: str, deep: bool) -> dict[str, Any]:
        """Return one cluster's row."""
        cluster = self._aks.get(self._group, name)
        row = {
            "name": name,
            "version": cluster.current_kubernetes_version,
            "provisioning": cluster.provisioning_state,
            "extensions": [one.provisioning_state for one in self._extensions.list(self._group, *AKS, name)],
            "compliance": [one.compliance_state for one in self._flux.list(self._group, *AKS, name)],
            "aso": [self._ready(group, version, plural, of.format(name)) for group, version, plural, of in ASO],
        }
        return row | self._workloads(name) if deep else row

    def _ready(self, group: str, version: str, plural: str, name: str) -> str:
        found = self._hub.get_namespaced_custom_object(group, version, self._namespace, plural, name)
        return next(str(one["status"]) for one in found["status"]["conditions"] if one["type"] == "Ready")

    def _workloads(self, name: str) -> dict[str, Any]:
        with self._api(self._group, name) as api:
            apps = client.AppsV1Api(api)
            ready = [d.status.ready_replicas == d.status.replicas for d in apps.list_deployment_for_all_namespaces().items]
            ready += [s.status.ready_replicas == s.status.replicas for s in apps.list_stateful_set_for_all_namespaces().items]
            daemons = apps.list_daemon_set_for_all_namespaces().items
            ready += [d.status.number_ready == d.status.desired_number_scheduled for d in daemons]
        return {"workloads": len(ready), "workloads_ready": sum(ready)}


def script_seconds(session: Session, names: list[str], deep: bool) -> float:
    """Return the seconds for these clusters; fail if the answers are not those of the simulated fleet."""
    script = Script(session)
    script.ask(names[0], deep)  # imports and the sign-in are not counted
    began = time.perf_counter()
    rows = [script.ask(name, deep) for name in names]
    took = time.perf_counter() - began
    expected = {"provisioning": "Succeeded", "extensions": ["Succeeded"], "aso": ["True"] * 3}
    for row in rows:
        assert expected.items() <= row.items() and row["compliance"] in (["Compliant"], ["Non-Compliant"]), row
        assert not deep or row["workloads"] == row["workloads_ready"] > 0, row
    return took


def kubeconfigs(session: Session, names: Iterable[str], folder: Path) -> list[Path]:
    """Write a kubeconfig for each cluster and return the paths."""
    from fleetlib.clients.azure import managed_clusters

    folder.mkdir(mode=0o700, exist_ok=True)
    paths = []
    for name in names:
        path = folder / f"{name}.yaml"
        with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
            yaml.safe_dump(managed_clusters.kubeconfig(session.azure, session.parameters.fleet_group, name), file)
        paths.append(path)
    return paths


def kubectl_seconds(kubectl: str, paths: list[Path], cache: Path) -> float:
    """Return the seconds of `kubectl get` of the workloads for each cluster in turn, with kubectl's discovery cached."""
    command = ["get", "deployments,statefulsets,daemonsets", "--all-namespaces", "--output", "json", f"--cache-dir={cache}"]
    environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}

    def ask(path: Path) -> int:
        answer = subprocess.run(
            [kubectl, f"--kubeconfig={path}", *command], check=True, capture_output=True, env=environment, timeout=3600
        ).stdout
        return len(json.loads(answer)["items"])

    ask(paths[0])
    began = time.perf_counter()
    counts = {ask(path) for path in paths}
    took = time.perf_counter() - began
    assert len(counts) == 1 and counts.pop() > 0
    return took
