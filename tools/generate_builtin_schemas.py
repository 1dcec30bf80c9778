"""Write azuresandbox/kubernetes/model/builtin_schemas.json.gz, the schemas of the built-in kinds.

Fields, types, list merging and the form of empty values (`x-zero`, `x-omits`) come from the Go types of Kubernetes
(`make -C tools/conformance`, then `tools/conformance/bin/conformance facts > facts.json`); required fields and descriptions
from the models of the `kubernetes` package. Usage: python tools/generate_builtin_schemas.py facts.json
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent.parent / "azuresandbox/kubernetes/model/builtin_schemas.json.gz"
VERSIONS = re.compile(r"\.(v1|autoscaling\.v2)\.\w+$")
ANYTHING = {"x-kubernetes-preserve-unknown-fields": True}
SPECIAL: dict[str, dict[str, Any]] = {
    "Quantity": {"x-kubernetes-int-or-string": True, "x-quantity": True},
    "IntOrString": {"x-kubernetes-int-or-string": True},
    "Time": {"type": "string", "format": "date-time", "nullable": True},
    "MicroTime": {"type": "string", "format": "date-time", "nullable": True},
    "RawExtension": {"type": "object", **ANYTHING},
    "FieldsV1": {"type": "object", **ANYTHING},
    "JSON": ANYTHING,
    "JSONSchemaPropsOrBool": ANYTHING,
    "JSONSchemaPropsOrArray": ANYTHING,
    "JSONSchemaPropsOrStringArray": ANYTHING,
    "CustomResourceSubresourceStatus": {"type": "object"},
    "Duration": {"type": "string"},
}
SCALARS: dict[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "bool": {"type": "boolean"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "float64": {"type": "number"},
    "uint8": {"type": "integer"},
    "": ANYTHING,
}


def schema(go_type: str, known: set[str]) -> dict[str, Any]:
    """Return the schema of a Go type in the notation of the facts: `[]x`, `{}x`, a scalar, or a type's name."""
    if go_type == "[]uint8":
        return {"type": "string", "format": "byte"}
    if go_type.startswith("[]"):
        return {"type": "array", "items": schema(go_type[2:], known)}
    if go_type.startswith("{}"):
        return {"type": "object", "additionalProperties": schema(go_type[2:], known)}
    if go_type in SCALARS:
        return SCALARS[go_type]
    short = go_type.rpartition(".")[2]
    if short in SPECIAL:
        return SPECIAL[short]
    return {"$ref": f"#/components/schemas/{go_type}"} if go_type in known else {"type": "object", **ANYTHING}


def field(fact: dict[str, Any], known: set[str]) -> dict[str, Any]:
    """Return the schema of one field, with the extensions that its facts call for."""
    found = dict(schema(fact["goType"], known))
    if fact.get("list"):
        found["x-kubernetes-list-type"] = fact["list"]
    if fact.get("keys"):
        found["x-kubernetes-list-map-keys"] = fact["keys"]
    if fact.get("strategy"):
        found["x-kubernetes-patch-strategy"] = fact["strategy"]
    if fact.get("mergeKey"):
        found["x-kubernetes-patch-merge-key"] = fact["mergeKey"]
    if fact.get("atomic"):
        found["x-kubernetes-map-type"] = "atomic"
    if fact.get("default") not in (None, "", {}) and not isinstance(fact.get("default"), dict):
        found["default"] = fact["default"]
    if "zero" in fact:
        found["x-zero"] = fact["zero"]
    if fact.get("omits"):
        found["x-omits"] = True
    return found


def documented() -> dict[str, tuple[list[str], dict[str, str], str]]:
    """Return model name -> (required fields, their descriptions, the type's description), from the Python models."""
    from kubernetes import client

    result = {}
    for name in dir(client.models):
        model = getattr(client.models, name)
        fields = getattr(model, "model_fields", None)
        if isinstance(fields, dict):
            names = {key: info.serialization_alias or key for key, info in fields.items()}
            required = [names[key] for key, info in fields.items() if info.is_required()]
            texts = {names[key]: info.description or "" for key, info in fields.items()}
            result[name] = (required, texts, (model.__doc__ or "").strip().split("\n")[0])
    return result


def model_name(type_name: str, models: dict[str, Any]) -> str:
    """Return the Python model's name of a Go type; models whose name is not unique have their group in it."""
    group, version, kind = type_name.rsplit(".", 3)[-3:]
    plain, prefixed = f"{version.capitalize()}{kind}", f"{group.capitalize()}{version.capitalize()}{kind}"
    return prefixed if prefixed in models else plain


def main() -> None:
    facts = [fact for fact in json.loads(Path(sys.argv[1]).read_text()) if VERSIONS.search(fact["type"])]
    known, models = {fact["type"] for fact in facts}, documented()
    properties: dict[str, dict[str, Any]] = defaultdict(dict)
    for fact in facts:
        properties[fact["type"]][fact["field"]] = field(fact, known)
    definitions = {}
    for name, members in sorted(properties.items()):
        whole = members.pop(".", {})  # the facts of the type itself
        required, texts, text = models.get(model_name(name, models), ([], {}, ""))
        for member, value in members.items():
            if texts.get(member):
                members[member] = {**value, "description": texts[member][:240]}
        definition: dict[str, Any] = {"type": "object", "properties": members}
        if whole.get("x-kubernetes-map-type"):
            definition["x-kubernetes-map-type"] = whole["x-kubernetes-map-type"]
        if text:
            definition["description"] = text
        if [item for item in required if item in members]:
            definition["required"] = sorted(item for item in required if item in members)
        definitions[name] = definition
    data = json.dumps(definitions, separators=(",", ":"), sort_keys=True).encode()
    TARGET.write_bytes(gzip.compress(data, 9, mtime=0))
    print(f"{TARGET}: {len(definitions)} types, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
