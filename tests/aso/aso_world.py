"""ASO's program with the sandbox's Entra and ARM, a small Kubernetes API, and a data plane that reaches ARM's goals.

The identity is set up as notebooks 02 and 04 do it; each test breaks the part that it is about.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from azuresandbox.context import SUBSCRIPTION_ID, TENANT_ID, Receive, Scope, Send
from azuresandbox.http import send_json
from azuresandbox.machine.client import KubeClient
from azuresandbox.machine.images import aso
from azuresandbox.machine.images.aso.azure import TOKEN_FILE
from azuresandbox.machine.node.program import Pod
from azuresandbox.machine.types import Object
from tests.arm.arm_client import MSI, Client, fetch_token
from tests.arm_aks.azure_world import DataPlane
from tests.flux_kustomize.apply_api import ApplyApi
from tests.harness import BASE, World

NAMESPACE, SYSTEM = "clusters", "azureserviceoperator-system"
ISSUER = f"{BASE}/oidc/hub/"
SUBJECT = f"system:serviceaccount:{SYSTEM}:azureserviceoperator-default"
AUDIENCE = "api://AzureADTokenExchange"
CONTRIBUTOR = "b24988ac-6180-42a0-ab88-20f7382dd24c"
PATTERN = "resources.azure.com/*;containerservice.azure.com/*;kubernetesconfiguration.azure.com/*;managedidentity.azure.com/*"
IMAGE, POD = "mcr.microsoft.com/k8s/azureserviceoperator:v2.13.0", "azureserviceoperator-controller-manager-0"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
POLICY = "serviceoperator.azure.com/reconcile-policy"
KINDS = {
    "ResourceGroup": "resources.azure.com/v1api20200601",
    "ManagedCluster": "containerservice.azure.com/v1api20240901",
    "ManagedClustersAgentPool": "containerservice.azure.com/v1api20240901",
    "Extension": "kubernetesconfiguration.azure.com/v1api20230501",
    "FluxConfiguration": "kubernetesconfiguration.azure.com/v1api20230501",
    "UserAssignedIdentity": "managedidentity.azure.com/v1api20230131",
    "FederatedIdentityCredential": "managedidentity.azure.com/v1api20230131",
}


def group(name: str = "myfleet-rg", policy: str = "skip") -> Object:
    return thing("ResourceGroup", name, {"location": "eastus2"}, **{POLICY: policy})


def cluster(name: str = "podinfo-prod-0-aks", **spec: Any) -> Object:
    pool = {
        "name": "system",
        "mode": "System",
        "vmSize": "Standard_D2as_v6",
        "osType": "Linux",
        "osSKU": "AzureLinux",
        "enableAutoScaling": True,
        "minCount": 1,
        "maxCount": 3,
    }
    return thing(
        "ManagedCluster",
        name,
        {
            "location": "eastus2",
            "owner": {"name": "myfleet-rg"},
            "dnsPrefix": name,
            "identity": {"type": "SystemAssigned"},
            "agentPoolProfiles": [pool],
            **spec,
        },
    )


def owned(kind: str, name: str, spec: Object, owner: str = "podinfo-prod-0-aks") -> Object:
    reference = {"group": "containerservice.azure.com", "kind": "ManagedCluster", "name": owner}
    return thing(kind, name, {"owner": reference, **spec})


def extension() -> Object:
    return owned("Extension", "prod-0-flux", {"azureName": "flux", "extensionType": "microsoft.flux"})


def configuration() -> Object:
    return owned(
        "FluxConfiguration",
        "prod-0-config",
        {
            "azureName": "cluster-config",
            "namespace": "cluster-config",
            "scope": "cluster",
            "sourceKind": "GitRepository",
            "gitRepository": {"url": "https://github.com/contoso/aks-fleet-workloads", "repositoryRef": {"branch": "main"}},
            "kustomizations": {"infra": {"path": "./infrastructure", "prune": True}},
        },
    )


def thing(kind: str, name: str, spec: Object, **annotations: str) -> Object:
    metadata = {"name": name, "namespace": NAMESPACE, "annotations": annotations}
    return {"apiVersion": KINDS[kind], "kind": kind, "metadata": metadata, "spec": spec}


class TokenFile(dict[str, bytes]):
    """The file of the projected token, which the kubelet keeps valid."""

    def __init__(self, claims: Callable[[], dict[str, Any]]) -> None:
        super().__init__()
        self._claims = claims

    def __missing__(self, path: str) -> bytes:
        if path != TOKEN_FILE:
            raise KeyError(path)
        return jwt.encode(self._claims(), KEY, "RS256", headers={"kid": "k1"}).encode()


@dataclass
class Fleet:
    """A control-plane cluster with ASO, and the Azure around it."""

    world: World
    api: ApplyApi
    arm: Client
    plane: DataPlane
    identity: Object
    group_id: str
    env: dict[str, str]
    claims: dict[str, Any]
    log: list[str] = field(default_factory=list)
    is_ready: list[bool] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    @classmethod
    @asynccontextmanager
    async def open(cls, state: Path, *, trusted: bool = True, allowed: bool = True) -> AsyncIterator[Fleet]:
        """Set up everything; ASO is not started. `trusted`, `allowed`: whether its identity has its credential and its role."""
        async with World.open(state, ("entra", "arm")) as world:
            api = ApplyApi()
            _route(world, api)
            for name in (NAMESPACE, SYSTEM):
                api.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
            api.kinds["coordination.k8s.io/v1", "leases"] = ("Lease", True)
            arm = await Client.operator(world)
            plane = DataPlane(world.sandbox)
            task = asyncio.create_task(plane.run())
            await arm.register("Microsoft.ContainerService", "Microsoft.KubernetesConfiguration", "Microsoft.ManagedIdentity")
            home, group_id = await arm.group("controlplane-rg"), await arm.group("myfleet-rg")
            identity = await arm.identity(home, "aso-controlplane-identity")
            await world.clock.advance(120)
            env = {
                "AZURE_SUBSCRIPTION_ID": SUBSCRIPTION_ID,
                "AZURE_TENANT_ID": TENANT_ID,
                "USE_WORKLOAD_IDENTITY_AUTH": "true",
                "AZURE_CLIENT_ID": identity["properties"]["clientId"],
                "POD_NAMESPACE": SYSTEM,
            }
            found = cls(world, api, arm, plane, identity, group_id, env, {})
            if trusted:
                await found.trust()
            if allowed:
                await found.allow(group_id)
            try:
                yield found
            finally:
                if found.task is not None:
                    await found.stop()
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    # --- the operator ------------------------------------------------------------------------------------------------

    def _claims(self) -> dict[str, Any]:
        now = self.world.clock.now()
        times = {"iat": now, "nbf": now - timedelta(seconds=10), "exp": now + timedelta(hours=1)}
        return {"iss": ISSUER, "sub": SUBJECT, "aud": [AUDIENCE], **times, **self.claims}

    def pod(self, pattern: str, image: str, name: str) -> Pod:
        kube = KubeClient(self.world.wire, f"{BASE}/clusters/hub", "token")
        return Pod(
            cluster_id="hub",
            namespace=SYSTEM,
            name=name,
            container="manager",
            image=image,
            node="node-0",
            service_account="azureserviceoperator-default",
            labels={},
            annotations={},
            command=[],
            args=[f"--crd-pattern={pattern}", "--enable-leader-election"],
            env=self.env,
            files=TokenFile(self._claims),
            kube=kube,
            wire=self.world.wire,
            clock=self.world.clock,
            log=self.log.append,
            ready=self.is_ready.append,
        )

    async def start(self, pattern: str = PATTERN, image: str = IMAGE, name: str = POD) -> None:
        """Start the container, and wait until it is ready or has ended."""
        self.task = asyncio.create_task(self._container(self.pod(pattern, image, name)))
        await self.settle()

    async def _container(self, pod: Pod) -> None:
        await aso.run(pod)

    async def stop(self) -> BaseException | None:
        """Stop the container. Returns its exception if it had ended with one, else `None`."""
        assert self.task is not None
        self.task.cancel()
        result = (await asyncio.gather(self.task, return_exceptions=True))[0]
        return result if not isinstance(result, asyncio.CancelledError) else None

    # --- the cluster -------------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        for _ in range(4):
            await self.world.clock.settle()

    async def advance(self, seconds: float) -> None:
        await self.world.clock.advance(seconds)
        await self.settle()

    async def create(self, *objects: Object) -> None:
        for obj in objects:
            self.api.put(obj)
        await self.settle()

    def get(self, kind: str, name: str) -> Object:
        return self.api.objects[kind, NAMESPACE, name]

    def has(self, kind: str, name: str) -> bool:
        return (kind, NAMESPACE, name) in self.api.objects

    def ready(self, kind: str, name: str) -> tuple[str, str, str, str]:
        """Return (status, severity, reason, message) of the Ready condition."""
        found = next(c for c in self.get(kind, name)["status"]["conditions"] if c["type"] == "Ready")
        return found["status"], found.get("severity", ""), found["reason"], found.get("message", "")

    async def edit(self, kind: str, name: str, spec: Object | None = None, annotations: dict[str, str] | None = None) -> None:
        obj = json.loads(json.dumps(self.get(kind, name)))
        obj["metadata"]["annotations"] = {**obj["metadata"].get("annotations", {}), **(annotations or {})}
        self.api.put({**obj, "spec": {**obj["spec"], **(spec or {})}})
        await self.settle()

    async def delete(self, kind: str, name: str) -> None:
        self.api.delete((kind, NAMESPACE, name))
        await self.settle()

    def secret(self, name: str, namespace: str = NAMESPACE, **data: str) -> Object:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        metadata = {"name": name, "namespace": namespace}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded}

    def events(self, name: str) -> list[tuple[str, str, str]]:
        found = [obj for (kind, _, _), obj in self.api.objects.items() if kind == "Event"]
        return [(e["type"], e["reason"], e["message"]) for e in found if e["involvedObject"]["name"] == name]

    # --- Azure -------------------------------------------------------------------------------------------------------

    async def trust(self, issuer: str = ISSUER, subject: str = SUBJECT, audience: str = AUDIENCE) -> None:
        """Create the federated credential of ASO's identity."""
        body = {"properties": {"issuer": issuer, "subject": subject, "audiences": [audience]}}
        path = f"{self.identity['id']}/federatedIdentityCredentials/aso"
        writing = asyncio.create_task(self.arm.good("PUT", path, MSI, body))
        await self.advance(60)
        await writing

    async def allow(self, scope: str) -> None:
        """Assign the role Contributor at the scope to ASO's identity."""
        answer = await self.arm.assign(
            scope,
            self.identity["properties"]["principalId"],
            CONTRIBUTOR,
            "00000000-0000-4000-8000-000000000001",
            principalType="ServicePrincipal",
        )
        assert answer.status in (200, 201), answer.text

    async def cluster_in_azure(self, name: str = "podinfo-prod-0-aks") -> Any:
        """Return the managed cluster, or `None` if it does not exist."""
        path = f"{self.group_id}/providers/Microsoft.ContainerService/managedClusters/{name}"
        self.arm.token = await fetch_token(self.world)  # the former token may have expired
        answer = await self.arm.call("GET", path, "2024-09-01")
        return answer.json() if answer.status == 200 else None


def _route(world: World, api: ApplyApi) -> None:
    """Route the cluster's API and its issuer, beside Entra and ARM."""
    inner = world.wire.app
    assert inner is not None
    public = {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key())), "kid": "k1", "use": "sig", "alg": "RS256"}
    documents = {
        "/oidc/hub/.well-known/openid-configuration": {"issuer": ISSUER, "jwks_uri": ISSUER + "openid/v1/jwks"},
        "/oidc/hub/openid/v1/jwks": {"keys": [public]},
    }

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path in documents:
            await send_json(send, 200, documents[path])
        elif path.startswith("/clusters/"):
            await api(scope, receive, send)
        else:
            await inner(scope, receive, send)

    world.wire.app = app
