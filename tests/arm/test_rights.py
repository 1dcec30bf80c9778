"""The rights of every built-in role, and of a caller without a role, on every operation of the sandbox."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from azuresandbox.arm import roles
from azuresandbox.context import SUBSCRIPTION_ID
from tests.arm.arm_client import SUBSCRIPTION, Client
from tests.arm.arm_coverage import Operation, tool
from tests.harness import World

STRANGER = "bbbbbbbb-0000-4000-8000-000000000001"
NAME = "11111111-2222-4333-8444-000000000001"
OPEN = frozenset(
    (
        "resource_graph_client.resources",
        "subscriptions.list",
        "tenants.list",
        "providers.list_at_tenant_scope",
        "providers.get_at_tenant_scope",
    )
)
"""Operations without a required role: their lists show only items that the caller may read."""

VERBS = {"GET": "read", "HEAD": "read", "PUT": "write", "PATCH": "write", "DELETE": "delete"}
OF_RESOURCES = (
    (r"/subscriptions/[^/]+/resourcegroups(/[^/]+)?", "Microsoft.Resources/subscriptions/resourceGroups"),
    (r"/subscriptions/[^/]+/resourcegroups/[^/]+/resources", "Microsoft.Resources/subscriptions/resourceGroups/resources"),
    (r"/subscriptions/[^/]+/resources", "Microsoft.Resources/subscriptions/resources"),
    (r"/subscriptions/[^/]+/locations", "Microsoft.Resources/subscriptions/locations"),
    (
        r"/subscriptions/[^/]+/providers(/[^/]+(/resourceTypes|/providerPermissions)?)?",
        "Microsoft.Resources/subscriptions/providers",
    ),
    (r"/subscriptions/[^/]+", "Microsoft.Resources/subscriptions"),
)
"""ARM's own paths -> the type that role definitions name. Source: "Azure permissions for Management and governance"."""


def action(operation: Operation) -> str:
    """Return the action that the operation needs, from its URL alone.

    The type after the last `providers`, and read, write, delete or the action's name.
    """
    path = tool.path(operation, SUBSCRIPTION_ID)
    if operation.method == "POST" and re.fullmatch(r"/subscriptions/[^/]+/providers/[^/]+/(un)?register", path):
        return "/".join(path.split("/")[4:]) + "/action"
    if operation.method == "POST" and (match := re.fullmatch(r"/subscriptions/[^/]+/resourcegroups/[^/]+/(\w+)", path)):
        return f"Microsoft.Resources/subscriptions/resourceGroups/{match[1]}/action"
    for pattern, kind in OF_RESOURCES:
        if re.fullmatch(pattern, path, re.IGNORECASE):
            return f"{kind}/{VERBS[operation.method]}"
    namespace, *rest = path.rpartition("/providers/")[2].split("/")
    if operation.method == "POST":
        return "/".join((namespace, *rest[: len(rest) - 1 : 2], rest[-1], "action"))
    return "/".join((namespace, *rest[::2], VERBS[operation.method]))


@asynccontextmanager
async def in_world(tmp_path: Path) -> AsyncIterator[tuple[World, Client, Client]]:
    """Run Entra and ARM with the coverage tool's group; yield them with clients of the operator and of a stranger."""
    async with World.open(tmp_path, ("entra", "arm")) as world:
        operator = await Client.operator(world)
        await operator.register(
            *(f"Microsoft.{n}" for n in ("ContainerService", "ManagedIdentity", "Compute", "KubernetesConfiguration"))
        )
        await operator.identity(await operator.group(tool.GROUP), tool.IDENTITY)
        yield world, operator, await Client.stranger(world)


async def ask(world: World, client: Client, operation: Operation) -> tuple[int, str, str]:
    """Ask for the operation; return status, code and message.

    Time passes meanwhile, because some writes take a moment, and ARM limits the number of requests.
    """
    path, version = tool.path(operation, SUBSCRIPTION_ID), tool.version(operation)
    asking = asyncio.create_task(client.call(operation.method, path, version, {}, content_type="application/json"))
    await world.clock.advance(5)
    answer = await asking
    error = answer.json().get("error", {}) if answer.status >= 400 and answer.body else {}
    return answer.status, error.get("code", ""), error.get("message", "")


