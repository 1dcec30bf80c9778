"""Role definitions and assignments, and their enforcement, over the Wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from azuresandbox.context import OPERATOR_OBJECT_ID, TENANT_ID
from tests.arm.arm_client import GROUPS, MSI, ROLES, SUBSCRIPTION, Client
from tests.harness import World

READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
CONTRIBUTOR = "b24988ac-6180-42a0-ab88-20f7382dd24c"
OWNER = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
ADMINISTRATOR = "f58310d9-a9f6-439a-9e8d-f62e7b41a168"
NAME = "11111111-2222-4333-8444-{:012}"
STRANGER = "bbbbbbbb-0000-4000-8000-000000000001"


@asynccontextmanager
async def in_world(tmp_path: Path) -> AsyncIterator[tuple[World, Client, Client]]:
    """Run Entra and ARM; yield them with clients of the operator and of a stranger."""
    async with World.open(tmp_path, ("entra", "arm")) as world:
        yield world, await Client.operator(world), await Client.stranger(world)


async def test_built_in_roles_are_found_by_name(tmp_path: Path) -> None:
    async with in_world(tmp_path) as (_, operator, _):
        path = f"{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions"
        found = (await operator.good("GET", f"{path}?$filter=roleName eq 'contributor'", ROLES))["value"]
        assert [role["name"] for role in found] == [CONTRIBUTOR]
        assert found[0]["id"] == f"{path}/{CONTRIBUTOR}"
        assert "Microsoft.Authorization/*/Write" in found[0]["properties"]["permissions"][0]["notActions"]
        assert (await operator.good("GET", f"{path}/{OWNER}", ROLES))["properties"]["roleName"] == "Owner"
        assert (await operator.refused("GET", f"{path}/{STRANGER}", ROLES))[:2] == (404, "RoleDefinitionDoesNotExist")
        assert (await operator.refused("PUT", f"{path}/{STRANGER}", ROLES, {}))[:2] == (501, "NotImplemented")


async def test_without_a_role_every_call_is_refused_in_arms_words(tmp_path: Path) -> None:
    async with in_world(tmp_path) as (_, operator, stranger):
        group = await operator.group("fleet")
        who = "The client 'aaaaaaaa-0000-4000-8000-000000000001' with object id 'bbbbbbbb-0000-4000-8000-000000000001'"
        assert await stranger.refused("GET", group, GROUPS) == (
            403,
            "AuthorizationFailed",
            f"{who} does not have authorization to perform action 'Microsoft.Resources/subscriptions/resourceGroups/read' "
            "over scope "
            f"'{group}' or the scope is invalid. If access was recently granted, please refresh your credentials.",
        )
        identity = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/x"
        _, _, message = await stranger.refused("PUT", identity, MSI, {"location": "eastus2"})
        assert f"action 'Microsoft.ManagedIdentity/userAssignedIdentities/write' over scope '{identity}'" in message
        _, _, message = await stranger.refused("POST", f"{SUBSCRIPTION}/providers/Microsoft.Compute/register", GROUPS)
        assert f"action 'Microsoft.Compute/register/action' over scope '{SUBSCRIPTION}'" in message
        assert (await stranger.refused("GET", f"{SUBSCRIPTION}/resourcegroups", GROUPS))[1] == "AuthorizationFailed"
        assert (await stranger.good("GET", "/subscriptions", "2022-12-01"))["value"] == []
        assert len((await operator.good("GET", "/subscriptions", "2022-12-01"))["value"]) == 1


async def names(client: Client, path: str, version: str) -> list[str]:
    return [item["name"] for item in (await client.good("GET", path, version))["value"]]


async def test_a_role_counts_at_its_scope_and_below_it(tmp_path: Path) -> None:
    async with in_world(tmp_path) as (_, operator, stranger):
        await operator.register("Microsoft.ManagedIdentity")
        fleet, other = await operator.group("fleet"), await operator.group("other")
        made = await operator.assign(fleet, STRANGER, CONTRIBUTOR, NAME.format(1), principalType="ServicePrincipal")
        assert made.status == 201
        identity = await stranger.identity(fleet)
        assert (await stranger.refused("GET", other, GROUPS))[1] == "AuthorizationFailed"
        assert await names(stranger, f"{SUBSCRIPTION}/resourcegroups", GROUPS) == ["fleet"]
        assert await names(operator, f"{SUBSCRIPTION}/resourcegroups", GROUPS) == ["fleet", "other"]
        await operator.identity(other, "hidden")
        for path in (f"{SUBSCRIPTION}/resources", f"{SUBSCRIPTION}/providers/Microsoft.ManagedIdentity/userAssignedIdentities"):
            version = GROUPS if path.endswith("resources") else MSI
            assert await names(stranger, path, version) == ["ident"]
            assert await names(operator, path, version) == ["ident", "hidden"]
        refused = await stranger.assign(fleet, STRANGER, OWNER, NAME.format(2))
        assert refused.json()["error"]["code"] == "AuthorizationFailed"
        assert "'Microsoft.Authorization/roleAssignments/write'" in refused.json()["error"]["message"]
        assert (await operator.call("DELETE", made.json()["id"], ROLES)).status == 200
        assert (await stranger.refused("GET", identity["id"], MSI))[1] == "AuthorizationFailed"
        await operator.assign(SUBSCRIPTION, STRANGER, READER, NAME.format(3))
        assert (await stranger.good("GET", identity["id"].upper().replace("MICROSOFT.", "Microsoft."), MSI))["name"] == "ident"
        assert (await stranger.refused("DELETE", identity["id"], MSI))[1] == "AuthorizationFailed"


async def test_assignments_are_refused_by_code(tmp_path: Path) -> None:
    async with in_world(tmp_path) as (_, operator, _):

        async def error(*arguments: str, **more: str) -> tuple[int, str, str]:
            answer = await operator.assign(*arguments, **more)
            return answer.status, answer.json()["error"]["code"], answer.json()["error"]["message"]

        group = await operator.group()
        first = await operator.assign(group, STRANGER, READER, NAME.format(1))
        assert first.json()["properties"]["principalType"] == "ServicePrincipal"
        assert (await error(group, STRANGER, READER, NAME.format(2))) == (
            409,
            "RoleAssignmentExists",
            f"The role assignment already exists. The ID of the existing role assignment is {NAME.format(1).replace('-', '')}.",
        )
        assert (await error(group, STRANGER, READER, NAME.format(1)))[1] == "RoleAssignmentExists"
        assert (await error(group, OPERATOR_OBJECT_ID, READER, NAME.format(1)))[1] == "RoleAssignmentUpdateNotPermitted"
        assert (await error(group, STRANGER, STRANGER, NAME.format(2)))[:2] == (404, "RoleDefinitionDoesNotExist")
        assert (await error(group, STRANGER, OWNER, "not-a-guid"))[:2] == (400, "InvalidRoleAssignmentId")
        status, code, message = await error(group, NAME.format(9), OWNER, NAME.format(2))
        assert (status, code) == (400, "PrincipalNotFound")
        assert message.startswith(f"Principal {NAME.format(9).replace('-', '')} does not exist in the directory {TENANT_ID}.")
        assert (await error(group, STRANGER, OWNER, NAME.format(2), principalType="User"))[:2] == (
            400,
            "UnmatchedPrincipalType",
        )
        assert (await error(group, STRANGER, OWNER, NAME.format(2), colour="red"))[:2] == (400, "InvalidRequestContent")
        assert (await error(group + "x", STRANGER, OWNER, NAME.format(2)))[1] == "ResourceGroupNotFound"


async def test_a_new_principal_is_not_found_unless_its_type_is_sent(tmp_path: Path) -> None:
    async with in_world(tmp_path) as (world, operator, _):
        group = await operator.group()
        world.sandbox.faults.arm("principal-not-found", STRANGER)
        late = await operator.assign(group, STRANGER, READER, NAME.format(1))
        assert late.json()["error"]["code"] == "PrincipalNotFound"
        world.sandbox.faults.arm("principal-not-found", STRANGER)
        assert (await operator.assign(group, STRANGER, READER, NAME.format(1), principalType="ServicePrincipal")).status == 201


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("", {"subscription", "group", "identity"}),
        ("atScope()", {"subscription", "group"}),
        (f"principalId eq '{STRANGER}'", {"group", "identity"}),
        (f"atScope() and assignedTo('{STRANGER}')", {"group"}),
        (f"assignedTo('{OPERATOR_OBJECT_ID}')", {"subscription"}),
    ],
)
async def test_assignments_are_listed_by_scope_and_principal(tmp_path: Path, expression: str, found: set[str]) -> None:
    async with in_world(tmp_path) as (_, operator, _):
        await operator.register("Microsoft.ManagedIdentity")
        group = await operator.group()
        identity = (await operator.identity(group))["id"]
        await operator.assign(group, STRANGER, READER, NAME.format(1))
        await operator.assign(identity, STRANGER, READER, NAME.format(2))
        path = f"{group}/providers/Microsoft.Authorization/roleAssignments"
        query = f"?$filter={expression}" if expression else ""
        listed = (await operator.good("GET", path + query, ROLES))["value"]
        scopes = {SUBSCRIPTION: "subscription", group: "group", identity: "identity"}
        assert {scopes[item["properties"]["scope"]] for item in listed} == found


async def test_a_deleted_identity_leaves_its_assignment_behind(tmp_path: Path) -> None:
    async with in_world(tmp_path) as (_, operator, _):
        await operator.register("Microsoft.ManagedIdentity")
        home, fleet = await operator.group("home"), await operator.group("fleet")
        identity: Any = await operator.identity(home)
        principal = identity["properties"]["principalId"]
        assert (await operator.assign(fleet, principal, READER, NAME.format(1))).status == 201
        assert (await operator.call("DELETE", identity["id"], MSI)).status == 200
        path = f"{fleet}/providers/Microsoft.Authorization/roleAssignments?$filter=principalId eq '{principal}'"
        assert len((await operator.good("GET", path, ROLES))["value"]) == 1
        again = await operator.identity(home)
        assert again["properties"]["principalId"] != principal
        late = await operator.assign(fleet, principal, CONTRIBUTOR, NAME.format(2))
        assert late.json()["error"]["code"] == "PrincipalNotFound"


async def test_an_administrator_assigns_roles_but_does_not_change_groups(tmp_path: Path) -> None:
    async with in_world(tmp_path) as (_, operator, stranger):
        group = await operator.group()
        await operator.assign(group, STRANGER, ADMINISTRATOR, NAME.format(1))
        assert (await stranger.assign(group, OPERATOR_OBJECT_ID, READER, NAME.format(2))).status == 201
        assert (await stranger.refused("PATCH", group, GROUPS, {"tags": {}}))[1] == "AuthorizationFailed"
