"""Long-running operations, limits and faults, which are the same for every type, over the Wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from azuresandbox.arm import operation_records
from azuresandbox.arm.operation_records import Operation
from azuresandbox.clock import ScaledClock
from azuresandbox.context import OPERATOR_OBJECT_ID
from azuresandbox.store import Store
from tests.arm.arm_client import GROUPS, MSI, SUBSCRIPTION, Client
from tests.harness import BASE, World


@asynccontextmanager
async def in_world(tmp_path: Path) -> AsyncIterator[tuple[World, Client]]:
    """Run Entra and ARM; yield them with a client of the operator."""
    async with World.open(tmp_path, ("entra", "arm")) as world:
        yield world, await Client.operator(world)


async def test_an_operation_survives_the_process(tmp_path: Path) -> None:
    store = Store()
    async with World.open(tmp_path, ("entra", "arm"), store=store) as world:
        client = await Client.operator(world)
        await client.register("Microsoft.ManagedIdentity")
        group = await client.group()
        await client.identity(group)
        location = (await client.call("DELETE", group, GROUPS)).headers["location"]
        await world.clock.advance(5)
        assert (await client.call("GET", location, "")).status == 202
    async with World.open(tmp_path, ("entra", "arm"), store=store) as world:
        client = await Client.operator(world)
        await world.clock.advance(60)
        assert (await client.call("GET", location, "")).status == 200
        assert (await client.refused("GET", f"{SUBSCRIPTION}/resourceGroups/rg", GROUPS))[1] == "ResourceGroupNotFound"
    store.close()


async def test_a_stored_operation_without_a_runner_fails_by_its_name(tmp_path: Path) -> None:
    store = Store()
    async with World.open(tmp_path, ("entra", "arm"), store=store) as world:
        group = await (await Client.operator(world)).group()
        operation = Operation(
            id="11111111-0000-4000-8000-000000000000",
            kind="defragment",
            resource_id=group,
            type="Microsoft.Resources/resourceGroups",
            location="eastus2",
            caller=OPERATOR_OBJECT_ID,
            api_version=GROUPS,
            started="2026-01-01T00:00:00Z",
        )
    operation_records.put(store, operation)
    async with World.open(tmp_path, ("entra", "arm"), store=store) as world:
        await world.clock.advance(1)
        found = operation_records.get(store, operation.id)
    assert found is not None and found.status == "Failed" and found.error is not None
    assert "the resource type 'resourceGroups' has no operation named 'defragment'" in found.error["message"]
    store.close()


async def test_a_failed_operation_says_why_and_leaves_the_resource(tmp_path: Path) -> None:
    async with in_world(tmp_path) as (world, client):
        group = await client.group()
        world.sandbox.faults.arm("lro-failed", group, detail="The disk is full.")
        answer = await client.call("DELETE", group, GROUPS)
        await world.clock.advance(60)
        assert await client.refused("GET", answer.headers["location"], "") == (
            409,
            "InternalOperationError",
            "The disk is full.",
        )
        assert (await client.good("GET", group, GROUPS))["properties"]["provisioningState"] == "Failed"
        again = await client.call("DELETE", group, GROUPS)
        await world.clock.advance(60)
        assert (await client.call("GET", again.headers["location"], "")).status == 200


async def test_deleting_twice_starts_one_deletion(tmp_path: Path) -> None:
    async with in_world(tmp_path) as (_, client):
        group = await client.group()
        first, second = await client.call("DELETE", group, GROUPS), await client.call("DELETE", group, GROUPS)
        assert (first.status, second.status) == (202, 202)
        assert first.headers["location"] == second.headers["location"]


async def test_an_unknown_operation_is_not_found(tmp_path: Path) -> None:
    async with in_world(tmp_path) as (world, client):
        stranger = await Client.stranger(world)
        operation = f"{'0' * 8}-0000-4000-8000-{'0' * 12}"
        unknown = f"{SUBSCRIPTION}/providers/Microsoft.ContainerService/locations/eastus/operations/{operation}"
        assert (await client.refused("GET", unknown, "2024-09-01"))[:2] == (404, "OperationNotFound")
        assert (await stranger.refused("GET", unknown, "2024-09-01"))[0] == 404


async def test_the_request_budget_is_counted_and_refills(tmp_path: Path) -> None:
    async with in_world(tmp_path) as (world, client):
        group = await client.group()
        left = [
            int((await client.call("GET", group, GROUPS)).headers["x-ms-ratelimit-remaining-subscription-reads"])
            for _ in range(3)
        ]
        assert left == [249, 248, 247]
        answers = [await client.call("PATCH", group, GROUPS, {"tags": {}}) for _ in range(200)]
        assert answers[-1].status == 429
        refused = answers[-1]
        assert refused.json()["error"]["code"] == "SubscriptionRequestsThrottled"
        assert int(refused.headers["x-ms-retry-after-ms"]) > 0
        assert (await client.call("GET", group, GROUPS)).status == 200
        stranger = await Client.stranger(world)
        assert (await stranger.call("PATCH", group, GROUPS, {"tags": {}})).status == 403
        await world.clock.advance(2)
        assert (await client.call("PATCH", group, GROUPS, {"tags": {}})).status == 200


async def test_faults_strike_the_named_target(tmp_path: Path) -> None:
    async with in_world(tmp_path) as (world, client):
        group, other = await client.group("one"), await client.group("two")
        world.sandbox.faults.arm("throttled", group, times=2)
        world.sandbox.faults.arm("server-error", other)
        assert (await client.refused("GET", group, GROUPS))[:2] == (429, "SubscriptionRequestsThrottled")
        assert (await client.refused("GET", other, GROUPS))[:2] == (500, "InternalServerError")
        assert (await client.refused("GET", group, GROUPS))[0] == 429
        assert (await client.call("GET", group, GROUPS)).status == 200
        assert (await client.call("GET", other, GROUPS)).status == 200


async def test_pollers_wait_as_long_as_the_clock_says(tmp_path: Path) -> None:
    async with World.open(tmp_path, ("entra", "arm"), clock=ScaledClock("realistic")) as world:
        client = await Client.operator(world)
        answer = await client.call("DELETE", await client.group(), GROUPS)
        assert answer.headers["retry-after"] == "15"
        assert answer.headers["x-ms-retry-after-ms"] == "15000"


async def test_every_answer_carries_arms_headers(tmp_path: Path) -> None:
    async with in_world(tmp_path) as (world, client):
        own = {"x_ms_correlation_request_id": "corr", "x_ms_client_request_id": "mine", "x_ms_return_client_request_id": "true"}
        answer = await client.call("GET", "/subscriptions", "2022-12-01", None, **own)
        assert answer.headers["x-ms-correlation-request-id"] == "corr"
        assert answer.headers["x-ms-client-request-id"] == "mine"
        assert len(answer.headers["x-ms-request-id"]) == 36
        refused = await client.call("GET", f"{SUBSCRIPTION}/resourceGroups/x", GROUPS)
        assert refused.headers["x-ms-error-code"] == "ResourceGroupNotFound"
        unread = await world.wire.request(
            "PUT",
            world.url(f"{SUBSCRIPTION}/resourcegroups/x?api-version={GROUPS}"),
            headers={"authorization": f"Bearer {client.token}"},
            body=b"{nonsense",
        )
        assert (unread.status, unread.json()["error"]["code"]) == (400, "InvalidRequestContent")


async def test_the_clouds_endpoints_need_no_token(tmp_path: Path) -> None:
    async with in_world(tmp_path) as (world, _):
        new = (await world.wire.request("GET", world.url("/metadata/endpoints?api-version=2022-09-01"))).json()
        assert (new["resourceManager"], new["authentication"]["loginEndpoint"]) == (BASE, BASE)
        listed = (await world.wire.request("GET", world.url("/metadata/endpoints?api-version=2019-05-01"))).json()
        assert listed == [new]
        old = (await world.wire.request("GET", world.url("/metadata/endpoints?api-version=2015-01-01"))).json()
        assert old["authentication"]["audiences"] == ["https://management.core.windows.net/", BASE + "/"]
        missing = await world.wire.request("GET", world.url("/metadata/endpoints"))
        assert missing.json()["error"]["code"] == "MissingApiVersionParameter"


async def test_tags_are_a_resource_of_their_own(tmp_path: Path) -> None:
    async with in_world(tmp_path) as (_, client):
        await client.register("Microsoft.ManagedIdentity")
        identity = (await client.identity(await client.group()))["id"]
        path = f"{identity}/providers/Microsoft.Resources/tags/default"
        await client.good("PUT", path, GROUPS, {"properties": {"tags": {"a": "1", "b": "2"}}})
        merged = await client.good("PATCH", path, GROUPS, {"operation": "Merge", "properties": {"tags": {"b": "3"}}})
        assert merged["properties"]["tags"] == {"a": "1", "b": "3"}
        await client.good("PATCH", path, GROUPS, {"operation": "Delete", "properties": {"tags": {"a": "1"}}})
        assert (await client.good("GET", identity, MSI))["tags"] == {"b": "3"}
