"""Objects as the tables that kubectl prints, and as their metadata only."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from azuresandbox.kubernetes.model.columns import BUILTIN
from azuresandbox.kubernetes.model.jsonpath import json_path
from azuresandbox.kubernetes.model.printers import Cells, age, age_of, name_of
from azuresandbox.kubernetes.model.resources import Resource
from azuresandbox.kubernetes.model.types import Object


def table(
    resource: Resource, objects: list[Object], metadata: Object, include: str, now: datetime, version: str = "v1"
) -> Object:
    """Return a meta.k8s.io Table. `include`: Metadata, Object or None, for the object of each row."""
    columns, cells = _columns(resource)
    rows = []
    for obj in objects:
        row: Object = {"cells": cells(obj, now)}
        if include == "Object":
            row["object"] = obj
        else:
            row["object"] = None if include == "None" else partial(obj, version)
        rows.append(row)
    if not metadata and objects:
        metadata = {"resourceVersion": objects[-1]["metadata"].get("resourceVersion", "")}
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    }


def blank(resource: Resource, now: datetime) -> list[Any]:
    """Return the cells of an empty object, which a bookmark shows."""
    columns, cells = _columns(resource)
    try:
        return cells({"metadata": {"name": ""}, "spec": {}, "status": {}}, now)
    except (KeyError, IndexError):  # the kind's cells need a member that every object has
        return ["" for _ in columns]


def partial(obj: Object, version: str) -> Object:
    """Return a PartialObjectMetadata."""
    return {"kind": "PartialObjectMetadata", "apiVersion": f"meta.k8s.io/{version}", "metadata": obj["metadata"]}


def _column(text: str) -> Object:
    """Return a column: `Name`, `Node:wide` (shown with -o wide only), `Ready:integer` or another type."""
    name, _, hint = text.partition(":")
    return {
        "name": name,
        "type": hint if hint in ("integer", "boolean", "date") else "string",
        "format": "name" if name == "Name" else "",
        "description": "",
        "priority": 1 if hint == "wide" else 0,
    }


def _columns(resource: Resource) -> tuple[list[Object], Cells]:
    if resource.custom is not None:
        return _custom(resource.custom.get("additionalPrinterColumns") or [])
    found = BUILTIN.get((resource.group, resource.plural))
    if found is None:
        return [_column("Name"), _column("Age")], lambda obj, now: [name_of(obj), age_of(obj, now)]
    names, cells = found
    return [_column(name) for name in names.split("|")], cells


_UNDESCRIBED = "Custom resource definition column (in JSONPath format):"


def _custom(columns: list[Object]) -> tuple[list[Object], Cells]:
    if not columns:
        columns = [{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]
    shown = [_column("Name")] + [
        {
            "name": column["name"],
            "type": column["type"],
            "format": column.get("format", ""),
            "description": column.get("description") or f"{_UNDESCRIBED} {column['jsonPath']}",
            "priority": column.get("priority", 0),
        }
        for column in columns
    ]

    def cells(obj: Object, now: datetime) -> list[Any]:
        return [name_of(obj)] + [_custom_cell(column, obj, now) for column in columns]

    return shown, cells


def _custom_cell(column: Object, obj: Object, now: datetime) -> Any:
    found = json_path(obj, column["jsonPath"])
    if not found:
        return None
    value = found[0]
    if column["type"] == "date":
        return age(value, now) if isinstance(value, str) else "<unknown>"
    if column["type"] == "string":
        return str(value).lower() if isinstance(value, bool) else str(value)
    return value
