"""ASO's custom resource definitions: built from data, and installed for the groups that `--crd-pattern` names.

Source: `v2/internal/crdmanagement` of Azure/azure-service-operator.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from azuresandbox.machine.client import KubeClient
from azuresandbox.machine.images.aso.kinds import KINDS, REAL_GROUPS, Kind
from azuresandbox.machine.types import Object

NAME_LABEL, VERSION_LABEL = "app.kubernetes.io/name", "app.kubernetes.io/version"
APP = "azure-service-operator"
CRD = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")

_TEXT = {"type": "string"}
_READY = ".status.conditions[?(@.type=='Ready')]"
_COLUMNS = [
    {"name": "Ready", "type": "string", "jsonPath": f"{_READY}.status"},
    {"name": "Severity", "type": "string", "jsonPath": f"{_READY}.severity"},
    {"name": "Reason", "type": "string", "jsonPath": f"{_READY}.reason"},
    {"name": "Message", "type": "string", "jsonPath": f"{_READY}.message"},
]
_CONDITIONS = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["lastTransitionTime", "reason", "status", "type"],
        "properties": {
            "type": _TEXT,
            "status": _TEXT,
            "severity": _TEXT,
            "reason": _TEXT,
            "message": _TEXT,
            "lastTransitionTime": {"type": "string", "format": "date-time"},
            "observedGeneration": {"type": "integer", "format": "int64"},
        },
    },
}


class CrdError(Exception):
    """The operator cannot start. `str()` is the message that it logs before it exits."""


@cache
def _schemas() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "schemas.json").read_text())
    return loaded


def definition(kind: Kind, version: str) -> Object:
    """Return the CRD of a kind. `version`: the operator's. All versions share a schema, so objects need no conversion."""
    return {
        "apiVersion": CRD[0],
        "kind": CRD[1],
        "metadata": {"name": kind.crd_name, "labels": {NAME_LABEL: APP, VERSION_LABEL: version}},
        "spec": {
            "group": kind.group,
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "categories": ["azure", kind.group.partition(".")[0]],
            },
            "scope": "Namespaced",
            "preserveUnknownFields": False,
            "conversion": {"strategy": "None"},
            "versions": [_version(kind, name) for name in kind.versions],
        },
    }


def _version(kind: Kind, name: str) -> Object:
    spec = _schemas()[kind.kind]
    schema = {
        "type": "object",
        "properties": {
            "apiVersion": _TEXT,
            "kind": _TEXT,
            "metadata": {"type": "object"},
            "spec": spec,
            "status": {
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": True,
                "properties": {"conditions": _CONDITIONS},
            },
        },
    }
    return {
        "name": name,
        "served": True,
        "storage": name == kind.storage,
        "subresources": {"status": {}},
        "additionalPrinterColumns": _COLUMNS,
        "schema": {"openAPIV3Schema": schema},
    }


def selected(pattern: str, log: Callable[[str], None]) -> list[Kind]:
    """Return the kinds that a `;`-separated pattern such as `resources.azure.com/*` names.

    Raises `CrdError` for a part that matches no group of ASO. A group of which the sandbox has no kind is logged.
    """
    found: list[Kind] = []
    for part in filter(None, (piece.strip() for piece in pattern.split(";"))):
        matched = [kind for kind in KINDS if _matches(part, f"{kind.group}/{kind.kind}")]
        found += [kind for kind in matched if kind not in found]
        if matched:
            continue
        if not any(_matches(part.partition("/")[0], group) for group in REAL_GROUPS):
            raise CrdError(f"no match for {json.dumps(part)}")
        log(f"CRD pattern {json.dumps(part)}: the sandbox has no kind of this group, so no definition is installed for it")
    return found


def _matches(pattern: str, text: str) -> bool:
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, text, re.IGNORECASE) is not None


async def installed(kube: KubeClient) -> dict[str, Object]:
    """Return ASO's definitions in the cluster, by name."""
    found = await kube.list(*CRD, labels=f"{NAME_LABEL}={APP}")
    return {item["metadata"]["name"]: item for item in found}


async def install(kube: KubeClient, pattern: str, version: str, log: Callable[[str], None]) -> bool:
    """Install the definitions that the pattern names, and upgrade those that exist. Returns whether any was written.

    Raises `CrdError` if the pattern is empty and the cluster has no definitions.
    """
    existing = await installed(kube)
    wanted = selected(pattern, log)
    goals = [kind for kind in KINDS if kind in wanted or kind.crd_name in existing]
    log(f'"msg"="Goal CRDs" "count"={len(KINDS)}')
    log(f'"msg"="Existing CRDs" "count"={len(existing)}')
    if not goals:
        raise CrdError("No existing CRDs in cluster and no --crd-pattern specified")
    outdated = [kind for kind in goals if _differs(existing.get(kind.crd_name), definition(kind, version))]
    if not outdated:
        log('"msg"="Successfully reconciled CRDs because there were no CRDs to update."')
        return False
    log(f'"msg"="Will apply CRDs" "count"={len(outdated)}')
    for kind in outdated:
        await _apply(kube, existing.get(kind.crd_name), definition(kind, version))
    return True


def _differs(current: Object | None, goal: Object) -> bool:
    if current is None:
        return True
    same_version = current["metadata"].get("labels", {}).get(VERSION_LABEL) == goal["metadata"]["labels"][VERSION_LABEL]
    versions = [v["name"] for v in current["spec"]["versions"]]
    return not same_version or versions != [v["name"] for v in goal["spec"]["versions"]]


async def _apply(kube: KubeClient, current: Object | None, goal: Object) -> None:
    if current is None:
        await kube.create(goal)
        return
    metadata = {**current["metadata"], "labels": {**current["metadata"].get("labels", {}), **goal["metadata"]["labels"]}}
    await kube.update({**goal, "metadata": metadata, "status": current.get("status", {})})
