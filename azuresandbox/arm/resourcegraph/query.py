"""`POST /providers/Microsoft.ResourceGraph/resources`: the request checked, the query run, the answer paged.

Source: the Resource Graph REST API 2024-04-01 and its examples; "Working with large Azure resource data sets"; "Troubleshoot
errors using Azure Resource Graph" (500 for another Content-Type); failures as public threads show them
(Azure/azure-powershell#13762, Azure/aztfexport#485, #491, Azure/azqr#847, microsoft/ARI#199).
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass

from azuresandbox import trees
from azuresandbox.arm import access, errors, roles
from azuresandbox.arm.errors import ArmError
from azuresandbox.arm.provider import Answer, Document, Request
from azuresandbox.arm.resource_id import ResourceId
from azuresandbox.arm.resourcegraph import evaluate, lexer, parser, syntax, tables
from azuresandbox.arm.resourcegraph.evaluate import Row, Table
from azuresandbox.arm.resourcegraph.index import Index
from azuresandbox.arm.resourcegraph.lexer import QueryError
from azuresandbox.arm.resourcegraph.quota import Exhausted, Quota
from azuresandbox.arm.resourcegraph.tables import Entry

PAGE = 1000
"""Rows of an answer unless `$top` asks for fewer; also the most it may ask for."""

MAX_BYTES = 16 << 20
"""The largest size of an answer's data."""


@dataclass(frozen=True)
class Asked:
    """A request's body, checked."""

    query: str
    top: int
    skip: int
    tabular: bool


async def resources(request: Request, index: Index, quota: Quota) -> Answer:
    """Answer a query. Raises `ArmError` in Resource Graph's envelope."""
    try:
        headers = quota.take(request.caller.object_id)
    except Exhausted as exhausted:
        message = (
            "Client application has been throttled and should not attempt to repeat the request until an amount of time has "
            "elapsed. Please see https://aka.ms/resourcegraph-throttling for help."
        )
        raise _refused(request, "RateLimiting", message, status=429, top="RateLimiting", headers=exhausted.headers) from None
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        message = "Encountered internal server error. Resource Graph reads application/json only; send it as the Content-Type."
        raise ArmError(500, "InternalServerError", message)
    asked = _read(request)
    _check_scope(request)
    try:
        parsed = parser.parse(asked.query)
        name = _table(request, parsed)
        rows = (Row(entry.cells) for entry in _readable(request, name, index))
        table = evaluate.run(parsed.operators, Table({**tables.COLUMNS, **tables.HIDDEN}, rows))
        return Answer(200, _answer(request, asked, table, _shown(table, parsed)), headers)
    except QueryError as error:
        raise _invalid(request, error) from None


# --- the request -----------------------------------------------------------------------------------------------------------


def _read(request: Request) -> Asked:
    body = request.body
    query, options = body.get("query"), body.get("options") or {}
    if not isinstance(query, str) or not query.strip():
        raise _refused(request, "InvalidRequest", "The property 'query' is required and must be a non-empty string.")
    if body.get("managementGroups"):
        raise errors.not_emulated("management groups as the scope of a query: name subscriptions")
    if body.get("facets"):
        raise errors.not_emulated("facets of a query: summarize")
    if not isinstance(options, dict):
        raise _refused(request, "InvalidRequest", "The property 'options' must be an object.")
    result_format = str(options.get("resultFormat") or "objectArray")
    if result_format.lower() not in ("objectarray", "table"):
        raise _refused(
            request, "InvalidRequest", f"The result format '{result_format}' is not one of 'objectArray' and 'table'."
        )
    token = options.get("$skipToken")
    size, skip = _unpacked(request, str(token), query) if token else (PAGE, 0)
    size, skip = _number(request, options, "$top", size, 1, PAGE), _number(request, options, "$skip", skip, 0, None)
    return Asked(query, size, skip, result_format.lower() == "table")


def _number(request: Request, options: Document, name: str, default: int, least: int, most: int | None) -> int:
    value = options.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < least or (most is not None and value > most):
        bounds = f"at least {least}" if most is None else f"between {least} and {most}"
        raise _refused(request, "InvalidRequest", f"The option '{name}' must be a number of {bounds}.")
    return value


def _packed(query: str, size: int, skip: int) -> str:
    """Return a `$skipToken`: the start of the next page, and its query."""
    return base64.b64encode(trees.dump({"query": query, "size": size, "skip": skip})).decode()


def _unpacked(request: Request, token: str, query: str) -> tuple[int, int]:
    try:
        found = trees.parse(base64.b64decode(token, validate=True))
        size, skip, of = int(found["size"]), int(found["skip"]), found["query"]
    except (ValueError, KeyError, TypeError):
        raise _refused(request, "InvalidRequest", "The option '$skipToken' is not valid.") from None
    if of != query or not 1 <= size <= PAGE or skip < 0:
        raise _refused(request, "InvalidRequest", "The option '$skipToken' belongs to another query.")
    return size, skip


def _check_scope(request: Request) -> None:
    """Check that the caller has a role in one of the subscriptions. A query without subscriptions means all of them."""
    store, own = request.sandbox.store, request.sandbox.subscription_id
    given = request.body.get("subscriptions") or []
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise _refused(request, "InvalidRequest", "The property 'subscriptions' must be a list of strings.")
    if (given and own not in map(str.lower, given)) or not access.visible(store, request.caller.object_id, own):
        message = f"There must be at least one subscription that is eligible to contain resources. Given: '{','.join(given)}'."
        raise _refused(request, "NoValidSubscriptionsInQueryRequest", message)


