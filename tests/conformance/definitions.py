"""The custom resources of the suite, and objects for its conversations."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any

from tests.conformance.servers import Server
from tests.conformance.talk import Talk

Object = dict[str, Any]
GROUP = "conformance.example.com"
WIDGETS = f"{GROUP}/v1/widgets"

WIDGET_SCHEMA: Object = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "required": ["size"],
            "properties": {
                "size": {"type": "integer", "minimum": 1, "maximum": 100},
                "ratio": {"type": "number", "exclusiveMinimum": True, "minimum": 0, "multipleOf": 0.5},
                "colour": {"type": "string", "default": "green", "enum": ["green", "red", "blue"]},
                "code": {"type": "string", "pattern": "^[a-z]+$", "minLength": 2, "maxLength": 5},
                "when": {"type": "string", "format": "date-time"},
                "replicas": {"type": "integer"},
                "flag": {"type": "boolean"},
                "nothing": {"type": "string", "nullable": True, "default": "something"},
                "port": {"x-kubernetes-int-or-string": True},
                "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set", "maxItems": 4},
                "plain": {"type": "array", "items": {"type": "integer"}, "minItems": 1, "uniqueItems": False},
                "parts": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {
                            "name": {"type": "string"},
                            "amount": {"type": "integer", "default": 3},
                            "unit": {"type": "string"},
                        },
                    },
                },
                "labels": {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 3},
                "atom": {
                    "type": "object",
                    "x-kubernetes-map-type": "atomic",
                    "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                },
                "nested": {
                    "type": "object",
                    "default": {},
                    "properties": {"deep": {"type": "string", "default": "down"}, "other": {"type": "string"}},
                },
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "either": {
                    "type": "object",
                    "properties": {"x": {"type": "string"}, "y": {"type": "string"}},
                    "oneOf": [{"required": ["x"]}, {"required": ["y"]}],
                },
            },
        },
        "status": {
            "type": "object",
            "properties": {
                "phase": {"type": "string"},
                "replicas": {"type": "integer"},
                "selector": {"type": "string"},
                "observedGeneration": {"type": "integer"},
            },
        },
    },
}


def definition(plural: str, kind: str, schema: Object, **more: Any) -> Object:
    """Return a CustomResourceDefinition with one version. `more`: further members of the version."""
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}, **more}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": {"plural": plural, "kind": kind}, "versions": [version]},
    }


_WIDGET = definition(
    "widgets",
    "Widget",
    WIDGET_SCHEMA,
    subresources={
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    },
    additionalPrinterColumns=[
        {"name": "Size", "type": "integer", "jsonPath": ".spec.size", "description": "how big"},
        {"name": "Colour", "type": "string", "jsonPath": ".spec.colour", "priority": 1},
        {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ],
    selectableFields=[{"jsonPath": ".spec.colour"}],
)
_WIDGET["spec"]["names"] |= {"shortNames": ["wd"], "categories": ["all"]}
_WIDGET["spec"]["versions"].append({**_WIDGET["spec"]["versions"][0], "name": "v1beta1", "storage": False})

PLAIN = definition("plains", "Plain", {"type": "object", "x-kubernetes-preserve-unknown-fields": True})
CLUSTER_WIDE = definition(
    "globes", "Globe", {"type": "object", "properties": {"spec": {"type": "object", "properties": {"a": {"type": "string"}}}}}
)
CLUSTER_WIDE["spec"]["scope"] = "Cluster"

DEFINITIONS = [_WIDGET, PLAIN, CLUSTER_WIDE]


def define(server: Server, definitions: list[Object], seconds: float = 30) -> None:
    """Create the definitions, and wait until the server serves them."""
    with closing(Talk(server, "default", recording=False)) as talk:
        _define(talk, definitions, seconds)


def _define(talk: Talk, definitions: list[Object], seconds: float) -> None:
    for item in definitions:
        made = talk("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", item)
        assert "uid" in made.get("metadata", {}) if isinstance(made, dict) else False, made
    limit = time.monotonic() + seconds
    for item in definitions:
        path = f"/apis/{GROUP}/v1/{item['spec']['names']['plural']}"
        while "items" not in (answer := talk("GET", path)):
            assert time.monotonic() < limit, answer
            time.sleep(0.05)


def widget(name: str, **spec: Any) -> Object:
    return {"apiVersion": f"{GROUP}/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"size": 1, **spec}}


def config_map(name: str, data: dict[str, str] | None = None, **metadata: Any) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": data or {"a": "1"}}


def pod(name: str, **spec: Any) -> Object:
    containers = [{"name": "main", "image": "redis:7"}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": containers, **spec}}


def deployment(name: str, **spec: Any) -> Object:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main", "image": "redis:7"}]}}
    wanted = {"selector": {"matchLabels": {"app": name}}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": wanted}


def service(name: str, **spec: Any) -> Object:
    wanted = {"selector": {"app": name}, "ports": [{"port": 80}], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": wanted}
