"""ARM's lists as JSON: for a whole fleet, building an SDK model for each resource would take longer than the request.

Endpoint, credential, retries and errors are those of the management clients. Source: the REST reference of each resource
provider.
"""

from __future__ import annotations

from typing import Any

from fleetlib.clients.azure.calls import read
from fleetlib.clients.azure.clients import Azure

CONTAINER_SERVICE = "2025-05-01"
KUBERNETES_CONFIGURATION = "2023-05-01"
RESOURCE_GRAPH = "2022-10-01"
AUTHORIZATION = "2022-04-01"
MANAGED_IDENTITY = "2023-01-31"
"""api-versions, by provider."""

Item = dict[str, Any]
Items = list[Item]

BUDGET = {
    "reads": "x-ms-ratelimit-remaining-subscription-reads",
    "writes": "x-ms-ratelimit-remaining-subscription-writes",
    "graph": "x-ms-user-quota-remaining",
}
"""Budget of the caller's requests -> the response header with the number left."""


def items(azure: Azure, path: str, version: str) -> Items:
    """Return all items of a collection such as `{group}/providers/Microsoft.ContainerService/managedClusters`;
    empty for 404.
    """

    def call() -> Items:
        found: Items = []
        url = f"{path}?api-version={version}"
        while url:
            page = _send(azure, "GET", url)
            found += page["value"]
            url = page.get("nextLink") or ""
        return found

    return read(call, path) or []


def get(azure: Azure, path: str, version: str) -> Item | None:
    """Return one resource; `None` if it does not exist."""
    return read(lambda: _send(azure, "GET", f"{path}?api-version={version}"), path)


def post(azure: Azure, path: str, version: str) -> Item | None:
    """Return the answer of an action such as `{cluster}/listClusterUserCredential`; `None` if the resource does not exist."""
    return read(lambda: _send(azure, "POST", f"{path}?api-version={version}"), path)


def graph(azure: Azure, query: str) -> Items:
    """Return all rows of a query to Azure Resource Graph. The graph lags behind ARM by seconds, at times minutes."""
    body: Item = {"subscriptions": [azure.subscription_id], "query": query, "options": {"resultFormat": "objectArray"}}

    def call() -> Items:
        found: Items = []
        while True:
            path = f"/providers/Microsoft.ResourceGraph/resources?api-version={RESOURCE_GRAPH}"
            answer = _send(azure, "POST", path, body)
            found += answer["data"]
            token = answer.get("$skipToken")
            if not token:
                return found
            body["options"]["$skipToken"] = token

    return read(call, "Azure Resource Graph") or []


def _send(azure: Azure, method: str, url: str, body: Item | None = None) -> Any:
    import orjson
    from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
    from azure.core.rest import HttpRequest
    from azure.mgmt.core.exceptions import ARMErrorFormat

    whole = url if url.startswith("https://") else azure.cloud.resource_manager + url
    answer = azure.arm.send_request(HttpRequest(method, whole, json=body))
    for name, header in BUDGET.items():
        if header in answer.headers:
            azure.budget[name] = int(answer.headers[header])
    if answer.status_code == 200:
        return orjson.loads(answer.content)
    kind = ResourceNotFoundError if answer.status_code == 404 else HttpResponseError
    raise kind(response=answer, error_format=ARMErrorFormat)
