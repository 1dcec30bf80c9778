"""ARM with clusters, extensions and flux configurations, and a caller of Resource Graph."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azuresandbox.arm.resourcegraph.index import LAG
from azuresandbox.store import Store
from azuresandbox.wire import Response
from tests.arm.arm_client import SUBSCRIPTION, Client
from tests.arm_aks.azure_world import DataPlane, cluster_body
from tests.harness import World

PATH = "/providers/Microsoft.ResourceGraph/resources"
VERSION, AKS, EXTENSIONS, FLUX = "2024-04-01", "2024-09-01", "2023-05-01", "2023-05-01"
GROUP = f"{SUBSCRIPTION}/resourceGroups/Fleet-RG"
REPOSITORY = {"url": "https://github.com/Azure/gitops-flux2-kustomize-helm-mt", "repositoryRef": {"branch": "main"}}


@dataclass
class Graph:
    """The operator at Resource Graph, in a world whose clock tests advance."""

    world: World
    client: Client
    plane: DataPlane

    def cluster_id(self, name: str) -> str:
        return f"{GROUP}/providers/Microsoft.ContainerService/managedClusters/{name}"

    async def cluster(self, name: str, **more: Any) -> str:
        await self.client.good("PUT", self.cluster_id(name), AKS, {**cluster_body(), **more})
        await self.later(900)
        return self.cluster_id(name)

    async def flux(self, cluster: str) -> None:
        """Create microsoft.flux and one configuration on the cluster."""
        base = f"{self.cluster_id(cluster)}/providers/Microsoft.KubernetesConfiguration"
        await self.client.good(
            "PUT", f"{base}/extensions/flux", EXTENSIONS, {"properties": {"extensionType": "microsoft.flux"}}
        )
        await self.later(300)
        properties = {"sourceKind": "GitRepository", "gitRepository": REPOSITORY, "kustomizations": {"infra": {"path": "./a"}}}
        await self.client.good("PUT", f"{base}/fluxConfigurations/gitops", FLUX, {"properties": properties})
        await self.later(120)

    async def later(self, seconds: float = 3 * LAG) -> None:
        """Let time pass, by default enough for Resource Graph to have copied all changes."""
        await self.world.clock.advance(seconds)

    async def answer(self, query: str, client: Client | None = None, version: str = VERSION, **body: Any) -> Response:
        return await (client or self.client).call(
            "POST", PATH, version, {"query": query, **body}, content_type="application/json; charset=utf-8"
        )

    async def ask(self, query: str, client: Client | None = None, **body: Any) -> list[Any]:
        """Return the rows of an answer."""
        await self.later(1)  # a new window of the quota
        found = await self.answer(query, client, **body)
        assert found.status == 200, found.text
        rows: list[Any] = found.json()["data"]
        return rows

    async def refused(self, query: str, **body: Any) -> list[Any]:
        """Return the details of a refusal."""
        await self.later(1)
        found = await self.answer(query, **body)
        assert found.status == 400, found.text
        error = found.json()["error"]
        assert error["code"] == "BadRequest"
        assert error["message"].startswith("Please provide below info when asking for support: timestamp = 20")
        assert f"correlationId = {found.headers['x-ms-correlation-request-id']}." in error["message"]
        details: list[Any] = error["details"]
        return details


@asynccontextmanager
async def in_graph(state: Path, store: Store | None = None) -> AsyncIterator[Graph]:
    """Run ARM with a group, its providers registered, and AKS's data plane answering. `store`: of a former run."""
    async with World.open(state, ("entra", "arm"), store=store) as world:
        client = await Client.operator(world)
        plane = DataPlane(world.sandbox)
        running = asyncio.create_task(plane.run())
        try:
            await client.group("Fleet-RG")
            await client.register(
                "Microsoft.ContainerService",
                "Microsoft.KubernetesConfiguration",
                "Microsoft.ManagedIdentity",
                "Microsoft.Compute",
            )
            yield Graph(world, client, plane)
        finally:
            running.cancel()
