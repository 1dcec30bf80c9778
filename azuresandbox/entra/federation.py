"""Workload identity federation: a token of another issuer replaces a secret, if the principal trusts it.

The trusts are the directory's federated credentials, matched on issuer, subject and audience, in that order and exactly, case
included. Only then are the issuer's keys fetched. Source: "Workload identity federation", "How it works".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import jwt

from azuresandbox.context import Sandbox
from azuresandbox.directory import FederatedCredential, Principal
from azuresandbox.entra import errors
from azuresandbox.wire import Unreachable


async def check(sandbox: Sandbox, principal: Principal, assertion: str, claims: Mapping[str, Any]) -> None:
    """Raise `EntraError` unless `assertion` was signed by an issuer, for a subject, that the principal trusts."""
    match(principal, claims)
    await _verify(sandbox, assertion, claims["iss"])


def match(principal: Principal, claims: Mapping[str, Any]) -> FederatedCredential:
    """Return the federated credential that the claims fit. The error names the first claim that no credential has."""
    if not principal.federated:
        raise errors.no_federated_credentials(principal.app_id, principal.display_name)
    audiences = claims.get("aud")
    presented = audiences if isinstance(audiences, list) else [str(audiences or "")]
    of_issuer = [trust for trust in principal.federated if trust.issuer == claims["iss"]]
    if not of_issuer:
        raise errors.no_match(700211, "issuer", claims["iss"])
    of_subject = [trust for trust in of_issuer if trust.subject == claims["sub"]]
    if not of_subject:
        if any(trust.subject.lower() == claims["sub"].lower() for trust in of_issuer):
            raise errors.subject_differs_in_case(claims["sub"])
        raise errors.no_match(700213, "subject", claims["sub"])
    for trust in of_subject:
        if set(trust.audiences) & set(presented):
            return trust
    raise errors.no_match(700212, "audience", ", ".join(presented))


async def _verify(sandbox: Sandbox, assertion: str, issuer: str) -> None:
    """Check the signature against the keys that the issuer publishes."""
    document = await _fetch(sandbox, issuer.rstrip("/") + "/.well-known/openid-configuration")
    if str(document.get("issuer", "")).rstrip("/") != issuer.rstrip("/"):
        raise errors.issuer_unreachable(f"The document of '{issuer}' names another issuer, '{document.get('issuer')}'.")
    published = await _fetch(sandbox, str(document.get("jwks_uri", "")))
    kid = jwt.get_unverified_header(assertion).get("kid")
    candidates = [key for key in published.get("keys", []) if key.get("kid") == kid]
    if not candidates:
        raise errors.signing_key_unknown(str(kid), issuer)
    if not any(_signed(assertion, key) for key in candidates):
        raise errors.signature_wrong()


def _signed(assertion: str, key: dict[str, Any]) -> bool:
    off: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}
    try:
        jwt.decode(assertion, jwt.PyJWK(key, "RS256").key, algorithms=["RS256"], options=off)
    except (jwt.InvalidTokenError, jwt.PyJWKError):
        return False
    return True


async def _fetch(sandbox: Sandbox, url: str) -> dict[str, Any]:
    try:
        response = await sandbox.wire.request("GET", url)
        document = response.json() if response.status == 200 else None
    except (Unreachable, json.JSONDecodeError) as error:
        raise errors.issuer_unreachable(f"{url}: {error}.") from None
    if not isinstance(document, dict):
        raise errors.issuer_unreachable(f"{url} answered {response.status}.")
    return document
