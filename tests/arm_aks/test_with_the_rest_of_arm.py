"""AKS with ARM's other providers and Entra: registration, rights, deletion of a group with its clusters."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from azuresandbox import directory, fabric
from azuresandbox.context import OPERATOR_CLIENT_ID, SUBSCRIPTION_ID, TENANT_ID
from tests.arm_aks.azure_world import DataPlane, cluster_body
from tests.harness import OPERATOR_SECRET, World

SUBSCRIPTION = f"/subscriptions/{SUBSCRIPTION_ID}"
GROUP = f"{SUBSCRIPTION}/resourceGroups/myfleet-rg"
CLUSTER = f"{GROUP}/providers/Microsoft.ContainerService/managedClusters/aks"
FLUX = f"{CLUSTER}/providers/Microsoft.KubernetesConfiguration"
AKS, GROUPS, KUBERNETES_CONFIGURATION = "2024-09-01", "2021-04-01", "2023-05-01"


class Client:
    def __init__(self, world: World, token: str) -> None:
        self.world, self.token = world, token

    async def call(self, method: str, path: str, version: str, body: Any = None) -> tuple[int, Any]:
        data = b"" if body is None else json.dumps(body).encode()
        url = self.world.url(f"{path}?api-version={version}")
        answer = await self.world.wire.request(method, url, headers={"authorization": f"Bearer {self.token}"}, body=data)
        return answer.status, answer.json() if answer.body else None


async def operator(world: World) -> Client:
    """Return a client of the sandbox's operator, signed in with Entra."""
    form = {
        "grant_type": "client_credentials",
        "client_id": OPERATOR_CLIENT_ID,
        "client_secret": OPERATOR_SECRET,
        "scope": "https://management.core.windows.net//.default",
    }
    answer = await world.wire.request("POST", world.url(f"/{TENANT_ID}/oauth2/v2.0/token"), body=urlencode(form).encode())
    return Client(world, answer.json()["access_token"])


@asynccontextmanager
async def azure(tmp_path: Path) -> AsyncIterator[Client]:
    async with World.open(tmp_path, parts=("entra", "arm")) as world:
        plane = asyncio.create_task(DataPlane(world.sandbox).run())
        try:
            yield await operator(world)
        finally:
            plane.cancel()
            await asyncio.gather(plane, return_exceptions=True)


async def ready(client: Client) -> None:
    for namespace in ("Microsoft.ContainerService", "Microsoft.KubernetesConfiguration", "Microsoft.Compute"):
        await client.call("POST", f"{SUBSCRIPTION}/providers/{namespace}/register", GROUPS)
    await client.world.clock.advance(120)
    assert (await client.call("PUT", GROUP, GROUPS, {"location": "eastus2"}))[0] == 201


async def test_a_namespace_must_be_registered_first(tmp_path: Path) -> None:
    async with azure(tmp_path) as client:
        await client.call("PUT", GROUP, GROUPS, {"location": "eastus2"})
        status, answer = await client.call("PUT", CLUSTER, AKS, cluster_body())
        assert (status, answer["error"]["code"]) == (409, "MissingSubscriptionRegistration")


async def test_deleting_a_group_deletes_clusters_node_groups_and_flux(tmp_path: Path) -> None:
    async with azure(tmp_path) as client:
        await ready(client)
        clock, store = client.world.clock, client.world.sandbox.store
        assert (await client.call("PUT", CLUSTER, AKS, cluster_body()))[0] == 201
        await clock.advance(600)
        extension = {"properties": {"extensionType": "microsoft.flux"}}
        assert (await client.call("PUT", f"{FLUX}/extensions/flux", KUBERNETES_CONFIGURATION, extension))[0] == 201
        await clock.advance(300)
        configuration = {
            "properties": {
                "sourceKind": "GitRepository",
                "namespace": "cluster-config",
                "kustomizations": {"apps": {"path": "./apps"}},
                "gitRepository": {"url": "https://example.org/fleet", "repositoryRef": {"branch": "main"}},
            }
        }
        await client.call("PUT", f"{FLUX}/fluxConfigurations/flux-config", KUBERNETES_CONFIGURATION, configuration)
        await clock.advance(300)
        status, found = await client.call("GET", f"{FLUX}/fluxConfigurations/flux-config", KUBERNETES_CONFIGURATION)
        assert (status, found["properties"]["complianceState"]) == (200, "Compliant")
        assert (await client.call("DELETE", GROUP, GROUPS))[0] == 202
        await clock.advance(1200)
        assert (await client.call("GET", GROUP, GROUPS))[0] == 404
        groups = (await client.call("GET", f"{SUBSCRIPTION}/resourcegroups", GROUPS))[1]["value"]
        assert [group["name"] for group in groups] == []
        assert not [goal for kind in fabric.KINDS for goal in fabric.goals(store, kind)]
        assert [one.display_name for one in directory.principals(store) if one.kind == "ManagedIdentity"] == []


