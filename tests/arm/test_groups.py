"""Subscriptions, resource groups and registration, over the Wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.arm.arm_client import GROUPS, MSI, SUBSCRIPTION, Client
from tests.harness import World

PARTS = ("entra", "arm")


@asynccontextmanager
async def in_world(tmp_path: Path) -> AsyncIterator[tuple[World, Client]]:
    """Run Entra and ARM; yield them with a client of the operator."""
    async with World.open(tmp_path, ("entra", "arm")) as world:
        yield world, await Client.operator(world)


async def test_a_group_is_created_read_tagged_and_listed(tmp_path: Path) -> None:
    async with in_world(tmp_path) as (_, client):
        path = f"{SUBSCRIPTION}/resourcegroups/MyFleet-rg"
        made = await client.call("PUT", path, GROUPS, {"location": "East US 2", "tags": {"env": "dev"}})
        assert (made.status, made.json()) == (
            201,
            {
                "id": f"{SUBSCRIPTION}/resourceGroups/MyFleet-rg",
                "name": "MyFleet-rg",
                "type": "Microsoft.Resources/resourceGroups",
                "location": "eastus2",
                "tags": {"env": "dev"},
                "properties": {"provisioningState": "Succeeded"},
            },
        )
        again = await client.call("PUT", path.lower(), GROUPS, {"location": "eastus2"})
        assert (again.status, again.json()["name"], again.json()["tags"]) == (200, "MyFleet-rg", {})
        patched = await client.good("PATCH", path, GROUPS, {"tags": {"env": "prod"}})
        assert patched["tags"] == {"env": "prod"}
        assert (await client.call("HEAD", path, GROUPS)).status == 204
        assert (await client.call("HEAD", path + "x", GROUPS)).status == 404
        found = await client.good(
            "GET", f"{SUBSCRIPTION}/resourcegroups?$filter=tagName eq 'env' and tagValue eq 'prod'", GROUPS
        )
        assert [group["name"] for group in found["value"]] == ["MyFleet-rg"]
        none = await client.good("GET", f"{SUBSCRIPTION}/resourcegroups?$filter=tagName eq 'env' and tagValue eq 'dev'", GROUPS)
        assert none["value"] == []


async def test_groups_are_refused_as_arm_refuses_them(tmp_path: Path) -> None:
    async with in_world(tmp_path) as (_, client):
        path = f"{SUBSCRIPTION}/resourcegroups/rg"
        assert await client.refused("GET", path, GROUPS) == (
            404,
            "ResourceGroupNotFound",
            "Resource group 'rg' could not be found.",
        )
        assert (await client.refused("PUT", path, GROUPS, {}))[1] == "LocationRequired"
        assert (await client.refused("PUT", path, GROUPS, {"location": "mars"}))[1] == "LocationNotAvailableForResourceGroup"
        assert (await client.refused("PUT", path, GROUPS, {"location": "eastus", "colour": 1}))[1:] == (
            "InvalidRequestContent",
            "The request content was invalid and could not be deserialized: 'Could not find member 'colour' on object of type "
            "'ResourceGroup'. Path 'colour', line 1, position 1.'.",
        )
        await client.group("rg", "eastus2")
        assert await client.refused("PUT", path, GROUPS, {"location": "westus"}) == (
            409,
            "InvalidResourceGroupLocation",
            "Invalid resource group location 'westus'. The Resource group already exists in location 'eastus2'.",
        )
        assert (await client.refused("GET", path, ""))[:2] == (400, "MissingApiVersionParameter")
        assert (await client.refused("GET", path, "1999-01-01"))[:2] == (400, "InvalidApiVersionParameter")
        other = "/subscriptions/00000000-0000-4000-8000-000000000000/resourcegroups/rg"
        assert (await client.refused("GET", other, GROUPS))[:2] == (404, "SubscriptionNotFound")
        assert (await client.refused("GET", "/subscriptions/nonsense/resourcegroups/rg", GROUPS))[1] == "InvalidSubscriptionId"


async def test_deleting_a_group_deletes_its_resources(tmp_path: Path) -> None:
    async with in_world(tmp_path) as (world, client):
        await client.register("Microsoft.ManagedIdentity")
        group = await client.group()
        identity = await client.identity(group)
        await client.assign(
            identity["id"],
            identity["properties"]["principalId"],
            "acdd72a7-3385-48ef-bd42-f606fba81ae7",
            "11111111-2222-4333-8444-555555555555",
            principalType="ServicePrincipal",
        )
        answer = await client.call("DELETE", group, GROUPS)
        assert answer.status == 202
        assert answer.headers["x-ms-retry-after-ms"] == "20"
        assert (await client.call("GET", answer.headers["location"], "")).status == 202
        status, code, _ = await client.refused("PUT", identity["id"] + "2", MSI, {"location": "eastus2"})
        assert (status, code) == (409, "ResourceGroupBeingDeleted")
        await world.clock.advance(60)
        assert (await client.call("GET", answer.headers["location"], "")).status == 200
        assert (await client.refused("GET", group, GROUPS))[1] == "ResourceGroupNotFound"
        assert not [r.key for r in world.sandbox.store.list("arm", group.lower()).records]


async def test_an_unregistered_namespace_is_refused_until_it_is_registered(tmp_path: Path) -> None:
    async with in_world(tmp_path) as (world, client):
        group = await client.group()
        path = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/ident"
        assert await client.refused("PUT", path, MSI, {"location": "eastus2"}) == (
            409,
            "MissingSubscriptionRegistration",
            "The subscription is not registered to use namespace 'Microsoft.ManagedIdentity'. See "
            "https://aka.ms/rps-not-found for "
            "how to register subscriptions.",
        )
        provider = f"{SUBSCRIPTION}/providers/Microsoft.ManagedIdentity"
        assert (await client.good("GET", provider, GROUPS))["registrationState"] == "NotRegistered"
        assert (await client.good("POST", provider + "/register", GROUPS))["registrationState"] == "Registering"
        await world.clock.advance(120)
        found = await client.good("GET", provider, GROUPS)
        assert found["registrationState"] == "Registered"
        assert "userAssignedIdentities" in [kind["resourceType"] for kind in found["resourceTypes"]]
        await client.good("PUT", path, MSI, {"location": "eastus2"})
        assert (await client.refused("POST", provider + "/unregister", GROUPS))[:2] == (409, "Conflict")
        await client.good("DELETE", path, MSI)
        assert (await client.good("POST", provider + "/unregister", GROUPS))["registrationState"] == "Unregistering"
        await world.clock.advance(120)
        assert (await client.refused("PUT", path, MSI, {"location": "eastus2"}))[1] == "MissingSubscriptionRegistration"


async def test_resources_are_listed_across_types_and_paged(tmp_path: Path) -> None:
    async with in_world(tmp_path) as (_, client):
        await client.register("Microsoft.ManagedIdentity")
        group = await client.group()
        for number in range(5):
            await client.identity(group, f"ident-{number}")
        kind = "Microsoft.ManagedIdentity/userAssignedIdentities"
        page = await client.good("GET", f"{group}/resources?$filter=resourceType eq '{kind}'&$top=2", GROUPS)
        names = [item["name"] for item in page["value"]]
        while "nextLink" in page:
            page = await client.good("GET", page["nextLink"], "")
            names += [item["name"] for item in page["value"]]
        assert names == [f"ident-{number}" for number in range(5)]
        assert (await client.good("GET", f"{group}/resources?$filter=resourceType eq 'A/b'", GROUPS))["value"] == []
        assert (await client.refused("GET", f"{group}/resources?$filter=colour eq 'red'", GROUPS))[
            1
        ] == "InvalidFilterInQueryString"
        assert (await client.refused("GET", f"{SUBSCRIPTION}/resourceGroups/no/resources", GROUPS))[
            1
        ] == "ResourceGroupNotFound"


async def test_types_not_emulated_are_refused_by_name(tmp_path: Path) -> None:
    async with in_world(tmp_path) as (_, client):
        group = await client.group()
        for path in (
            f"{group}/providers/Microsoft.Resources/deployments/d",
            f"{group}/providers/Microsoft.Network/virtualNetworks/v",
            "/batch",
            f"{group}/providers/Microsoft.ResourceGraph/queries/q",
            f"{SUBSCRIPTION}/tagNames",
        ):
            status, code, message = await client.refused("GET", path, GROUPS)
            assert (status, code) == (501, "NotImplemented"), path
            assert "docs/sandbox.md" in message
        assert (await client.refused("GET", f"{group}/providers/Microsoft.Nonsense/things/t", GROUPS))[
            1
        ] == "InvalidResourceNamespace"
