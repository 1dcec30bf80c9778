"""The microsoft.flux extension and Flux configurations of a cluster. Source: Microsoft.KubernetesConfiguration."""

from __future__ import annotations

from typing import Any

from fleetlib.change import Step, differences
from fleetlib.clients.azure.calls import ArmRequest, collect, read
from fleetlib.clients.azure.clients import Azure

PROVIDER, CLUSTERS = "Microsoft.ContainerService", "managedClusters"


def extension(azure: Azure, group: str, cluster: str) -> dict[str, Any] | None:
    """Return the extension microsoft.flux of a cluster; `None` if it is not installed."""
    return read(lambda: azure.extensions.extensions.get(group, PROVIDER, CLUSTERS, cluster, "flux"), f"{cluster}/flux")


def ensure_extension(azure: Azure, group: str, cluster: str, timeout: float) -> Step:
    """Return the step that installs the extension: Azure's build of Flux, in the namespace flux-system."""
    body = {"properties": {"extensionType": "microsoft.flux", "autoUpgradeMinorVersion": True}}

    def compare(current: dict[str, Any]) -> list[str]:
        state = current["properties"]["provisioningState"]
        return [] if state == "Succeeded" else [f"provisioningState: {state} -> Succeeded"]

    def create(current: Any) -> ArmRequest:
        return ArmRequest(
            lambda **options: azure.extensions.extensions.begin_create(
                group, PROVIDER, CLUSTERS, cluster, "flux", body, **options
            ),
            "install the extension microsoft.flux",
            f"{cluster}/flux",
            timeout,
        )

    return Step("extension", f"{cluster}/flux", lambda: extension(azure, group, cluster), create, compare)


def get(azure: Azure, group: str, cluster: str, name: str) -> dict[str, Any] | None:
    """Return the Flux configuration; `None` if it does not exist.

    `properties.complianceState` and `.statuses` are its results.
    """
    return read(lambda: azure.flux.flux_configurations.get(group, PROVIDER, CLUSTERS, cluster, name), f"{cluster}/{name}")


def kustomization(path: str, *, depends_on: tuple[str, ...] = (), interval: int = 60) -> dict[str, Any]:
    """Return a kustomization of a configuration, in ARM's shape.

    `wait` is set, so that its dependents start when it is ready.
    """
    return {
        "path": path,
        "dependsOn": list(depends_on),
        "prune": True,
        "wait": True,
        "force": False,
        "syncIntervalInSeconds": interval,
        "retryIntervalInSeconds": 60,
        "timeoutInSeconds": 600,
    }


def desired(namespace: str, repository: str, branch: str, kustomizations: dict[str, Any]) -> dict[str, Any]:
    """Return the request body of a Flux configuration. `kustomizations` is name -> `kustomization(...)`."""
    return {
        "properties": {
            "scope": "cluster",
            "namespace": namespace,
            "sourceKind": "GitRepository",
            "suspend": False,
            "gitRepository": {
                "url": repository,
                "repositoryRef": {"branch": branch},
                "syncIntervalInSeconds": 60,
                "timeoutInSeconds": 600,
            },
            "kustomizations": kustomizations,
        }
    }


def ensure(azure: Azure, group: str, cluster: str, name: str, body: dict[str, Any], timeout: float) -> Step:
    """Return the step that creates or updates the configuration as in `body`. Kustomizations that `body` lacks are kept."""

    def put(current: Any) -> ArmRequest:
        kept = {} if current is None else current["properties"].get("kustomizations") or {}
        merged = {**{key: _writable(value) for key, value in kept.items()}, **body["properties"]["kustomizations"]}
        request = {"properties": {**body["properties"], "kustomizations": merged}}
        return ArmRequest(
            lambda **options: azure.flux.flux_configurations.begin_create_or_update(
                group, PROVIDER, CLUSTERS, cluster, name, request, **options
            ),
            f"write the Flux configuration {name}",
            f"{cluster}/{name}",
            timeout,
        )

    return Step(
        "flux configuration",
        f"{cluster}/{name}",
        lambda: get(azure, group, cluster, name),
        put,
        lambda current: differences(body, current),
    )


def _writable(kustomization: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in kustomization.items() if key != "name"}


def delete(azure: Azure, group: str, cluster: str, name: str, timeout: float) -> Step:
    """Return the step that deletes the configuration, and with it the objects that it applied with `prune`."""

    def remove(current: Any) -> ArmRequest:
        return ArmRequest(
            lambda **options: azure.flux.flux_configurations.begin_delete(group, PROVIDER, CLUSTERS, cluster, name, **options),
            f"delete the Flux configuration {name}",
            f"{cluster}/{name}",
            timeout,
        )

    return Step("flux configuration", f"{cluster}/{name}", lambda: get(azure, group, cluster, name), remove, absent=True)


def delete_extension(azure: Azure, group: str, cluster: str, timeout: float) -> Step:
    """Return the step that removes the extension microsoft.flux."""

    def remove(current: Any) -> ArmRequest:
        return ArmRequest(
            lambda **options: azure.extensions.extensions.begin_delete(group, PROVIDER, CLUSTERS, cluster, "flux", **options),
            "remove the extension microsoft.flux",
            f"{cluster}/flux",
            timeout,
        )

    return Step("extension", f"{cluster}/flux", lambda: extension(azure, group, cluster), remove, absent=True)


def list_of(azure: Azure, group: str, cluster: str) -> list[dict[str, Any]]:
    """Return all Flux configurations of a cluster."""
    return collect(lambda: azure.flux.flux_configurations.list(group, PROVIDER, CLUSTERS, cluster), cluster)
