"""Resource Graph's answers: tables, operators, pages, rights, quota, and their delay."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from azuresandbox.arm import roles
from azuresandbox.arm.resourcegraph.index import LAG
from azuresandbox.context import SUBSCRIPTION_ID, TENANT_ID
from azuresandbox.store import Store
from tests.arm.arm_client import SUBSCRIPTION, Client
from tests.arm_graph.graph_world import GROUP, PATH, in_graph

READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
FLUX = "microsoft.kubernetesconfiguration/fluxconfigurations"


async def test_a_cluster_with_its_flux_objects_in_the_tables_and_columns_of_azure(tmp_path: Path) -> None:
    async with in_graph(tmp_path) as graph:
        graph.plane.details = {"complianceState": "Compliant", "statuses": [{"name": "gitops-infra", "kind": "Kustomization"}]}
        await graph.cluster("aks", tags={"env": "Prod"})
        await graph.flux("aks")
        await graph.later()
        (row,) = await graph.ask("Resources | where type =~ 'Microsoft.ContainerService/managedClusters'")
        assert list(row) == [
            "id",
            "name",
            "type",
            "tenantId",
            "kind",
            "location",
            "resourceGroup",
            "subscriptionId",
            "managedBy",
            "sku",
            "plan",
            "properties",
            "tags",
            "identity",
            "zones",
            "extendedLocation",
        ]
        assert (row["id"], row["name"], row["type"]) == (
            graph.cluster_id("aks"),
            "aks",
            "microsoft.containerservice/managedclusters",
        )
        assert (row["resourceGroup"], row["location"], row["tags"]) == ("fleet-rg", "eastus2", {"env": "Prod"})
        assert (row["subscriptionId"], row["tenantId"]) == (SUBSCRIPTION_ID, TENANT_ID)
        assert row["sku"]["tier"] == "Free" and row["identity"]["type"] == "SystemAssigned" and row["zones"] is None
        shown = await graph.client.good("GET", graph.cluster_id("aks"), "2024-09-01")
        assert row["properties"] == shown["properties"]

        (flux,) = await graph.ask(f"kubernetesconfigurationresources | where type == '{FLUX}'")
        assert flux["id"].startswith(graph.cluster_id("aks") + "/providers/") and flux["resourceGroup"] == "fleet-rg"
        assert (
            flux["properties"]["complianceState"] == "Compliant" and flux["properties"]["statuses"][0]["name"] == "gitops-infra"
        )
        (extension,) = await graph.ask("KubernetesConfigurationResources | where type endswith '/extensions'")
        assert extension["properties"]["ExtensionType"] == "microsoft.flux"
        assert extension["properties"]["ProvisioningState"] == "Succeeded"

        groups = await graph.ask(
            "resourcecontainers | where type endswith 'resourcegroups' | order by name asc | project name, managedBy"
        )
        assert groups == [
            {"name": "Fleet-RG", "managedBy": ""},
            {"name": "MC_Fleet-RG_aks_eastus2", "managedBy": graph.cluster_id("aks")},
        ]
        (subscription,) = await graph.ask("resourcecontainers | where type == 'microsoft.resources/subscriptions'")
        assert subscription["subscriptionId"] == SUBSCRIPTION_ID


async def test_assignments_name_their_definition_as_the_definitions_are_named(tmp_path: Path) -> None:
    async with in_graph(tmp_path) as graph:
        await graph.later()
        (owner,) = await graph.ask("authorizationresources | where type == 'microsoft.authorization/roleassignments'")
        query = (
            f"authorizationresources | where id =~ '{owner['properties']['roleDefinitionId']}' | project role = "
            "properties.roleName"
        )
        assert await graph.ask(query) == [{"role": "Owner"}]
        (count,) = await graph.ask("authorizationresources | where type endswith 'roledefinitions' | count")
        assert count == {"Count": len(roles.ROLES)}


async def test_operators(tmp_path: Path) -> None:
    async with in_graph(tmp_path) as graph:
        for name, place in (("one", "eastus2"), ("two", "westeurope"), ("three", "eastus2")):
            await graph.client.good(
                "PUT",
                f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}",
                "2024-11-30",
                {"location": place, "tags": {"a-b": name.upper()}},
            )
        await graph.later()

        async def names(condition: str) -> list[str]:
            return [row["name"] for row in await graph.ask(f"where {condition} | order by name asc")]

        for condition, found in {
            "name == 'one'": ["one"],
            "name == 'ONE'": [],
            "name =~ 'ONE'": ["one"],
            "name != 'one'": ["three", "two"],
            "name !~ 'ONE'": ["three", "two"],
            "name in ('one', 'two', 'ten')": ["one", "two"],
            "name in~ ('ONE')": ["one"],
            "name !in ('one', 'two')": ["three"],
            "name !in~ ('ONE', 'TWO')": ["three"],
            "name contains 'E'": ["one", "three"],
            "name !contains 'e'": ["two"],
            "id has 'userassignedidentities'": ["one", "three", "two"],
            "id has 'assignedidentities'": [],
            "name startswith 'T'": ["three", "two"],
            "name endswith 'E' and location == 'eastus2'": ["one", "three"],
            "name == 'one' or not(location == 'eastus2')": ["one", "two"],
            "(name == 'one' or name == 'two') and location == 'westeurope'": ["two"],
            "tags['a-b'] == 'TWO'": ["two"],
            "tags['a-B'] == 'TWO'": [],
            "tolower(tags['a-b']) == 'three'": ["three"],
            "isempty(properties.nothing)": ["one", "three", "two"],
            "isnotempty(properties['clientId']) and name == \"one\"": ["one"],
            "properties.nothing == 'x'": [],
            "properties.nothing != 'x'": ["one", "three", "two"],
            "kind == @'' // nothing has a kind": ["one", "three", "two"],
        }.items():
            assert await names(condition) == found, condition

        assert await graph.ask("resources | top 1 by name | project-away id, properties, tags | project name, location") == [
            {"name": "two", "location": "westeurope"}
        ]
        assert await graph.ask("resources | summarize count() by location | order by count_ desc") == [
            {"location": "eastus2", "count_": 2},
            {"location": "westeurope", "count_": 1},
        ]
        assert await graph.ask(
            "resources | summarize n = count() by tostring(tags['a-b']) | order by ['tags_a-b'] asc | take 1"
        ) == [{"tags_a-b": "ONE", "n": 1}]
        assert await graph.ask(
            "resources | order by location desc, name asc | project tolower(location), tags['a-b'], name"
        ) == [
            {"Column1": "westeurope", "tags_a-b": "TWO", "name": "two"},
            {"Column1": "eastus2", "tags_a-b": "ONE", "name": "one"},
            {"Column1": "eastus2", "tags_a-b": "THREE", "name": "three"},
        ]
        (row,) = await graph.ask(
            "resources | extend p = properties | where isnotempty(p.clientId) | extend q = p.tenantId | limit 1 | project q"
        )
        assert row == {"q": TENANT_ID}
        (version,) = await graph.ask("resources | where name == 'one' | project apiVersion")
        assert version == {"apiVersion": "2024-11-30"}
        assert await graph.ask("resources | summarize by location | sort by location asc") == [
            {"location": "eastus2"},
            {"location": "westeurope"},
        ]


async def test_pages(tmp_path: Path) -> None:
    async with in_graph(tmp_path) as graph:
        for number in range(5):
            await graph.client.group(f"g{number}")
        await graph.later()
        query = "resourcecontainers | where name startswith 'g' | project id, name"
        names, options, pages = [], {"$top": 2}, 0
        while True:
            body = (await graph.answer(query, options=options)).json()
            assert (body["totalRecords"], body["count"]) == (5, len(body["data"]))
            assert (body["facets"], body["resultTruncated"]) == ([], "false")
            names += [row["name"] for row in body["data"]]
            pages += 1
            if "$skipToken" not in body:
                break
            options = {"$skipToken": body["$skipToken"]}
        assert (names, pages) == ([f"g{number}" for number in range(5)], 3)

        await graph.later(1)
        body = (await graph.answer(query, options={"$top": 2, "$skip": 3})).json()
        assert [row["name"] for row in body["data"]] == ["g3", "g4"] and "$skipToken" not in body
        body = (await graph.answer(f"{query} | limit 3", options={"$top": 2, "$skip": 1})).json()
        assert ([row["name"] for row in body["data"]], body["totalRecords"]) == (["g0", "g1"], 3)
        assert body["resultTruncated"] == "true" and "$skipToken" not in body, "what a limit has cut has no next page"
        body = (await graph.answer("resourcecontainers | project properties", options={"$top": 2})).json()
        assert body["resultTruncated"] == "true" and "$skipToken" not in body, "dynamic values cannot be put in an order"
        body = (await graph.answer(f"{query} | take 1", options={"resultFormat": "table"})).json()
        assert body["data"] == {
            "columns": [{"name": "id", "type": "string"}, {"name": "name", "type": "string"}],
            "rows": [[f"{SUBSCRIPTION}/resourceGroups/g0", "g0"]],
        }
        for wrong in ({"$top": 1001}, {"$top": 0}, {"$skip": -1}, {"$skipToken": "eA=="}, {"resultFormat": "csv"}):
            (detail,) = await graph.refused(query, options=wrong)
            assert detail["code"] == "InvalidRequest" and next(iter(wrong)).strip("$")[:6].lower() in detail[
                "message"
            ].lower().replace(" ", "")


async def test_a_token_of_another_query_is_refused(tmp_path: Path) -> None:
    async with in_graph(tmp_path) as graph:
        await graph.client.group("a")
        await graph.later()
        token = (await graph.answer("resourcecontainers", options={"$top": 1})).json()["$skipToken"]
        (detail,) = await graph.refused("resourcecontainers | project id", options={"$skipToken": token})
        assert "another query" in detail["message"]


async def test_refusals_name_the_cause_and_the_place(tmp_path: Path) -> None:
    async with in_graph(tmp_path) as graph:
        general = (
            "Query is invalid. Please refer to the documentation for the Azure Resource Graph service and fix the error "
            "before retrying."
        )
        for query, code, message, place in (
            ("resources | where name = 'a'", "ParserFailure", "ParserFailure", (1, 23, "=")),
            ("resources\n| project\n", "ParserFailure", "ParserFailure", (3, 0, "<EOF>")),
            ("resources | where name == 'a", "ParserFailure", "ParserFailure", (1, 26, "'")),
            ("resources | nonsense 3", "ParserFailure", "ParserFailure", (1, 12, "nonsense")),
            ("resources | join (resources) on id", "InvalidQueryLanguage", "the operator 'join'", (1, 12, "join")),
            ("resources | mv-expand properties", "InvalidQueryLanguage", "the operator 'mv-expand'", (1, 12, "mv")),
            ("resources | parse id with x '/'", "InvalidQueryLanguage", "the operator 'parse'", (1, 12, "parse")),
            ("resources | extend a = strcat('a', 'b')", "InvalidQueryLanguage", "the function 'strcat()'", (1, 23, "strcat")),
            ("resources | where name matches regex 'a'", "InvalidQueryLanguage", "the operator 'matches'", (1, 23, "matches")),
            ("resources | summarize dcount(name)", "InvalidQueryLanguage", "the aggregation 'dcount()'", (1, 22, "dcount")),
            ("let a = 1; resources", "InvalidQueryLanguage", "'let'", (1, 0, "let")),
            ("policyresources | count", "InvalidQueryLanguage", "the table 'policyresources'", (1, 0, "policyresources")),
            (
                "resources | where nothing == 'a'",
                "InvalidQuery",
                "'where' operator: Failed to resolve column",
                (1, 18, "nothing"),
            ),
            ("resources | project id | where name == 'a'", "InvalidQuery", "named 'name'", (1, 31, "name")),
            ("resources | order by properties.a", "InvalidQuery", "can't be of dynamic type", (1, 21, "properties")),
            (
                "resources | summarize count() by properties.a",
                "InvalidQuery",
                "grouping by a 'dynamic' type",
                (1, 33, "properties"),
            ),
            ("resources | where tostring(name)", "InvalidQuery", "expected 'bool'", (1, 18, "tostring")),
            ("resources | where name.a == 'b'", "InvalidQuery", "has no members", (1, 18, "name")),
        ):
            first, detail = await graph.refused(query)
            assert first == {"code": "InvalidQuery", "message": general}
            assert detail["code"] == code and message in detail["message"], (query, detail)
            assert (detail["line"], detail["characterPositionInLine"], detail["token"]) == place, query
            if code == "InvalidQueryLanguage":
                assert "docs/sandbox.md" in detail["message"]
        (detail,) = await graph.refused("nonsense | take 1")
        assert detail == {
            "code": "DisallowedLogicalTableName",
            "message": "Table nonsense is invalid, unsupported or disallowed.",
        }
        assert (await graph.refused(""))[0]["code"] == "InvalidRequest"


async def test_other_requests_are_refused(tmp_path: Path) -> None:
    async with in_graph(tmp_path) as graph:
        client = graph.client
        for body in ({"managementGroups": ["mg"]}, {"facets": [{"expression": "location"}]}):
            answer = await graph.answer("resources", **body)
            assert (answer.status, answer.json()["error"]["code"]) == (501, "NotImplemented")
            assert "docs/sandbox.md" in answer.text
        untyped = await client.refused("POST", PATH, "2024-04-01", {"query": "resources"})
        assert untyped[:2] == (500, "InternalServerError") and "application/json" in untyped[2]
        history = "/providers/Microsoft.ResourceGraph/resourcesHistory"
        status, code, message = await client.refused("POST", history, "2021-06-01-preview", {})
        assert (status, code) == (501, "NotImplemented") and "resourcesHistory" in message
        status, code, message = await client.refused("POST", PATH, "2020-01-01", {"query": "resources"})
        assert (status, code) == (404, "InvalidResourceType") and "2024-04-01" in message
        assert (await client.refused("GET", PATH, "2024-04-01"))[:2] == (405, "MethodNotAllowed")
        anonymous = await Client(graph.world, "").call("POST", PATH, "2024-04-01", {"query": "resources"})
        assert anonymous.status == 401
        described = await client.good("GET", f"{SUBSCRIPTION}/providers/Microsoft.ResourceGraph", "2021-04-01")
        assert (described["registrationState"], described["registrationPolicy"]) == ("Registered", "RegistrationFree")


async def test_only_readable_rows_are_shown(tmp_path: Path) -> None:
    async with in_graph(tmp_path) as graph:
        await graph.client.group("theirs")
        mine = await graph.client.identity(GROUP, "mine")
        await graph.client.identity(f"{SUBSCRIPTION}/resourceGroups/theirs", "theirs")
        await graph.later()
        stranger = await Client.stranger(graph.world)

        def none_of(given: str) -> list[dict[str, str]]:
            message = f"There must be at least one subscription that is eligible to contain resources. Given: '{given}'."
            return [{"code": "NoValidSubscriptionsInQueryRequest", "message": message}]

        for subscriptions in ([], [SUBSCRIPTION_ID]):
            answer = await graph.answer("resources", stranger, subscriptions=subscriptions)
            assert (answer.status, answer.json()["error"]["details"]) == (400, none_of(",".join(subscriptions)))
        other = "11111111-2222-4333-8444-555555555555"
        assert await graph.refused("resources", subscriptions=[other]) == none_of(other)
        assert len(await graph.ask("resources", subscriptions=[other, SUBSCRIPTION_ID.upper()])) == 2

        principal = "bbbbbbbb-0000-4000-8000-000000000001"
        await graph.client.assign(
            GROUP, principal, READER, "99999999-0000-4000-8000-000000000001", principalType="ServicePrincipal"
        )
        seen = await graph.ask("resources | project id", stranger)
        assert seen == [{"id": mine["id"]}]
        containers = await graph.ask("resourcecontainers | where type endswith 'groups' | project name", stranger)
        assert containers == [{"name": "Fleet-RG"}]


async def test_fifteen_queries_in_five_seconds(tmp_path: Path) -> None:
    async with in_graph(tmp_path) as graph:
        answers = [await graph.answer("resources | count") for _ in range(16)]
        left = [answer.headers["x-ms-user-quota-remaining"] for answer in answers]
        assert left == [*(str(number) for number in range(14, -1, -1)), "0"]
        assert {answer.headers["x-ms-user-quota-resets-after"] for answer in answers} == {"00:00:05"}
        throttled = answers[-1]
        assert throttled.status == 429 and float(throttled.headers["retry-after-ms"]) > 0
        error = throttled.json()["error"]
        assert (error["code"], error["details"][0]["code"]) == ("RateLimiting", "RateLimiting")
        assert "https://aka.ms/resourcegraph-throttling" in error["details"][0]["message"]
        stranger = await Client.stranger(graph.world)
        assert (await graph.answer("resources", stranger)).status != 429, "the quota is each principal's own"
        await graph.later(1)
        assert (await graph.answer("resources | count")).headers["x-ms-user-quota-remaining"] == "14"


async def test_a_change_is_seen_late(tmp_path: Path) -> None:
    async with in_graph(tmp_path) as graph:
        await graph.later()
        query = "resourcecontainers | where name == 'new' | project tags"

        async def tags() -> Any:
            return [row["tags"] for row in (await graph.answer(query)).json()["data"]]

        path = await graph.client.group("new")
        assert await tags() == [], "ARM has it already"
        await graph.later(2 * LAG)
        assert await tags() == [{}]
        await graph.client.good("PATCH", path, "2021-04-01", {"tags": {"a": "b"}})
        assert await tags() == [{}]
        await graph.later(2 * LAG)
        assert await tags() == [{"a": "b"}]
        assert (await graph.client.call("DELETE", path, "2021-04-01")).status == 202
        await graph.later(120)
        assert await tags() == []


async def test_changes_of_pools_and_agents_show_in_their_parents(tmp_path: Path) -> None:
    async with in_graph(tmp_path) as graph:
        await graph.cluster("aks")
        await graph.flux("aks")
        pool = {"properties": {"mode": "User", "vmSize": "Standard_D2as_v6", "count": 1, "osType": "Linux"}}
        await graph.client.good("PUT", f"{graph.cluster_id('aks')}/agentPools/more", "2024-09-01", pool)
        await graph.later(600)
        (row,) = await graph.ask("resources | where type endswith 'managedclusters' | project properties.agentPoolProfiles")
        assert [found["name"] for found in row["properties_agentPoolProfiles"]] == ["more", "system"]
        assert await graph.ask("resources | where type endswith 'agentpools'") == [], "pools are no rows of their own"

        graph.plane.details = {"complianceState": "Non-Compliant"}
        graph.plane.report(graph.plane.last("flux"))
        query = (
            f"kubernetesconfigurationresources | where type == '{FLUX}' | project state = tostring(properties.complianceState)"
        )
        await graph.later()
        assert await graph.ask(query) == [{"state": "Non-Compliant"}]


async def test_a_group_and_a_resource_may_be_named_providers(tmp_path: Path) -> None:
    async with in_graph(tmp_path) as graph:
        group = await graph.client.group("providers")
        identity = (await graph.client.identity(group, "providers"))["id"]
        trust = {"issuer": "https://issuer.example/", "subject": "s", "audiences": ["api://AzureADTokenExchange"]}
        path = f"{identity}/federatedIdentityCredentials/fic"
        written = asyncio.create_task(graph.client.good("PUT", path, "2024-11-30", {"properties": trust}))
        await graph.later(60)  # the write takes its time
        await written
        assert await graph.ask("resources | project id, type") == [
            {"id": identity, "type": "microsoft.managedidentity/userassignedidentities"}
        ]
        containers = await graph.ask(
            "resourcecontainers | where type endswith 'resourcegroups' | order by name asc | project name"
        )
        assert containers == [{"name": "Fleet-RG"}, {"name": "providers"}]
        listed = await graph.client.good("GET", identity.rpartition("/")[0], "2024-11-30")
        assert [item["id"] for item in listed["value"]] == [identity]
        nested = await graph.client.good("GET", f"{identity}/federatedIdentityCredentials", "2024-11-30")
        assert [item["name"] for item in nested["value"]] == ["fic"]


async def test_a_restarted_sandbox_answers_with_all_rows(tmp_path: Path) -> None:
    query = "kubernetesconfigurationresources | order by name asc | project name, tostring(properties.complianceState)"
    store = Store(tmp_path / "state.db")
    async with in_graph(tmp_path, store) as graph:
        await graph.cluster("aks")
        await graph.flux("aks")
    async with in_graph(tmp_path, store) as graph:
        assert await graph.ask(query) == [
            {"name": "flux", "properties_complianceState": ""},
            {"name": "gitops", "properties_complianceState": "Compliant"},
        ]
    store.close()


async def test_an_answer_too_large_is_refused(tmp_path: Path) -> None:
    async with in_graph(tmp_path) as graph:
        path = await graph.client.group("big")
        for number in range(6):
            tags = {"tags": {"a": "x" * (3 << 20)}}
            await graph.client.good("PUT", f"{path}{number}", "2021-04-01", {"location": "eastus2", **tags})
        await graph.later()
        (detail,) = await graph.refused("resourcecontainers")
        assert detail["code"] == "ResponsePayloadTooLarge" and "has exceeded the limit of 16777216" in detail["message"]
        assert len(await graph.ask("resourcecontainers | project name, type | where name startswith 'big'")) == 7
