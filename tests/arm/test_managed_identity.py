"""User-assigned identities and federated credentials, over the Wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from azuresandbox import directory
from azuresandbox.context import TENANT_ID
from azuresandbox.wire import Response
from tests.arm.arm_client import MSI, Client
from tests.harness import World

TRUST = {
    "issuer": "https://eastus2.oic.example/t/c/",
    "subject": "system:serviceaccount:a:b",
    "audiences": ["api://AzureADTokenExchange"],
}


@asynccontextmanager
async def in_world(tmp_path: Path) -> AsyncIterator[tuple[World, Client, str]]:
    """Run Entra and ARM; yield them with a client of the operator and the id of a resource group."""
    async with World.open(tmp_path, ("entra", "arm")) as world:
        client = await Client.operator(world)
        await client.register("Microsoft.ManagedIdentity")
        yield world, client, await client.group()


async def trust(client: Client, identity: str, name: str, **changed: Any) -> Response:
    """PUT a federated credential, wait for the provider, and return the answer."""
    body = {"properties": {**TRUST, **changed}}
    writing = asyncio.create_task(client.call("PUT", f"{identity}/federatedIdentityCredentials/{name}", MSI, body))
    await client.world.clock.advance(5)
    return await writing


async def test_an_identity_is_a_principal_of_the_directory(tmp_path: Path) -> None:
    async with in_world(tmp_path) as (world, client, group):
        path = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/aso"
        made = await client.call("PUT", path, MSI, {"location": "East US 2", "tags": {"a": "b"}})
        assert made.status == 201
        body = made.json()
        assert (body["id"], body["location"], body["properties"]["tenantId"]) == (path, "eastus2", TENANT_ID)
        principal = directory.get_principal(world.sandbox.store, body["properties"]["clientId"])
        assert principal is not None
        assert (principal.object_id, principal.kind, principal.resource_id) == (
            body["properties"]["principalId"],
            "ManagedIdentity",
            path,
        )
        again = await client.call("PUT", path, MSI, {"location": "eastus2"})
        assert (again.status, again.json()["properties"]) == (200, body["properties"])
        assert (await client.good("PATCH", path, MSI, {"tags": {"c": "d"}}))["tags"] == {"c": "d"}
        listed = await client.good("GET", f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities", MSI)
        assert [item["name"] for item in listed["value"]] == ["aso"]
        assert (await client.call("DELETE", path, MSI)).status == 200
        assert (await client.call("DELETE", path, MSI)).status == 204
        assert directory.get_principal(world.sandbox.store, principal.app_id) is None
        assert (await client.refused("GET", path, MSI)) == (
            404,
            "ResourceNotFound",
            "The Resource 'Microsoft.ManagedIdentity/userAssignedIdentities/aso' under resource group 'rg' was not found. "
            "For more "
            "details please go to https://aka.ms/ARMResourceNotFoundFix",
        )
        assert (await client.identity(group, "aso"))["properties"]["clientId"] != principal.app_id


async def test_ids_are_the_same_on_every_fresh_sandbox(tmp_path: Path) -> None:
    found: list[str] = []
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        async with in_world(tmp_path / str(number)) as (_, client, group):
            found.append((await client.identity(group))["properties"]["clientId"])
    assert found[0] == found[1]


async def test_identities_are_refused_as_arm_refuses_them(tmp_path: Path) -> None:
    async with in_world(tmp_path) as (_, client, group):
        base = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
        put = {"location": "eastus2"}
        assert (await client.refused("PUT", f"{base}/aso", MSI, {}))[:2] == (400, "LocationRequired")
        assert (await client.refused("PUT", f"{base}/aso", MSI, {"location": "mars"}))[
            1
        ] == "LocationNotAvailableForResourceType"
        status, code, message = await client.refused("PUT", f"{base}/aso", MSI, {**put, "properties": {"colour": 1}})
        assert (status, code) == (400, "InvalidRequestContent")
        assert "Could not find member 'colour' on object of type 'IdentityProperties'. Path 'properties.colour'" in message
        assert (await client.refused("PUT", f"{base}/a", MSI, put))[1] == "InvalidResourceName"
        for body in ({**put, "properties": None, "tags": None}, {"LOCATION": "eastus2"}):
            assert (await client.call("PUT", f"{base}/spelled-otherwise", MSI, body)).status in (200, 201)
        assert (await client.refused("PUT", f"{base}/aso", MSI, {"location": {"a": 1}}))[1] == "InvalidRequestContent"
        status, code, message = await client.refused("PUT", f"{base}/aso", "1999-01-01", put)
        assert (status, code) == (400, "NoRegisteredProviderFound")
        assert message.startswith(
            "No registered resource provider found for location 'eastus2' and API version '1999-01-01' for type "
            "'userAssignedIdentities'. The supported api-versions are '2025-05-31-preview, "
        )
        await client.identity(group, "aso")
        assert (await client.refused("PUT", f"{base}/aso", MSI, {"location": "westus"}))[:2] == (409, "InvalidResourceLocation")
        missing = f"{base}/none/federatedIdentityCredentials/fic"
        assert (await client.refused("PUT", missing, MSI, {"properties": TRUST}))[:2] == (404, "ParentResourceNotFound")
        assert (await client.refused("GET", f"{base}/aso/nonsense/x", MSI))[1] == "InvalidResourceType"
        trust = f"{base}/aso/federatedIdentityCredentials"
        assert await client.refused("PUT", f"{trust}/fic", MSI, {}) == (
            400,
            "BadRequest",
            "Federated Identity Credential from HTTP body has empty properties",
        )
        assert await client.refused("PUT", f"{trust}/-x", MSI, {"properties": TRUST}) == (
            400,
            "BadRequest",
            "Federated Identity Credential name '-x' is invalid.",
        )


async def test_etags_guard_writes(tmp_path: Path) -> None:
    async with in_world(tmp_path) as (_, client, group):
        path = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/aso"
        put = {"location": "eastus2"}
        first = await client.call("PUT", path, MSI, put, if_none_match="*")
        assert first.status == 201
        assert (await client.call("PUT", path, MSI, put, if_none_match="*")).status == 412
        second = await client.call("PUT", path, MSI, {**put, "tags": {"a": "b"}}, if_match=first.headers["etag"])
        assert second.status == 200
        stale = await client.call("DELETE", path, MSI, if_match=first.headers["etag"])
        assert (stale.status, stale.json()["error"]["code"]) == (412, "PreconditionFailed")
        assert (await client.call("DELETE", path, MSI, if_match=second.headers["etag"])).status == 200


async def test_a_federated_credential_is_written_to_the_directory_and_removed(tmp_path: Path) -> None:
    async with in_world(tmp_path) as (world, client, group):
        identity = await client.identity(group)
        made = await trust(client, identity["id"], "aso")
        assert (made.status, made.json()["properties"]) == (201, TRUST)
        principal = directory.get_principal(world.sandbox.store, identity["properties"]["clientId"])
        assert principal is not None
        assert [(t.name, t.issuer, t.subject) for t in principal.federated] == [("aso", TRUST["issuer"], TRUST["subject"])]
        assert (await trust(client, identity["id"], "aso", subject="other")).status == 200
        listed = await client.good("GET", f"{identity['id']}/federatedIdentityCredentials", MSI)
        assert [item["properties"]["subject"] for item in listed["value"]] == ["other"]
        deleting = asyncio.create_task(client.call("DELETE", made.json()["id"], MSI))
        await world.clock.advance(5)
        assert (await deleting).status == 200
        principal = directory.get_principal(world.sandbox.store, principal.app_id)
        assert principal is not None and principal.federated == []


@pytest.mark.parametrize(
    ("change", "status", "code", "text"),
    [
        ({"subject": ""}, 400, "BadRequest", "must specify 'issuer', 'subject' and 'audience'."),
        ({"audiences": []}, 400, "BadRequest", "must specify 'issuer', 'subject' and 'audience'."),
        ({"audiences": ["a", "b"]}, 400, "BadRequest", "Federated identity credentials must have exactly one audience."),
        ({"issuer": "http://plain"}, 400, "BadRequest", "https"),
        ({"subject": "x" * 601}, 400, "BadRequest", "600"),
        ({}, 409, "Conflict", "Issuer and subject combination already exists for this Managed Identity."),
        ({"colour": 1}, 400, "InvalidRequestContent", "Could not find member 'colour'"),
    ],
)
async def test_federated_credentials_are_refused_by_code(
    tmp_path: Path, change: dict[str, Any], status: int, code: str, text: str
) -> None:
    async with in_world(tmp_path) as (_, client, group):
        identity = await client.identity(group)
        await trust(client, identity["id"], "first")
        answer = await trust(client, identity["id"], "second", **change)
        assert (answer.status, answer.json()["error"]["code"]) == (status, code)
        assert text in answer.json()["error"]["message"]


async def test_an_identity_has_at_most_twenty_federated_credentials(tmp_path: Path) -> None:
    async with in_world(tmp_path) as (_, client, group):
        identity = await client.identity(group)
        for number in range(20):
            assert (await trust(client, identity["id"], f"fic-{number}", subject=f"s{number}")).status == 201
        assert (await trust(client, identity["id"], "fic-20", subject="s20")).status == 400
        assert (await trust(client, identity["id"], "fic-19", subject="changed")).status == 200


async def test_federated_credentials_are_written_one_at_a_time(tmp_path: Path) -> None:
    async with in_world(tmp_path) as (world, client, group):
        identity = (await client.identity(group))["id"]

        def put(number: int) -> asyncio.Task[Response]:
            body = {"properties": {**TRUST, "subject": f"s{number}"}}
            return asyncio.create_task(client.call("PUT", f"{identity}/federatedIdentityCredentials/fic-{number}", MSI, body))

        both = [put(1), put(2)]
        await world.clock.advance(5)
        assert sorted(answer.status for answer in await asyncio.gather(*both)) == [201, 409]
        refused = next(answer for answer in [task.result() for task in both] if answer.status == 409).json()["error"]
        assert refused["code"] == "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity"
        assert f"for the managed identity '{identity.lower()}'" in refused["message"]
        world.sandbox.faults.arm("fic-concurrency")
        assert (await trust(client, identity, "fic-3", subject="s3")).status == 409
        assert (await trust(client, identity, "fic-3", subject="s3")).status == 201