def _table(request: Request, parsed: syntax.Query) -> str:
    """Return the name of the table, in lower case: Resource Graph reads it without regard to case."""
    if parsed.table is None:
        return tables.DEFAULT
    name = parsed.table.text.lower()
    if name in tables.REFUSED:
        raise lexer.refused(f"the table '{parsed.table.text}'", parsed.table)
    if name not in (tables.RESOURCES, tables.CONTAINERS, tables.KUBERNETES, tables.AUTHORIZATION):
        message = f"Table {parsed.table.text} is invalid, unsupported or disallowed."
        raise _refused(request, "DisallowedLogicalTableName", message)
    return name


# --- the rows --------------------------------------------------------------------------------------------------------------


def _readable(request: Request, table: str, index: Index) -> Iterator[Entry]:
    """Yield the rows of a table that the caller may read."""
    rights = access.Rights(request.sandbox.store, request.caller.object_id)
    everywhere = ResourceId(f"/subscriptions/{request.sandbox.subscription_id}")
    whole: dict[str, bool] = {}
    for entry in _rows(request, table, index):
        action = access.read_action(entry.type)
        if action not in whole:
            whole[action] = rights.allow(action, everywhere)
        if whole[action] or rights.allow(action, entry.id):
            yield entry


def _rows(request: Request, table: str, index: Index) -> Iterator[Entry]:
    sandbox = request.sandbox
    if table == tables.CONTAINERS:
        yield tables.subscription(sandbox.subscription_id, sandbox.tenant_id)
    yield from index.entries(table)
    if table == tables.AUTHORIZATION:
        yield from (tables.definition(role, sandbox.tenant_id) for role in roles.ROLES)


# --- the answer ------------------------------------------------------------------------------------------------------------


def _shown(table: Table, parsed: syntax.Query) -> dict[str, str]:
    """Return the columns of the answer. Hidden ones are shown only if the query names its columns."""
    chosen = any(isinstance(operator, syntax.Project | syntax.Summarize | syntax.Count) for operator in parsed.operators)
    return {name: kind for name, kind in table.columns.items() if chosen or name not in tables.HIDDEN}


def _answer(request: Request, asked: Asked, table: Table, columns: dict[str, str]) -> Document:
    """Return a page. The next one exists unless the query takes a number of rows, or no column could order the rows."""
    rows = list(table.rows)
    skip = 0 if table.limited else asked.skip
    page = [evaluate.data(row, columns) for row in rows[skip : skip + asked.top]]
    more = skip + len(page) < len(rows)
    pages = not table.limited and any(kind != evaluate.DYNAMIC for kind in columns.values())
    data = trees.dump(_tabular(page, columns) if asked.tabular else page)
    body: Document = {
        "totalRecords": len(rows),
        "count": len(page),
        "data": trees.Raw(data),
        "facets": [],
        "resultTruncated": "true" if more and not pages else "false",
    }
    if more and pages:
        body["$skipToken"] = _packed(asked.query, asked.top, skip + len(page))
    if len(data) > MAX_BYTES:
        message = (
            f"Response payload size is {len(data)}, and has exceeded the limit of {MAX_BYTES}. Please consider querying less "
            "data at a "
            "time and make paginated call if needed."
        )
        raise _refused(request, "ResponsePayloadTooLarge", message)
    return body


_COLUMN_TYPES = {evaluate.STRING: "string", evaluate.DYNAMIC: "object", evaluate.BOOL: "boolean", evaluate.LONG: "integer"}


def _tabular(page: list[Document], columns: dict[str, str]) -> Document:
    described = [{"name": name, "type": _COLUMN_TYPES[kind]} for name, kind in columns.items()]
    return {"columns": described, "rows": [list(row.values()) for row in page]}


# --- failures --------------------------------------------------------------------------------------------------------------


def _invalid(request: Request, error: QueryError) -> ArmError:
    """Return the error for a query that does not parse or that asks for an unknown name: the common part, then the place."""
    general = (
        "Query is invalid. Please refer to the documentation for the Azure Resource Graph service and fix the error "
        "before retrying."
    )
    detail: Document = {"code": error.code, "message": error.message}
    if error.at is not None:
        detail |= {"line": error.at.line, "characterPositionInLine": error.at.column, "token": error.at.text}
    return _refused(request, "InvalidQuery", general, detail)


def _refused(
    request: Request,
    code: str,
    message: str,
    *more: Document,
    status: int = 400,
    top: str = "BadRequest",
    headers: dict[str, str] | None = None,
) -> ArmError:
    """Return an error in Resource Graph's envelope: the cause is in the details, the message is for support."""
    correlation = request.headers["x-ms-correlation-request-id"]
    support = (
        f"Please provide below info when asking for support: timestamp = {_ticks(request)}, correlationId = {correlation}."
    )
    return ArmError(status, top, support, details=[{"code": code, "message": message}, *more], headers=headers)


def _ticks(request: Request) -> str:
    """Return the time as .NET writes it, with seven digits of a second."""
    return f"{request.sandbox.clock.now():%Y-%m-%dT%H:%M:%S.%f}0Z"
