"""The resources of an API server: the built-in ones as a table, custom ones from their definitions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

STANDARD_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
"""The verbs of built-in resources, in the order in which discovery shows them."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource in one version of its group.

    `custom`: the version's entry in its CustomResourceDefinition, `None` for a built-in resource. `storage_version`: the
    version that objects are stored in; `generation`: whether metadata.generation is counted.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    verbs: tuple[str, ...] = STANDARD_VERBS
    generation: bool = False
    singular: str = ""
    storage_version: str = ""
    list_kind: str = ""
    custom: dict[str, Any] | None = field(default=None, hash=False, compare=False)

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def stored_as(self) -> str:
        """The apiVersion of the stored objects."""
        version = self.storage_version or self.version
        return f"{self.group}/{version}" if self.group else version

    @property
    def prefix(self) -> str:
        return f"/{self.group}/{self.plural}/"

    def key(self, namespace: str, name: str) -> str:
        return f"/{self.group}/{self.plural}/{namespace}/{name}"

    def has_status(self) -> bool:
        return "status" in self.subresources


_GROUPS: tuple[tuple[str, str], ...] = (
    ("", "v1"),
    ("apiregistration.k8s.io", "v1"),
    ("apps", "v1"),
    ("authentication.k8s.io", "v1"),
    ("authorization.k8s.io", "v1"),
    ("autoscaling", "v2"),
    ("batch", "v1"),
    ("networking.k8s.io", "v1"),
    ("policy", "v1"),
    ("rbac.authorization.k8s.io", "v1"),
    ("storage.k8s.io", "v1"),
    ("admissionregistration.k8s.io", "v1"),
    ("apiextensions.k8s.io", "v1"),
    ("scheduling.k8s.io", "v1"),
    ("coordination.k8s.io", "v1"),
    ("node.k8s.io", "v1"),
    ("discovery.k8s.io", "v1"),
)
"""The built-in groups in the order in which discovery shows them, each in the one version that is served."""

GROUP_ORDER = {group: position for position, (group, _) in enumerate(_GROUPS)}

# group, plural, kind, namespaced ("ns" or ""), short names, categories, subresources, generation counted
_TABLE: tuple[tuple[str, str, str, str, str, str, str, bool], ...] = (
    ("", "configmaps", "ConfigMap", "ns", "cm", "", "", False),
    ("", "endpoints", "Endpoints", "ns", "ep", "", "", False),
    ("", "events", "Event", "ns", "ev", "", "", False),
    ("", "limitranges", "LimitRange", "ns", "limits", "", "", False),
    ("", "namespaces", "Namespace", "", "ns", "", "finalize status", False),
    ("", "nodes", "Node", "", "no", "", "status", False),
    ("", "persistentvolumeclaims", "PersistentVolumeClaim", "ns", "pvc", "", "status", False),
    ("", "persistentvolumes", "PersistentVolume", "", "pv", "", "status", False),
    ("", "pods", "Pod", "ns", "po", "all", "binding eviction log status", True),
    ("", "podtemplates", "PodTemplate", "ns", "", "", "", True),
    ("", "replicationcontrollers", "ReplicationController", "ns", "rc", "all", "scale status", True),
    ("", "resourcequotas", "ResourceQuota", "ns", "quota", "", "status", False),
    ("", "secrets", "Secret", "ns", "", "", "", False),
    ("", "serviceaccounts", "ServiceAccount", "ns", "sa", "", "token", False),
    ("", "services", "Service", "ns", "svc", "all", "status", False),
    ("apps", "controllerrevisions", "ControllerRevision", "ns", "", "", "", False),
    ("apps", "daemonsets", "DaemonSet", "ns", "ds", "all", "status", True),
    ("apps", "deployments", "Deployment", "ns", "deploy", "all", "scale status", True),
    ("apps", "replicasets", "ReplicaSet", "ns", "rs", "all", "scale status", True),
    ("apps", "statefulsets", "StatefulSet", "ns", "sts", "all", "scale status", True),
    ("autoscaling", "horizontalpodautoscalers", "HorizontalPodAutoscaler", "ns", "hpa", "all", "status", True),
    ("batch", "cronjobs", "CronJob", "ns", "cj", "all", "status", True),
    ("batch", "jobs", "Job", "ns", "", "all", "status", True),
    ("networking.k8s.io", "ingressclasses", "IngressClass", "", "", "", "", True),
    ("networking.k8s.io", "ingresses", "Ingress", "ns", "ing", "", "status", True),
    ("networking.k8s.io", "networkpolicies", "NetworkPolicy", "ns", "netpol", "", "", True),
    ("policy", "poddisruptionbudgets", "PodDisruptionBudget", "ns", "pdb", "", "status", True),
    ("rbac.authorization.k8s.io", "clusterrolebindings", "ClusterRoleBinding", "", "", "", "", False),
    ("rbac.authorization.k8s.io", "clusterroles", "ClusterRole", "", "", "", "", False),
    ("rbac.authorization.k8s.io", "rolebindings", "RoleBinding", "ns", "", "", "", False),
    ("rbac.authorization.k8s.io", "roles", "Role", "ns", "", "", "", False),
    ("storage.k8s.io", "csidrivers", "CSIDriver", "", "", "", "", False),
    ("storage.k8s.io", "csinodes", "CSINode", "", "", "", "", False),
    ("storage.k8s.io", "storageclasses", "StorageClass", "", "sc", "", "", False),
    ("storage.k8s.io", "volumeattachments", "VolumeAttachment", "", "", "", "status", False),
    (
        "admissionregistration.k8s.io",
        "mutatingwebhookconfigurations",
        "MutatingWebhookConfiguration",
        "",
        "",
        "api-extensions",
        "",
        True,
    ),
    (
        "admissionregistration.k8s.io",
        "validatingwebhookconfigurations",
        "ValidatingWebhookConfiguration",
        "",
        "",
        "api-extensions",
        "",
        True,
    ),
    (
        "apiextensions.k8s.io",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        "",
        "crd crds",
        "api-extensions",
        "status",
        True,
    ),
    ("scheduling.k8s.io", "priorityclasses", "PriorityClass", "", "pc", "", "", True),
    ("coordination.k8s.io", "leases", "Lease", "ns", "", "", "", False),
    ("node.k8s.io", "runtimeclasses", "RuntimeClass", "", "", "", "", False),
    ("discovery.k8s.io", "endpointslices", "EndpointSlice", "ns", "", "", "", True),
    ("apiregistration.k8s.io", "apiservices", "APIService", "", "", "api-extensions", "status", False),
)

