"""ASO's client of Azure: tokens by federated exchange or secret, requests to ARM, and the classification of its errors.

Source: `v2/internal/identity`, `genericarmclient` and `reconcilers/arm/errorclassification` of Azure/azure-service-operator,
and the messages of azure-sdk-for-go's azidentity and azcore.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from azuresandbox.clock import Clock
from azuresandbox.wire import Response, Unreachable, Wire

TOKEN_FILE = "/var/run/secrets/tokens/azure-identity"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
RULE = "-" * 80
SLOW, FAST, NEVER = "slow", "fast", "never"

RETRYABLE = frozenset(
    {
        "AnotherOperationInProgress",
        "AuthorizationFailed",
        "AllocationFailed",
        "Conflict",
        "FailedIdentityOperation",
        "InvalidResourceReference",
        "InvalidSubscriptionRegistrationState",
        "LinkedAuthorizationFailed",
        "MissingRegistrationForLocation",
        "MissingSubscriptionRegistration",
        "NoRegisteredProviderFound",
        "NotFound",
        "ParentResourceNotFound",
        "PrincipalNotFound",
        "ResourceGroupNotFound",
        "ResourceNotFound",
        "ResourceQuotaExceeded",
        "SubscriptionNotRegistered",
        "ScopeLocked",
    }
)
FATAL = frozenset(
    {
        "BadRequestFormat",
        "BadRequest",
        "PublicIpForGatewayIsRequired",
        "InvalidParameter",
        "InvalidParameterValue",
        "InvalidResourceGroupLocation",
        "InvalidResourceType",
        "InvalidRequestContent",
        "InvalidTemplate",
        "InvalidValuesForRequestParameters",
        "InvalidGatewaySkuProvidedForGatewayVpnType",
        "InvalidGatewaySize",
        "LocationRequired",
        "MethodNotAllowed",
        "MissingRequiredParameter",
        "PasswordTooLong",
        "PrivateIPAddressInReservedRange",
        "PrivateIPAddressNotInSubnet",
        "PropertyChangeNotAllowed",
        "RegionIsOfferRestricted",
        "RequestDisallowedByPolicy",
        "ReservedResourceName",
        "SkuNotAvailable",
        "SubscriptionNotFound",
    }
)


class ReadyError(Exception):
    """A resource cannot become ready: the condition's severity, reason and message. `retry`: `SLOW`, `FAST` or `NEVER`."""

    def __init__(self, severity: str, reason: str, message: str, retry: str = SLOW) -> None:
        super().__init__(message)
        self.severity = severity
        self.reason = reason
        self.retry = NEVER if severity == "Error" else retry


