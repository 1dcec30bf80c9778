"""Microsoft.ResourceGraph: queries over everything that a caller may read, in one call.

`syntax` and `evaluate` are the query language, pure; `tables` says which resource is which row; `index` is the copy that lags
behind ARM; `quota` the limit; `query` the request. May import `arm`'s core and the fabric, no other provider.
"""

from __future__ import annotations

from azuresandbox.arm.provider import Answer, Provider, Request, ResourceType, Route
from azuresandbox.arm.resourcegraph import query
from azuresandbox.arm.resourcegraph.index import Index
from azuresandbox.arm.resourcegraph.quota import Quota
from azuresandbox.context import Sandbox

NAMESPACE = "Microsoft.ResourceGraph"
VERSIONS = ("2024-04-01", "2022-10-01", "2021-03-01")
"""Those since a query needs no subscriptions and answers with objects unless asked for a table."""

_TYPE = ResourceType("resources", VERSIONS, tracked=False, verbs=frozenset())


def provider() -> Provider:
    """Registered in every subscription; its one path is `routes`."""
    return Provider(NAMESPACE, (_TYPE,), always_registered=True)


def routes(sandbox: Sandbox, index: Index) -> tuple[Route, ...]:
    quota = Quota(sandbox)

    async def resources(request: Request) -> Answer:
        return await query.resources(request, index, quota)

    return (Route("POST", f"/providers/{NAMESPACE}/resources", _TYPE, resources, namespace=NAMESPACE),)
