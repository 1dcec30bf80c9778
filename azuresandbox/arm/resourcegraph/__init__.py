"""Microsoft.ResourceGraph: queries over all resources that a caller may read, in one call.

`lexer`, `syntax`, `parser` and `evaluate` are the query language, pure. `tables` maps resources to rows, `index` is the copy
that lags behind ARM, `quota` is the limit, `query` answers the request.
"""

from __future__ import annotations

from azuresandbox.arm.provider import Answer, Provider, Request, ResourceType, Route
from azuresandbox.arm.resourcegraph import query
from azuresandbox.arm.resourcegraph.index import Index
from azuresandbox.arm.resourcegraph.quota import Quota
from azuresandbox.context import Sandbox

NAMESPACE = "Microsoft.ResourceGraph"
VERSIONS = ("2024-04-01", "2022-10-01", "2021-03-01")
"""The versions whose queries need no subscriptions and answer with objects unless the request asks for a table."""

_TYPE = ResourceType("resources", VERSIONS, tracked=False, verbs=frozenset())


def provider() -> Provider:
    """Return the provider. It is registered in every subscription; its one path is in `routes`."""
    return Provider(NAMESPACE, (_TYPE,), always_registered=True)


def routes(sandbox: Sandbox, index: Index) -> tuple[Route, ...]:
    quota = Quota(sandbox)

    async def resources(request: Request) -> Answer:
        return await query.resources(request, index, quota)

    return (Route("POST", f"/providers/{NAMESPACE}/resources", _TYPE, resources, namespace=NAMESPACE),)