class AzureError(Exception):
    """ARM has refused a request. `str()` is azcore's text of the answer, `message` the text of the Ready condition."""

    def __init__(self, status: int, code: str, message: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code or "UnknownError"
        self.message = message or "There was an error during deployment"

    def classified(self) -> ReadyError:
        """Return the error as a Ready condition."""
        return ReadyError("Error" if self._fatal() else "Warning", self.code, self.message)

    def _fatal(self) -> bool:
        return self.code in FATAL or (self.code not in RETRYABLE and self.status == 400)


class CredentialError(Exception):
    """A token was not issued. `str()` is azidentity's text, which quotes Entra's answer."""


@dataclass
class Settings:
    """The endpoints of a cloud. The defaults are those of the public cloud."""

    authority: str = "https://login.microsoftonline.com/"
    endpoint: str = "https://management.azure.com"
    audience: str = "https://management.core.windows.net/"


@dataclass
class Credential:
    """ASO's identity for a resource. `origin`: namespace/name of its Secret; `secret`: "" for workload identity."""

    origin: str
    tenant: str
    client: str
    subscription: str
    secret: str = field(default="", repr=False)


class Tokens:
    """Access tokens for ARM, kept until shortly before they expire."""

    def __init__(self, wire: Wire, clock: Clock, files: Mapping[str, bytes], settings: Settings) -> None:
        self._wire, self._clock, self._files, self._settings = wire, clock, files, settings
        self._kept: dict[tuple[str, str, str], tuple[str, datetime]] = {}

    async def token(self, credential: Credential) -> str:
        """Return an access token for ARM. Raises `CredentialError`, `Unreachable`."""
        key = (credential.tenant, credential.client, credential.secret)
        kept = self._kept.get(key)
        if kept is not None and kept[1] > self._clock.now():
            return kept[0]
        kind = "ClientSecretCredential" if credential.secret else "WorkloadIdentityCredential"
        url = f"{self._settings.authority.rstrip('/')}/{credential.tenant}/oauth2/v2.0/token"
        response = await self._wire.request(
            "POST",
            url,
            headers={"content-type": "application/x-www-form-urlencoded", "accept": "application/json"},
            body=urlencode(self._form(credential, kind)).encode(),
        )
        if response.status != 200:
            topic = "client-secret" if credential.secret else "workload"
            raise CredentialError(
                f"{kind} authentication failed. \nPOST {url}\n{answer_text(response, with_code=False)}\n"
                f"To troubleshoot, visit https://aka.ms/azsdk/go/identity/troubleshoot#{topic}"
            )
        body = response.json()
        ends = self._clock.now() + timedelta(seconds=max(int(body.get("expires_in", 3600)) - 300, 1))
        self._kept[key] = (body["access_token"], ends)
        return str(body["access_token"])

    def forget(self, credential: Credential) -> None:
        """Drop a kept token: ARM has answered 401 because it was revoked."""
        self._kept.pop((credential.tenant, credential.client, credential.secret), None)

    def _form(self, credential: Credential, kind: str) -> dict[str, str]:
        form = {
            "client_id": credential.client,
            "scope": f"{self._settings.audience}/.default",
            "grant_type": "client_credentials",
        }
        if credential.secret:
            return {**form, "client_secret": credential.secret}
        try:
            assertion = self._files[TOKEN_FILE].decode().strip()
        except KeyError:
            raise CredentialError(f"{kind}: open {TOKEN_FILE}: no such file or directory") from None
        return {**form, "client_assertion_type": ASSERTION, "client_assertion": assertion}


def answer_text(response: Response, with_code: bool = True) -> str:
    """Return a refusal as azcore prints it: rulers, status, code, body."""
    try:
        document = response.json()
        body = json.dumps(document, indent=2)
        code = _error(document)[0] or "UNAVAILABLE"
    except ValueError:
        body, code = response.text or "Response contained no body", "UNAVAILABLE"
    lines = [RULE, f"RESPONSE {response.status}: {response.status} {PHRASES.get(response.status, '')}".rstrip()]
    if with_code:
        lines.append(f"ERROR CODE: {code}" if code != "UNAVAILABLE" else "ERROR CODE UNAVAILABLE")
    return "\n".join([*lines, RULE, body, RULE])


PHRASES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    412: "Precondition Failed",
    429: "Too Many Requests",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


def _error(document: Any) -> tuple[str, str]:
    """Return (code, message) of an error document, nested below `error` or not; "" where one is missing."""
    if not isinstance(document, dict):
        return "", ""
    inner = document.get("error")
    found = inner if isinstance(inner, dict) else document
    return str(found.get("code") or ""), str(found.get("message") or "")


@dataclass
class Answer:
    """ARM's answer: the resource, and the URL to poll ("" when the operation has ended)."""

    status: int
    body: Any
    poll: str = ""
    retry_after: float = 0.0


class Arm:
    """A client of ARM with one credential."""

    def __init__(
        self,
        wire: Wire,
        clock: Clock,
        tokens: Tokens,
        settings: Settings,
        credential: Credential,
        user_agent: str,
        log: Callable[[str], None],
    ) -> None:
        self._wire, self._clock, self._tokens, self._settings = wire, clock, tokens, settings
        self.credential = credential
        self._user_agent, self._log = user_agent, log

    async def put(self, resource_id: str, api_version: str, body: Any) -> Answer:
        return self._started(await self._send("PUT", self._url(resource_id, api_version), body))

    async def get(self, resource_id: str, api_version: str) -> Any:
        """Return the resource. Raises `AzureError`."""
        return (await self._send("GET", self._url(resource_id, api_version))).json()

    async def delete(self, resource_id: str, api_version: str) -> Answer:
        """Delete the resource. Status 204 without a URL to poll: it did not exist."""
        return self._started(await self._send("DELETE", self._url(resource_id, api_version)))

    async def post(self, resource_id: str, action: str, api_version: str) -> Any:
        return (await self._send("POST", self._url(f"{resource_id}/{action}", api_version))).json()

    async def poll(self, url: str) -> Answer:
        """Return the state of an operation. Raises `AzureError` if it has failed."""
        response = await self._send("GET", url)
        if response.status == 202:
            return Answer(202, None, url, _retry_after(response))
        document = response.json() if response.body else {}
        state = str(document.get("status", "") if isinstance(document, dict) else "").lower()
        if state in ("", "succeeded"):
            return Answer(200, document)
        if state in ("failed", "canceled"):
            code, message = _error(document)
            raise AzureError(200, code or state.capitalize(), message, f"GET {url}\n{answer_text(response)}")
        return Answer(202, None, url, _retry_after(response))

    def _url(self, resource_id: str, api_version: str) -> str:
        return f"{self._settings.endpoint.rstrip('/')}{resource_id}?api-version={api_version}"

    def _started(self, response: Response) -> Answer:
        body = response.json() if response.body else None
        poll = response.headers.get("azure-asyncoperation") or (
            response.headers.get("location", "") if response.status == 202 else ""
        )
        return Answer(response.status, body, poll, _retry_after(response))

    async def _send(self, method: str, url: str, body: Any = None) -> Response:
        """Send one request, and repeat it up to three times when ARM throttles or fails, as azcore's retry policy does."""
        for attempt in range(4):
            response = await self._once(method, url, body)
            if response.status not in (408, 429, 500, 502, 503, 504) or attempt == 3:
                break
            await self._clock.wait(_retry_after(response) or 0.8 * 2.0**attempt)
        if response.status == 401:
            self._tokens.forget(self.credential)
        if response.status >= 400:
            code, message = _error(_document(response))
            raise AzureError(response.status, code, message, f"{method} {url.partition('?')[0]}\n{answer_text(response)}")
        return response

    async def _once(self, method: str, url: str, body: Any) -> Response:
        token = await self._tokens.token(self.credential)
        data = b"" if body is None else json.dumps(body).encode()
        headers = {
            "authorization": f"Bearer {token}",
            "content-type": "application/json",
            "accept": "application/json",
            "user-agent": self._user_agent,
        }
        try:
            return await self._wire.request(method, url, headers=headers, body=data)
        except Unreachable as error:
            text = f'{method.capitalize()} "{url}": {error}'
            raise AzureError(0, "", text, text) from None


def _document(response: Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def _retry_after(response: Response) -> float:
    try:
        return float(response.headers.get("retry-after", "0"))
    except ValueError:
        return 0.0
