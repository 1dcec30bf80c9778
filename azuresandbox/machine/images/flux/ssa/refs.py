"""The identity of an object, the action taken on it, and the order in which kinds are applied. Source: fluxcd/pkg/ssa."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CREATED, CONFIGURED, UNCHANGED = "created", "configured", "unchanged"
DELETED, SKIPPED, UNKNOWN = "deleted", "skipped", "unknown"

_FIRST = (
    "CustomResourceDefinition",
    "Namespace",
    "ClusterRole",
    "ClusterClass",
    "RuntimeClass",
    "PriorityClass",
    "StorageClass",
    "VolumeSnapshotClass",
    "IngressClass",
    "GatewayClass",
    "ClusterRoleBinding",
    "ResourceQuota",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ConfigMap",
    "Secret",
    "Service",
    "LimitRange",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
)
_LAST = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
_ORDER = {kind: index - len(_FIRST) for index, kind in enumerate(_FIRST)} | {kind: 1 + i for i, kind in enumerate(_LAST)}


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """An object's identity. `id` is its form in an inventory, `subject` its form in messages."""

    namespace: str
    name: str
    group: str
    kind: str

    @property
    def id(self) -> str:
        name = self.name.replace(":", "__") if self.group == "rbac.authorization.k8s.io" else self.name
        return f"{self.namespace}_{name}_{self.group}_{self.kind}"

    @property
    def subject(self) -> str:
        return "/".join(part for part in (self.kind, self.namespace, self.name) if part)

    @classmethod
    def parse(cls, text: str) -> Ref:
        namespace, _, rest = text.partition("_")
        rest, _, kind = rest.rpartition("_")
        name, _, group = rest.rpartition("_")
        return cls(namespace, name.replace("__", ":"), group, kind)

    @property
    def order(self) -> tuple[int, str, str, str, str]:
        return (_ORDER.get(self.kind, 0), self.group, self.kind, self.namespace, self.name)


def ref_of(obj: Mapping[str, Any]) -> Ref:
    metadata = obj["metadata"]
    return Ref(metadata.get("namespace") or "", metadata["name"], obj["apiVersion"].rpartition("/")[0], obj["kind"])


@dataclass(frozen=True, slots=True)
class Entry:
    """An object and the action taken on it. `version` is the version of its API group."""

    ref: Ref
    version: str
    action: str

    def __str__(self) -> str:
        return f"{self.ref.subject} {self.action}"


def api_version(ref: Ref, version: str) -> str:
    """Return the `apiVersion` of an object's group in a version."""
    return f"{ref.group}/{version}" if ref.group else version
