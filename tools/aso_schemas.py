"""Write `azuresandbox/machine/images/aso/data/schemas.json`: the `spec` of each ASO kind as a structural schema.

    python tools/aso_schemas.py

It reads the installed azure-mgmt models and renames members as Azure Service Operator does: the members of `properties` are
beside the others, references to other resources are `{group, kind, name}` or `{armId}`, secrets are `{name, key}`; `owner`,
`azureName` and `operatorSpec` are added. All versions of a kind share the schema of the SDK's version. Run it after a change of
the SDKs' versions; `tests/aso/test_schemas.py` fails when the file is out of date.
"""

from __future__ import annotations

import importlib
import json
import types
import typing
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from datetime import date, datetime
from enum import Enum, EnumMeta
from pathlib import Path
from typing import Any

from azuresandbox.machine.images.aso import kinds
from azuresandbox.machine.images.aso.kinds import Kind

TARGET = Path(__file__).parents[1] / "azuresandbox" / "machine" / "images" / "aso" / "data" / "schemas.json"

MODELS: dict[str, tuple[str, str]] = {
    "ResourceGroup": ("azure.mgmt.resource.resources.models", "ResourceGroup"),
    "ManagedCluster": ("azure.mgmt.containerservice.models", "ManagedCluster"),
    "ManagedClustersAgentPool": ("azure.mgmt.containerservice.models", "AgentPool"),
    "Extension": ("azure.mgmt.kubernetesconfiguration.extensions.models", "Extension"),
    "FluxConfiguration": ("azure.mgmt.kubernetesconfiguration.fluxconfigurations.models", "FluxConfiguration"),
    "UserAssignedIdentity": ("azure.mgmt.msi.v2024_11_30.models", "Identity"),
    "FederatedIdentityCredential": ("azure.mgmt.msi.v2024_11_30.models", "FederatedIdentityCredential"),
    "RoleAssignment": ("azure.mgmt.authorization.v2022_04_01.models", "RoleAssignmentCreateParameters"),
}

Schema = dict[str, Any]
STRING, INTEGER, NUMBER, BOOLEAN = ({"type": kind} for kind in ("string", "integer", "number", "boolean"))
PLAIN: dict[Any, Schema] = {
    str: STRING,
    int: INTEGER,
    float: NUMBER,
    bool: BOOLEAN,
    bytes: STRING,
    datetime: STRING,
    date: STRING,
}
MSREST = {"str": STRING, "int": INTEGER, "long": INTEGER, "float": NUMBER, "bool": BOOLEAN, "iso-8601": STRING}
OPEN: Schema = {"x-kubernetes-preserve-unknown-fields": True}

ARM_ID = (
    "(?i)(^(/subscriptions/([^/]+)(/resourcegroups/([^/]+))?)?/providers/([^/]+)/([^/]+/[^/]+)(/([^/]+/[^/]+))*$"
    "|^/subscriptions/([^/]+)(/resourcegroups/([^/]+))?$)"
)
NAMED = {"name": STRING, "armId": {"type": "string", "pattern": ARM_ID}}
REFERENCE: Schema = {"type": "object", "properties": {"group": STRING, "kind": STRING, **NAMED}}
KEYED: Schema = {"type": "object", "properties": {"key": STRING, "name": STRING}, "required": ["key", "name"]}
EXPRESSIONS: Schema = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"key": STRING, "name": STRING, "value": STRING},
        "required": ["name", "value"],
    },
}
HIDDEN = {
    "id",
    "name",
    "type",
    "systemData",
    "eTag",
    "etag",
    "provisioningState",
    "status",
    "statuses",
    "managementDetails",
    "additionalDetails",
}
SERVER_SIDE = {"scope", "createdOn", "createdBy", "updatedOn", "updatedBy"}


def collect() -> dict[str, Schema]:
    """Return kind -> the schema of its `spec`."""
    return {kind.kind: _spec(kind) for kind in kinds.KINDS}


def _spec(kind: Kind) -> Schema:
    module_name, model_name = MODELS[kind.kind]
    module = importlib.import_module(module_name)
    members: dict[str, Schema] = {}
    for name, schema in _members(getattr(module, model_name), module, ()):
        if name == "properties":
            members |= schema["properties"]
        elif name not in HIDDEN:
            members[name] = schema
    if kind.kind == "RoleAssignment":
        members = {name: schema for name, schema in members.items() if name not in SERVER_SIDE}
    if kind.kind == "ManagedClustersAgentPool":
        members.pop("name", None)
    for name in kinds.CONFIG_MEMBERS.get(kind.kind, ()):
        members[name + kinds.FROM_CONFIG] = KEYED
    members |= _operator_members(kind)
    return {"type": "object", "properties": dict(sorted(members.items())), "required": sorted(kind.required)}


