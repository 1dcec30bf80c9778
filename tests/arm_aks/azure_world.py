"""Azure Resource Manager with three providers, for the unmodified SDKs.

The SDK's transport runs the event loop until its request is answered. When the SDK would sleep between polls, the virtual clock
moves instead. A small reporter replaces the data plane: it answers goals with reports.
"""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import requests
from azure.core.credentials import AccessToken
from azure.core.pipeline.transport import RequestsTransport
from azure.mgmt.compute import ComputeManagementClient
from azure.mgmt.containerservice import ContainerServiceClient
from azure.mgmt.kubernetesconfiguration.extensions import KubernetesConfigurationExtensionsMgmtClient
from azure.mgmt.kubernetesconfiguration.fluxconfigurations import KubernetesConfigurationFluxConfigurationsMgmtClient
from cryptography.hazmat.primitives.asymmetric import rsa
from requests.adapters import BaseAdapter

from azuresandbox import fabric
from azuresandbox.arm import access, compute, containerservice, kubernetesconfiguration, operations, records, roles
from azuresandbox.arm.records import Resource
from azuresandbox.arm.resource_id import ResourceId
from azuresandbox.arm.router import Arm
from azuresandbox.clock import VirtualClock
from azuresandbox.context import OPERATOR_CLIENT_ID, OPERATOR_OBJECT_ID, SUBSCRIPTION_ID, TENANT_ID, Sandbox
from azuresandbox.faults import Faults
from azuresandbox.store import Store
from azuresandbox.wire import Wire

BASE = "https://127.0.0.1:8443"
GROUP = "fleet-rg"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def cluster_body(**properties: Any) -> dict[str, Any]:
    """Return the PUT body of a small workload cluster, as the seed's chart describes it."""
    pool = {
        "name": "system",
        "mode": "System",
        "vmSize": "standard_d2as_v6",
        "osType": "Linux",
        "osSKU": "AzureLinux",
        "enableAutoScaling": True,
        "minCount": 1,
        "maxCount": 3,
    }
    return {
        "location": "East US 2",
        "identity": {"type": "SystemAssigned"},
        "properties": {"dnsPrefix": "podinfo-prod-0", "agentPoolProfiles": [pool], **properties},
    }


@dataclass
class DataPlane:
    """Answers goals. `failing`: goal kind -> error message; `silent`: kinds that are not answered; `details`: for flux."""

    sandbox: Sandbox
    failing: dict[str, str] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    details: dict[str, Any] = field(default_factory=dict)
    goals: list[fabric.Goal] = field(default_factory=list)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for kind in fabric.KINDS:
                tasks.create_task(self._answer(kind))

    async def _answer(self, kind: str) -> None:
        async for goal in fabric.watch_goals(self.sandbox.store, kind):
            self.goals.append(goal)
            if kind not in self.silent and self.sandbox.store.get(fabric.PARTITION, goal.key):
                self.report(goal)

    def report(self, goal: fabric.Goal) -> None:
        state = "Deleted" if goal.deleted else "Failed" if goal.KIND in self.failing else "Succeeded"
        error = fabric.Failure(code="", message=self.failing[goal.KIND]) if state == "Failed" else None
        if isinstance(goal, fabric.ClusterGoal):
            material = {
                role: fabric.Credential(token=f"token-{role}", cert=f"CERT {role}", key=f"KEY {role}")
                for role in ("admin", "user")
            }
            fabric.put_report(self.sandbox.store, goal, fabric.ClusterReport(goal.revision, state, error, material), "api")
            fabric.put_report(self.sandbox.store, goal, fabric.Report(goal.revision, state, error), "nodes")
        else:
            details = self.details if goal.KIND == "flux" else {}
            fabric.put_report(self.sandbox.store, goal, fabric.Report(goal.revision, state, error, details))

    def last(self, kind: str) -> Any:
        return [goal for goal in self.goals if kind == goal.KIND][-1]


class WireAdapter(BaseAdapter):
    """`requests` over the Wire."""

    def __init__(self, azure: Azure) -> None:
        super().__init__()
        self._azure = azure

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        body = request.body or b""
        data = body.encode() if isinstance(body, str) else bytes(body)
        assert request.method and request.url
        answer = self._azure.until(
            self._azure.sandbox.wire.request(request.method, request.url, headers=dict(request.headers), body=data)
        )
        response = requests.Response()
        response.status_code, response.url, response.request = answer.status, request.url, request
        response.headers.update(answer.headers)
        response.raw = io.BytesIO(answer.body)
        return response

    def close(self) -> None: ...


class Transport(RequestsTransport):  # type: ignore[misc]
    """A transport whose polls move the clock instead of sleeping."""

    def __init__(self, azure: Azure) -> None:
        session = requests.Session()
        session.mount("https://", WireAdapter(azure))
        super().__init__(session=session, session_owner=False)
        self._azure = azure

    def sleep(self, duration: float) -> None:
        self._azure.advance(30)


