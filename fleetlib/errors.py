"""Errors, one class for each kind of next step that the caller can take.

Each says what happened, to which object, the other side's answer verbatim, and the next step.
"""

from __future__ import annotations

from typing import Any


class FleetError(Exception):
    """An error written for a person: `str(error)` has up to four lines, and `fleet` and the notebooks print it.

    `what` happened, to which `target` (object, resource id or file), the verbatim answer (`said`), and the next step (`fix`),
    often the notebook to run. All but `what` may be empty.
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
    """The same call may succeed later: throttling, a conflict, a host that does not answer, a replication delay."""


class FinalError(FleetError):
    """The same call fails again until its cause is fixed."""


class ParameterError(FinalError):
    """A parameter or argument is wrong; nothing was created. `fleet` exits with status 2."""


class PreflightError(FinalError):
    """An earlier stage has not been run or not finished; `fix` names its notebook."""


class VerificationError(FinalError):
    """The stage made its changes, but the cluster or ARM is not in the state that the stage promises."""


class TimeoutExpired(RetryableError):
    """A wait reached its timeout; `said` is the last state seen."""


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
    """Return the error for an `azure.core` exception: `said` is ARM's code and message verbatim.

    It is a `RetryableError` for the codes in `RETRYABLE_CODES` and for the statuses 429, 500, 502, 503 and 504, else a
    `FinalError`.
    """
    detail = getattr(error, "error", None)
    code = getattr(detail, "code", "") or ""
    message = getattr(detail, "message", "") or getattr(error, "message", "") or str(error)
    status = getattr(error, "status_code", None)
    said = f"{code}: {message}" if code else message
    kind = RetryableError if code in RETRYABLE_CODES or status in (429, 500, 502, 503, 504) else FinalError
    return kind(what, target=target, said=said.strip(), fix=fix)


def azure_code(error: Any) -> str:
    """Return ARM's error code in an `azure.core` exception; "" if it has none."""
    return getattr(getattr(error, "error", None), "code", "") or ""
