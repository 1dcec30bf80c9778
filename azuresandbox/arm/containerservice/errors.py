"""AKS's errors: codes and sentences of the service.

They are read from public reports of real failures; where no report shows the exact sentence, the function says so.
"""

from __future__ import annotations

from collections.abc import Iterable

from azuresandbox.arm.errors import ArmError
from azuresandbox.arm.models import Mismatch


def _refused(status: int, code: str, message: str, target: str | None = None) -> ArmError:
    return ArmError(status, code, message, target=target, subcode="")


def invalid(parameter: str) -> ArmError:
    message = f"The value of parameter {parameter} is invalid. Please see https://aka.ms/aks-naming-rules for more details."
    return _refused(400, "InvalidParameter", message, parameter)


def malformed(mismatch: Mismatch) -> ArmError:
    """Return the error for a body that AKS, a program in Go, cannot read."""
    if mismatch.problem == "unknown":
        reason = f'json: unknown field "{mismatch.member}"'
    else:
        found = (
            "object"
            if isinstance(mismatch.value, dict)
            else "array"
            if isinstance(mismatch.value, list)
            else GO.get(type(mismatch.value), "value")
        )
        reason = (
            f"json: cannot unmarshal {found} into Go struct field {mismatch.model}.{mismatch.path} of type {mismatch.expected}"
        )
    return _refused(400, "UnmarshalError", f"UnmarshalEntity encountered error: {reason}.")


GO: dict[type, str] = {str: "string", bool: "bool", int: "number", float: "number"}
"""Python's type of a JSON value -> what Go's decoder calls it."""


def missing(parameter: str) -> ArmError:
    return _refused(400, "InvalidParameter", f"Required parameter {parameter} is missing (null).", parameter)


def invalid_count(count: int, low: int, high: int) -> ArmError:
    message = (
        f"The value of parameter agentPoolProfile.count is invalid. agentPoolProfile.count was {count}. It must be "
        "greater or equal "
        f"to minCount:{low} and less than or equal to maxCount:{high}."
    )
    return _refused(400, "InvalidParameter", message, "agentPoolProfile.count")


def change_not_allowed(parameter: str) -> ArmError:
    return _refused(400, "PropertyChangeNotAllowed", f"Changing property '{parameter}' is not allowed.", parameter)


def no_system_pool() -> ArmError:
    return _refused(400, "MustDefineAtLeastOneSystemPool", "Must define at least one system pool.")


def last_system_pool() -> ArmError:
    return _refused(400, "OperationNotAllowed", "There has to be at least one system agent pool.")


VERSION_LIST = (
    "Please use [az aks get-versions] command to get the supported version list in this region. For more information, please "
    "check https://aka.ms/supported-version-list"
)


def version_not_supported(version: str, *, pool: bool = False) -> ArmError:
    code = "AgentPoolK8sVersionNotSupported" if pool else "K8sVersionNotSupported"
    return _refused(400, code, f"Version {version} is not supported in this region. {VERSION_LIST}")


def version_lts_only(cluster: str, version: str) -> ArmError:
    message = (
        f"Managed cluster {cluster} is on version {version}, which is only available for Long-Term Support (LTS). If you "
        "intend to "
        "onboard to LTS, please ensure the cluster is in Premium tier and LTS support plan (see "
        "https://aka.ms/aks/enable-lts). "
        f"Otherwise, use [az aks get-versions]{VERSION_LIST.removeprefix('Please use [az aks get-versions]')}"
    )
    return _refused(400, "K8sVersionNotSupported", message)


def upgrade_not_allowed(current: str, wanted: str, available: Iterable[str]) -> ArmError:
    message = (
        f"Upgrading Kubernetes version {current} to {wanted} is not allowed. Available upgrades: "
        f"[{' '.join(available)}]. Please "
        "see https://aka.ms/aks-supported-k8s-ver for version details."
    )
    return _refused(400, "OperationNotAllowed", message)


def pool_upgrade_not_allowed(current: str, wanted: str) -> ArmError:
    message = (
        f"Upgrade agent pool version from {current} to {wanted} is not allowed, you can only upgrade one minor version "
        "at a time. "
        "Please use [az aks get-upgrades] command to get the supported upgrade paths. For more information, please check "
        "https://aka.ms/version-skew-policy"
    )
    return _refused(400, "AgentPoolUpgradeVersionNotAllowed", message)


def pool_newer_than_control_plane(pool: str, control_plane: str) -> ArmError:
    message = (
        f"Node pool version {pool} and control plane version {control_plane} are incompatible. Minor version of node "
        "pool version "
        f"{pool.split('.')[1]} is bigger than control plane version {control_plane.split('.')[1]}. For more information, "
        "please "
        "check https://aka.ms/version-skew-policy"
    )
    return _refused(400, "NodePoolMcVersionIncompatible", message)


def pool_too_old(pool: str, control_plane: str, skew: int) -> ArmError:
    message = (
        f"Node pool version {pool} and control plane version {control_plane} are incompatible. Minor version of node "
        "pool cannot "
        f"be more than {skew} versions less than control plane's version. Minor version of node pool is "
        f"{pool.split('.')[1]} and "
        f"control plane is {control_plane.split('.')[1]}. For more information, please check https://aka.ms/version-skew-policy"
    )
    return _refused(400, "NodePoolMcVersionIncompatible", message)


