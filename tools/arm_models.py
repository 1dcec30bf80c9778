"""Write `azuresandbox/arm/data/models.json`: the properties of the models that ARM's bodies may have.

    python tools/arm_models.py

Read from the installed azure-mgmt packages, so that the sandbox accepts the same properties as the SDK of that version. Run it
again after changing their versions; `tests/arm/test_models.py` fails when the file is outdated.
"""

from __future__ import annotations

import importlib
import json
import re
import types
import typing
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[1] / "azuresandbox" / "arm" / "data" / "models.json"

ROOTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "containerservice": (
        "azure.mgmt.containerservice.models",
        ("ManagedCluster", "AgentPool", "TagsObject", "MaintenanceConfiguration", "AgentPoolDeleteMachinesParameter"),
    ),
    "extensions": ("azure.mgmt.kubernetesconfiguration.extensions.models", ("Extension", "PatchExtension")),
    "flux": (
        "azure.mgmt.kubernetesconfiguration.fluxconfigurations.models",
        ("FluxConfiguration", "FluxConfigurationPatch"),
    ),
    "msi": ("azure.mgmt.msi.v2024_11_30.models", ("Identity", "IdentityUpdate", "FederatedIdentityCredential")),
    "authorization": ("azure.mgmt.authorization.v2022_04_01.models", ("RoleAssignmentCreateParameters",)),
    "resources": (
        "azure.mgmt.resource.resources.models",
        ("ResourceGroup", "ResourceGroupPatchable", "TagsResource", "TagsPatchResource"),
    ),
}
"""Prefix of the keys -> the module of the models, and the bodies. The models that bodies refer to are added."""

MSREST = {
    "str": "string",
    "int": "int",
    "long": "int",
    "float": "number",
    "bool": "bool",
    "object": "any",
    "iso-8601": "string",
    "duration": "string",
    "bytearray": "string",
    "date": "string",
}
PLAIN: dict[Any, str] = {
    str: "string",
    int: "int",
    float: "number",
    bool: "bool",
    bytes: "string",
    datetime: "string",
    date: "string",
    Any: "any",
}


def collect() -> dict[str, dict[str, str]]:
    """Return all models that the roots reach, by key."""
    found: dict[str, dict[str, str]] = {}
    for prefix, (module_name, roots) in ROOTS.items():
        module = importlib.import_module(module_name)
        waiting = list(roots)
        while waiting:
            name = waiting.pop()
            if f"{prefix}.{name}" in found:
                continue
            for key, schema in _schemas(name, prefix, module):
                found[key] = dict(sorted(schema.items()))
                waiting += [_bare(kind).partition(".")[2] for kind in schema.values() if "." in kind]
    return dict(sorted(found.items()))


def _schemas(name: str, prefix: str, module: Any) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the schema of a model by key, and that of its `properties` where the SDK shows those as the model's own."""
    model = getattr(module, name)
    if not hasattr(model, "_attribute_map"):
        yield f"{prefix}.{name}", dict(_rest_fields(model, prefix, module))
        return
    own, nested = dict[str, str](), dict[str, str]()
    for entry in model._attribute_map.values():
        kind, key = _msrest(entry["type"], prefix, module), entry["key"]
        if key.startswith("properties."):
            nested[key.removeprefix("properties.")] = kind
        else:
            own[key.replace("\\.", ".")] = kind
    if nested:
        own["properties"] = f"{prefix}.{name}Properties"
        yield own["properties"], nested
    yield f"{prefix}.{name}", own


def _rest_fields(model: Any, prefix: str, module: Any) -> Iterator[tuple[str, str]]:
    hints = typing.get_type_hints(model, vars(importlib.import_module(model.__module__)) | {"_models": module})
    for owner in model.__mro__:
        for attribute, field in vars(owner).items():
            if type(field).__name__ == "_RestField":
                yield field._rest_name_input or attribute, _typed(hints[attribute], prefix)


def _msrest(kind: str, prefix: str, module: Any) -> str:
    match = re.fullmatch(r"([\[{])(.*)[\]}]", kind)
    if match:
        return ("[]" if match[1] == "[" else "{}") + _msrest(match[2], prefix, module)
    if kind in MSREST:
        return MSREST[kind]
    model = getattr(module, kind, None)
    return "string" if model is None or issubclass(model, Enum) else f"{prefix}.{kind}"


def _typed(hint: Any, prefix: str) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        kept = [a for a in arguments if a is not type(None)]
        models = [a for a in kept if not (a is str or isinstance(a, type) and issubclass(a, Enum))]
        return _typed(models[0] if models else str, prefix)
    if origin in (list, Sequence):
        return "[]" + _typed(arguments[0], prefix)
    if origin in (dict, Mapping, MutableMapping):
        return "{}" + _typed(arguments[1], prefix)
    if hint in PLAIN:
        return PLAIN[hint]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return "string"
    if isinstance(hint, type) and "azure.mgmt" in hint.__module__:
        return f"{prefix}.{hint.__name__}"
    return "any" if hint in (object, dict) else "string"


def _bare(kind: str) -> str:
    return kind.lstrip("[]{}")


def render() -> str:
    return json.dumps(collect(), indent=0, separators=(",", ":")) + "\n"


if __name__ == "__main__":
    TARGET.write_text(render())
    print(f"{TARGET}: {TARGET.stat().st_size} bytes")
