"""Calls to ARM: 404 becomes `None`, other failures become a `FleetError`, and long-running operations are waited for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fleetlib.errors import FinalError, azure_code, from_azure
from fleetlib.progress import waiting
from fleetlib.request import Shown, as_json, masked

PASSING = {
    "PrincipalNotFound": "a new principal is not yet known everywhere",
    "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity": "another of the identity's credentials is written",
    "OperationNotAllowed": "another operation is in progress on the cluster",
    "AnotherOperationInProgress": "another operation is in progress on the resource",
}
"""ARM codes of refusals that end by themselves -> their meaning. azure-core retries 408, 429 and 5xx, but not these."""

DELAYS = (2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Seconds between the tries of a write that is refused with one of them."""


def read(call: Callable[[], Any], target: str) -> Any:
    """Return the answer as a dictionary with ARM's (camelCase) names; `None` for 404.

    Raises `FleetError` for other failures.
    """
    from azure.core.exceptions import AzureError, ResourceNotFoundError

    try:
        return plain(call())
    except ResourceNotFoundError:
        return None
    except AzureError as error:
        raise from_azure(error, "could not read from Azure", target, _fix(error)) from error


def write(call: Callable[[], Any], what: str, target: str, timeout: float = 3600) -> Any:
    """Send a write and return its answer; if that is a poller, wait for the operation and return its result.

    Refusals that end by themselves (`PASSING`) are tried again. Raises `FinalError`, `RetryableError` or, after `timeout`
    seconds, `TimeoutExpired`.
    """
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


class _Rehearsed(Exception):
    """Ends a rehearsed call in the client's pipeline, just before the transport; holds the request."""

    def __init__(self, request: Any) -> None:
        self.request = request


def _stop(pipeline_request: Any) -> None:
    raise _Rehearsed(pipeline_request.http_request)


def rehearsed(call: Callable[..., Any]) -> tuple[str, str, Any]:
    """(method, URL without host, JSON body or `None`) of the request that the call sends; nothing is sent.

    The management client itself makes the request: a hook of azure-core stops it before the transport.
    """
    try:
        call(raw_request_hook=_stop)
    except _Rehearsed as stopped:
        request = stopped.request
        content = getattr(request, "content", None) or getattr(request, "body", None)
        return request.method, "/" + request.url.split("/", 3)[3], json.loads(content) if content else None
    raise AssertionError("a management client sends a request")


@dataclass(frozen=True)
class ArmRequest:
    """One write to ARM. `call(**options)` calls a management client and passes the options on; `timeout` is in seconds."""

    call: Callable[..., Any]
    what: str
    target: str
    timeout: float = 3600

    def send(self) -> Any:
        """The answer, of a long-running operation after its end. Raises as `write` does."""
        return write(self.call, self.what, self.target, self.timeout)

    def shown(self) -> Shown:
        """Method, resource id, api-version and JSON body, as the management client sends them."""
        method, path, body = rehearsed(self.call)
        return Shown(f"{method} {path}", "" if body is None else as_json(masked(body)), "json")


def _passes(error: Any) -> bool:
    """Return whether the refusal ends by itself. OperationNotAllowed does so with a 409 only."""
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
    """Return an SDK model as a dictionary with ARM's (camelCase) names; plain values as they are."""
    if answer is None or isinstance(answer, dict | list | str | bool):
        return answer
    if hasattr(answer, "_attribute_map"):
        return answer.serialize(keep_readonly=True)
    return answer.as_dict()


def collect(call: Callable[[], Any], target: str) -> list[Any]:
    """Return the items of all pages as dictionaries; empty for 404."""
    return read(lambda: [plain(item) for item in call()], target) or []


FIXES = {
    "AuthorizationFailed": "assign the missing role at that scope (Owner, or Contributor with User Access Administrator)",
    "MissingSubscriptionRegistration": "run notebook 00_check_prerequisites: it registers the provider",
    "InvalidAuthenticationToken": "sign in again",
    "SkuNotAvailable": "choose a VM size the region offers: notebook 00_check_prerequisites lists them",
    "VMSizeNotSupported": "choose a VM size the region offers: notebook 00_check_prerequisites lists them",
    "InternalOperationError": "run the same notebook again: it starts the operation again",
    "ExtensionOperationFailed": "run notebook 03_bootstrap_flux again: it installs the extension again",
    "ScopeLocked": "remove the lock (az lock list, az lock delete), then run the same notebook again (99_tear_down deletes)",
    "ExtensionNotInstalled": "install the extension microsoft.flux first: notebook 03_bootstrap_flux",
    "AgentPoolK8sVersionNotSupported": "choose a version the region offers: notebook 00_check_prerequisites lists them",
    "K8sVersionNotSupported": "choose a version the region offers: notebook 00_check_prerequisites lists them",
    "ErrCode_InsufficientVCPUQuota": (
        "request more quota, or use fewer or smaller nodes: notebook 00_check_prerequisites counts the vCPUs that are needed"
    ),
    "LocationNotAvailableForResourceType": "set the parameter location to a region that offers the resource type",
}
"""ARM error code -> the next step."""


def _fix(error: Any) -> str:
    return FIXES.get(getattr(getattr(error, "error", None), "code", ""), "")


def required(found: Any, what: str, notebook: str) -> Any:
    """Return `found`; raise `FinalError` naming the notebook that creates it if it is `None`."""
    if found is None:
        raise FinalError(f"{what} does not exist", fix=f"run notebook {notebook} first")
    return found
