"""The parts of rendered templates: hooks, manifests in install order, notes.

Source: helm.sh/helm/v4/pkg/release/v1/util.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from azuresandbox.machine.kustomize.documents import MalformedYAML, dump, parse, parse_one
from azuresandbox.machine.types import Object

INSTALL_ORDER = (
    "PriorityClass",
    "Namespace",
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "PodSecurityPolicy",
    "PodDisruptionBudget",
    "ServiceAccount",
    "Secret",
    "SecretList",
    "ConfigMap",
    "StorageClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleList",
    "ClusterRoleBinding",
    "ClusterRoleBindingList",
    "Role",
    "RoleList",
    "RoleBinding",
    "RoleBindingList",
    "Service",
    "DaemonSet",
    "Pod",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "StatefulSet",
    "Job",
    "CronJob",
    "IngressClass",
    "Ingress",
    "APIService",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
)
_INSTALL = {kind: index for index, kind in enumerate(INSTALL_ORDER)}
UNINSTALL_ORDER = (
    "ValidatingWebhookConfiguration",
    "MutatingWebhookConfiguration",
    "APIService",
    "Ingress",
    "IngressClass",
    "Service",
    "CronJob",
    "Job",
    "StatefulSet",
    "HorizontalPodAutoscaler",
    "Deployment",
    "ReplicaSet",
    "ReplicationController",
    "Pod",
    "DaemonSet",
    "RoleBindingList",
    "RoleBinding",
    "RoleList",
    "Role",
    "ClusterRoleBindingList",
    "ClusterRoleBinding",
    "ClusterRoleList",
    "ClusterRole",
    "CustomResourceDefinition",
    "PersistentVolumeClaim",
    "PersistentVolume",
    "StorageClass",
    "ConfigMap",
    "SecretList",
    "Secret",
    "ServiceAccount",
    "PodDisruptionBudget",
    "PodSecurityPolicy",
    "LimitRange",
    "ResourceQuota",
    "NetworkPolicy",
    "Namespace",
    "PriorityClass",
)
_UNINSTALL = {kind: index for index, kind in enumerate(UNINSTALL_ORDER)}
HOOK, WEIGHT, DELETE_POLICY = "helm.sh/hook", "helm.sh/hook-weight", "helm.sh/hook-delete-policy"
RESOURCE_POLICY = "helm.sh/resource-policy"
EVENTS = frozenset(
    f"{when}-{action}" for when in ("pre", "post") for action in ("install", "delete", "upgrade", "rollback")
) | {"test", "test-success"}
_SEPARATOR = re.compile(r"(?:^|\s*\n)---\s*(?:\n|$)")


class ManifestError(Exception):
    """A rendered template cannot be read by Kubernetes or Helm. The text is Helm's."""


@dataclass
class Document:
    """One object, and the path of the template that it came from."""

    source: str
    obj: Object

    @property
    def text(self) -> str:
        return f"---\n# Source: {self.source}\n{dump(self.obj)}"


@dataclass
class Rendered:
    """A release's content: manifests in install order, hooks as a release stores them, the notes."""

    documents: list[Document]
    hooks: list[Object] = field(default_factory=list)
    notes: str = ""

    @property
    def manifest(self) -> str:
        return "".join(document.text for document in self.documents)


Transform = Callable[[list[Document]], list[Document]]


def take_apart(files: Mapping[str, str], chart: str, transform: Transform) -> Rendered:
    """Return the parts of rendered templates (path -> text) after `transform` (post-rendering). Raises `ManifestError`."""
    documents = []
    for path in sorted(files):
        name = path.rpartition("/")[2]
        if name == "NOTES.txt" or name.startswith("_"):
            continue
        for text in _SEPARATOR.split(files[path]):
            if not text.strip():
                continue
            obj = _object(path, text)
            if obj:
                documents.append(Document(path, obj))
    plain, hooks = [], []
    for document in transform(documents):
        events = annotation(document.obj, HOOK)
        if not events:
            plain.append(document)
        elif known := [event.strip().lower() for event in events.split(",") if event.strip().lower() in EVENTS]:
            hooks.append(_hook(document, known))
    hooks.sort(key=lambda hook: install_key(hook["kind"]))
    notes = files.get(f"{chart}/templates/NOTES.txt", "")
    return Rendered(sorted(plain, key=lambda document: install_key(str(document.obj.get("kind", "")))), hooks, notes)


def _object(path: str, text: str) -> Object | None:
    try:
        found = parse_one(text)
    except MalformedYAML as error:
        wording = str(error).removeprefix("yaml: ")
        raise ManifestError(f"YAML parse error on {path}: error converting YAML to JSON: yaml: {wording}") from error
    if found is None:
        return None
    if not isinstance(found, dict):
        kind = "array" if isinstance(found, list) else "string" if isinstance(found, str) else "number"
        raise ManifestError(
            f"YAML parse error on {path}: error unmarshaling JSON: while decoding JSON: "
            f"json: cannot unmarshal {kind} into Go value of type util.SimpleHead"
        )
    return found


def _hook(document: Document, events: list[str]) -> Object:
    obj = document.obj
    try:
        weight = int(annotation(obj, WEIGHT) or 0)
    except ValueError:
        weight = 0
    hook: Object = {
        "name": obj["metadata"]["name"],
        "kind": obj["kind"],
        "path": document.source,
        "manifest": dump(obj),
        "events": ["test" if event == "test-success" else event for event in events],
        "last_run": {"phase": ""},
    }
    if weight:
        hook["weight"] = weight
    policies = [item.strip().lower() for item in annotation(obj, DELETE_POLICY).split(",") if item.strip()]
    if policies:
        hook["delete_policies"] = policies
    return hook


def annotation(obj: Mapping[str, Any], name: str) -> str:
    return str(((obj.get("metadata") or {}).get("annotations") or {}).get(name, ""))


def install_key(kind: str) -> tuple[int, str]:
    """Return the sort key of a kind: known kinds in their order, then unknown ones by name."""
    return (_INSTALL[kind], "") if kind in _INSTALL else (len(_INSTALL), kind)


def uninstall_key(kind: str) -> tuple[int, str]:
    return (_UNINSTALL[kind], "") if kind in _UNINSTALL else (len(_UNINSTALL), kind)


def objects_of(manifest: str) -> list[Object]:
    """Return the objects of a stored manifest; of a List, its items."""
    found: list[Object] = []
    for document in parse(manifest):
        found += _flat(document)
    return found


def _flat(document: Any) -> Iterable[Object]:
    if isinstance(document, dict):
        if isinstance(document.get("items"), list) and str(document.get("kind", "")).endswith("List"):
            for item in document["items"]:
                yield from _flat(item)
        else:
            yield document
