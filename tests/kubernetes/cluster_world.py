"""One cluster in a test's world, with clients for its API, and objects for tests."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from azuresandbox import fabric
from azuresandbox.fabric import ClusterGoal
from azuresandbox.store import Store
from azuresandbox.wire import Response
from tests.harness import World

CLUSTER = "c1"
ISSUER = "https://127.0.0.1:8443/oidc/c1/"


def goal(**changes: Any) -> ClusterGoal:
    wanted: dict[str, Any] = {
        "cluster_id": CLUSTER,
        "cluster_name": "hub",
        "version": "1.33.2",
        "oidc_issuer": ISSUER,
        "workload_identity": True,
    }
    return ClusterGoal(**(wanted | changes))


@dataclass
class Api:
    """A client of the cluster with one token."""

    world: World
    token: str

    def url(self, path: str, **query: str) -> str:
        return self.world.url(f"/clusters/{CLUSTER}{path}") + (f"?{urlencode(query)}" if query else "")

    def headers(self, content_type: str = "application/json", accept: str = "application/json") -> dict[str, str]:
        return {
            "authorization": f"Bearer {self.token}",
            "content-type": content_type,
            "accept": accept,
            "user-agent": "tests/1",
        }

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
        **query: str,
    ) -> Response:
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = self.headers(content_type, accept)
        return await self.world.wire.request(method, self.url(path, **query), headers=headers, body=data)

    async def ok(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """Return the decoded answer of a request that must succeed."""
        response = await self.send(method, path, body, **more)
        assert response.status < 300, response.text
        return response.json()

    async def fails(self, code: int, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """Return the Status of a request that must fail with the code."""
        response = await self.send(method, path, body, **more)
        assert response.status == code, response.text
        status = response.json()
        assert status["kind"] == "Status" and status["status"] == "Failure" and status["code"] == code
        return status

    def someone(self, token: str) -> Api:
        """Return a client of the same cluster with another token."""
        return Api(self.world, token)

    async def settle(self) -> None:
        await self.world.clock.settle()


@asynccontextmanager
async def cluster(
    state: Path, *, store: Store | None = None, parts: tuple[str, ...] = ("kubernetes",), **changes: Any
) -> AsyncIterator[Api]:
    """Open a ready cluster; yields its administrator's client. `changes`: members of the ClusterGoal."""
    async with World.open(state, parts, store=store) as world:
        wanted = goal(**changes)
        revision = fabric.put_goal(world.sandbox.store, wanted)
        await fabric.settled(world.sandbox.store, "cluster", CLUSTER, "", revision, ("api",))
        report = fabric.get_cluster_report(world.sandbox.store, CLUSTER)
        assert report is not None
        yield Api(world, report.credentials["admin"]["token"])


def config_map(name: str, data: dict[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": data or {}}


def pod(name: str, **metadata: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "main", "image": "redis:7"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **metadata}, "spec": spec}


def deployment(name: str) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "redis:7"}]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


WIDGET_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["size"],
            "properties": {
                "size": {"type": "integer", "minimum": 1},
                "colour": {"type": "string", "default": "green"},
                "replicas": {"type": "integer"},
            },
        },
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}


def widget_definition() -> dict[str, Any]:
    columns = [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}]
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": WIDGET_SCHEMA},
        "subresources": {
            "status": {},
            "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
        },
        "additionalPrinterColumns": columns,
    }
    older = {**version, "name": "v1beta1", "storage": False}
    names = {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version, older]},
    }


def widget(name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"size": 1, **spec}}


def owner(obj: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return an owner reference to the object."""
    return {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "name": obj["metadata"]["name"],
        "uid": obj["metadata"]["uid"],
        **more,
    }
