"""Shared by all verbs: the outcome, defaults and validation, and the finalizers that delay a deletion."""

from __future__ import annotations

from dataclasses import dataclass

from azuresandbox.kubernetes.model import crds, defaults, errors, goform, validation
from azuresandbox.kubernetes.model.resources import Resource
from azuresandbox.kubernetes.model.types import Object
from azuresandbox.kubernetes.state.cluster import Cluster


@dataclass(frozen=True, slots=True)
class Written:
    """The outcome of a write: the object's bytes as stored, or as a dry run would store them, and whether it is new."""

    data: bytes
    created: bool = False


def pending_finalizers(resource: Resource, obj: Object) -> list[str]:
    """Return the reasons that delay the deletion: the object's finalizers, a Namespace's own ones, a Pod's grace period."""
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