async def test_the_clusters_group_must_exist(tmp_path: Path) -> None:
    async with azure(tmp_path) as client:
        await ready(client)
        missing = CLUSTER.replace("myfleet-rg", "nowhere-rg")
        for method, body in (("GET", None), ("PUT", cluster_body())):
            status, answer = await client.call(method, missing, AKS, body)
            assert (status, answer["error"]["code"]) == (404, "ResourceGroupNotFound")
        status, answer = await client.call("GET", CLUSTER, AKS)
        assert (status, answer["error"]["code"]) == (404, "ResourceNotFound")
        status, answer = await client.call("GET", CLUSTER, "2024-09-02")
        assert (status, answer["error"]["code"]) == (400, "NoRegisteredProviderFound")


async def test_versions_and_sizes_need_no_group(tmp_path: Path) -> None:
    async with azure(tmp_path) as client:
        await ready(client)
        base = f"{SUBSCRIPTION}/providers"
        versions = await client.call("GET", f"{base}/Microsoft.ContainerService/locations/eastus2/kubernetesVersions", AKS)
        usages = await client.call("GET", f"{base}/Microsoft.Compute/locations/eastus2/usages", "2024-07-01")
        skus = await client.call("GET", f"{base}/Microsoft.Compute/skus", "2021-07-01")
        assert [len(answer.get("value") or answer["values"]) > 5 for _, answer in (versions, usages, skus)] == [True] * 3


async def test_the_node_group_and_the_kubelet_identity_are_ordinary_resources(tmp_path: Path) -> None:
    async with azure(tmp_path) as client:
        await ready(client)
        await client.call("POST", f"{SUBSCRIPTION}/providers/Microsoft.ManagedIdentity/register", GROUPS)
        await client.call("PUT", CLUSTER, AKS, cluster_body())
        await client.world.clock.advance(600)
        _, cluster = await client.call("GET", CLUSTER, AKS)
        kubelet = cluster["properties"]["identityProfile"]["kubeletidentity"]
        status, identity = await client.call("GET", kubelet["resourceId"], "2024-11-30")
        assert (status, identity["properties"]["clientId"]) == (200, kubelet["clientId"])
        group = f"{SUBSCRIPTION}/resourceGroups/{cluster['properties']['nodeResourceGroup']}"
        assert (await client.call("GET", group, GROUPS))[1]["managedBy"] == cluster["id"]
        listed = (
            await client.call("GET", f"{SUBSCRIPTION}/providers/Microsoft.ManagedIdentity/userAssignedIdentities", "2024-11-30")
        )[1]
        assert [one["name"] for one in listed["value"]] == ["aks-agentpool"]


async def test_a_caller_without_a_role_cannot_write_clusters(tmp_path: Path) -> None:
    async with azure(tmp_path) as client:
        await ready(client)
        store = client.world.sandbox.store
        stranger = directory.Principal(
            "aaaaaaaa-0000-4000-8000-000000000001",
            "bbbbbbbb-0000-4000-8000-000000000001",
            "stranger",
            secret_hash=directory.hash_secret("s3cret"),
        )
        directory.put_principal(store, stranger)
        form = {
            "grant_type": "client_credentials",
            "client_id": stranger.app_id,
            "client_secret": "s3cret",
            "scope": "https://management.core.windows.net//.default",
        }
        answer = await client.world.wire.request(
            "POST", client.world.url(f"/{TENANT_ID}/oauth2/v2.0/token"), body=urlencode(form).encode()
        )
        weak = Client(client.world, answer.json()["access_token"])
        for method, path, version, action in (
            ("PUT", CLUSTER, AKS, "managedClusters/write"),
            ("POST", f"{CLUSTER}/listClusterAdminCredential", AKS, "managedClusters/listClusterAdminCredential/action"),
            ("PUT", f"{FLUX}/fluxConfigurations/x", KUBERNETES_CONFIGURATION, "fluxConfigurations/write"),
        ):
            status, refused = await weak.call(method, path, version, {})
            assert (status, refused["error"]["code"], action.lower() in refused["error"]["message"].lower()) == (
                403,
                "AuthorizationFailed",
                True,
            )
