"""The token endpoint: a client proves its identity by secret, certificate or federated assertion, and gets a token.

Source: "OAuth 2.0 client credentials flow" and "Workload identity federation".
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from azuresandbox import directory
from azuresandbox.context import Sandbox
from azuresandbox.directory import Principal
from azuresandbox.entra import errors, federation, graph, tokens

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
RESOURCES = (
    "https://management.core.windows.net/",
    "https://management.core.windows.net",
    "https://management.azure.com/",
    "https://management.azure.com",
    "6dae42f8-4368-4678-94ff-3960e28e3630",
)
"""The resources of tokens besides the sandbox's own addresses (ARM, Graph): ARM, and AKS's server application."""

Form = Mapping[str, str]


async def token(sandbox: Sandbox, form: Form, endpoint: str) -> dict[str, Any]:
    """Return the answer to a token request. Raises `EntraError`."""
    if form["grant_type"] != "client_credentials":
        raise errors.grant_unsupported(form["grant_type"])
    app_id = form.get("client_id", "")
    if not app_id:
        raise errors.form_missing("client_id")
    audience = _audience(sandbox, form, endpoint)
    principal = directory.get_principal(sandbox.store, app_id)
    if principal is None:
        raise errors.application_not_found(app_id, sandbox.tenant_id)
    proof = await _prove(sandbox, principal, form)
    access = tokens.issue(sandbox, principal, audience, proof)
    seconds = tokens.LIFETIME - 1
    answer: dict[str, Any] = {"token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": access}
    if endpoint == "oauth2/token":
        answer |= {"expires_in": str(seconds), "resource": audience}
    return answer


def _audience(sandbox: Sandbox, form: Form, endpoint: str) -> str:
    """Return the resource that the scope (version 2) or `resource` (version 1) names."""
    if endpoint == "oauth2/token":
        resource = form.get("resource", "")
        if not resource:
            raise errors.form_missing("resource")
    else:
        resource = _resource(form)
    own = (sandbox.base, graph.address(sandbox.base))
    if resource not in (*RESOURCES, *own, *(address + "/" for address in own)):
        raise errors.resource_not_found(resource, sandbox.tenant_id)
    return resource


def _resource(form: Form) -> str:
    if "scope" not in form:
        raise errors.form_missing("scope")
    wanted = [scope for scope in form["scope"].split() if scope not in ("openid", "profile", "offline_access")]
    if len(wanted) != 1:
        raise errors.scope_invalid(form["scope"])
    if not wanted[0].endswith("/.default"):
        raise errors.scope_not_default(wanted[0])
    return wanted[0].removesuffix("/.default")


async def _prove(sandbox: Sandbox, principal: Principal, form: Form) -> str:
    """Check the client's credential. Return its kind, the claim `appidacr`."""
    if "client_assertion" in form:
        if form.get("client_assertion_type") != JWT_BEARER:
            raise errors.assertion_type_wrong(form.get("client_assertion_type", ""))
        await _check_assertion(sandbox, principal, form["client_assertion"])
        return tokens.CERTIFICATE
    if "client_secret" not in form:
        raise errors.credential_missing()
    if not directory.secret_matches(principal, form["client_secret"]):
        raise errors.secret_wrong(principal.app_id)
    return tokens.SECRET


async def _check_assertion(sandbox: Sandbox, principal: Principal, assertion: str) -> None:
    """Check an assertion: one by the client's own certificate, or one of an issuer that the principal trusts."""
    try:
        claims = jwt.decode(assertion, options={"verify_signature": False})
        head = jwt.get_unverified_header(assertion)
    except jwt.InvalidTokenError:
        raise errors.assertion_malformed() from None
    if not isinstance(claims.get("iss"), str) or not isinstance(claims.get("sub"), str):
        raise errors.assertion_malformed()
    if claims["iss"].lower() == principal.app_id or "x5t" in head or "x5t#S256" in head:
        _check_certificate(sandbox, principal, assertion, claims, head)
    else:
        await federation.check(sandbox, principal, assertion, claims)
    check_time(sandbox, claims)


def check_time(sandbox: Sandbox, claims: Mapping[str, Any]) -> None:
    now, end = sandbox.clock.now(), claims.get("exp")
    if not isinstance(end, int | float):
        raise errors.assertion_malformed()
    start = claims.get("nbf", claims.get("iat", 0))
    if not start - 300 <= now.timestamp() < end:
        raise errors.assertion_out_of_time(*(_stamp(moment) for moment in (now.timestamp(), start, end)))


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.0000000Z")


def _check_certificate(
    sandbox: Sandbox, principal: Principal, assertion: str, claims: Mapping[str, Any], head: Mapping[str, Any]
) -> None:
    if claims["iss"].lower() != principal.app_id or claims["sub"].lower() != principal.app_id:
        raise errors.assertion_client_wrong()
    certificate = next((c for c in map(_parse, principal.certificates) if _named(c, head)), None)
    if certificate is None:
        raise errors.certificate_unknown(principal.app_id)
    root = f"{sandbox.base}/{sandbox.tenant_id}"
    allowed = (f"{root}/oauth2/v2.0/token", f"{root}/oauth2/token", f"{root}/v2.0", f"{root}/")
    if claims.get("aud") not in allowed:
        raise errors.assertion_audience_wrong()
    try:
        key: Any = certificate.public_key()
        off: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}
        jwt.decode(assertion, key, algorithms=["RS256", "PS256"], options=off)
    except jwt.InvalidTokenError:
        raise errors.certificate_unknown(principal.app_id) from None


def _parse(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def _named(certificate: x509.Certificate, head: Mapping[str, Any]) -> bool:
    """Return whether the header's thumbprint is the certificate's."""
    prints = {"x5t": hashes.SHA1(), "x5t#S256": hashes.SHA256()}  # RFC 7515 names SHA-1 for x5t
    for name, algorithm in prints.items():
        if name in head:
            digest = certificate.fingerprint(algorithm)
            return bool(base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == str(head[name]).rstrip("="))
    return False
