"""ARM's errors: a status, a code and a message in the common error envelope, in Azure's words.

Source: the error responses of Azure Resource Manager (`ErrorResponse` of the common types, version 2) and learn.microsoft.com's
"Troubleshoot common Azure deployment errors". Each function makes one code.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from azuresandbox.arm.models import Mismatch

DOCS = "docs/sandbox.md"


class ArmError(Exception):
    """An answer other than success.

    Providers raise it and the router turns it into the envelope. Raised by a runner, it makes the operation Failed.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        target: str | None = None,
        details: list[dict[str, Any]] | None = None,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.target = target
        self.details = details
        self.headers = headers or {}
        self.more = more

    def body(self) -> dict[str, Any]:
        """Return `{code, message[, target][, details]}`, the value of `error` in the envelope."""
        fields = {"code": self.code, "message": self.message, "target": self.target, "details": self.details, **self.more}
        return {key: value for key, value in fields.items() if value is not None}


def not_emulated(what: str) -> ArmError:
    return ArmError(501, "NotImplemented", f"The sandbox does not emulate {what}. {DOCS} lists what it emulates.")


def method_not_allowed(method: str, type_name: str) -> ArmError:
    return ArmError(
        405, "MethodNotAllowed", f"The HTTP method '{method}' is not supported for the resource type '{type_name}'."
    )


def too_large() -> ArmError:
    return ArmError(
        413,
        "RequestContentTooLarge",
        "The request content size exceeds the maximum size of 4 MB.",
        headers={"connection": "close"},
    )


def scope_locked(scope: str) -> ArmError:
    """Return the error for a resource with a lock (CanNotDelete)."""
    message = (
        f"The scope '{scope}' cannot perform delete operation because following scope(s) are locked: '{scope}'. Please "
        "remove the "
        "lock and try again."
    )
    return ArmError(409, "ScopeLocked", message)


def api_version_missing() -> ArmError:
    return ArmError(
        400, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests."
    )


def api_version_invalid(version: str, supported: Iterable[str]) -> ArmError:
    """Return the error for an api-version that one of ARM's own types does not have."""
    message = f"The api-version '{version}' is invalid. The supported versions are '{','.join(supported)}'."
    return ArmError(400, "InvalidApiVersionParameter", message)


def no_registered_provider(location: str, version: str, kind: str, versions: Iterable[str], places: Iterable[str]) -> ArmError:
    """Return the error for a location or api-version that a provider's type lacks; `kind`: the type without its namespace."""
    message = (
        f"No registered resource provider found for location '{location}' and API version '{version}' for type '{kind}'. "
        f"The supported api-versions are '{', '.join(versions)}'. The supported locations are '{', '.join(places)}'."
    )
    return ArmError(400, "NoRegisteredProviderFound", message)


def namespace_invalid(namespace: str) -> ArmError:
    return ArmError(404, "InvalidResourceNamespace", f"The resource namespace '{namespace}' is invalid.")


def type_invalid(kind: str, namespace: str, version: str, versions: Iterable[str] = ()) -> ArmError:
    message = f"The resource type '{kind}' could not be found in the namespace '{namespace}' for api version '{version}'."
    message += f" The supported api-versions are '{','.join(versions)}'." if versions else ""
    return ArmError(404, "InvalidResourceType", message)


def not_registered(namespace: str) -> ArmError:
    message = (
        f"The subscription is not registered to use namespace '{namespace}'. See https://aka.ms/rps-not-found for how to "
        "register subscriptions."
    )
    details = [{"code": "MissingSubscriptionRegistration", "target": namespace, "message": message}]
    return ArmError(409, "MissingSubscriptionRegistration", message, details=details)


def subscription_not_found(subscription: str) -> ArmError:
    return ArmError(404, "SubscriptionNotFound", f"The subscription '{subscription}' could not be found.")


def subscription_invalid(subscription: str) -> ArmError:
    message = f"The provided subscription identifier '{subscription}' is malformed or invalid."
    return ArmError(400, "InvalidSubscriptionId", message)


