"""The stand-in charts' objects, rights and tokens on the sandbox's Kubernetes API: cert-manager, then ASO, then a cluster.

The programs run with their service accounts, so that a right that the charts do not give makes them fail.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

from azuresandbox import fabric
from azuresandbox.context import SUBSCRIPTION_ID, TENANT_ID
from azuresandbox.fabric import ClusterGoal
from azuresandbox.machine.client import ApiError, KubeClient
from azuresandbox.machine.images import aso, certmanager
from azuresandbox.machine.images.aso.azure import TOKEN_FILE
from azuresandbox.machine.node.program import Pod, Program
from azuresandbox.machine.types import Object
from azuresandbox.sources.stand_ins import CHARTS
from tests.arm.arm_client import MSI, Client
from tests.aso.aso_world import AUDIENCE, CONTRIBUTOR, SUBJECT, SYSTEM, cluster, configuration, extension, group
from tests.harness import BASE, World

ISSUER = f"{BASE}/oidc/hub/"
PATTERN = "resources.azure.com/*;containerservice.azure.com/*;kubernetesconfiguration.azure.com/*"
NAME = "podinfo-prod-0-aks"


@dataclass
class Hub:
    """A control-plane cluster and the Azure around it."""

    world: World
    kube: KubeClient
    client_id: str
    log: list[str] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def open(cls, state: Path) -> AsyncIterator[Hub]:
        """Set up the cluster and its identity; cert-manager and ASO are not installed."""
        async with World.open(state, ("entra", "arm", "kubernetes")) as world:
            store = world.sandbox.store
            fabric.put_goal(store, ClusterGoal("hub", cluster_name="asocluster-aks", version="1.34.2", oidc_issuer=ISSUER))
            while (report := fabric.get_cluster_report(store, "hub")) is None:
                await asyncio.sleep(0.01)
            plane = asyncio.create_task(_data_plane(world))
            azure = await Client.operator(world)
            await azure.register("Microsoft.ContainerService", "Microsoft.KubernetesConfiguration", "Microsoft.ManagedIdentity")
            await azure.group("myfleet-rg")
            identity = await azure.identity(await azure.group("controlplane-rg"), "aso-controlplane-identity")
            await world.clock.advance(60)
            await azure.assign(
                f"/subscriptions/{SUBSCRIPTION_ID}/resourceGroups/myfleet-rg",
                identity["properties"]["principalId"],
                CONTRIBUTOR,
                "00000000-0000-4000-8000-000000000001",
                principalType="ServicePrincipal",
            )
            body = {"properties": {"issuer": ISSUER, "subject": SUBJECT, "audiences": [AUDIENCE]}}
            writing = asyncio.create_task(azure.good("PUT", f"{identity['id']}/federatedIdentityCredentials/aso", MSI, body))
            await world.clock.advance(60)
            await writing
            found = cls(
                world,
                KubeClient(world.wire, f"{BASE}/clusters/hub", report.credentials["admin"]["token"]),
                identity["properties"]["clientId"],
            )
            try:
                yield found
            finally:
                for task in [plane, *found.tasks]:
                    task.cancel()
                await asyncio.gather(plane, *found.tasks, return_exceptions=True)

    async def create(self, *objects: Object) -> None:
        for obj in objects:
            self.kube.forget_mappings()
            await self.kube.create(obj)

    async def start(self, program: Program, namespace: str, account: str, image: str, *args: str, **env: str) -> None:
        """Run a container with its service account's token."""
        token = await self.kube.token(account, namespace, [])
        files = {TOKEN_FILE: (await self.kube.token(account, namespace, [AUDIENCE])).encode()}
        pod = Pod(
            cluster_id="hub",
            namespace=namespace,
            name=f"{account}-0",
            container="manager",
            image=image,
            node="node-0",
            service_account=account,
            labels={},
            annotations={},
            command=[],
            args=list(args),
            env={"POD_NAMESPACE": namespace, **env},
            files=files,
            kube=self.kube.as_token(token),
            wire=self.world.wire,
            clock=self.world.clock,
            log=self.log.append,
            ready=lambda ready: None,
        )

        async def container() -> None:
            await program(pod)

        self.tasks.append(asyncio.create_task(container()))

    async def until(self, done: Callable[[], Awaitable[bool]]) -> None:
        """Move time on until `done()` is true; an hour at most."""
        for _ in range(360):
            for task in self.tasks:
                assert not task.done() or task.result() is not None
            if await done():
                return
            await asyncio.sleep(0.005)
            await self.world.clock.advance(10)
        raise AssertionError("\n".join(self.log[-20:]))

    async def ready(self, obj: Object) -> bool:
        found = await self.kube.find(
            obj["apiVersion"], obj["kind"], obj["metadata"]["name"], obj["metadata"].get("namespace", "")
        )
        conditions = (found or {}).get("status", {}).get("conditions") or ()
        return bool(any(c["type"] == "Ready" and c["status"] == "True" for c in conditions))


