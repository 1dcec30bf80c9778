"""Stored objects, found by their place in the API and shown in the version of a request."""

from __future__ import annotations

from azuresandbox import trees
from azuresandbox.kubernetes.model import errors
from azuresandbox.kubernetes.model.resources import Resource
from azuresandbox.kubernetes.model.types import Object, head
from azuresandbox.kubernetes.state.cluster import Cluster
from azuresandbox.store import Record


def find(cluster: Cluster, resource: Resource, namespace: str, name: str) -> Record:
    """Return the stored object; raise 404 NotFound if it does not exist."""
    record = cluster.objects.get(resource.key(namespace, name))
    if record is None:
        raise errors.not_found(resource.group, resource.plural, name)
    return record


def as_version(data: bytes, resource: Resource) -> bytes:
    """Return stored bytes in the requested version; with conversion strategy None, only apiVersion differs."""
    start = head(resource.api_version)
    return data if data.startswith(start) else start + data[data.index(b",") + 1 :]


def load(data: bytes, resource: Resource) -> Object:
    """Return stored bytes, decoded, in the resource's version."""
    obj: Object = trees.parse(data)
    obj["apiVersion"] = resource.api_version
    return obj