def group_not_found(group: str) -> ArmError:
    return ArmError(404, "ResourceGroupNotFound", f"Resource group '{group}' could not be found.")


def group_being_deleted(group: str) -> ArmError:
    message = f"The resource group '{group}' is in deprovisioning state and cannot perform this operation."
    return ArmError(409, "ResourceGroupBeingDeleted", message)


def resource_not_found(type_and_name: str, group: str) -> ArmError:
    """Return the 404 of a resource. `type_and_name`: `Microsoft.ContainerService/managedClusters/name`."""
    message = (
        f"The Resource '{type_and_name}' under resource group '{group or '<null>'}' was not found. For more details "
        "please go to "
        "https://aka.ms/ARMResourceNotFoundFix"
    )
    return ArmError(404, "ResourceNotFound", message)


def parent_not_found(verb: str, kind: str, parent: str) -> ArmError:
    """Return the 404 of a parent resource.

    `verb`: read, write or delete; `kind`: the nested type without its namespace; `parent`: the parent's id.
    """
    message = (
        f"Failed to perform '{verb}' on resource(s) of type '{kind}', because the parent resource '{parent}' could not "
        "be found."
    )
    return ArmError(404, "ParentResourceNotFound", message)


def location_required() -> ArmError:
    return ArmError(400, "LocationRequired", "The location property is required for this definition.")


def location_changed(name: str, current: str, group: str, asked: str) -> ArmError:
    message = (
        f"The resource '{name}' already exists in location '{current}' in resource group '{group}'. A resource with the same "
        f"name cannot be created in location '{asked}'. Please select a new resource name."
    )
    return ArmError(409, "InvalidResourceLocation", message)


def location_not_available(location: str, type_name: str, places: Iterable[str]) -> ArmError:
    message = (
        f"The provided location '{location}' is not available for resource type '{type_name}'. List of available regions for "
        f"the resource type is '{','.join(places)}'."
    )
    return ArmError(400, "LocationNotAvailableForResourceType", message)


def content_invalid(reason: str) -> ArmError:
    message = f"The request content was invalid and could not be deserialized: '{reason}'."
    return ArmError(400, "InvalidRequestContent", message)


def malformed(mismatch: Mismatch) -> ArmError:
    """Return the error for a body that does not fit its model, in the words of the deserializer that ARM's own types use."""
    if mismatch.problem == "unknown":
        where = f"Could not find member '{mismatch.member}' on object of type '{mismatch.model}'. Path '{mismatch.path}'"
        return content_invalid(f"{where}, line 1, position 1.")
    return content_invalid(
        f"Error converting value \"{mismatch.value}\" to type '{mismatch.expected}'. Path '{mismatch.path}', line 1, "
        "position 1."
    )


def precondition_failed(etag: str, resource_id: str) -> ArmError:
    message = (
        f"The condition '{etag}' in the If-Match or If-None-Match header was not satisfied by the resource '{resource_id}'."
    )
    return ArmError(412, "PreconditionFailed", message)


def not_authorized(app_id: str, object_id: str, action: str, scope: str) -> ArmError:
    message = (
        f"The client '{app_id}' with object id '{object_id}' does not have authorization to perform action '{action}' over "
        f"scope '{scope}' or the scope is invalid. If access was recently granted, please refresh your credentials."
    )
    return ArmError(403, "AuthorizationFailed", message)


def link_not_authorized(app_id: str, object_id: str, action: str, scope: str, needed: str, linked: str) -> ArmError:
    message = (
        f"The client '{app_id}' with object id '{object_id}' has permission to perform action '{action}' on scope "
        f"'{scope}'; however, "
        f"it does not have permission to perform action(s) '{needed}' on the linked scope(s) '{linked}' (respectively) "
        "or the linked "
        "scope(s) are invalid."
    )
    return ArmError(403, "LinkedAuthorizationFailed", message)
