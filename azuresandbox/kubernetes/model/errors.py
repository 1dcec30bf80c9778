"""The Status errors a Kubernetes API answers with, worded as apimachinery's `api/errors` words them.

Clients and scripts match on these messages, reasons and codes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypedDict


class Cause(TypedDict):
    """One reason of a refusal, an entry of a Status' `details.causes`. `reason`: one of apimachinery's CauseTypes."""

    reason: str
    message: str
    field: str


Causes = list[Cause]


class StatusError(Exception):
    """An answer that is a `v1.Status` of status Failure. `headers` go out with it; `metadata` is the Status's own."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        metadata: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.headers = headers or {}
        self.metadata = metadata or {}

    def document(self) -> dict[str, Any]:
        """Return the Status object."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.code
        return status

    def dump(self) -> bytes:
        return json.dumps(self.document()).encode()


def qualified(resource: str, group: str) -> str:
    """Return `deployments.apps`, and `pods` for the core group."""
    return f"{resource}.{group}" if group else resource


def _details(group: str, kind: str, name: str = "", **more: Any) -> dict[str, Any]:
    details: dict[str, Any] = {"name": name} if name else {}
    if group:
        details["group"] = group
    if kind:
        details["kind"] = kind
    return details | more


def not_found(group: str, resource: str, name: str) -> StatusError:
    details = _details(group, resource, name)
    return StatusError(404, "NotFound", f'{qualified(resource, group)} "{name}" not found', details)


def no_such_resource() -> StatusError:
    """Return the error for an unknown path below a built-in group."""
    return StatusError(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(group: str, resource: str, name: str, *, ending: bool = False) -> StatusError:
    """`ending`: the existing object is being deleted."""
    details = _details(group, resource, name)
    text = f'{qualified(resource, group)} "{name}" already exists'
    return StatusError(409, "AlreadyExists", f"object is being deleted: {text}" if ending else text, details)


def conflict(group: str, resource: str, name: str, why: str = "") -> StatusError:
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {qualified(resource, group)} "{name}": {why}'
    return StatusError(409, "Conflict", message, _details(group, resource, name))


def apply_conflict(message: str, causes: Causes) -> StatusError:
    return StatusError(409, "Conflict", message, {"causes": causes})


def forbidden(group: str, resource: str, name: str, why: str, causes: Causes | None = None) -> StatusError:
    subject = f'{qualified(resource, group)} "{name}"' if name else qualified(resource, group)
    more = {"causes": causes} if causes else {}
    return StatusError(403, "Forbidden", f"{subject} is forbidden: {why}", _details(group, resource, name, **more))


def forbidden_path(user: str, verb: str, path: str, more: str = "") -> StatusError:
    return StatusError(403, "Forbidden", f'forbidden: User "{user}" cannot {verb} path "{path}"{more}', {})


def unauthorized() -> StatusError:
    return StatusError(401, "Unauthorized", "Unauthorized")


def bad_request(message: str) -> StatusError:
    return StatusError(400, "BadRequest", message)


_CAUSE_REASONS = {
    "FieldValueRequired",
    "FieldValueInvalid",
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueNotFound",
    "FieldValueNotSupported",
    "FieldValueTooLong",
    "FieldValueTooMany",
    "FieldValueTypeInvalid",
}


def cause(reason: str, message: str, field: str) -> Cause:
    """Return a field error. `reason`: one of apimachinery's CauseTypes."""
    assert reason in _CAUSE_REASONS, reason
    return {"reason": reason, "message": message, "field": field}


def invalid(group: str, kind: str, name: str, causes: Sequence[Cause]) -> StatusError:
    """Return 422 with its causes; the message joins them like field.ErrorList."""
    parts = list(dict.fromkeys(f"{item['field']}: {item['message']}" for item in causes))
    text = parts[0] if len(parts) == 1 else "[" + ", ".join(parts) + "]"
    details = _details(group, kind, name, causes=list(causes))
    return StatusError(422, "Invalid", f'{qualified(kind, group)} "{name}" is invalid: {text}', details)


def not_supported(verb: str, group: str, resource: str) -> StatusError:
    """Return the error for a verb that a custom resource's subresource does not have."""
    message = f'{verb} is not supported on resources of kind "{qualified(resource, group)}"'
    return StatusError(405, "MethodNotAllowed", message, _details(group, resource))


def method_not_allowed() -> StatusError:
    return StatusError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def unsupported_media_type(accepted: Sequence[str]) -> StatusError:
    message = "the body of the request was in an unknown format - accepted media types include: " + ", ".join(accepted)
    return StatusError(415, "UnsupportedMediaType", message)


def too_large(limit: int) -> StatusError:
    return StatusError(
        413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}", headers={"connection": "close"}
    )


def expired(message: str, metadata: dict[str, str] | None = None) -> StatusError:
    return StatusError(410, "Expired", message, metadata=metadata)


def too_large_resource_version(requested: int, current: int) -> StatusError:
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    message = f"Timeout: Too large resource version: {requested}, current: {current}"
    return StatusError(504, "Timeout", message, {"causes": causes, "retryAfterSeconds": 1}, {"retry-after": "1"})


def internal(message: str) -> StatusError:
    return StatusError(500, "InternalError", f"Internal error occurred: {message}", {"causes": [{"message": message}]})


def plain(code: int, message: str) -> StatusError:
    """Return the Status of a Go error without a reason of its own."""
    return StatusError(code, "", message)


def unavailable(message: str) -> StatusError:
    return StatusError(503, "ServiceUnavailable", message, {})


def not_emulated(what: str, instead: str) -> StatusError:
    """Return 501 for a feature that the sandbox does not emulate, with the alternative."""
    return StatusError(501, "NotImplemented", f"the sandbox does not emulate {what}: {instead}", {})