async def test_without_a_role_every_operation_is_refused_by_its_action(tmp_path: Path) -> None:
    async with in_world(tmp_path) as (world, _, stranger):
        refused = 0
        for operation in tool.operations():
            status, code, message = await ask(world, stranger, operation)
            if operation.name in OPEN:
                assert status in (200, 400), operation  # a refusal is about the request's content, not about rights
            elif status != 501:  # of a type that the sandbox does not emulate
                assert status == 403, operation
                refused += 1
                if operation.method != "HEAD":
                    assert code == "AuthorizationFailed"
                    assert f"does not have authorization to perform action '{action(operation)}'".lower() in message.lower()
        assert refused > 120


def _emulated() -> dict[str, Operation]:
    """Return the operations that docs/sandbox.md calls emulated, by name. The generic ones are asked about an identity."""
    section = tool.DOCUMENT.read_text().partition(tool.BEGIN)[2].partition(tool.END)[0]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| ") and "`" in line]
    named = {
        f"{group}.{name}"
        for row in rows
        for group, names in re.findall(r"`(\w+)`: ([\w, ]+)", row[3])
        for name in names.strip().split(", ")
    }
    return {found.name: found for found in tool.operations() if found.name in named}


EMULATED = _emulated()
READS = {name for name, operation in EMULATED.items() if operation.method in ("GET", "HEAD")}
WRITES_ROLES = {f"role_assignments.{name}" for name in ("create", "create_by_id", "delete", "delete_by_id")}
READS_ROLES = {name for name in READS if name.startswith(("role_assignments.", "role_definitions.", "permissions."))}
READS_GROUPS = {"resource_groups.get", "resource_groups.check_existence"}
LISTS = {"resource_groups.list", "resources.list", "user_assigned_identities.list_by_subscription", "managed_clusters.list"}
"""Lists of the whole subscription: any role in it gives the list, narrowed to the readable items."""

READS_CLUSTERS = {"managed_clusters.get", "managed_clusters.list_by_resource_group"}
IDENTITIES = {n for n in EMULATED if n.startswith(("user_assigned_identities.", "federated_identity_credentials."))}
OF_ONE_RESOURCE = {n for n in EMULATED if n.startswith("resources.") and not n.startswith("resources.list")}
CLUSTERS = {n for n in EMULATED if n.startswith(("managed_clusters.", "agent_pools."))}
EXTENSIONS = {n for n in EMULATED if n.startswith(("extensions.", "operation_status."))}

ALLOWED: dict[str, set[str]] = {
    "Owner": set(EMULATED),
    "Contributor": set(EMULATED) - WRITES_ROLES,
    "Reader": READS,
    "User Access Administrator": READS | WRITES_ROLES,
    "Role Based Access Control Administrator": READS | WRITES_ROLES,
    "Managed Identity Contributor": IDENTITIES | OF_ONE_RESOURCE | READS_ROLES | READS_GROUPS,
    "Managed Identity Operator": ((IDENTITIES | OF_ONE_RESOURCE) & READS) | READS_ROLES | READS_GROUPS,
    "Azure Kubernetes Service Contributor Role": CLUSTERS | READS_ROLES | READS_GROUPS,
    "Azure Kubernetes Service Cluster Admin Role": {*READS_CLUSTERS, "managed_clusters.list_cluster_admin_credentials"},
    "Azure Kubernetes Service Cluster User Role": {*READS_CLUSTERS, "managed_clusters.list_cluster_user_credentials"},
    "Azure Kubernetes Service Cluster Monitoring User": {
        *READS_CLUSTERS,
        "managed_clusters.list_cluster_monitoring_user_credentials",
    },
    "Kubernetes Extension Contributor": EXTENSIONS | READS_ROLES | READS_GROUPS,
    # Data actions are about the clusters' Kubernetes APIs; they allow no action in ARM.
    "Azure Kubernetes Service RBAC Admin": {
        "managed_clusters.list_cluster_user_credentials",
        "subscriptions.get",
        *READS_ROLES,
        *READS_GROUPS,
    },
    "Azure Kubernetes Service RBAC Cluster Admin": {
        "managed_clusters.list_cluster_user_credentials",
        "subscriptions.get",
        *READS_ROLES,
        *READS_GROUPS,
    },
    "Azure Kubernetes Service RBAC Reader": {"subscriptions.get", *READS_ROLES, *READS_GROUPS},
    "Azure Kubernetes Service RBAC Writer": {"subscriptions.get", *READS_ROLES, *READS_GROUPS},
}
"""Role, assigned at the subscription -> the operations that it allows."""


def test_every_built_in_role_is_covered() -> None:
    assert {role.name for role in roles.ROLES} == set(ALLOWED)


@pytest.mark.parametrize("role", ALLOWED)
async def test_a_role_allows_its_actions_and_no_others(tmp_path: Path, role: str) -> None:
    async with in_world(tmp_path) as (world, operator, stranger):
        held = roles.by_name(role)
        assert held is not None
        made = await operator.assign(SUBSCRIPTION, STRANGER, held.id, NAME, principalType="ServicePrincipal")
        assert made.status == 201
        order = ("GET", "HEAD", "POST", "PATCH", "PUT", "DELETE")
        asked = sorted(EMULATED.values(), key=lambda operation: order.index(operation.method))
        found = {operation.name for operation in asked if (await ask(world, stranger, operation))[0] != 403}
        assert found == ALLOWED[role] | LISTS | OPEN


async def test_a_caller_reads_its_own_permissions(tmp_path: Path) -> None:
    async with in_world(tmp_path) as (_, operator, stranger):
        group = f"{SUBSCRIPTION}/resourceGroups/{tool.GROUP}"
        for number, name in enumerate(("Reader", "Managed Identity Operator")):
            role = roles.by_name(name)
            assert role is not None
            await operator.assign(group if number else SUBSCRIPTION, STRANGER, role.id, NAME[:-1] + str(number))
        found = (await stranger.good("GET", f"{group}/providers/Microsoft.Authorization/permissions", "2022-04-01"))["value"]
        assert [permission["actions"][0] for permission in found] == [
            "Microsoft.ManagedIdentity/userAssignedIdentities/*/read",
            "*/read",
        ]
        assert set(found[0]) == {"actions", "notActions", "dataActions", "notDataActions"}


async def test_assigning_an_identity_needs_a_right_on_the_identity(tmp_path: Path) -> None:
    async with in_world(tmp_path) as (_, operator, stranger):
        own, other = await operator.group("own"), await operator.group("other")
        identity = (await operator.identity(other))["id"]
        contributor, assigner = roles.by_name("Contributor"), roles.by_name("Managed Identity Operator")
        assert contributor is not None and assigner is not None
        await operator.assign(own, STRANGER, contributor.id, NAME)
        cluster = f"{own}/providers/Microsoft.ContainerService/managedClusters/one"
        body = {
            "location": "eastus2",
            "identity": {"type": "UserAssigned", "userAssignedIdentities": {identity: {}}},
            "properties": {"dnsPrefix": "one", "agentPoolProfiles": [{"name": "pool", "mode": "System", "count": 1}]},
        }
        status, code, message = await stranger.refused("PUT", cluster, "2026-08-01", body)
        assert (status, code) == (403, "LinkedAuthorizationFailed")
        assert "has permission to perform action 'Microsoft.ContainerService/managedClusters/write' on scope" in message
        assert "action(s) 'Microsoft.ManagedIdentity/userAssignedIdentities/assign/action' on the linked scope(s)" in message
        await operator.assign(identity, STRANGER, assigner.id, NAME)
        assert (await stranger.call("PUT", cluster, "2026-08-01", body)).status == 201
