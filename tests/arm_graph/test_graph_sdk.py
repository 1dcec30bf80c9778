"""The unmodified azure-mgmt-resourcegraph at the sandbox's port."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.identity import ClientSecretCredential
from azure.mgmt.resourcegraph import ResourceGraphClient
from azure.mgmt.resourcegraph.models import QueryRequest, QueryRequestOptions

from azuresandbox.arm import records
from azuresandbox.context import SUBSCRIPTION_ID
from tests.arm.served import Served, serve


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("graph")) as served:
        yield served


@pytest.fixture
def client(sandbox: Served) -> Iterator[Any]:
    names = sandbox.environment
    with (
        ClientSecretCredential(
            names["AZURE_TENANT_ID"],
            names["AZURE_CLIENT_ID"],
            names["AZURE_CLIENT_SECRET"],
            authority=sandbox.base,
            disable_instance_discovery=True,
            connection_verify=sandbox.ca_file,
        ) as credential,
        ResourceGraphClient(
            credential,
            base_url=sandbox.base,
            credential_scopes=[f"{sandbox.base}/.default"],
            connection_verify=sandbox.ca_file,
        ) as found,
    ):
        yield found


def test_the_sdk_pages_through_a_query_and_reads_a_refusal(sandbox: Served, client: Any) -> None:
    async def groups() -> None:
        for number in range(7):
            records.put(sandbox.world.sandbox.store, records.group(SUBSCRIPTION_ID, f"g{number}", "eastus2", {}))

    sandbox.do(groups())
    query = "resourcecontainers | where type endswith '/resourcegroups' | project id, name | order by name asc"

    def ask(**options: Any) -> Any:
        return client.resources(
            QueryRequest(query=query, subscriptions=[SUBSCRIPTION_ID], options=QueryRequestOptions(**options))
        )

    def patiently(**options: Any) -> Any:
        """Ask until the quota, which these requests may use up, allows it."""
        while True:
            try:
                return ask(**options)
            except HttpResponseError as error:
                assert error.error is not None and error.error.code == "RateLimiting"

    while (answer := patiently(top=3)).total_records < 7:  # Resource Graph is late
        pass
    names = [row["name"] for row in answer.data]
    while answer.skip_token:
        answer = ask(skip_token=answer.skip_token)
        names += [row["name"] for row in answer.data]
    assert names == [f"g{number}" for number in range(7)]
    assert (answer.count, answer.result_truncated, answer.facets) == (1, "false", [])

    table = ask(result_format="table", top=1).data
    assert [column["name"] for column in table["columns"]] == ["id", "name"] and table["rows"][0][1] == "g0"

    with pytest.raises(HttpResponseError) as refused:
        client.resources(QueryRequest(query="resources | join kind=inner (resources) on id"))
    assert refused.value.status_code == 400 and refused.value.error.code == "BadRequest"
    assert [detail.code for detail in refused.value.error.details] == ["InvalidQuery", "InvalidQueryLanguage"]
    assert "join" in refused.value.error.details[1].message
