"""The OpenAPI documents of one cluster: those of the built-in groups and of its CustomResourceDefinitions."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from azuresandbox.kubernetes.model import builtin
from azuresandbox.kubernetes.model.resources import Resource
from azuresandbox.kubernetes.state.cluster import Cluster

Document = dict[str, Any]


def index(cluster: Cluster) -> Document:
    """Return `/openapi/v3`: group version -> the address of its document, with a hash of the resources in it."""
    paths = {}
    for group, versions in cluster.registry.groups().items():
        for version in versions:
            path = f"apis/{group}/{version}" if group else f"api/{version}"
            served = [(item.kind, item.custom) for item in cluster.registry.in_version(group, version)]
            digest = hashlib.sha256(json.dumps(served, sort_keys=True).encode()).hexdigest().upper()
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
    return {"paths": paths}


def group_version(cluster: Cluster, group: str, version: str) -> Document | None:
    """Return the OpenAPI v3 document of a group version, or `None` if it is not served."""
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
        paths |= builtin.paths(resource, name)
    builtin.collect(builtin.OBJECT_META, schemas)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes CRD Swagger", "version": "v0.1.0"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def v2() -> Document:
    """Return `/openapi/v2`, which has the built-in kinds only; kubectl reads custom ones from v3."""
    return builtin.openapi_v2()


def _definition(resource: Resource) -> str:
    return ".".join([*reversed(resource.group.split(".")), resource.version, resource.kind])


def _schema(resource: Resource) -> Document:
    """Return the definition's schema with the properties of every object, in the form that kube-apiserver publishes."""
    assert resource.custom is not None
    document: Document = _spelled_out((resource.custom.get("schema") or {}).get("openAPIV3Schema") or {"type": "object"})
    document["properties"] = {**document.get("properties", {}), **builtin.object_properties()}
    document["x-kubernetes-group-version-kind"] = [builtin.group_version_kind(resource)]
    selectable = [{"fieldPath": field["jsonPath"].removeprefix(".")} for field in resource.custom.get("selectableFields") or ()]
    return document | ({"x-kubernetes-selectable-fields": selectable} if selectable else {})


def _spelled_out(value: Any) -> Any:
    """Return a copy in which int-or-string members also have OpenAPI's `anyOf`."""
    if isinstance(value, dict):
        found = {name: _spelled_out(member) for name, member in value.items()}
        if found.get("x-kubernetes-int-or-string") is True:
            found.setdefault("anyOf", [{"type": "integer"}, {"type": "string"}])
        return found
    return [_spelled_out(item) for item in value] if isinstance(value, list) else value
