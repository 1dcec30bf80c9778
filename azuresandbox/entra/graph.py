"""Microsoft Graph, read only: the tenant's service principals. The Azure CLI asks it for `--assignee` and for names.

Served below `/graph/v1.0` and `/graph/beta`. Source: the Graph v1.0 reference (servicePrincipal, directoryObject: getByIds,
"Microsoft Graph error responses"). Reading the directory takes a permission of Graph, `Directory.Read.All`, which role
assignments in ARM do not give. Here only the sandbox's operator has it.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

import jwt

from azuresandbox import directory
from azuresandbox.context import OPERATOR_CLIENT_ID, Sandbox, Scope
from azuresandbox.directory import Principal
from azuresandbox.entra import keys
from azuresandbox.http import header

Document = dict[str, Any]
Test = Callable[[Principal], bool]

READERS = frozenset((OPERATOR_CLIENT_ID,))
"""The applications with `Directory.Read.All`."""

SERVICE_PRINCIPAL = "#microsoft.graph.servicePrincipal"
MOST_IDS = 1000
PAGE, LARGEST_PAGE = 100, 999
OPTIONS = frozenset(("filter", "select", "top", "skiptoken"))
EMPTY = ("users", "groups")
"""Collections that exist in every tenant and are empty here, because the sandbox has no people."""

FIELDS: Mapping[str, Callable[[Principal], str]] = {
    "displayname": lambda principal: principal.display_name,
    "appid": lambda principal: principal.app_id,
    "id": lambda principal: principal.object_id,
}


class GraphError(Exception):
    """An error in Graph's envelope."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message

    def body(self, sandbox: Sandbox, request_id: str) -> Document:
        inner = {"date": f"{sandbox.clock.now():%Y-%m-%dT%H:%M:%S}", "request-id": request_id, "client-request-id": request_id}
        return {"error": {"code": self.code, "message": self.message, "innerError": inner}}


@dataclass(frozen=True)
class _Call:
    sandbox: Sandbox
    version: str
    segments: tuple[str, ...]
    query: Mapping[str, str]
    body: bytes

    @property
    def context(self) -> str:
        return f"{self.sandbox.base}/graph/{self.version}/$metadata"


def address(base: str) -> str:
    """Return Graph's address, which is also the audience of its tokens."""
    return f"{base}/graph"


def answer(sandbox: Sandbox, scope: Scope, body: bytes) -> tuple[int, Document]:
    """Return status and document of a request below `/graph`."""
    try:
        return _answer(sandbox, scope, body)
    except GraphError as error:
        return error.status, error.body(sandbox, header(scope, "client-request-id") or str(uuid.uuid4()))


def _answer(sandbox: Sandbox, scope: Scope, body: bytes) -> tuple[int, Document]:
    _authorize(sandbox, scope)
    version, *segments = [unquote(part) for part in scope["path"].strip("/").split("/")[1:]] or [""]
    if version not in ("v1.0", "beta"):
        raise GraphError(400, "BadRequest", "Invalid version.")
    pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    query = {name.lower().removeprefix("$"): value for name, value in pairs}
    call = _Call(sandbox, version, tuple(segments), query, body)
    if unknown := sorted(query.keys() - OPTIONS):
        raise _not_emulated(f"the query option '${unknown[0]}'")
    return 200, _route(scope["method"], call)


