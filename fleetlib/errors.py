"""Failures, by what the caller can do about them. Each says what happened, to which object, what the other side said
verbatim, and what to do next. May import nothing of the project.
"""

from __future__ import annotations

from typing import Any


class FleetError(Exception):
    """A failure that a person reads.

    `what` happened, to which `target` (object, resource id or file), what the system `said` verbatim, and the `fix`: a
    sentence, often naming the notebook that does it.
    """

    def __init__(self, what: str, *, target: str = "", said: str = "", fix: str = "") -> None:
        self.what = what
        self.target = target
        self.said = said
        self.fix = fix
        super().__init__(str(self))

    def __str__(self) -> str:
        rows = (("object", self.target), ("answer", self.said), ("next step", self.fix))
        return "\n".join([self.what, *(f"  {name}: {text}" for name, text in rows if text)])


class RetryableError(FleetError):
    """Running the same again may succeed: throttling, a conflict, a delay of replication."""


class FinalError(FleetError):
    """Running the same again will fail again until something is changed."""


class ParameterError(FinalError):
    """A parameter is wrong; nothing was created. Exit status 2."""


class PreflightError(FinalError):
    """An earlier stage left something undone; `fix` names its notebook."""


class VerificationError(FinalError):
    """The stage did its part, but the cluster or ARM says something else than promised."""


class TimeoutExpired(RetryableError):
    """What was waited for did not come in time; `said` is the last state seen."""


RETRYABLE_CODES = frozenset(
    {
        "TooManyRequests",
        "OperationNotAllowed",
        "AnotherOperationInProgress",
        "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity",
        "PrincipalNotFound",
        "InternalServerError",
        "ServiceUnavailable",
        "GatewayTimeout",
        "RetryableError",
    }
)
"""ARM error codes after which the same request may succeed later."""


def from_azure(error: Any, what: str, target: str = "", fix: str = "") -> FleetError:
    """The failure behind an `azure.core` exception: its ARM code and message verbatim, its kind by the code."""
    detail = getattr(error, "error", None)
    code = getattr(detail, "code", "") or ""
    message = getattr(detail, "message", "") or getattr(error, "message", "") or str(error)
    status = getattr(error, "status_code", None)
    said = f"{code}: {message}" if code else message
    kind = RetryableError if code in RETRYABLE_CODES or status in (429, 500, 502, 503, 504) else FinalError
    return kind(what, target=target, said=said.strip(), fix=fix)


def azure_code(error: Any) -> str:
    """ARM's error code in an `azure.core` exception, or ""."""
    return getattr(getattr(error, "error", None), "code", "") or ""