def _operator_members(kind: Kind) -> dict[str, Schema]:
    """Return the members that ASO adds to every spec."""
    azure_name: Schema = {"type": "string", "minLength": 1}
    if kind.name_pattern:
        azure_name["pattern"] = kind.name_pattern
    exports = {"configMapExpressions": EXPRESSIONS, "secretExpressions": EXPRESSIONS}
    for name, destinations in (("configMaps", kind.config_maps), ("secrets", kind.secrets)):
        if destinations:
            exports[name] = {"type": "object", "properties": dict.fromkeys(destinations, KEYED)}
    if kind.kind == "RoleAssignment":
        exports["namingConvention"] = {"type": "string", "enum": ["random", "stable"]}
    found: dict[str, Schema] = {"azureName": azure_name, "operatorSpec": {"type": "object", "properties": exports}}
    if kind.owner is not None:
        found["owner"] = REFERENCE if kind.owner == kinds.ANY_OWNER else {"type": "object", "properties": NAMED}
    return found


def _members(model: Any, module: Any, above: tuple[str, ...]) -> Iterator[tuple[str, Schema]]:
    """Yield the writable members of a model, renamed as ASO renames them."""
    listed = _msrest_members(model, module, above) if hasattr(model, "_attribute_map") else _rest_members(model, module, above)
    by_arm = {arm: reference for reference, arm in kinds.REFERENCES.items() if arm != "id"}
    lists = {arm: reference for reference, arm in kinds.REFERENCE_LISTS.items()}
    for name, schema in listed:
        if name in by_arm:
            yield by_arm[name], {**REFERENCE, **_well_known(name)}
        elif name == "id" and model.__name__ in ("ResourceReference", "PrivateLinkResource"):
            yield "reference", REFERENCE
        elif name in lists:
            yield lists[name], {"type": "array", "items": REFERENCE}
        elif name in kinds.SECRET_MEMBERS and schema == STRING:
            yield name, KEYED
        elif name in kinds.SECRET_MAPS:
            yield name, {"type": "object", "properties": {"name": STRING}, "required": ["name"]}
        elif name == "userAssignedIdentities" and schema.get("type") == "object":
            yield name, {"type": "array", "items": {"type": "object", "properties": {"reference": REFERENCE}}}
        else:
            yield name, schema


def _well_known(name: str) -> Schema:
    if name != "roleDefinitionId":
        return {}
    return {"properties": {**REFERENCE["properties"], "wellKnownName": STRING}}


def _object(model: Any, module: Any, above: tuple[str, ...]) -> Schema:
    if model.__name__ in above:
        return {"type": "object", **OPEN}
    members = dict(_members(model, module, (*above, model.__name__)))
    return {"type": "object", "properties": dict(sorted(members.items()))}


def _rest_members(model: Any, module: Any, above: tuple[str, ...]) -> Iterator[tuple[str, Schema]]:
    hints = typing.get_type_hints(model, vars(importlib.import_module(model.__module__)) | {"_models": module})
    for owner in model.__mro__:
        for attribute, field in vars(owner).items():
            if type(field).__name__ == "_RestField" and field._visibility != ["read"]:
                yield field._rest_name_input or attribute, _typed(hints[attribute], module, above)


def _msrest_members(model: Any, module: Any, above: tuple[str, ...]) -> Iterator[tuple[str, Schema]]:
    for attribute, entry in model._attribute_map.items():
        if model._validation.get(attribute, {}).get("readonly"):
            continue
        yield entry["key"].removeprefix("properties.").replace("\\.", "."), _msrest(entry["type"], module, above)


def _msrest(kind: str, module: Any, above: tuple[str, ...]) -> Schema:
    if kind[0] in "[{":
        inner = _msrest(kind[1:-1], module, above)
        return {"type": "array", "items": inner} if kind[0] == "[" else {"type": "object", "additionalProperties": inner}
    if kind in MSREST:
        return MSREST[kind]
    model = getattr(module, kind, None)
    if model is None:
        return STRING
    return _enum(model) if isinstance(model, EnumMeta) else _object(model, module, above)


def _typed(hint: Any, module: Any, above: tuple[str, ...]) -> Schema:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _typed(_best([a for a in arguments if a is not type(None)]), module, above)
    if origin in (list, Sequence):
        return {"type": "array", "items": _typed(arguments[0], module, above)}
    if origin in (dict, Mapping, MutableMapping):
        return {"type": "object", "additionalProperties": _typed(arguments[1], module, above)}
    if hint in PLAIN:
        return PLAIN[hint]
    if isinstance(hint, EnumMeta):
        return _enum(hint)
    if isinstance(hint, type) and "azure.mgmt" in hint.__module__:
        return _object(hint, module, above)
    return OPEN


def _best(candidates: list[Any]) -> Any:
    """Return the enum of `str | Enum`, the model of `Model | dict`."""
    chosen = (c for c in candidates if isinstance(c, type) and (issubclass(c, Enum) or "azure.mgmt" in c.__module__))
    return next(chosen, candidates[0])


def _enum(model: Any) -> Schema:
    return {"type": "string", "enum": sorted(member.value for member in model)}


def render() -> str:
    return json.dumps(collect(), separators=(",", ":"), sort_keys=True) + "\n"


if __name__ == "__main__":
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(render())
    print(f"{TARGET}: {TARGET.stat().st_size} bytes")
