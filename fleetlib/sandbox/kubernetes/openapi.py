"""The OpenAPI documents of one cluster: the built-in groups', and those of its CRDs.

May import cluster and builtin.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from fleetlib.sandbox.kubernetes import builtin
from fleetlib.sandbox.kubernetes.cluster import Cluster
from fleetlib.sandbox.kubernetes.resources import Resource

Document = dict[str, Any]


def index(cluster: Cluster) -> Document:
    """`/openapi/v3`: where each group version's document is; the hash changes with what is in it."""
    paths = {}
    for group, versions in cluster.registry.groups().items():
        for version in versions:
            path = f"apis/{group}/{version}" if group else f"api/{version}"
            served = [(item.kind, item.custom) for item in cluster.registry.in_version(group, version)]
            digest = hashlib.sha256(json.dumps(served, sort_keys=True).encode()).hexdigest().upper()
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
    return {"paths": paths}


def group_version(cluster: Cluster, group: str, version: str) -> Document | None:
    found = cluster.registry.in_version(group, version)
    if not found:
        return None
    if all(item.custom is None for item in found):
        return builtin.openapi_v3(group, version, [item.kind for item in found])
    schemas: Document = {}
    paths: Document = {}
    for resource in found:
        name = _definition(resource)
        schemas[name] = _schema(resource)
        paths |= _paths(resource, name)
    return {
        "openapi": "3.0.0", "info": {"title": "Kubernetes CRD Swagger", "version": "v0.1.0"}, "paths": paths,
        "components": {"schemas": schemas},
    }  # fmt: skip


def v2(cluster: Cluster) -> Document:
    """`/openapi/v2`: the built-in kinds; kubectl reads those of CRDs from v3."""
    return builtin.openapi_v2()


def _definition(resource: Resource) -> str:
    return ".".join([*reversed(resource.group.split(".")), resource.version, resource.kind])


def _schema(resource: Resource) -> Document:
    assert resource.custom is not None
    document = dict((resource.custom.get("schema") or {}).get("openAPIV3Schema") or {"type": "object"})
    meta = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
    document["properties"] = {**meta, **document.get("properties", {})}
    document["x-kubernetes-group-version-kind"] = [_kind(resource)]
    return document


def _kind(resource: Resource) -> Document:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


_QUERY = [
    {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
    for name in ("dryRun", "fieldManager", "fieldValidation")
]


def _paths(resource: Resource, name: str) -> Document:
    """The two paths of a custom resource with the parameters that kubectl looks for."""
    base = f"/apis/{resource.group}/{resource.version}" + ("/namespaces/{namespace}" if resource.namespaced else "")
    reference = {"$ref": f"#/components/schemas/{name}"}
    answer = {"200": {"description": "OK", "content": {"application/json": {"schema": reference}}}}

    def operation(action: str, query: list[Document]) -> Document:
        found: Document = {
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": _kind(resource),
            "responses": answer,
        }
        return {**found, "parameters": query} if query else found

    one = {
        "get": operation("get", []), "put": operation("put", _QUERY), "delete": operation("delete", []),
        "patch": operation("patch", [*_QUERY, {"name": "force", "in": "query", "schema": {"type": "boolean"}}]),
    }  # fmt: skip
    many = {"get": operation("list", []), "post": operation("post", _QUERY)}
    return {f"{base}/{resource.plural}": many, f"{base}/{resource.plural}/{{name}}": one}
