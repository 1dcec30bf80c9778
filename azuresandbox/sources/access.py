"""Authentication at the sources: Basic credentials of a principal of the tenant, or a token that Entra issued.

Tokens are verified against the keys that Entra publishes.
"""

from __future__ import annotations

import time

import jwt

from azuresandbox import directory
from azuresandbox.context import OPERATOR_CLIENT_ID, Sandbox, Scope
from azuresandbox.http import basic_principal, header

AUDIENCES = (
    "https://management.azure.com",
    "https://management.azure.com/",
    "https://management.core.windows.net",
    "https://management.core.windows.net/",
    "499b84ac-1321-427f-aa17-267ca6975798",  # Azure DevOps, whose Git takes Entra tokens
    "https://containerregistry.azure.net",
    "https://containerregistry.azure.net/",
)
_PAUSE = 1.0
"""Seconds between two requests for an unknown signing key, so that forged tokens do not cause a request each."""


class Access:
    """Authentication for the Git, OCI and Helm hosts of one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._keys: jwt.PyJWKSet | None = None
        self._asked = -_PAUSE

    async def principal(self, scope: Scope) -> directory.Principal | None:
        """Return the principal of the request's credentials, or `None`."""
        scheme, _, token = header(scope, "authorization").partition(" ")
        if scheme.lower() == "bearer":
            return await self._entra(token.strip())
        return basic_principal(self._sandbox.store, scope)

    async def _entra(self, token: str) -> directory.Principal | None:
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = await self._key(kid)
            if key is None:
                return None
            options: jwt.types.Options = {"require": ["exp", "aud", "tid"], "verify_exp": False, "verify_nbf": False}
            options["verify_iat"] = False
            claims = jwt.decode(token, key, algorithms=["RS256"], audience=AUDIENCES, options=options)
        except jwt.PyJWTError:
            return None
        # The sandbox's clock decides on expiry, because tests advance it.
        if claims["exp"] <= self._sandbox.clock.now().timestamp() or claims["tid"] != self._sandbox.tenant_id:
            return None
        return directory.get_principal(self._sandbox.store, str(claims.get("appid") or claims.get("azp") or ""))

    async def _key(self, kid: str | None) -> jwt.PyJWK | None:
        if self._find(kid) is None and time.monotonic() >= self._asked + _PAUSE:
            await self._refresh()
        return self._find(kid)

    def _find(self, kid: str | None) -> jwt.PyJWK | None:
        return next((key for key in self._keys.keys if key.key_id == kid), None) if self._keys else None

    async def _refresh(self) -> None:
        sandbox, self._asked = self._sandbox, time.monotonic()
        url = f"{sandbox.base}/{sandbox.tenant_id}/discovery/v2.0/keys"
        response = await sandbox.wire.request("GET", url)
        if response.status == 200:
            self._keys = jwt.PyJWKSet.from_dict(response.json())


def may_push(principal: directory.Principal) -> bool:
    """Return whether the principal may write: only the operator may. All other known principals may read."""
    return principal.app_id == OPERATOR_CLIENT_ID
