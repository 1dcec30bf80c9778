"""Access tokens: RS256 JWTs with the claims of Entra's version 1 tokens for applications, which ARM takes.

Source: "Access token claims reference".
"""

from __future__ import annotations

import uuid
from typing import Any

import jwt

from azuresandbox.context import Sandbox
from azuresandbox.directory import Principal
from azuresandbox.entra import keys

LIFETIME = 3600
"""Seconds that a token is valid."""

SECRET, CERTIFICATE = "1", "2"
"""`appidacr`: how the client proved its identity. A federated assertion counts as a certificate."""


def issue(sandbox: Sandbox, principal: Principal, audience: str, proof: str = SECRET) -> str:
    """Return a token with which `principal` may call the resource `audience` for an hour."""
    now, (kid, key) = int(sandbox.clock.now().timestamp()), keys.private(sandbox)
    claims: dict[str, Any] = {
        "aud": audience,
        "iss": issuer(sandbox),
        "iat": now,
        "nbf": now,
        "exp": now + LIFETIME,
        "appid": principal.app_id,
        "appidacr": proof,
        "idp": issuer(sandbox),
        "idtyp": "app",
        "oid": principal.object_id,
        "sub": principal.object_id,
        "tid": sandbox.tenant_id,
        "uti": uuid.uuid4().hex[:22],
        "ver": "1.0",
    }
    if principal.resource_id:
        claims["xms_mirid"] = principal.resource_id
    return jwt.encode(claims, key, "RS256", {"kid": kid, "x5t": kid})


def issuer(sandbox: Sandbox) -> str:
    """Return the issuer, which replaces `https://sts.windows.net/{tenant}/`."""
    return f"{sandbox.base}/{sandbox.tenant_id}/"
