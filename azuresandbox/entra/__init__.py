"""Microsoft Entra ID for service principals and managed identities.

Discovery, the token endpoint, and the part of Microsoft Graph that reads service principals. It reads the directory and writes
only its own signing keys.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from azuresandbox.context import ASGIApp, Receive, Sandbox, Scope, Send
from azuresandbox.entra import discovery, exchange, graph
from azuresandbox.entra.errors import EntraError, form_missing, method_wrong, tenant_not_found
from azuresandbox.http import header, read_body, send_json

ANY_TENANT = ("common", "organizations", "consumers")


def app(sandbox: Sandbox) -> ASGIApp:
    """Return the application for every path that starts with a tenant, and for Microsoft Graph."""

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive)
        correlation = header(scope, "client-request-id") or str(uuid.uuid4())
        try:
            if scope["path"].lower().startswith("/graph/"):
                status, document = graph.answer(sandbox, scope, body)
            else:
                status, document = await _answer(sandbox, scope, body)
        except EntraError as error:
            status, document = error.status, error.body(sandbox, correlation)
        sent = {"cache-control": "no-store, no-cache", "pragma": "no-cache", "client-request-id": correlation}
        await send_json(send, status, document, sent)

    return handle


async def _answer(sandbox: Sandbox, scope: Scope, body: bytes) -> tuple[int, Any]:
    tenant, _, rest = scope["path"].strip("/").partition("/")
    rest, method = rest.lower(), scope["method"]
    if rest == "discovery/instance":
        return 200, discovery.instance(sandbox)
    if rest in ("oauth2/v2.0/token", "oauth2/token"):
        if method != "POST":
            raise method_wrong(method)
        _check_tenant(sandbox, tenant, any_tenant=False)
        return 200, await exchange.token(sandbox, _form(body), rest)
    if rest in discovery.DOCUMENTS:
        _check_tenant(sandbox, tenant, any_tenant=True)
        return 200, discovery.DOCUMENTS[rest](sandbox, sandbox.tenant_id if tenant in ANY_TENANT else tenant.lower())
    return 404, {
        "error": "not_found",
        "error_description": f"The sandbox's Entra has no page /{tenant}/{rest}: see docs/sandbox.md.",
    }


def _check_tenant(sandbox: Sandbox, tenant: str, *, any_tenant: bool) -> None:
    if tenant.lower() != sandbox.tenant_id and not (any_tenant and tenant in ANY_TENANT):
        raise tenant_not_found(tenant)


def _form(body: bytes) -> Mapping[str, str]:
    form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    if not form.get("grant_type"):
        raise form_missing("grant_type")
    return form
