"""The errors of Microsoft.KubernetesConfiguration and of its operations: codes and sentences of the service.

They are read from public reports of real failures; where no report shows the sentence, the function says so.
"""

from __future__ import annotations

from azuresandbox.arm.errors import ArmError

TROUBLESHOOTING = "For general troubleshooting visit: https://aka.ms/k8s-extensions-TSG"


NOT_READY = (
    "Timed out waiting for the resource to come to a ready/completed state : Recommendation Please contact Microsoft "
    "support for "
    "further inquiries : InnerError [release flux failed, and has been uninstalled due to atomic being set: timed "
    "out waiting for the "
    "condition]"
)
"""Helm's message when the extension's deployments do not become ready."""


def operation_not_found(name: str) -> ArmError:
    return ArmError(404, "OperationNotFound", f"The operation '{name}' could not be found.")


def validation(message: str) -> ArmError:
    return ArmError(400, "ValidationFailed", message)


def source_kind_mismatch(kind: str) -> ArmError:
    return validation(
        f"Invalid source kind match. Config with specified source kind '{kind}' must contain corresponding body "
        "specified in the "
        "properties."
    )


def extension_failed(reason: str, operation: str = "Create") -> ArmError:
    """Return the error of a failed installation. `reason` is Helm's message; `operation`: Create, Update or Delete."""
    message = (
        "The extension operation failed with the following error:  Error: [ InnerError: [Helm installation failed : "
        f"{reason}]] occurred while doing the operation : [{operation}] on the config, {TROUBLESHOOTING}."
    )
    return ArmError(400, "ExtensionOperationFailed", message)


def extension_refused(reason: str) -> ArmError:
    message = f"The extension operation failed with the following error:  {reason}, {TROUBLESHOOTING}."
    return ArmError(400, "ExtensionOperationFailed", message)


def service_principal_cluster() -> ArmError:
    return extension_refused(
        "Extensions are only supported on clusters using Managed Service Identity. See "
        "https://aka.ms/aks-extensions-service-principal-not-supported"
    )


def type_not_found(extension_type: str) -> ArmError:
    """Return the error for an unknown type. The sentence is the sandbox's: no public report shows the service's."""
    return ArmError(
        400,
        "ExtensionTypeNotFound",
        f"The extension type '{extension_type}' could not be found. Please check the extensionType of the extension.",
    )


def version_not_found(extension_type: str, version: str, known: tuple[str, ...]) -> ArmError:
    """Return the error for an unknown version. The sentence is the sandbox's: no public report shows the service's."""
    return ArmError(
        400,
        "ExtensionVersionNotFound",
        f"The version '{version}' of the extension type '{extension_type}' could not be found in the release train 'Stable'. "
        f"Available versions: {', '.join(known)}.",
    )


def type_already_installed(extension_type: str, name: str) -> ArmError:
    """Return the error for a second instance. The sentence is the sandbox's: no public report shows the service's."""
    return ArmError(
        409,
        "ExtensionTypeAlreadyInstalled",
        f"An extension of type '{extension_type}' is already installed in the cluster under the name '{name}'. Only one "
        "instance "
        "of this extension type is allowed in a cluster.",
    )


def flux_not_installed() -> ArmError:
    """Return the error of an operation that writes a configuration into a cluster without Flux.

    The documentation says that the extension must be installed first, and that only the portal and the Azure CLI install it by
    themselves; no public report shows the sentence of the service.
    """
    return ArmError(
        400,
        "ExtensionNotInstalled",
        "The flux configuration could not be applied: the extension 'microsoft.flux' is not installed in the cluster, so the "
        "cluster does not know the kind FluxConfig (clusterconfig.azure.com). Install the extension before the configuration.",
    )


def cluster_not_ready(state: str) -> ArmError:
    return ArmError(
        409,
        "OperationNotAllowed",
        f"Operation is not allowed: Another operation ({state}) is in progress, please wait for it to finish before "
        "starting a new "
        "operation. See https://aka.ms/aks-pending-operation for more details",
    )


def cluster_stopped() -> ArmError:
    return extension_refused("The managed cluster is stopped: start it before changing its extensions or configurations")


def busy(kind: str, name: str, state: str) -> ArmError:
    """Return the 409 of a busy resource. `kind`: extension or fluxConfiguration."""
    return ArmError(
        409,
        "OperationNotAllowed",
        f"Another operation ({state}) is in progress on the {kind} '{name}'. Please wait for it to finish before "
        "starting a new one.",
    )
