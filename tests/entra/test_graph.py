"""Microsoft Graph over the Wire: reading and finding service principals, and refusals by name."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from azuresandbox import directory
from azuresandbox.context import OPERATOR_CLIENT_ID, OPERATOR_NAME, OPERATOR_OBJECT_ID, TENANT_ID
from tests.arm.arm_client import MSI, Client, fetch_token
from tests.harness import OPERATOR_SECRET, World

SPN = "servicePrincipalNames/any(c:c eq '{}')"


async def graph_token(world: World, client: str = OPERATOR_CLIENT_ID, secret: str = OPERATOR_SECRET) -> str:
    form = {
        "grant_type": "client_credentials",
        "client_id": client,
        "client_secret": secret,
        "scope": world.url("/graph//.default"),
    }
    answer = await world.wire.request("POST", world.url(f"/{TENANT_ID}/oauth2/v2.0/token"), body=urlencode(form).encode())
    return str(answer.json()["access_token"])


async def ask(world: World, path: str, token: str, method: str = "GET", body: Any = None) -> tuple[int, Any]:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    sent = b"" if body is None else json.dumps(body).encode()
    answer = await world.wire.request(method, world.url(f"/graph/v1.0/{path}"), headers=headers, body=sent)
    return answer.status, answer.json()


@asynccontextmanager
async def in_world(tmp_path: Path) -> AsyncIterator[World]:
    """Run Entra and ARM."""
    async with World.open(tmp_path, ("entra", "arm")) as world:
        yield world


def names(answer: tuple[int, Any]) -> list[str]:
    assert answer[0] == 200, answer
    return sorted(item["displayName"] for item in answer[1]["value"])


async def test_principals_are_found_as_the_azure_cli_looks_for_them(tmp_path: Path) -> None:
    async with in_world(tmp_path) as world:
        client = await Client.operator(world)
        await client.register("Microsoft.ManagedIdentity")
        made = (await client.identity(await client.group(), "who"))["properties"]
        token = await graph_token(world)
        assert {OPERATOR_NAME, "who"} <= set(names(await ask(world, "servicePrincipals", token)))
        for text in (
            SPN.format(made["clientId"]),
            SPN.format(made["clientId"].upper()),
            f"appId eq '{made['clientId']}'",
            "displayName eq 'who'",
            "startswith(displayName,'wh')",
            f"displayName eq 'who' and appId eq '{made['clientId']}'",
        ):
            assert names(await ask(world, f"servicePrincipals?$filter={quote(text)}", token)) == ["who"], text
        assert names(await ask(world, f"servicePrincipals?$filter={quote(SPN.format('other'))}", token)) == []
        _, one = await ask(world, f"servicePrincipals/{made['principalId']}", token)
        assert one["servicePrincipalType"] == "ManagedIdentity"
        assert one["alternativeNames"][0] == "isExplicit=True"
        assert one["alternativeNames"][1].lower().endswith("/userassignedidentities/who")
        assert (await ask(world, f"servicePrincipals(appId='{made['clientId']}')", token))[1]["id"] == made["principalId"]
        body = {"ids": [made["principalId"], OPERATOR_OBJECT_ID, "0" * 8], "types": ["user", "servicePrincipal"]}
        assert names(await ask(world, "directoryObjects/getByIds", token, "POST", body)) == [OPERATOR_NAME, "who"]
        people = {**body, "types": ["user", "group"]}
        assert names(await ask(world, "directoryObjects/getByIds", token, "POST", people)) == []
        assert (await ask(world, "users?$filter=userPrincipalName%20eq%20'a@b'", token))[1]["value"] == []

        await client.call(
            "DELETE", f"{await client.group()}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/who", MSI
        )
        status, gone = await ask(world, f"servicePrincipals/{made['principalId']}", token)
        assert (status, gone["error"]["code"]) == (404, "Request_ResourceNotFound")


async def test_long_lists_come_in_pages(tmp_path: Path) -> None:
    async with in_world(tmp_path) as world:
        for number in range(120):
            made = directory.Principal(
                f"aaaaaaaa-0000-4000-8000-{number:012}", f"bbbbbbbb-0000-4000-8000-{number:012}", f"p{number:03}"
            )
            directory.put_principal(world.sandbox.store, made)
        token = await graph_token(world)
        for query, sizes in (("", [100, 20]), ("&$top=50", [50, 50, 20]), ("&$top=120", [120])):
            path, pages = f"servicePrincipals?$filter=startswith(displayName,'p'){query}", []
            while path:
                pages.append(names(answer := await ask(world, path, token)))
                path = answer[1].get("@odata.nextLink", "").removeprefix(world.url("/graph/v1.0/"))
            assert [len(page) for page in pages] == sizes
            assert [name for page in pages for name in page] == [f"p{number:03}" for number in range(120)]


async def test_only_the_operator_reads_the_directory(tmp_path: Path) -> None:
    async with in_world(tmp_path) as world:
        await Client.stranger(world)
        token = await graph_token(world)
        stranger = await graph_token(world, "aaaaaaaa-0000-4000-8000-000000000001", "s3cret")
        for used, status, code, message in (
            ("", 401, "InvalidAuthenticationToken", "Access token is empty."),
            (await fetch_token(world), 401, "InvalidAuthenticationToken", "Invalid audience."),
            (token[:-8] + "AAAAAAAA", 401, "InvalidAuthenticationToken", "Signature is invalid."),
            (stranger, 403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation."),
        ):
            found, body = await ask(world, "servicePrincipals", used)
            assert (found, body["error"]["code"]) == (status, code)
            assert body["error"]["message"].endswith(message)
            assert set(body["error"]["innerError"]) == {"date", "request-id", "client-request-id"}
        at_arm = Client(world, token)
        assert (await at_arm.refused("GET", "/subscriptions", "2022-12-01"))[:2] == (401, "InvalidAuthenticationTokenAudience")
        await world.clock.advance(3601)
        expired = await ask(world, "servicePrincipals", token)
        assert expired[1]["error"]["message"] == "Lifetime validation failed, the token is expired."


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "me", 400, "BadRequest"),
        ("GET", "applications", 501, "NotImplemented"),
        ("POST", "servicePrincipals", 501, "NotImplemented"),
        ("DELETE", "servicePrincipals/x", 501, "NotImplemented"),
        ("GET", "servicePrincipals?$filter=tags%20eq%20'a'", 400, "Request_UnsupportedQuery"),
        ("GET", "servicePrincipals?$top=1000", 400, "Request_BadRequest"),
        ("GET", "servicePrincipals?$orderby=displayName", 501, "NotImplemented"),
        ("POST", "directoryObjects/getByIds", 400, "Request_BadRequest"),
    ],
)
async def test_refusals(tmp_path: Path, method: str, path: str, status: int, code: str) -> None:
    async with in_world(tmp_path) as world:
        found, body = await ask(world, path, await graph_token(world), method)
        assert (found, body["error"]["code"]) == (status, code)


async def test_no_secret_is_shown(tmp_path: Path) -> None:
    async with in_world(tmp_path) as world:
        status, body = await ask(world, "servicePrincipals", await graph_token(world))
        assert status == 200
        assert directory.hash_secret(OPERATOR_SECRET) not in json.dumps(body)