# group, plural, kind, namespaced: resources that only answer a POST
_REVIEWS: tuple[tuple[str, str, str, str], ...] = (
    ("authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview", ""),
    ("authentication.k8s.io", "tokenreviews", "TokenReview", ""),
    ("authorization.k8s.io", "localsubjectaccessreviews", "LocalSubjectAccessReview", "ns"),
    ("authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview", ""),
    ("authorization.k8s.io", "selfsubjectrulesreviews", "SelfSubjectRulesReview", ""),
    ("authorization.k8s.io", "subjectaccessreviews", "SubjectAccessReview", ""),
)


def _verbs(group: str, plural: str) -> tuple[str, ...]:
    """Namespaces have no deletecollection."""
    return (
        tuple(verb for verb in STANDARD_VERBS if verb != "deletecollection")
        if (group, plural) == ("", "namespaces")
        else STANDARD_VERBS
    )


def _builtin() -> list[Resource]:
    versions = dict(_GROUPS)
    found = [
        Resource(
            group,
            versions[group],
            plural,
            kind,
            scope == "ns",
            tuple(short.split()),
            tuple(categories.split()),
            tuple(subresources.split()),
            _verbs(group, plural),
            generation=generation,
            singular=kind.lower(),
            list_kind=kind + "List",
        )
        for group, plural, kind, scope, short, categories, subresources, generation in _TABLE
    ]
    found += [
        Resource(group, versions[group], plural, kind, scope == "ns", verbs=("create",), singular=kind.lower())
        for group, plural, kind, scope in _REVIEWS
    ]
    return found


BUILTIN: tuple[Resource, ...] = tuple(_builtin())
BY_PLURAL: dict[tuple[str, str], Resource] = {(item.group, item.plural): item for item in BUILTIN}
"""(group, plural) -> built-in resource."""


class Registry:
    """The resources of one cluster: the built-in ones and those of its established CRDs."""

    def __init__(self) -> None:
        self._served: dict[tuple[str, str, str], Resource] = {}
        self.set_custom(())

    def set_custom(self, resources: Iterable[Resource]) -> None:
        """Replace the custom resources."""
        served = {(item.group, item.version, item.plural): item for item in BUILTIN}
        for item in resources:
            served[item.group, item.version, item.plural] = item
        self._served = served

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        return self._served.get((group, version, plural))

    def all(self) -> list[Resource]:
        return list(self._served.values())

    def stored(self) -> list[Resource]:
        """Return one resource for each kind of object that can be stored, in its storage version."""
        chosen: dict[tuple[str, str], Resource] = {}
        for item in self._served.values():
            if "list" in item.verbs and ((item.group, item.plural) not in chosen or item.version == item.storage_version):
                chosen[item.group, item.plural] = item
        return list(chosen.values())

    def groups(self) -> dict[str, list[str]]:
        """Return group -> its versions, the preferred one first; built-in groups in their order, then custom ones by name."""
        found: dict[str, set[str]] = {}
        for group, version, _ in self._served:
            found.setdefault(group, set()).add(version)
        order = sorted(found, key=lambda group: (GROUP_ORDER.get(group, len(GROUP_ORDER)), group))
        return {group: sorted(found[group], key=version_priority, reverse=True) for group in order}

    def in_version(self, group: str, version: str) -> list[Resource]:
        found = [item for item in self._served.values() if (item.group, item.version) == (group, version)]
        return sorted(found, key=lambda item: item.plural)


def version_priority(version: str) -> tuple[int, int, int, str]:
    """Return a sort key for Kubernetes' order of versions: v2 > v1 > v1beta2 > v1beta1 > v1alpha1 > any other."""
    head, tail = version[:1], version[1:]
    major = ""
    while tail and tail[0].isdigit():
        major, tail = major + tail[0], tail[1:]
    if head != "v" or not major:
        return (0, 0, 0, "".join(chr(0x10FFFF - ord(letter)) for letter in version))
    if not tail:
        return (3, int(major), 0, "")
    for rank, stage in ((2, "beta"), (1, "alpha")):
        if tail.startswith(stage) and tail[len(stage) :].isdigit():
            return (rank, int(major), int(tail[len(stage) :]), "")
    return (0, 0, 0, "".join(chr(0x10FFFF - ord(letter)) for letter in version))