def _authorize(sandbox: Sandbox, scope: Scope) -> None:
    scheme, _, token = header(scope, "authorization").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise GraphError(401, "InvalidAuthenticationToken", "Access token is empty.")
    claims = _claims(sandbox, token)
    if str(claims["aud"]).rstrip("/") != address(sandbox.base):
        raise GraphError(401, "InvalidAuthenticationToken", "Access token validation failure. Invalid audience.")
    if datetime.fromtimestamp(claims["exp"], UTC) <= sandbox.clock.now():
        raise GraphError(401, "InvalidAuthenticationToken", "Lifetime validation failed, the token is expired.")
    if claims["appid"] not in READERS:
        raise GraphError(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")


def _claims(sandbox: Sandbox, token: str) -> Document:
    unchecked = dict.fromkeys(("verify_exp", "verify_nbf", "verify_aud", "verify_iat"), False)
    checks: Any = {**unchecked, "require": ["aud", "exp", "appid"]}
    try:
        kid = jwt.get_unverified_header(token).get("kid")
        key = next(jwt.PyJWK(found, "RS256").key for found in keys.published(sandbox)["keys"] if found["kid"] == kid)
        return jwt.decode(token, key, algorithms=["RS256"], options=checks)
    except (jwt.InvalidTokenError, jwt.PyJWKError, StopIteration):
        message = "Access token validation failure. Signature is invalid."
        raise GraphError(401, "InvalidAuthenticationToken", message) from None


def _route(method: str, call: _Call) -> Document:
    match method, *call.segments:
        case "GET", "servicePrincipals":
            return _list(call)
        case "GET", "servicePrincipals", name:
            return _one(call, name, lambda principal: principal.object_id)
        case "GET", name if key := re.fullmatch(r"servicePrincipals\(appId='([^']*)'\)", name):
            return _one(call, key[1], lambda principal: principal.app_id)
        case "POST", "directoryObjects", "getByIds" | "microsoft.graph.getByIds":
            return _by_ids(call)
        case "GET", name if name in EMPTY:
            return {"@odata.context": f"{call.context}#{name}", "value": []}
        case _, "me":
            raise GraphError(400, "BadRequest", "/me request is only valid with delegated authentication flow.")
    raise _not_emulated(f"'{method} /{'/'.join(call.segments)}'")


def _not_emulated(what: str) -> GraphError:
    return GraphError(
        501,
        "NotImplemented",
        f"The sandbox does not emulate Microsoft Graph's {what}: it reads service principals only. Make managed "
        "identities with "
        "`az identity create`, and name principals by --assignee or --assignee-object-id. See docs/sandbox.md.",
    )


def _list(call: _Call) -> Document:
    """Return a page. The token of the next one is the id of this page's last principal."""
    tests, size, after = _tests(call.query.get("filter", "")), _size(call), call.query.get("skiptoken", "")
    every = sorted(directory.principals(call.sandbox.store), key=lambda principal: principal.object_id)
    found = [p for p in every if p.object_id > after and all(test(p) for test in tests)]
    value = [_selected(call, _described(call.sandbox, principal)) for principal in found[:size]]
    following = {"@odata.nextLink": _next(call, found[size - 1])} if len(found) > size else {}
    return {"@odata.context": f"{call.context}#servicePrincipals", **following, "value": value}


def _size(call: _Call) -> int:
    asked = call.query.get("top", str(PAGE))
    if not asked.isdecimal() or not 1 <= int(asked) <= LARGEST_PAGE:
        raise GraphError(
            400,
            "Request_BadRequest",
            f"Invalid page size specified: '{asked}'. Must be between 1 and {LARGEST_PAGE} inclusive.",
        )
    return int(asked)


def _next(call: _Call, last: Principal) -> str:
    query = {f"${name}": value for name, value in call.query.items()} | {"$skiptoken": last.object_id}
    return f"{address(call.sandbox.base)}/{call.version}/servicePrincipals?{urlencode(query, quote_via=quote)}"


def _tests(expression: str) -> list[Test]:
    clauses = re.split(r"\s+and\s+(?=(?:[^']*'[^']*')*[^']*$)", expression.strip(), flags=re.IGNORECASE)
    return [_test(clause) for clause in clauses if clause]


def _test(clause: str) -> Test:
    """Return the test of one comparison.

    Raises `GraphError` for an invalid filter and for one that the sandbox does not emulate.
    """
    if named := re.fullmatch(r"servicePrincipalNames/any\(\s*(\w+)\s*:\s*\1\s+eq\s+'((?:[^']|'')*)'\s*\)", clause):
        wanted = named[2].replace("''", "'").lower()
        return lambda principal: wanted == principal.app_id.lower()
    equal = re.fullmatch(r"(\w+)\s+eq\s+'((?:[^']|'')*)'", clause)
    start = re.fullmatch(r"startswith\(\s*(\w+)\s*,\s*'((?:[^']|'')*)'\s*\)", clause, re.IGNORECASE)
    match = equal or start
    if match is None or match[1].lower() not in FIELDS:
        raise GraphError(400, "Request_UnsupportedQuery", f"Unsupported or invalid query filter clause specified: '{clause}'.")
    read, text = FIELDS[match[1].lower()], match[2].replace("''", "'").lower()
    if equal:
        return lambda principal: read(principal).lower() == text
    return lambda principal: read(principal).lower().startswith(text)


def _one(call: _Call, name: str, key: Callable[[Principal], str]) -> Document:
    for principal in directory.principals(call.sandbox.store):
        if key(principal) == name.lower():
            shown = _selected(call, _described(call.sandbox, principal))
            return {"@odata.context": f"{call.context}#servicePrincipals/$entity", **shown}
    message = f"Resource '{name}' does not exist or one of its queried reference-property objects are not present."
    raise GraphError(404, "Request_ResourceNotFound", message)


def _by_ids(call: _Call) -> Document:
    try:
        asked = json.loads(call.body)
        ids = {str(name).lower() for name in asked["ids"]}
        types = asked.get("types") or ["directoryObject"]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise GraphError(400, "Request_BadRequest", "Invalid value specified for property 'ids' of resource.") from None
    if len(ids) > MOST_IDS:
        raise GraphError(400, "Request_BadRequest", f"Too many ids: at most {MOST_IDS} can be requested.")
    wanted = {str(name).lower() for name in types} & {"serviceprincipal", "directoryobject"}
    found = [p for p in directory.principals(call.sandbox.store) if wanted and p.object_id in ids]
    value = [{"@odata.type": SERVICE_PRINCIPAL, **_described(call.sandbox, principal)} for principal in found]
    return {"@odata.context": f"{call.context}#directoryObjects", "value": value}


def _selected(call: _Call, document: Document) -> Document:
    names = [name.strip() for name in call.query.get("select", "").split(",") if name.strip()]
    return {name: document[name] for name in names if name in document} if names else document


def _described(sandbox: Sandbox, principal: Principal) -> Document:
    """Return a servicePrincipal resource. The `alternativeNames` of an identity name its resource."""
    explicit = "/userassignedidentities/" in principal.resource_id.lower()
    own = [f"isExplicit={explicit}", principal.resource_id] if principal.resource_id else []
    return {
        "id": principal.object_id,
        "deletedDateTime": None,
        "accountEnabled": True,
        "alternativeNames": own,
        "appDisplayName": None if principal.resource_id else principal.display_name,
        "appId": principal.app_id,
        "appOwnerOrganizationId": None if principal.resource_id else sandbox.tenant_id,
        "displayName": principal.display_name,
        "servicePrincipalNames": [principal.app_id],
        "servicePrincipalType": principal.kind,
        "tags": [],
        "appRoles": [],
        "keyCredentials": [],
        "passwordCredentials": [],
    }
