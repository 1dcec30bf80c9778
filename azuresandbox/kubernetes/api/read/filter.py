"""The label and field selectors of a list or a watch."""

from __future__ import annotations

from typing import Any

from azuresandbox import trees
from azuresandbox.kubernetes.api.request import Request
from azuresandbox.kubernetes.model import errors
from azuresandbox.kubernetes.model.resources import Resource
from azuresandbox.kubernetes.model.selectors import (
    FieldSelector,
    Selector,
    SelectorError,
    parse_field_selector,
    parse_label_selector,
)
from azuresandbox.kubernetes.model.types import Object

FIELDS: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "pods"): (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ),
    ("", "events"): (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    ("", "secrets"): ("type",),
    ("", "nodes"): ("spec.unschedulable",),
    ("", "namespaces"): ("status.phase",),
    ("", "services"): ("spec.clusterIP", "spec.type"),
    ("", "replicationcontrollers"): ("status.replicas",),
    ("batch", "jobs"): ("status.successful",),
}
"""(group, plural) -> the fields that can be selected besides metadata.name and metadata.namespace."""


_CLUSTER_WIDE = (("", "nodes"), ("", "namespaces"))
"""Kinds with fields of their own that cannot be selected by metadata.namespace."""


class Filter:
    """The label and field selectors of a request. `name`: the metadata.name that they ask for, or ""."""

    def __init__(self, request: Request, resource: Resource) -> None:
        try:
            labels = request.query.get("labelSelector", "")
            self._labels: Selector | None = parse_label_selector(labels) if labels else None
            fields = request.query.get("fieldSelector", "")
            self._fields: FieldSelector | None = parse_field_selector(fields) if fields else None
        except SelectorError as error:
            raise errors.bad_request(str(error)) from None
        self._paths = self._supported(resource) if self._fields else ()
        self.everything = self._labels is None and self._fields is None
        self.name = next(
            (
                r.value
                for r in (self._fields.requirements if self._fields else ())
                if r.field == "metadata.name" and r.operator == "="
            ),
            "",
        )

    def _supported(self, resource: Resource) -> tuple[str, ...]:
        """Return the selected fields; raise 400 if one is not supported."""
        assert self._fields is not None
        custom = [item["jsonPath"].lstrip(".") for item in (resource.custom or {}).get("selectableFields") or []]
        named = (
            ("metadata.name",)
            if (resource.group, resource.plural) in _CLUSTER_WIDE
            else ("metadata.name", "metadata.namespace")
        )
        known = (*named, *FIELDS.get((resource.group, resource.plural), ()), *custom)
        for requirement in self._fields.requirements:
            if requirement.field not in known:
                raise errors.bad_request(_unknown_field(resource, requirement.field))
        return tuple(requirement.field for requirement in self._fields.requirements)

    def matches(self, data: bytes) -> bool:
        if self.everything:
            return True
        obj = trees.parse(data)
        if self._labels is not None and not self._labels.matches(obj["metadata"].get("labels")):
            return False
        return self._fields is None or self._fields.matches({path: _field(obj, path) for path in self._paths})


def _unknown_field(resource: Resource, name: str) -> str:
    """Return the refusal of a field, whose wording depends on the kind."""
    if (resource.group, resource.plural) == ("batch", "jobs"):
        return f'field label "{name}" not supported for Job'
    if resource.custom is not None or (resource.group, resource.plural) in FIELDS:
        return f"field label not supported: {name}"
    return f'"{name}" is not a known field selector: only "metadata.name", "metadata.namespace"'


def _field(obj: Object, path: str) -> str:
    found: Any = obj
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    if path == "source" and isinstance(found, dict):
        found = found.get("component")
    if path in ("spec.unschedulable", "spec.hostNetwork"):
        return "true" if found else "false"
    return "" if found is None else str(found)
