"""The caller of a request: its bearer token is verified against Entra's published keys. The failures are ARM's own.

Entra keeps the public halves of its keys in partition `entra` (`keys/<kid>`, one JWK each), where they are read here.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import jwt

from azuresandbox.arm.errors import ArmError
from azuresandbox.arm.provider import Caller
from azuresandbox.context import Sandbox

AUDIENCES = (
    "https://management.core.windows.net/",
    "https://management.core.windows.net",
    "https://management.azure.com/",
    "https://management.azure.com",
)
REMEMBERED = 256
"""Verified tokens kept in memory, so that a signature is checked once for each token."""


class Verifier:
    """Verifies tokens and remembers those that it has verified."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._verified: dict[str, dict[str, Any]] = {}

    def caller(self, headers: Mapping[str, str]) -> Caller:
        """Return the caller of a request with these headers. Raises `ArmError` 401 with the challenge."""
        authorization = headers.get("authorization", "")
        if not authorization:
            raise self._refused("AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing.")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            message = "Authentication failed. The 'Authorization' header is provided in an invalid format."
            raise self._refused("AuthenticationFailed", message)
        claims = self._verified.get(token) or self._verify(token)
        self._check(claims)
        return Caller(claims["appid"], claims["oid"], claims["tid"])

    def _verify(self, token: str) -> dict[str, Any]:
        try:
            kid = jwt.get_unverified_header(token).get("kid", "")
            record = self._sandbox.store.get("entra", f"keys/{kid}")
            if record is None:
                raise jwt.InvalidTokenError
            key = jwt.PyJWK(json.loads(record.value), "RS256").key
            checks: Any = {"verify_exp": False, "verify_nbf": False, "verify_aud": False, "verify_iat": False}
            claims: dict[str, Any] = jwt.decode(token, key, algorithms=["RS256"], options=checks)
            if not {"appid", "oid", "tid", "exp", "aud", "iss"} <= claims.keys():
                raise jwt.InvalidTokenError
        except (jwt.InvalidTokenError, jwt.PyJWKError):
            raise self._refused("InvalidAuthenticationToken", "The access token is invalid.") from None
        while len(self._verified) >= REMEMBERED:
            self._verified.pop(next(iter(self._verified)))
        self._verified[token] = claims
        return claims

    def _check(self, claims: Mapping[str, Any]) -> None:
        sandbox, now = self._sandbox, self._sandbox.clock.now()
        expires = datetime.fromtimestamp(claims["exp"], UTC)
        if expires <= now:
            message = (
                f"The access token expiry UTC time '{_american(expires)}' is earlier than current UTC time '{_american(now)}'."
            )
            raise self._refused("ExpiredAuthenticationToken", message)
        allowed = (*AUDIENCES, sandbox.base, sandbox.base + "/")
        if claims["aud"] not in allowed:
            quoted = ",".join(f"'{audience}'" for audience in allowed)
            message = (
                f"The access token has been obtained for wrong audience or resource '{claims['aud']}'. It should exactly match "
                f"with one of the allowed audiences {quoted}."
            )
            raise self._refused("InvalidAuthenticationTokenAudience", message)
        if claims["tid"] != sandbox.tenant_id:
            message = (
                f"The access token is from the wrong issuer '{claims['iss']}'. It must match the tenant "
                f"'{sandbox.base}/{sandbox.tenant_id}/' associated with this subscription. Please use the authority (URL) "
                f"'{sandbox.base}/{sandbox.tenant_id}' to get the token."
            )
            raise self._refused("InvalidAuthenticationTokenTenant", message)
        if sandbox.faults.take("token-revoked", claims["appid"]) is not None:
            raise self._revoked(now)

    def _revoked(self, now: datetime) -> ArmError:
        """Return the 401 of continuous access evaluation.

        Its claims challenge makes Azure's clients ask Entra for a token issued from now on.
        """
        claims = json.dumps({"access_token": {"nbf": {"essential": True, "value": str(int(now.timestamp()))}}})
        message = (
            "Continuous access evaluation resulted in challenge with result: InteractionRequired and code: "
            "TokenIssuedBeforeRevocationTimestamp"
        )
        refused = self._refused("InvalidAuthenticationToken", message)
        challenge = f'Bearer authorization_uri="{self._sandbox.base}/{self._sandbox.tenant_id}", error="insufficient_claims"'
        refused.headers["WWW-Authenticate"] = f'{challenge}, claims="{base64.b64encode(claims.encode()).decode()}"'
        return refused

    def _refused(self, code: str, message: str) -> ArmError:
        authority = f"{self._sandbox.base}/{self._sandbox.tenant_id}"
        challenge = f'Bearer authorization_uri="{authority}", error="invalid_token", error_description="{message}"'
        return ArmError(401, code, message, headers={"WWW-Authenticate": challenge})


def _american(moment: datetime) -> str:
    """Return the time as .NET's invariant culture prints it: 1/2/2026 3:04:05 PM."""
    hour = moment.hour % 12 or 12
    half = "AM" if moment.hour < 12 else "PM"
    return f"{moment.month}/{moment.day}/{moment.year} {hour}:{moment:%M:%S} {half}"
