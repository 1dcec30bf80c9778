"""Signing in at the registry: Basic, or Docker's token authentication, whose tokens live as long as the process."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from urllib.parse import parse_qs

from azuresandbox import directory
from azuresandbox.context import Receive, Sandbox, Scope, Send
from azuresandbox.http import header, read_body, send_json
from azuresandbox.sources.access import Access, may_push
from azuresandbox.sources.registry_errors import RegistryError

TOKEN_SECONDS = 3600


class SignIn:
    """The registry's tokens, and the check of a request's rights."""

    def __init__(self, sandbox: Sandbox, access: Access) -> None:
        self._sandbox = sandbox
        self._access = access
        self._tokens: dict[str, tuple[str, datetime]] = {}

    async def authorise(self, scope: Scope, name: str, pushes: bool) -> None:
        principal = self._bearer(scope) or await self._access.principal(scope)
        if principal is None:
            error = RegistryError(401, "UNAUTHORIZED", "authentication required", _detail(name, pushes))
            error.headers["www-authenticate"] = _challenge(scope, name, pushes)
            raise error
        if pushes and not may_push(principal):
            raise RegistryError(403, "DENIED", "requested access to the resource is denied", _detail(name, pushes))

    def _bearer(self, scope: Scope) -> directory.Principal | None:
        scheme, _, token = header(scope, "authorization").partition(" ")
        known = self._tokens.get(token.strip()) if scheme.lower() == "bearer" else None
        if known is None or known[1] <= self._sandbox.clock.now():
            return None
        return directory.get_principal(self._sandbox.store, known[0])

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer GET with Basic (distribution's token protocol) or POST with a form (OAuth2 password grant)."""
        if scope["path"] != "/oauth2-registry/token" or scope["method"] not in ("GET", "POST"):
            raise RegistryError(404, "UNSUPPORTED", "the operation is unsupported")
        principal = await self._access.principal(scope)
        if principal is None and scope["method"] == "POST":
            principal = self._from_form((await read_body(receive)).decode("utf-8", "replace"))
        if principal is None:
            error = RegistryError(401, "UNAUTHORIZED", "authentication required")
            error.headers["www-authenticate"] = 'Basic realm="Fleet Sandbox"'
            raise error
        now = self._sandbox.clock.now()
        self._tokens = {token: known for token, known in self._tokens.items() if known[1] > now}
        token = secrets.token_urlsafe(32)
        self._tokens[token] = (principal.app_id, now + timedelta(seconds=TOKEN_SECONDS))
        answer = {"token": token, "access_token": token, "expires_in": TOKEN_SECONDS, "issued_at": now.isoformat()}
        await send_json(send, 200, answer, {"cache-control": "no-store"})

    def _from_form(self, form: str) -> directory.Principal | None:
        fields = {name: values[0] for name, values in parse_qs(form).items()}
        if fields.get("grant_type") != "password":
            return None
        principal = directory.get_principal(self._sandbox.store, fields.get("username", ""))
        known = principal and directory.secret_matches(principal, fields.get("password", ""))
        return principal if known else None


def _detail(name: str, pushes: bool) -> list[dict[str, str]] | None:
    short = name.partition("/")[2]
    actions = ("pull", "push") if pushes else ("pull",)
    return [{"Type": "repository", "Class": "", "Name": short, "Action": action} for action in actions] if short else None


def _challenge(scope: Scope, name: str, pushes: bool) -> str:
    host = header(scope, "host")
    challenge = f'Bearer realm="{scope.get("scheme", "https")}://{host}/oauth2-registry/token",service="{host}"'
    if name:
        challenge += f',scope="repository:{name}:{"pull,push" if pushes else "pull"}"'
    return challenge
