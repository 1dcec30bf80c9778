"""References between objects: fields that name another object are updated when it gets another name or namespace.

The table has kustomize's builtin name references. A reference is updated if an object had that name before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from azuresandbox.machine.kustomize.errors import KustomizeError
from azuresandbox.machine.kustomize.resource import Resource, walk

_POD_HOLDERS = {
    "Pod": "spec",
    "ReplicationController": "spec/template/spec",
    "Deployment": "spec/template/spec",
    "ReplicaSet": "spec/template/spec",
    "DaemonSet": "spec/template/spec",
    "StatefulSet": "spec/template/spec",
    "Job": "spec/template/spec",
    "CronJob": "spec/jobTemplate/spec/template/spec",
}
_IN_PODS = {
    "ConfigMap": (
        "volumes/configMap/name",
        "volumes/projected/sources/configMap/name",
        *(f"{c}/env/valueFrom/configMapKeyRef/name" for c in ("containers", "initContainers")),
        *(f"{c}/envFrom/configMapRef/name" for c in ("containers", "initContainers")),
    ),
    "Secret": (
        "volumes/secret/secretName",
        "volumes/projected/sources/secret/name",
        "imagePullSecrets/name",
        "volumes/csi/nodePublishSecretRef/name",
        "volumes/azureFile/secretName",
        *(f"{c}/env/valueFrom/secretKeyRef/name" for c in ("containers", "initContainers")),
        *(f"{c}/envFrom/secretRef/name" for c in ("containers", "initContainers")),
    ),
    "ServiceAccount": ("serviceAccountName",),
    "PersistentVolumeClaim": ("volumes/persistentVolumeClaim/claimName",),
    "PriorityClass": ("priorityClassName",),
    "RuntimeClass": ("runtimeClassName",),
}
_ELSEWHERE = (
    ("ConfigMap", "Role", "rules/resourceNames"),
    ("ConfigMap", "ClusterRole", "rules/resourceNames"),
    ("Secret", "Role", "rules/resourceNames"),
    ("Secret", "ClusterRole", "rules/resourceNames"),
    ("Secret", "ServiceAccount", "imagePullSecrets/name"),
    ("Secret", "ServiceAccount", "secrets/name"),
    ("Secret", "Ingress", "spec/tls/secretName"),
    ("Service", "StatefulSet", "spec/serviceName"),
    ("Service", "Ingress", "spec/rules/http/paths/backend/serviceName"),
    ("Service", "Ingress", "spec/rules/http/paths/backend/service/name"),
    ("Service", "Ingress", "spec/backend/serviceName"),
    ("Service", "Ingress", "spec/defaultBackend/service/name"),
    ("Service", "APIService", "spec/service/name"),
    ("Service", "ValidatingWebhookConfiguration", "webhooks/clientConfig/service"),
    ("Service", "MutatingWebhookConfiguration", "webhooks/clientConfig/service"),
    ("Service", "CustomResourceDefinition", "spec/conversion/webhook/clientConfig/service"),
    ("Role", "RoleBinding", "roleRef/name"),
    ("ClusterRole", "RoleBinding", "roleRef/name"),
    ("ClusterRole", "ClusterRoleBinding", "roleRef/name"),
    ("ServiceAccount", "RoleBinding", "subjects"),
    ("ServiceAccount", "ClusterRoleBinding", "subjects"),
    ("PersistentVolume", "PersistentVolumeClaim", "spec/volumeName"),
    ("PersistentVolume", "ClusterRole", "rules/resourceNames"),
    ("StorageClass", "PersistentVolume", "spec/storageClassName"),
    ("StorageClass", "PersistentVolumeClaim", "spec/storageClassName"),
    ("StorageClass", "StatefulSet", "spec/volumeClaimTemplates/spec/storageClassName"),
    ("IngressClass", "Ingress", "spec/ingressClassName"),
    ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "spec/policyName"),
    *(
        (kind, "HorizontalPodAutoscaler", "spec/scaleTargetRef/name")
        for kind in ("Deployment", "ReplicationController", "ReplicaSet", "StatefulSet")
    ),
)

References = list[tuple[str, str, tuple[str, ...]]]
"""(kind that is referred to, kind that refers or "" for any, field path)."""

REFERENCES: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
"""Kind that refers -> (kind that is referred to, field path)."""
for _target, _holder, _path in _ELSEWHERE:
    REFERENCES.setdefault(_holder, []).append((_target, tuple(_path.split("/"))))
for _target, _paths in _IN_PODS.items():
    for _holder, _prefix in _POD_HOLDERS.items():
        for _path in _paths:
            REFERENCES.setdefault(_holder, []).append((_target, (*_prefix.split("/"), *_path.split("/"))))


def fix_references(resources: list[Resource], more: References) -> None:
    """Update every reference (the builtin ones, and `more`) to the present name and namespace of its resource."""
    renamed = [resource for resource in resources if resource.previous]
    if not renamed:
        return
    for referrer in resources:
        own = [(kind, path) for kind, holder, path in more if holder in ("", referrer.id.kind)]
        for kind, path in [*REFERENCES.get(referrer.id.kind, ()), *own]:
            targets = [target for target in renamed if target.id.kind == kind and _reachable(referrer, target)]
            if targets:
                for node, name in list(walk(referrer.obj, path)):
                    node[name] = _followed(referrer, kind, node, name, targets, path)


def _reachable(referrer: Resource, target: Resource) -> bool:
    """Return whether `referrer` can mean `target`: one of another namespace only in a binding that names the namespace."""
    if referrer.id.cluster_scoped or target.id.cluster_scoped:
        return True
    if referrer.id.effective_namespace == target.id.effective_namespace:
        return True
    subjects = referrer.obj.get("subjects") or [] if referrer.id.kind == "RoleBinding" else []
    namespaces = {subject.get("namespace") for subject in subjects if subject.get("kind") == "ServiceAccount"}
    return any(known.namespace in namespaces for known in target.ids)


def _followed(referrer: Resource, kind: str, holder: Any, field: str, targets: list[Resource], path: tuple[str, ...]) -> Any:
    value = holder[field]
    if isinstance(value, str):
        if "roleRef" in path and holder.get("kind") != kind:
            return value
        found = _select(referrer, value, targets)
        return found.id.name if found else value
    if isinstance(value, list):
        if value and isinstance(value[0], dict):
            for element in value:
                if element.get("kind", kind) == kind:
                    _follow_map(referrer, element, targets)
            return value
        return [found.id.name if (found := _select(referrer, str(item), targets)) else item for item in value]
    if isinstance(value, dict):
        _follow_map(referrer, value, targets)
    return value


def _follow_map(referrer: Resource, value: dict[str, Any], targets: list[Resource]) -> None:
    """Update a reference that has a name and a namespace."""
    name, namespace = value.get("name"), value.get("namespace")
    if not isinstance(name, str):
        return
    if namespace is not None:
        original = [t for t in targets if t.original.effective_namespace == namespace]
        targets = original or [t for t in targets if t.id.effective_namespace == namespace]
    found = _select(referrer, name, targets, same_namespace=namespace is None)
    if found is None:
        return
    value["name"] = found.id.name
    if found.id.namespace:
        value["namespace"] = found.id.namespace


def _select(referrer: Resource, name: str, targets: list[Resource], same_namespace: bool = True) -> Resource | None:
    found = [target for target in targets if any(known.name == name for known in target.previous)]
    for sieve in _sieves(referrer, same_namespace):
        if len(found) <= 1:
            break
        found = [target for target in found if sieve(target)] or found
    if not found:
        return None
    if len({target.id.name for target in found}) == 1:
        return found[0]
    candidates = ", ".join(str(target.id) for target in found)
    raise KustomizeError(f"found multiple possible referrals: {candidates}")


def _sieves(referrer: Resource, same_namespace: bool) -> Iterator[Callable[[Resource], bool]]:
    if same_namespace and not referrer.id.cluster_scoped:
        yield lambda t: t.id.cluster_scoped or t.id.effective_namespace == referrer.id.effective_namespace
    yield lambda t: (t.prefixes, t.suffixes) == (referrer.prefixes, referrer.suffixes)
    yield lambda t: _ends_with(referrer.prefixes, t.prefixes) and _ends_with(referrer.suffixes, t.suffixes)


def _ends_with(whole: list[str], part: list[str]) -> bool:
    return not part or whole[-len(part) :] == part
