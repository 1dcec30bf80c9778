"""The schemas of the built-in kinds, and their OpenAPI documents.

The data is generated (`tools/generate_builtin_schemas.py`) and read on first use.
"""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

from azuresandbox.kubernetes.model.resources import Registry, Resource
from azuresandbox.kubernetes.model.schema import Schema
from azuresandbox.kubernetes.model.schema_nodes import Definitions

Document = dict[str, Any]

_DATA = Path(__file__).with_name("builtin_schemas.json.gz")
_REF = "#/components/schemas/"
_PACKAGES = {
    "": "io.k8s.api.core",
    "apiextensions.k8s.io": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions",
    "apiregistration.k8s.io": "io.k8s.kube-aggregator.pkg.apis.apiregistration",
}
"""API group -> Go package, where it is not `io.k8s.api.<first part of the group>`."""

_QUERY = [
    {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
    for name in ("dryRun", "fieldManager", "fieldValidation")
]


@cache
def _definitions() -> dict[str, Document]:
    found: dict[str, Document] = json.loads(gzip.decompress(_DATA.read_bytes()))
    return found


@cache
def _nodes() -> Definitions:
    return Definitions(_definitions())


def _name(group: str, version: str, kind: str) -> str:
    package = _PACKAGES.get(group) or f"io.k8s.api.{group.partition('.')[0]}"
    return f"{package}.{version}.{kind}"


@cache
def schema_for(group: str, version: str, kind: str) -> Schema | None:
    """Return the schema of a built-in kind, or `None` if the kind is not known."""
    name = _name(group, version, kind)
    return Schema({"$ref": _REF + name}, _nodes(), custom=False) if name in _definitions() else None


def openapi_v3(group: str, version: str, kinds: list[str]) -> Document:
    """Return the document of one group version, which kubectl explain, diff and apply read."""
    schemas: Document = {}
    for kind in kinds:
        collect(_name(group, version, kind), schemas)
    found: Document = {}
    for resource in Registry().in_version(group, version):
        name = _name(group, version, resource.kind)
        if name in schemas:
            schemas[name] = {**schemas[name], "x-kubernetes-group-version-kind": [group_version_kind(resource)]}
            found |= paths(resource, name)
    info = {"title": "Kubernetes", "version": "unversioned"}
    return {"openapi": "3.0.0", "info": info, "paths": found, "components": {"schemas": schemas}}


def openapi_v2() -> Document:
    """Return the OpenAPI v2 document of all groups; kubectl falls back to its definitions."""
    schemas: Document = {}
    for group, versions in Registry().groups().items():
        for version in versions:
            kinds = [resource.kind for resource in Registry().in_version(group, version)]
            schemas |= openapi_v3(group, version, kinds)["components"]["schemas"]
    text = json.dumps(schemas).replace(_REF, "#/definitions/")
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": {},
        "definitions": json.loads(text),
    }


def collect(name: str, into: Document) -> None:
    """Add a definition and all definitions that it refers to, in place."""
    if name in into or name not in _definitions():
        return
    definition = into[name] = _public(_definitions()[name])
    for reference in _references(definition):
        collect(reference.removeprefix(_REF), into)


OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


def object_properties() -> Document:
    """Return the properties of every kind of object, as documents of custom resources show them."""
    known = _public(_definitions()["io.k8s.api.core.v1.ConfigMap"]["properties"])
    return {
        "apiVersion": known["apiVersion"],
        "kind": known["kind"],
        "metadata": {"description": "Standard object's metadata.", "allOf": [{"$ref": _REF + OBJECT_META}]},
    }


def _public(value: Any) -> Any:
    """Return a copy without the extensions that only the server uses."""
    if isinstance(value, dict):
        return {name: _public(member) for name, member in value.items() if name not in ("x-zero", "x-omits", "x-quantity")}
    return [_public(item) for item in value] if isinstance(value, list) else value


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [reference for item in value.values() for reference in _references(item)]
    return [reference for item in value for reference in _references(item)] if isinstance(value, list) else []


def group_version_kind(resource: Resource) -> Document:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def paths(resource: Resource, name: str) -> Document:
    """Return the two paths of a resource, with the parameters that kubectl looks for."""
    base = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    base += "/namespaces/{namespace}" if resource.namespaced else ""
    answer = {"200": {"description": "OK", "content": {"application/json": {"schema": {"$ref": _REF + name}}}}}

    def operation(action: str, query: list[Document]) -> Document:
        return {
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": group_version_kind(resource),
            "responses": answer,
            "parameters": query,
        }

    one = {
        "get": operation("get", []),
        "put": operation("put", _QUERY),
        "delete": operation("delete", []),
        "patch": operation("patch", [*_QUERY, {"name": "force", "in": "query", "schema": {"type": "boolean"}}]),
    }
    many = {"get": operation("list", []), "post": operation("post", _QUERY)}
    return {f"{base}/{resource.plural}": many, f"{base}/{resource.plural}/{{name}}": one}
