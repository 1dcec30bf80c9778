"""The number of requests of a reading: a few, whatever the number of clusters."""

from __future__ import annotations

from typing import Any

import pytest

from fleetlib.clients.azure import rest
from fleetlib.errors import RetryableError
from fleetlib.inspect.reading import ASKED_AGAIN, Reading
from tests.inspect.fleet_documents import GROUP, Documents


class Azure:
    """ARM, in pages of 100, and Resource Graph with the fleet of some `Documents`; records the requested paths."""

    def __init__(self, documents: Documents) -> None:
        self.documents = documents
        self.asked: list[str] = []

    def send(self, azure: Any, method: str, url: str, body: Any = None) -> Any:
        path = url.partition("?")[0]
        self.asked.append(path)
        if path.endswith("/resources"):
            return self._query(int(body["options"].get("$skipToken", 0)))
        if path.endswith(("/extensions", "/fluxConfigurations")):
            kind = self.documents.extensions if path.endswith("extensions") else self.documents.configurations
            return {"value": kind[path.split("/managedClusters/")[1].partition("/")[0]]}
        if "controlplane-rg" in path:
            return {"value": list(self.documents.control_plane.values())}
        page = int(url.partition("page=")[2] or 0)
        items = list(self.documents.clusters.values())
        following = f"{url.partition('&page')[0]}&page={page + 1}" if len(items) > (page + 1) * 100 else None
        return {"value": items[page * 100 : (page + 1) * 100], "nextLink": following}

    def _query(self, start: int) -> Any:
        rows = [
            item
            for kind in (self.documents.extensions, self.documents.configurations)
            for found in kind.values()
            for item in found
        ]
        rows = [row | {"properties": _as_the_graph_spells(row)} for row in rows]
        token = {"$skipToken": str(start + 1000)} if len(rows) > start + 1000 else {}
        return {"data": rows[start : start + 1000], **token}


def _as_the_graph_spells(row: dict[str, Any]) -> dict[str, Any]:
    capital = row["type"].endswith("/extensions")
    return {(name[:1].upper() if capital else name[:1]) + name[1:]: value for name, value in row["properties"].items()}


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Any:
    def start(documents: Documents) -> tuple[Azure, Reading]:
        azure = Azure(documents)
        monkeypatch.setattr(rest, "_send", azure.send)
        reading = documents.reading()
        reading.session.azure.__dict__["subscription_id"] = GROUP.split("/")[2]
        for side in ("arm", "graph"):
            del reading._parts[side]
        return azure, reading

    return start


@pytest.mark.parametrize(("count", "calls"), [(1, 3), (100, 3), (600, 9)])
def test_the_requests_grow_with_pages_not_with_clusters(ask: Any, count: int, calls: int) -> None:
    azure, reading = ask(Documents({f"podinfo-{n}": min(100, count - n * 100) for n in range(-(-count // 100))}))
    assert len(reading.arm.fleet) == count and len(reading.graph.configurations) == count and not reading.unread
    assert len(azure.asked) == calls, "pages of 100 clusters, and of 1,000 rows of the graph"


def test_a_limited_number_of_clusters_that_the_graph_does_not_show_as_good_is_read_from_arm(ask: Any) -> None:
    documents = Documents({"podinfo-prod": 80})
    azure, reading = ask(documents)
    stale = {
        name: [dict(item, properties={**item["properties"], "complianceState": "Pending"}) for item in items]
        for name, items in documents.configurations.items()
    }
    fresh, documents.configurations = documents.configurations, stale
    query = azure._query(0)
    documents.configurations = fresh
    azure._query = lambda start: query
    states = [item["properties"]["complianceState"] for items in reading.graph.configurations.values() for item in items]
    assert states.count("Compliant") == ASKED_AGAIN and states.count("Pending") == 80 - ASKED_AGAIN
    assert len(azure.asked) == 3 + 2 * ASKED_AGAIN


def test_a_throttled_graph_is_unread_and_arm_is_not(ask: Any) -> None:
    azure, reading = ask(Documents())

    def throttled(start: int) -> Any:
        raise RetryableError(
            "could not read from Azure", said="RateLimiting: Please provide below info when asking for support"
        )

    azure._query = throttled
    assert reading.graph.extensions == {} and "RateLimiting" in str(reading.unread["graph"]) and len(reading.arm.fleet) == 3
