"""The CustomResourceDefinitions of Flux, generated from compact tables.

The tables (`source.yaml`, `kustomize.yaml`, `helm.yaml`, `notification.yaml`) hold, for each kind, its names, printer
columns and the fields of its spec and status. In them

* `name!` is a required field; `'*'` stands for any name (a map); `'='` holds the object's own constraints;
* a word is a type: of OpenAPI, of `WORDS`, or of `types.yaml`; `{$: word, ...}` is that type with more constraints;
* `[x]` is a list of x, `[x, {...}]` one with constraints;
* `deprecated` versions are served with a warning; they have the fields of the stored version, plus `more`, minus `less`.

The tables are read when they are first needed.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from azuresandbox import trees

Json = dict[str, Any]

GROUPS = ("source", "kustomize", "helm", "notification")
WORDS: dict[str, Json] = {
    "string": {"type": "string"},
    "boolean": {"type": "boolean"},
    "integer": {"type": "integer"},
    "int64": {"type": "integer", "format": "int64"},
    "int32": {"type": "integer", "format": "int32"},
    "time": {"type": "string", "format": "date-time"},
    "duration": {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"},
    "any": {"x-kubernetes-preserve-unknown-fields": True},
}
COLUMNS = {
    "Age": {"jsonPath": ".metadata.creationTimestamp", "type": "date"},
    "Ready": {"jsonPath": '.status.conditions[?(@.type=="Ready")].status', "type": "string"},
    "Status": {"jsonPath": '.status.conditions[?(@.type=="Ready")].message', "type": "string"},
}


def flux_crds() -> list[Json]:
    """Return copies of the CustomResourceDefinitions (apiextensions.k8s.io/v1) of Flux's four toolkits."""
    return trees.copy(_crds())


@cache
def _crds() -> list[Json]:
    return [_crd(f"{group}.toolkit.fluxcd.io", kind, table) for group in GROUPS for kind, table in _load(group).items()]


@cache
def _load(name: str) -> Json:
    document: Json = yaml.safe_load((Path(__file__).parent / f"{name}.yaml").read_text())
    return document


def _crd(group: str, kind: str, table: Json) -> Json:
    plural = table["plural"]
    names = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()}
    if "short" in table:
        names["shortNames"] = table["short"]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}", "labels": {"app.kubernetes.io/part-of": "flux"}},
        "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": _versions(kind, table)},
    }


def _versions(kind: str, table: Json) -> list[Json]:
    stored = table["version"]
    versions = [{**_version(stored, table, table), "storage": True}]
    for name, changes in table.get("deprecated", {}).items():
        warning = f"{name} {kind} is deprecated, upgrade to {stored}"
        older = _version(name, table, _changed(table, changes))
        versions.append({**older, "storage": False, "deprecated": True, "deprecationWarning": warning})
    return versions


def _version(name: str, table: Json, fields: Json) -> Json:
    properties = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
    for part in ("spec", "status"):
        if part in fields:
            properties[part] = schema(fields[part])
    version: Json = {
        "name": name,
        "served": True,
        "additionalPrinterColumns": [_column(title, path) for title, path in table["columns"].items()],
        "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}},
    }
    if table.get("subresource", True):
        version["subresources"] = {"status": {}}
    return version


def _column(title: str, path: str | None) -> Json:
    return {"name": title, **(COLUMNS[title] if path is None else {"jsonPath": path, "type": "string"})}


def _changed(table: Json, changes: Json) -> Json:
    """Return the fields of an older version: those of the stored one without `less`, with `more`."""
    fields: Json = {part: trees.copy(table[part]) for part in ("spec", "status") if part in table}
    for path in changes.get("less", ()):
        *parents, last = path.split(".")
        parent = fields
        for name in parents:
            parent = parent.get(name) or parent[f"{name}!"]
        parent.pop(last, None) or parent.pop(f"{last}!")
    _merge(fields, changes.get("more", {}))
    return fields


def _merge(into: Json, more: Json) -> None:
    for name, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = trees.copy(value)


def schema(notation: Any) -> Json:
    """Return the OpenAPI v3 schema of a notation."""
    if isinstance(notation, str):
        return dict(WORDS[notation]) if notation in WORDS else schema(_load("types")[notation])
    if isinstance(notation, list):
        constraints = notation[1] if len(notation) > 1 else {}
        return {"type": "array", "items": schema(notation[0]), **constraints}
    if "$" in notation:
        return {**schema(notation["$"]), **{name: value for name, value in notation.items() if name != "$"}}
    return _object(notation)


def _object(notation: Json) -> Json:
    result: Json = {"type": "object", **notation.get("=", {})}
    if "*" in notation:
        result["additionalProperties"] = schema(notation["*"])
    fields = {name: value for name, value in notation.items() if name not in ("=", "*")}
    if fields:
        result["properties"] = {name.rstrip("!"): schema(value) for name, value in fields.items()}
    if required := sorted(name[:-1] for name in fields if name.endswith("!")):
        result["required"] = required
    return result