def size_not_supported(size: str, subscription: str, location: str, available: Iterable[str]) -> ArmError:
    """Return the error for a size that the region does not have."""
    message = (
        f"Virtual Machine size: '{size}' is not supported for subscription {subscription} in location '{location}'. The "
        "available "
        f"VM sizes are '{','.join(available)}'. For more details, please visit https://aka.ms/aks/quotas-skus-regions"
    )
    return _refused(400, "VMSizeNotSupported", message)


def size_not_allowed(size: str, location: str, available: Iterable[str]) -> ArmError:
    """Return the error for a size that the region has, but not for this subscription."""
    message = (
        f"The VM size of {size} is not allowed in your subscription in location '{location}'. The available VM sizes are "
        f"'{','.join(available)}'. For more details, please visit https://aka.ms/aks/quotas-skus-regions"
    )
    return _refused(400, "BadRequest", message)


def size_too_small(size: str) -> ArmError:
    message = f"System node pool must use VM sku with more than 2 cores and 4GB memory. Got agent pool VM size: {size}"
    return _refused(400, "SystemPoolSkuTooLow", message)


def zones_not_supported(zones: Iterable[str], location: str) -> ArmError:
    message = (
        f"Preflight validation check for resource(s) for container service failed. Message: Availability zone "
        f"{','.join(zones)} is not supported in location '{location}'."
    )
    return _refused(400, "AvailabilityZoneNotSupported", message)


SURGE = (
    "Surge nodes would also consume vcpu quota, please consider use smaller maxSurge or use maxUnavailable to proceed upgrade "
    "without surge nodes, details: aka.ms/aks/maxUnavailable."
)
INCREASE = (
    "If you want to increase the quota, please follow this instruction: "
    "https://learn.microsoft.com/en-us/azure/quotas/view-quotas."
)


def regional_quota(location: str, left: int, requested: int) -> ArmError:
    message = (
        f"Insufficient regional vcpu quota left for location {location}. left regional vcpu quota {left}, requested quota "
        f"{requested}. {INCREASE} {SURGE}"
    )
    return _refused(400, "ErrCode_InsufficientVCPUQuota", message)


def family_quota(family: str, location: str, left: int, requested: int) -> ArmError:
    message = (
        f"Insufficient vcpu quota requested {requested}, remaining {left} for family {family} for region {location}. "
        f"{INCREASE} "
        f"{SURGE}"
    )
    return _refused(400, "ErrCode_InsufficientVCPUQuota", message)


def busy(operation: str) -> ArmError:
    """Return the 409 of a busy cluster. `operation`: Updating, or `nodepool1 - Updating` for a pool's."""
    message = (
        f"Operation is not allowed: Another operation ({operation}) is in progress, please wait for it to finish before "
        "starting a "
        "new operation. See https://aka.ms/aks-pending-operation for more details"
    )
    return _refused(409, "OperationNotAllowed", message)


def stopped(action: str) -> ArmError:
    message = f"managed cluster is in Provisioning State(Succeeded) and Power State(Stopped), {action} cannot be performed"
    return _refused(400, "OperationNotAllowed", message)


def not_stopped(state: str) -> ArmError:
    message = f"managed cluster is in Provisioning State({state}) and Power State(Running), starting cannot be performed"
    return _refused(400, "OperationNotAllowed", message)


def nothing_to_abort() -> ArmError:
    """Return the error of an abort without an operation. The sentence is the sandbox's: no public report shows AKS's."""
    return _refused(400, "OperationNotAllowed", "There is no operation in progress that could be aborted.")


def issuer_stays() -> ArmError:
    """Return the error of disabling the issuer. The sentence is AKS's; no public report shows its code."""
    return _refused(
        400, "OIDCIssuerFeatureCannotBeDisabled", "OIDC issuer feature cannot be disabled.", "oidcIssuerProfile.enabled"
    )


def issuer_needed() -> ArmError:
    """Return the error of workload identity without an issuer. The sentence is the sandbox's: no public report shows AKS's."""
    message = "Workload identity can only be enabled on a cluster whose OIDC issuer is enabled (oidcIssuerProfile.enabled)."
    return _refused(400, "InvalidParameter", message, "securityProfile.workloadIdentity.enabled")


def local_accounts_disabled() -> ArmError:
    message = "Getting static credential is not allowed because this cluster is set to disable local accounts."
    return _refused(400, "BadRequest", message)


def no_credentials_yet() -> ArmError:
    """Return the 404 before the control plane is up. The sentence is the sandbox's."""
    return _refused(
        404, "NotFound", "The credentials of the managed cluster are not available: its control plane is not ready yet."
    )


def provisioning_failed(message: str, code: str = "") -> ArmError:
    """Return the error of an operation whose control plane or nodes did not become ready."""
    return _refused(500, code or "ControlPlaneProvisioningFailed", message)
