"""Discovery: the groups, versions and resources of an API server, also aggregated, and its own version."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from azuresandbox.kubernetes.model.resources import Resource
from azuresandbox.kubernetes.state.cluster import Cluster

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_SUBRESOURCE_KINDS = {
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
    "scale": ("autoscaling", "v1", "Scale"),
    "eviction": ("policy", "v1", "Eviction"),
    "binding": ("", "v1", "Binding"),
}
_SUBRESOURCE_VERBS = {
    "status": ("get", "patch", "update"),
    "scale": ("get", "patch", "update"),
    "log": ("get",),
    "token": ("create",),
    "eviction": ("create",),
    "binding": ("create",),
    "finalize": ("update",),
}

Document = dict[str, Any]


def api_versions(cluster: Cluster) -> Document:
    addresses = [
        {"clientCIDR": "0.0.0.0/0", "serverAddress": cluster.goal.fqdn or cluster.sandbox.base.removeprefix("https://")}
    ]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}


def api_groups(cluster: Cluster) -> Document:
    found = [_group(group, versions) for group, versions in cluster.registry.groups().items() if group]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": found}


def api_group(cluster: Cluster, group: str) -> Document | None:
    """Return the APIGroup, or `None` if the group is not served or is the core group."""
    versions = cluster.registry.groups().get(group)
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, versions)} if versions and group else None


def _group(group: str, versions: list[str]) -> Document:
    entries = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": entries, "preferredVersion": entries[0]}


def resource_list(cluster: Cluster, group: str, version: str) -> Document | None:
    """Return the APIResourceList of a group version, or `None` if it is not served."""
    found = cluster.registry.in_version(group, version)
    if not found:
        return None
    entries = [entry for resource in found for entry in _entries(resource)]
    name = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", **({"apiVersion": "v1"} if group else {}), "groupVersion": name, "resources": entries}


_CUSTOM_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
"""The verbs of custom resources, in the order in which discovery shows them."""


def _verbs(resource: Resource) -> list[str]:
    return list(resource.verbs if resource.custom is None else _CUSTOM_VERBS)


def _entries(resource: Resource) -> list[Document]:
    entry: Document = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": _verbs(resource),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if "list" in resource.verbs:
        entry["storageVersionHash"] = _hash(resource)
    return [entry, *(_sub_entry(resource, name) for name in resource.subresources)]


def _hash(resource: Resource) -> str:
    """Return the hash by which clients notice a new storage version. Source: apiserver, `discovery.StorageVersionHash`."""
    version = "v1beta1" if resource.kind == "CustomResourceDefinition" else resource.stored_as.rpartition("/")[2]
    text = f"{resource.group}/{version}/{resource.kind}"
    return base64.b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode()


def _sub_entry(resource: Resource, name: str) -> Document:
    entry: Document = {"name": f"{resource.plural}/{name}", "singularName": "", "namespaced": resource.namespaced}
    foreign = _SUBRESOURCE_KINDS.get(name)
    if foreign:
        entry |= {"group": foreign[0], "version": foreign[1]}
    return entry | {"kind": foreign[2] if foreign else resource.kind, "verbs": list(_SUBRESOURCE_VERBS[name])}


def aggregated(cluster: Cluster, *, core: bool) -> Document:
    """Return all groups with their resources in one document (apidiscovery.k8s.io/v2). `core`: the core group only."""
    items = []
    for group, versions in cluster.registry.groups().items():
        if (group == "") != core:
            continue
        found = [
            {
                "version": version,
                "freshness": "Current",
                "resources": [_aggregated(resource) for resource in cluster.registry.in_version(group, version)],
            }
            for version in versions
        ]
        items.append({"metadata": {"name": group} if group else {}, "versions": found})
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _aggregated(resource: Resource) -> Document:
    found: Document = {
        "resource": resource.plural,
        "responseKind": _response_kind(resource),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": _verbs(resource),
    }
    if resource.short_names:
        found["shortNames"] = list(resource.short_names)
    if resource.categories:
        found["categories"] = list(resource.categories)
    if resource.subresources:
        found["subresources"] = [
            {"subresource": name, "responseKind": _response_kind(resource, name), "verbs": list(_SUBRESOURCE_VERBS[name])}
            for name in (resource.subresources if resource.custom is None else reversed(resource.subresources))  # status first
        ]
    return found


def _response_kind(resource: Resource, subresource: str = "") -> Document:
    """Return group, version and kind; built-in resources leave group and version empty where they are their own."""
    group, version, kind = _SUBRESOURCE_KINDS.get(subresource) or (resource.group, resource.version, resource.kind)
    if resource.custom is None and (group, version) == (resource.group, resource.version):
        group = version = ""
    return {"group": group, "version": version, "kind": kind}


def version(cluster: Cluster) -> Document:
    """Return the cluster's Kubernetes version in the form of `/version`."""
    text = cluster.goal.version
    major, minor = [*text.split("."), "0", "0"][:2]
    return {
        "major": major,
        "minor": minor,
        "emulationMajor": major,
        "emulationMinor": minor,
        "gitVersion": f"v{text}",
        "gitCommit": "0" * 40,
        "gitTreeState": "clean",
        "buildDate": "2025-01-01T00:00:00Z",
        "goVersion": "go1.24",
        "compiler": "gc",
        "platform": "linux/amd64",
    }
