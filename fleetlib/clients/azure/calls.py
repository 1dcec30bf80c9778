"""What every call to ARM has in common: absence is None, failure is a `FleetError`, a long-running operation is waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from fleetlib.errors import FinalError, azure_code, from_azure
from fleetlib.progress import waiting

PASSING = {
    "PrincipalNotFound": "a new principal is not yet known everywhere",
    "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity": "another credential of the identity is being written",
    "OperationNotAllowed": "another operation is in progress on the cluster",
    "AnotherOperationInProgress": "another operation is in progress on the resource",
}
"""ARM code -> what a moment's waiting mends. azure-core does not try these again; it does so for 408, 429 and 5xx."""

DELAYS = (2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Seconds between the tries of a write that meets one of them."""

NOT_THERE = ("ResourceNotFound", "ResourceGroupNotFound", "ParentResourceNotFound", "NotFound")


def read(call: Callable[[], Any], target: str) -> Any:
    """The answer as a dictionary in ARM's own names, or None for 404."""
    from azure.core.exceptions import AzureError, ResourceNotFoundError

    try:
        return plain(call())
    except ResourceNotFoundError:
        return None
    except AzureError as error:
        raise from_azure(error, "could not read from Azure", target, _fix(error)) from error


def write(call: Callable[[], Any], what: str, target: str, timeout: float = 3600) -> Any:
    """The answer; if it is a poller, after it is done. What passes by itself (`PASSING`) is tried again. Raises `FinalError`, `RetryableError` or `TimeoutExpired`."""
    from azure.core.exceptions import AzureError

    for delay in (*DELAYS, None):
        try:
            answer = call()
            return plain(_finish(answer, what, timeout) if hasattr(answer, "polling_method") else answer)
        except AzureError as error:
            if delay is None or not _passes(error):
                raise from_azure(error, f"could not {what}", target, _fix(error)) from error
            time.sleep(delay)
    raise AssertionError("the last try returns or raises")


def _passes(error: Any) -> bool:
    """Whether the refusal is one that passes. OperationNotAllowed means something else with a 400."""
    code = azure_code(error)
    return code in PASSING and (code == "PrincipalNotFound" or getattr(error, "status_code", None) == 409)


def _finish(poller: Any, what: str, timeout: float) -> Any:
    with waiting(what, timeout) as wait:
        wait.update(0, 1, "accepted by Azure")
        while not poller.done():
            poller.wait(min(wait.remaining(), 10))
            wait.update(0, 1, poller.status())
        wait.update(1, 1, poller.status())
    return poller.result()


def plain(answer: Any) -> Any:
    """A model as a dictionary in ARM's own (camelCase) names."""
    if answer is None or isinstance(answer, dict | list | str | bool):
        return answer
    if hasattr(answer, "_attribute_map"):
        return answer.serialize(keep_readonly=True)
    return answer.as_dict()


def collect(call: Callable[[], Any], target: str) -> list[Any]:
    """All pages of a list, as dictionaries."""
    return read(lambda: [plain(item) for item in call()], target) or []


FIXES = {
    "AuthorizationFailed": "give the identity the role it lacks at that scope (Owner, or Contributor with User Access Administrator)",
    "MissingSubscriptionRegistration": "register the provider: notebook 00_check_prerequisites does it",
    "InvalidAuthenticationToken": "sign in again",
    "SkuNotAvailable": "choose a VM size the region offers: notebook 00_check_prerequisites lists them",
    "VMSizeNotSupported": "choose a VM size the region offers: notebook 00_check_prerequisites lists them",
    "InternalOperationError": "run the same notebook again: the operation is begun anew; if it fails again, its message is Azure's",
    "ExtensionOperationFailed": "run notebook 03_bootstrap_flux again: it installs the extension anew",
    "ScopeLocked": "remove the lock (az lock list, az lock delete), then run the same notebook again (99_tear_down deletes)",
    "ExtensionNotInstalled": "install the extension microsoft.flux first: notebook 03_bootstrap_flux",
    "AgentPoolK8sVersionNotSupported": "choose a version the region offers: notebook 00_check_prerequisites lists them",
    "K8sVersionNotSupported": "choose a version the region offers: notebook 00_check_prerequisites lists them",
    "ErrCode_InsufficientVCPUQuota": "ask for more quota, or fewer or smaller nodes: notebook 00_check_prerequisites counts them",
    "LocationNotAvailableForResourceType": "choose a region that offers the resource type: see the parameter location",
}
"""ARM error code -> what to do next."""


def _fix(error: Any) -> str:
    return FIXES.get(getattr(getattr(error, "error", None), "code", ""), "")


def required(found: Any, what: str, notebook: str) -> Any:
    """`found`, or the failure that names the notebook which makes it."""
    if found is None:
        raise FinalError(f"{what} does not exist", fix=f"run notebook {notebook} first")
    return found
