"""A resource in a build: its object, and all its former identities, by which other objects may refer to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from azuresandbox.machine.kustomize.errors import KustomizeError
from azuresandbox.machine.types import Object

CLUSTER_SCOPED = frozenset(
    {
        ("", "ComponentStatus"),
        ("", "Namespace"),
        ("", "Node"),
        ("", "PersistentVolume"),
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"),
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ("apiregistration.k8s.io", "APIService"),
        ("authentication.k8s.io", "SelfSubjectReview"),
        ("authentication.k8s.io", "TokenReview"),
        ("authorization.k8s.io", "SelfSubjectAccessReview"),
        ("authorization.k8s.io", "SelfSubjectRulesReview"),
        ("authorization.k8s.io", "SubjectAccessReview"),
        ("certificates.k8s.io", "CertificateSigningRequest"),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema"),
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"),
        ("networking.k8s.io", "IngressClass"),
        ("node.k8s.io", "RuntimeClass"),
        ("rbac.authorization.k8s.io", "ClusterRole"),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
        ("scheduling.k8s.io", "PriorityClass"),
        ("storage.k8s.io", "CSIDriver"),
        ("storage.k8s.io", "CSINode"),
        ("storage.k8s.io", "StorageClass"),
        ("storage.k8s.io", "VolumeAttachment"),
    }
)
"""Built-in (group, kind) without a namespace. All others, also custom ones, count as namespaced, as in kustomize."""


@dataclass(frozen=True, slots=True)
class Id:
    """Group, version, kind, name and namespace. In an id that selects, an empty part matches any."""

    group: str
    version: str
    kind: str
    name: str
    namespace: str

    @property
    def cluster_scoped(self) -> bool:
        return (self.group, self.kind) in CLUSTER_SCOPED

    @property
    def effective_namespace(self) -> str:
        return "" if self.cluster_scoped else self.namespace or "default"

    def same(self, other: Id) -> bool:
        """Return whether both ids name the same object; an empty version matches any."""
        return (
            self.name == other.name
            and self.effective_namespace == other.effective_namespace
            and (self.group, self.kind) == (other.group, other.kind)
            and (not self.version or not other.version or self.version == other.version)
        )

    def __str__(self) -> str:
        kind = ".".join((self.kind or "[noKind]", self.version or "[noVer]", self.group or "[noGrp]"))
        return f"{kind}/{self.name or '[noName]'}.{self.namespace or '[noNs]'}"


@dataclass
class Resource:
    """`obj` is changed in place by transformations. `hashed`: the hash of the content is appended to the name."""

    obj: Object
    previous: list[Id] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    suffixes: list[str] = field(default_factory=list)
    hashed: bool = False
    behavior: str = ""
    origin: Object = field(default_factory=dict)

    @property
    def metadata(self) -> Object:
        found: Object = self.obj.setdefault("metadata", {})
        return found

    @property
    def id(self) -> Id:
        group, _, version = str(self.obj.get("apiVersion", "")).rpartition("/")
        metadata = self.metadata
        return Id(group, version, str(self.obj.get("kind", "")), str(metadata.get("name", "")), metadata.get("namespace") or "")

    @property
    def ids(self) -> Iterator[Id]:
        """Yield all identities, the current one last."""
        yield from self.previous
        yield self.id

    @property
    def original(self) -> Id:
        return self.previous[0] if self.previous else self.id

    def known_as(self, wanted: Id) -> bool:
        return any(known.same(wanted) for known in self.ids)

    def remember(self) -> None:
        """Keep the current identity. Call this before a change of name or namespace."""
        self.previous.append(self.id)

    def rename(self, name: str) -> None:
        if name != self.metadata.get("name"):
            self.remember()
            self.metadata["name"] = name

    def labels(self) -> dict[str, str]:
        return dict(self.metadata.get("labels") or {})

    def annotations(self) -> dict[str, str]:
        return dict(self.metadata.get("annotations") or {})


def find(resources: list[Resource], wanted: Id) -> list[Resource]:
    """Return the resources that have or had the identity `wanted`."""
    return [resource for resource in resources if resource.known_as(wanted)]


def append(resources: list[Resource], new: Resource) -> None:
    """Add a resource. Raises `KustomizeError` if there is one with its identity."""
    if any(known.id.same(new.id) for known in resources):
        raise KustomizeError(f"may not add resource with an already registered id: {new.id}")
    resources.append(new)


def walk(node: Any, path: tuple[str, ...], create: bool = False) -> Iterator[tuple[Any, str]]:
    """Yield (holder, field) for each place that a field path leads to; a list on the way is entered element by element.

    With `create`, missing members are added, except lists (`name[]`).
    """
    if isinstance(node, list):
        for element in node:
            yield from walk(element, path, create)
    elif isinstance(node, dict):
        head, rest = path[0].removesuffix("[]"), path[1:]
        create = create and (not path[0].endswith("[]") or head in node)
        if not rest:
            if head in node or create:
                yield node, head
        else:
            if create and node.get(head) is None:
                node[head] = {}
            if node.get(head) is not None:
                yield from walk(node[head], rest, create)
