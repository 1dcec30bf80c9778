"""Shared by all verbs: stored objects by version, defaults and validation, the finalizers that hold an object back."""

from __future__ import annotations

from dataclasses import dataclass

from azuresandbox import trees
from azuresandbox.kubernetes.model import crds, defaults, errors, goform, validation
from azuresandbox.kubernetes.model.resources import Resource
from azuresandbox.kubernetes.model.types import Object, head
from azuresandbox.kubernetes.state.cluster import Cluster
from azuresandbox.store import Record


@dataclass(frozen=True, slots=True)
class Written:
    """The outcome of a write: the object's bytes as stored, or as a dry run would store them, and whether it is new."""

    data: bytes
    created: bool = False


def as_version(data: bytes, resource: Resource) -> bytes:
    """Return stored bytes in the requested version; with conversion strategy None, only apiVersion differs."""
    start = head(resource.api_version)
    return data if data.startswith(start) else start + data[data.index(b",") + 1 :]


def load(record: Record, resource: Resource) -> Object:
    """Return the stored object, decoded, in the resource's version."""
    obj: Object = trees.parse(record.value)
    obj["apiVersion"] = resource.api_version
    return obj


def read(cluster: Cluster, resource: Resource, namespace: str, name: str) -> Record:
    """Return the stored object; raise 404 NotFound if it does not exist."""
    record = cluster.objects.get(resource.key(namespace, name))
    if record is None:
        raise errors.not_found(resource.group, resource.plural, name)
    return record


def pending_finalizers(resource: Resource, obj: Object) -> list[str]:
    """Return what holds the object back from deletion: its finalizers, a Namespace's own ones, a Pod's grace period."""
    found = list(obj["metadata"].get("finalizers") or [])
    if resource.kind == "Namespace" and resource.group == "":
        found += (obj.get("spec") or {}).get("finalizers") or []
    if resource.kind == "Pod" and resource.group == "" and obj["metadata"].get("deletionGracePeriodSeconds"):
        found.append("grace period")
    return found


def check(cluster: Cluster, resource: Resource, obj: Object, old: Object | None) -> None:
    """Raise 422 Invalid if the object breaks its schema or, if it fits the schema, a rule of its kind."""
    schema = cluster.schema(resource)
    found = [errors.cause(*item) for item in schema.validate(obj, old)]
    if not found:
        found = validation.check(resource, obj, old)
        if resource.group == crds.GROUP and resource.plural == "customresourcedefinitions":
            found = found + crds.validate(obj, old)
    if found:
        raise errors.invalid(resource.group, resource.kind, obj["metadata"].get("name") or "", found)


def fill(cluster: Cluster, resource: Resource, obj: Object) -> None:
    """Add the defaults of the object's schema and kind, in place."""
    schema = cluster.schema(resource)
    schema.default(obj)
    if resource.custom is not None:
        tidy_metadata(obj)
        return
    try:
        defaults.apply(resource.group, resource.kind, obj)
    except (AttributeError, TypeError, KeyError):
        check(cluster, resource, obj, None)  # the object has the wrong shape: the schema says where
        raise
    if resource.kind == "CustomResourceDefinition":
        crds.default(obj)
    goform.form(obj, schema)


def tidy_metadata(obj: Object) -> None:
    """Drop empty members of metadata, in place: Go's ObjectMeta omits them, for custom resources too."""
    metadata = obj["metadata"]
    for member in [member for member, value in metadata.items() if value in ("", [], {}, None)]:
        del metadata[member]
