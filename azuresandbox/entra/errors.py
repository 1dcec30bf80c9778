"""Entra's errors: a code, an OAuth error and a description with trace, correlation and time.

Source: "Microsoft Entra authentication and authorization error codes" and its users' reports (Azure/azure-workload-identity
#340, #642, #1200, #1232; Azure/login#515).
"""

from __future__ import annotations

import uuid
from typing import Any

from azuresandbox.context import Sandbox

FEDERATION_DOCS = "https://learn.microsoft.com/entra/workload-id/workload-identity-federation"


class EntraError(Exception):
    """A refused request. `code` is the number behind AADSTS."""

    def __init__(self, code: int, error: str, text: str, status: int = 400) -> None:
        super().__init__(f"AADSTS{code}: {text}")
        self.code = code
        self.error = error
        self.text = text
        self.status = status

    def body(self, sandbox: Sandbox, correlation: str) -> dict[str, Any]:
        """Return the JSON that clients get."""
        trace, stamp = str(uuid.uuid4()), sandbox.clock.now().strftime("%Y-%m-%d %H:%M:%SZ")
        return {
            "error": self.error,
            "error_description": f"AADSTS{self.code}: {self.text} Trace ID: {trace} Correlation ID: {correlation} Timestamp: "
            f"{stamp}",
            "error_codes": [self.code],
            "timestamp": stamp,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": f"{sandbox.base}/error?code={self.code}",
        }


def tenant_not_found(tenant: str) -> EntraError:
    return EntraError(
        90002,
        "invalid_request",
        f"Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the "
        "correct cloud. "
        "Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant.",
    )


def method_wrong(method: str) -> EntraError:
    return EntraError(900561, "invalid_request", f"The endpoint only accepts POST requests. Received a {method} request.")


def form_missing(name: str) -> EntraError:
    return EntraError(900144, "invalid_request", f"The request body must contain the following parameter: '{name}'.")


def grant_unsupported(grant: str) -> EntraError:
    return EntraError(70003, "unsupported_grant_type", f"The app requested an unsupported grant type '{grant}'.")


def application_not_found(app_id: str, tenant: str) -> EntraError:
    return EntraError(
        700016,
        "unauthorized_client",
        f"Application with identifier '{app_id}' was not found in the directory '{tenant}'. This can happen if the "
        "application has "
        "not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have "
        "sent your "
        "authentication request to the wrong tenant.",
    )


def credential_missing() -> EntraError:
    return EntraError(
        7000218,
        "invalid_client",
        "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        401,
    )


def secret_wrong(app_id: str) -> EntraError:
    return EntraError(
        7000215,
        "invalid_client",
        "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the "
        "client "
        f"secret ID, for a secret added to app '{app_id}'.",
        401,
    )


def scope_invalid(scope: str) -> EntraError:
    return EntraError(
        70011,
        "invalid_scope",
        "The provided request must include a 'scope' input parameter. The provided value for the input parameter 'scope' "
        "is not "
        f"valid. The scope {scope} is not valid.",
    )


def scope_not_default(scope: str) -> EntraError:
    return EntraError(
        1002012,
        "invalid_scope",
        f"The provided value for scope {scope} is not valid. Client credential flows must have a scope value with /.default "
        "suffixed to the resource identifier (application ID URI).",
    )


def resource_not_found(resource: str, tenant: str) -> EntraError:
    return EntraError(
        500011,
        "invalid_resource",
        f"The resource principal named {resource} was not found in the tenant named {tenant}. This can happen if the "
        "application "
        "has not been installed by the administrator of the tenant or consented to by any user in the tenant. You might "
        "have sent "
        "your authentication request to the wrong tenant.",
    )


def assertion_type_wrong(kind: str) -> EntraError:
    return EntraError(
        50027, "invalid_request", f"JWT token is invalid or malformed. The client_assertion_type '{kind}' is not supported."
    )


def assertion_malformed() -> EntraError:
    return EntraError(50027, "invalid_request", "JWT token is invalid or malformed.")


def assertion_out_of_time(now: str, start: str, end: str) -> EntraError:
    return EntraError(
        700024,
        "invalid_client",
        f"Client assertion is not within its valid time range. Current time: {now}, assertion valid from {start}, expiry "
        "time of "
        f"assertion {end}. Review the documentation at "
        "https://learn.microsoft.com/entra/identity-platform/certificate-credentials .",
        401,
    )


def certificate_unknown(app_id: str) -> EntraError:
    return EntraError(
        700027,
        "invalid_client",
        "The certificate with identifier used to sign the client assertion is not registered on application. "
        f"[Reason - The key was not found., Please visit the Azure Portal and add the certificate to app '{app_id}'.]",
        401,
    )


def assertion_audience_wrong() -> EntraError:
    return EntraError(
        700023,
        "invalid_client",
        "Client assertion audience claim does not match Realm issuer. Review the documentation at "
        "https://learn.microsoft.com/entra/identity-platform/certificate-credentials .",
        401,
    )


def assertion_client_wrong() -> EntraError:
    return EntraError(
        700021, "invalid_client", "Client assertion application identifier doesn't match 'client_id' parameter.", 401
    )


def no_federated_credentials(app_id: str, name: str) -> EntraError:
    return EntraError(
        70025,
        "invalid_client",
        f"The client '{app_id}'({name}) has no configured federated identity credentials.",
        401,
    )


def no_match(code: int, what: str, value: str) -> EntraError:
    """Return the error of a federated assertion: code 700211 for the issuer, 700212 the audience, 700213 the subject."""
    return EntraError(
        code,
        "invalid_client",
        f"No matching federated identity record found for presented assertion {what} '{value}'. Check your federated identity "
        f"credential Subject, Audience and Issuer against the presented assertion. {FEDERATION_DOCS}",
        401,
    )


def subject_differs_in_case(subject: str) -> EntraError:
    return EntraError(
        7002138,
        "invalid_client",
        f"No matching federated identity record found for presented assertion subject '{subject}'. The subject matches with "
        "case-insensitive comparison, but not with case-sensitive comparison. Check your federated identity credential "
        "Subject, "
        f"Audience and Issuer against the presented assertion. {FEDERATION_DOCS}",
        401,
    )


def issuer_unreachable(reason: str) -> EntraError:
    return EntraError(50166, "invalid_request", f"Request to External OIDC endpoint failed. {reason}")


def signing_key_unknown(key: str, issuer: str) -> EntraError:
    return EntraError(
        7000272,
        "invalid_client",
        f"The certificate with identifier {key} used to sign the federated credential could not be found in the metadata of "
        f"identity provider {issuer}. Please validate that your Identity Provider's metadata exposes the key used to sign the "
        "incoming token.",
        401,
    )


def signature_wrong() -> EntraError:
    return EntraError(
        50013,
        "invalid_grant",
        "Assertion failed signature validation. [Reason - The provided signature value did not match the expected "
        "signature value.]",
    )