async def _data_plane(world: World) -> None:
    """Report success for nodes, extensions and flux configurations. The Kubernetes API reports for itself."""
    store = world.sandbox.store

    async def answer(kind: str, part: str) -> None:
        async for goal in fabric.watch_goals(store, kind):
            if store.get(fabric.PARTITION, goal.key):
                fabric.put_report(store, goal, fabric.Report(goal.revision, "Deleted" if goal.deleted else "Succeeded"), part)

    async with asyncio.TaskGroup() as tasks:
        for kind, part in (("cluster", "nodes"), ("extension", ""), ("flux", "")):
            tasks.create_task(answer(kind, part))


def _namespaces(*names: str) -> list[Object]:
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names]


def _chart(name: str, release: str, namespace: str, **values: Any) -> list[Object]:
    """Return a chart's objects without its hooks, definitions first."""
    with helm_python.Chart.load(str(CHARTS / name)) as chart:
        texts = chart.render(values, name=release, namespace=namespace).values()
    objects = [obj for text in texts for obj in yaml.safe_load_all(text) if isinstance(obj, dict)]
    kept = [obj for obj in objects if "helm.sh/hook" not in (obj["metadata"].get("annotations") or {})]
    for obj in kept:
        if obj["kind"] not in ("ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "IngressClass"):
            obj["metadata"].setdefault("namespace", namespace)
    return sorted(kept, key=lambda obj: obj["kind"] != "CustomResourceDefinition")


async def test_from_the_charts_to_a_cluster_with_flux(tmp_path: Path) -> None:
    async with Hub.open(tmp_path) as found:
        await found.create(*_namespaces("cert-manager", SYSTEM, "clusters"))
        await found.create(*_chart("cert-manager", "cert-manager", "cert-manager", crds={"enabled": True}))
        await found.start(
            certmanager.controller, "cert-manager", "cert-manager", "quay.io/jetstack/cert-manager-controller:v1.18.2"
        )
        settings = {
            "azureSubscriptionID": SUBSCRIPTION_ID,
            "azureTenantID": TENANT_ID,
            "azureClientID": found.client_id,
            "useWorkloadIdentityAuth": True,
            "crdPattern": PATTERN,
        }
        await found.create(*_chart("azure-service-operator", "aso2", SYSTEM, **settings))

        async def certified() -> bool:
            secret = await found.kube.find("v1", "Secret", "webhook-server-cert", SYSTEM)
            return secret is not None and secret["type"] == "kubernetes.io/tls"

        await found.until(certified)
        await found.start(
            aso.run,
            SYSTEM,
            "azureserviceoperator-default",
            "mcr.microsoft.com/k8s/azureserviceoperator:v2.13.0",
            f"--crd-pattern={PATTERN}",
            AZURE_SUBSCRIPTION_ID=SUBSCRIPTION_ID,
            AZURE_TENANT_ID=TENANT_ID,
            AZURE_CLIENT_ID=found.client_id,
            USE_WORKLOAD_IDENTITY_AUTH="true",
        )

        async def defined() -> bool:
            crds = await found.kube.list("apiextensions.k8s.io/v1", "CustomResourceDefinition")
            return bool(sum(crd["spec"]["group"].endswith("azure.com") for crd in crds) == 5)

        await found.until(defined)
        await asyncio.sleep(0.05)
        wanted = [group(), cluster(), extension(), configuration()]
        await found.create(*wanted)
        for obj in wanted:
            await found.until(partial(found.ready, obj))
        await _looks_as_kubectl_shows_it(found)
        await _refuses_what_asos_definition_does_not_know(found)
        await found.kube.delete(cluster()["apiVersion"], "ManagedCluster", NAME, "clusters")

        async def deleted() -> bool:
            return await found.kube.find(cluster()["apiVersion"], "ManagedCluster", NAME, "clusters") is None

        await found.until(deleted)
        assert not [line for line in found.log if "forbidden" in line.lower()]


async def _looks_as_kubectl_shows_it(found: Hub) -> None:
    headers = {**found.kube.headers(), "accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    path = "/clusters/hub/apis/containerservice.azure.com/v1api20240901/namespaces/clusters/managedclusters"
    table = (await found.world.wire.request("GET", BASE + path, headers=headers)).json()
    assert [c["name"] for c in table["columnDefinitions"]] == ["Name", "Ready", "Severity", "Reason", "Message"]
    assert [row["cells"][:4] for row in table["rows"]] == [[NAME, "True", "", "Succeeded"]] or table["rows"][0]["cells"][
        1
    ] == "True"


async def _refuses_what_asos_definition_does_not_know(found: Hub) -> None:
    wrong = cluster("wrong", vnetSubnetID="x")
    path = "/apis/containerservice.azure.com/v1api20240901/namespaces/clusters/managedclusters"
    with pytest.raises(ApiError, match=r"vnetSubnetID"):
        await found.kube.raw("POST", path, params={"fieldValidation": "Strict"}, body=wrong)
