"""Microsoft.KubernetesConfiguration on AKS clusters: extensions and flux configurations.

`flux`, `errors`, `data` are data and pure functions; `extensions` and `configurations` are the two types. `clusters` reads the
stored managed cluster, because providers do not import each other.
"""

from __future__ import annotations

from azuresandbox.arm.kubernetesconfiguration import configurations, data, extensions
from azuresandbox.arm.provider import Provider, ResourceType

CLUSTERS = ("Microsoft.ContainerService/managedClusters",)


def provider() -> Provider:
    """Return the namespace with its types. The states of operations can be read below both of them."""
    return Provider(
        data.NAMESPACE,
        (
            ResourceType(
                name="extensions",
                api_versions=data.EXTENSION_VERSIONS,
                model="extensions.Extension",
                patch_model="extensions.PatchExtension",
                tracked=False,
                extends=CLUSTERS,
                prepare=extensions.prepare,
                runners=(extensions.PUT, extensions.DELETE),
                check_delete=extensions.check_delete,
                busy=extensions.busy,
                rank=30,
            ),
            ResourceType(
                name="fluxConfigurations",
                api_versions=data.FLUX_VERSIONS,
                model="flux.FluxConfiguration",
                patch_model="flux.FluxConfigurationPatch",
                tracked=False,
                extends=CLUSTERS,
                prepare=configurations.prepare,
                show=configurations.show,
                runners=(configurations.PUT, configurations.DELETE),
                check_delete=extensions.check_delete,
                busy=configurations.busy,
                rank=30,
            ),
            _status("extensions", data.EXTENSION_VERSIONS),
            _status("fluxConfigurations", data.FLUX_VERSIONS),
        ),
    )


def _status(name: str, versions: tuple[str, ...]) -> ResourceType:
    return ResourceType(
        name=f"{name}/operations",
        api_versions=versions,
        tracked=False,
        extends=CLUSTERS,
        verbs=frozenset({"GET"}),
        get=extensions.operation_status,
    )
