"""The tables of Microsoft.KubernetesConfiguration: api-versions, durations, extension types, defaults."""

from __future__ import annotations

from typing import Any

NAMESPACE = "Microsoft.KubernetesConfiguration"

EXTENSION_VERSIONS = (
    "2025-03-01",
    "2024-11-01",
    "2023-05-01",
    "2022-11-01",
    "2022-07-01",
    "2022-04-02-preview",
    "2022-03-01",
    "2021-09-01",
)
FLUX_VERSIONS = ("2025-04-01", "2024-11-01", "2023-05-01", "2022-11-01", "2022-07-01", "2022-03-01", "2022-01-01-preview")

DURATIONS = {
    "extension create": 180.0,
    "extension update": 90.0,
    "extension delete": 60.0,
    "configuration create": 60.0,
    "configuration update": 20.0,
    "configuration delete": 30.0,
}
"""Seconds that the service needs in addition to the work in the cluster."""

PATIENCE = {"extension": 1200.0, "configuration": 1200.0, "delete": 1200.0, "forced": 60.0, "extension missing": 60.0}
"""Seconds until the service gives up waiting for the cluster."""

FLUX = "microsoft.flux"
FLUX_RELEASES = ("1.17.3", "1.18.2", "1.19.5")
"""Versions of microsoft.flux, oldest first; 1.19.5 carries Flux v2.6.4."""

_NOT_EMULATED = """
azuremonitor-containers azure-policy azuredefender-kubernetes microsoft.azuremonitor.containers microsoft.azurepolicy
microsoft.azuredefender.kubernetes microsoft.azurekeyvaultsecretsprovider microsoft.azureml.kubernetes microsoft.dapr
microsoft.dataprotection.kubernetes microsoft.azurecontainerstorage microsoft.arccontainerstorage microsoft.eventgrid
microsoft.web.appservice microsoft.app.environment microsoft.argocd microsoft.apimanagement.gateway
microsoft.appconfiguration microsoft.openservicemesh microsoft.videoindexer microsoft.iotoperations microsoft.certmanagement
"""
NOT_EMULATED = frozenset(_NOT_EMULATED.split())
"""Extension types that Azure has and the sandbox does not emulate."""

EXTENSION: dict[str, Any] = {
    "autoUpgradeMinorVersion": True,
    "releaseTrain": "Stable",
    "scope": {"cluster": {"releaseNamespace": "flux-system"}},
    "configurationSettings": {},
    "configurationProtectedSettings": {},
    "statuses": [],
    "isSystemExtension": False,
}

SOURCES = {"GitRepository": "gitRepository", "Bucket": "bucket", "AzureBlob": "azureBlob", "OCIRepository": "ociRepository"}
"""sourceKind -> the property that describes the source."""

SUPPORTED_SOURCES = ("GitRepository", "OCIRepository")

CONFIGURATION: dict[str, Any] = {
    "scope": "cluster",
    "namespace": "default",
    "suspend": False,
    "configurationProtectedSettings": {},
    "repositoryPublicKey": "",
    "errorMessage": "",
    "statuses": [],
}

SOURCE: dict[str, dict[str, Any]] = {
    "gitRepository": {"timeoutInSeconds": 600, "syncIntervalInSeconds": 600, "repositoryRef": {}},
    "ociRepository": {"timeoutInSeconds": 600, "syncIntervalInSeconds": 600, "repositoryRef": {}, "insecure": False},
}

KUSTOMIZATION: dict[str, Any] = {
    "path": "",
    "dependsOn": [],
    "timeoutInSeconds": 600,
    "syncIntervalInSeconds": 600,
    "prune": False,
    "force": False,
    "wait": True,
}

LIVE = (
    "complianceState",
    "statuses",
    "sourceSyncedCommitId",
    "sourceUpdatedAt",
    "statusUpdatedAt",
    "errorMessage",
    "repositoryPublicKey",
)
"""Properties of a configuration that the agent in the cluster reports (`Report.details`, under these names)."""
