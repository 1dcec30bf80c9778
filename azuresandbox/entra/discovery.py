"""The documents that clients read before they ask for a token: OpenID discovery, signing keys, MSAL's authority metadata.

Source: OpenID Connect Discovery 1.0; the documents of login.microsoftonline.com.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from azuresandbox.context import Sandbox
from azuresandbox.entra import keys, tokens

Document = dict[str, Any]


def openid(sandbox: Sandbox, tenant: str) -> Document:
    """Return the OpenID document of version 2."""
    root = f"{sandbox.base}/{tenant}"
    return {
        "token_endpoint": f"{root}/oauth2/v2.0/token",
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
        "jwks_uri": f"{root}/discovery/v2.0/keys",
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "issuer": f"{root}/v2.0",
        "request_uri_parameter_supported": False,
        "authorization_endpoint": f"{root}/oauth2/v2.0/authorize",
        "device_authorization_endpoint": f"{root}/oauth2/v2.0/devicecode",
        "claims_supported": ["sub", "iss", "aud", "exp", "iat", "tid", "oid", "ver"],
        "tenant_region_scope": "NA",
        "cloud_instance_name": sandbox.base.removeprefix("https://"),
    }


def openid_v1(sandbox: Sandbox, tenant: str) -> Document:
    root = f"{sandbox.base}/{tenant}"
    return {
        **openid(sandbox, tenant),
        "token_endpoint": f"{root}/oauth2/token",
        "jwks_uri": f"{root}/discovery/keys",
        "issuer": tokens.issuer(sandbox),
        "authorization_endpoint": f"{root}/oauth2/authorize",
    }


def signing_keys(sandbox: Sandbox, tenant: str) -> Document:
    return keys.published(sandbox)


def instance(sandbox: Sandbox) -> Document:
    """Return MSAL's authority metadata: this authority has no aliases."""
    host = sandbox.base.removeprefix("https://")
    return {
        "tenant_discovery_endpoint": f"{sandbox.base}/{sandbox.tenant_id}/v2.0/.well-known/openid-configuration",
        "api-version": "1.1",
        "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
    }


DOCUMENTS: dict[str, Callable[[Sandbox, str], Document]] = {
    "v2.0/.well-known/openid-configuration": openid,
    ".well-known/openid-configuration": openid_v1,
    "discovery/v2.0/keys": signing_keys,
    "discovery/keys": signing_keys,
}