class Credential:
    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        claims = {
            "appid": OPERATOR_CLIENT_ID,
            "oid": OPERATOR_OBJECT_ID,
            "tid": TENANT_ID,
            "exp": 4102444800,
            "aud": BASE,
            "iss": f"{BASE}/{TENANT_ID}/",
        }
        return AccessToken(jwt.encode(claims, KEY, "RS256", headers={"kid": "test"}), int(time.time()) + 3600)


@dataclass
class Azure:
    """One subscription with one group, an Owner, and the SDK's clients for it."""

    sandbox: Sandbox
    loop: asyncio.AbstractEventLoop
    plane: DataPlane
    turn: threading.Lock = field(default_factory=threading.Lock)

    def until(self, work: Any) -> Any:
        """Run the loop until `work` is done and return its result. The SDK's pollers, in threads of their own, take turns."""
        with self.turn:
            return self.loop.run_until_complete(work)

    def advance(self, seconds: float) -> None:
        assert isinstance(self.sandbox.clock, VirtualClock)
        self.until(self.sandbox.clock.advance(seconds))

    def client(self, kind: Any) -> Any:
        return kind(
            Credential(),
            SUBSCRIPTION_ID,
            base_url=BASE,
            credential_scopes=[BASE + "/.default"],
            transport=Transport(self),
            retry_total=0,
        )

    @property
    def clusters(self) -> Any:
        return self.client(ContainerServiceClient).managed_clusters

    @property
    def pools(self) -> Any:
        return self.client(ContainerServiceClient).agent_pools

    @property
    def compute(self) -> Any:
        return self.client(ComputeManagementClient)

    @property
    def extensions(self) -> Any:
        return self.client(KubernetesConfigurationExtensionsMgmtClient).extensions

    @property
    def flux(self) -> Any:
        return self.client(KubernetesConfigurationFluxConfigurationsMgmtClient).flux_configurations

    def raw(self, method: str, path: str, body: bytes = b"") -> Any:
        token = Credential().get_token().token
        return self.until(
            self.sandbox.wire.request(method, BASE + path, headers={"authorization": f"Bearer {token}"}, body=body)
        )

    def cluster_id(self, name: str) -> str:
        group = f"/subscriptions/{SUBSCRIPTION_ID}/resourceGroups/{GROUP}"
        return f"{group}/providers/Microsoft.ContainerService/managedClusters/{name}"


@contextmanager
def azure(state: Path) -> Iterator[Azure]:
    """Open a world. At its end no background task may have failed."""
    store, loop = Store(), asyncio.new_event_loop()
    sandbox = new_sandbox(state, store)
    arm = resource_manager(sandbox)
    prepare(sandbox)
    plane = DataPlane(sandbox)
    tasks = [loop.create_task(operations.run(sandbox, arm.type_of)), loop.create_task(plane.run())]
    world = Azure(sandbox, loop, plane)
    try:
        world.advance(0)
        yield world
    finally:
        for task in tasks:
            task.cancel()
        results = loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.close()
        store.close()
    broken = [result for result in results if isinstance(result, Exception)]
    assert not broken, broken


def new_sandbox(state: Path, store: Store) -> Sandbox:
    return Sandbox(
        store=store,
        clock=VirtualClock(),
        faults=Faults(store),
        wire=Wire(store),
        base=BASE,
        state=state,
        ca_pem="CA PEM",
        log=lambda part, text: print(part, text),
    )


def resource_manager(sandbox: Sandbox) -> Arm:
    """Return ARM with the three providers, registered, behind the sandbox's Wire."""
    providers = tuple(module.provider() for module in (containerservice, compute, kubernetesconfiguration))
    arm = Arm(sandbox, providers, (), lambda store, namespace: True)
    sandbox.wire.app, sandbox.wire.base = arm.app(), BASE
    return arm


def prepare(sandbox: Sandbox) -> None:
    """Store the token's key, the group, and the operator's role."""
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key())
    sandbox.store.put("entra", "keys/test", jwk.encode() if isinstance(jwk, str) else jwk)
    records.put(sandbox.store, records.group(SUBSCRIPTION_ID, GROUP, "eastus2", {}))
    scope = f"/subscriptions/{SUBSCRIPTION_ID}"
    role = next(role for role in roles.ROLES if role.name == "Owner")
    assignment = f"{scope}/providers/{access.ASSIGNMENTS}/11111111-2222-3333-4444-555555555555"
    document = {
        "id": assignment,
        "name": assignment.rpartition("/")[2],
        "type": access.ASSIGNMENTS,
        "properties": {
            "principalId": OPERATOR_OBJECT_ID,
            "roleDefinitionId": f"{scope}/providers/Microsoft.Authorization/roleDefinitions/{role.id}",
            "scope": scope,
        },
    }
    records.put(sandbox.store, Resource(ResourceId(assignment), document))
