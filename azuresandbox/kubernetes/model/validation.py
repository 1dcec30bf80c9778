"""Validation of objects beyond their schema: names, labels, selectors, immutable fields.

Source of the messages: `apimachinery/pkg/api/validation` and `pkg/apis/*/validation` of Kubernetes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from azuresandbox.kubernetes.model import defaults
from azuresandbox.kubernetes.model.errors import Cause, Causes, cause
from azuresandbox.kubernetes.model.names import LABEL, LABEL_1035, LABEL_1035_TEXT, LABEL_TEXT, SUBDOMAIN, SUBDOMAIN_TEXT
from azuresandbox.kubernetes.model.resources import Resource
from azuresandbox.kubernetes.model.selectors import SelectorError, label_selector, label_value_problem, qualified_name_problem
from azuresandbox.kubernetes.model.types import Object

IMMUTABLE = "field is immutable"


def check(resource: Resource, obj: Object, old: Object | None) -> Causes:
    """Return why the object is not valid; empty if it is. `obj` has its defaults and fits its schema."""
    causes = metadata(resource, obj, old)
    if resource.custom is not None:
        causes += _replicas(resource.custom, obj)
    if resource.custom is None:
        spec = defaults.at(obj, path := defaults.TEMPLATES.get((resource.group, resource.kind), ""))
        if spec is not None:
            causes += _pod_spec(spec, path)
        function = _KINDS.get((resource.group, resource.kind))
        if function:
            causes += function(obj, old)
    return causes


def _replicas(version: Object, obj: Object) -> Causes:
    """Check the replicas of a custom resource with a scale subresource."""
    scale, causes = (version.get("subresources") or {}).get("scale") or {}, list[Cause]()
    for member in ("specReplicasPath", "statusReplicasPath"):
        path = scale.get(member) or ""
        *parents, last = path.lstrip(".").split(".")
        value = (defaults.at(obj, ".".join(parents)) or {}).get(last)
        if isinstance(value, int) and not isinstance(value, bool) and not 0 <= value < 1 << 31:
            text = "should be a non-negative integer" if value < 0 else "should be less than or equal to 2147483647"
            causes.append(_invalid(path, value, text))
    return causes


def _invalid(field: str, value: Any, text: str) -> Cause:
    shown = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return cause("FieldValueInvalid", f"Invalid value: {shown}: {text}", field)


def metadata(resource: Resource, obj: Object, old: Object | None) -> Causes:
    """Return why the metadata is not valid, in the order of apimachinery's checks. `old`: the object it replaces."""
    before = None if old is None else old["metadata"]
    return [found for rule in _METADATA_RULES for found in rule(resource, obj["metadata"], before)]


def _check_names(resource: Resource, found: Object, old: Object | None) -> Iterator[Cause]:
    """Names are checked when the object is created; afterwards they cannot change."""
    name, stem = found.get("name") or "", found.get("generateName") or ""
    if stem and old is None and (problem := _name_problem(resource, stem.rstrip("-"))):
        yield _invalid("metadata.generateName", stem, problem)
    if not name:
        yield cause("FieldValueRequired", "Required value: name or generateName is required", "metadata.name")
    elif old is None and (problem := _name_problem(resource, name)):
        yield _invalid("metadata.name", name, problem)


def _check_labels(resource: Resource, found: Object, old: Object | None) -> Iterator[Cause]:
    for key, value in (found.get("labels") or {}).items():
        if problem := qualified_name_problem(key):
            yield _invalid("metadata.labels", key, problem)
        if problem := label_value_problem(value):
            yield _invalid("metadata.labels", value, problem)


MAX_ANNOTATIONS = 256 * 1024
"""Bytes of all annotations of an object together."""


def _check_annotations(resource: Resource, found: Object, old: Object | None) -> Iterator[Cause]:
    annotations = found.get("annotations") or {}
    for key in annotations:
        if problem := qualified_name_problem(key.lower()):
            yield _invalid("metadata.annotations", key, problem)
    if sum(len(key) + len(value) for key, value in annotations.items()) > MAX_ANNOTATIONS:
        yield cause("FieldValueTooLong", f"Too long: may not be more than {MAX_ANNOTATIONS} bytes", "metadata.annotations")


_OWNER_MEMBERS = {
    "apiVersion": ("FieldValueInvalid", 'Invalid value: "": must not be empty'),
    "kind": ("FieldValueInvalid", 'Invalid value: "": must not be empty'),
    "name": ("FieldValueRequired", "Required value: must not be empty"),
    "uid": ("FieldValueRequired", "Required value: must not be empty"),
}
"""Member of an owner reference -> the refusal of an empty one."""


def _check_owners(resource: Resource, found: Object, old: Object | None) -> Iterator[Cause]:
    owners = found.get("ownerReferences") or []
    for position, owner in enumerate(owners):
        for member, (reason, text) in _OWNER_MEMBERS.items():
            if not owner.get(member):
                yield cause(reason, text, f"metadata.ownerReferences[{position}].{member}")
    controllers = [owner for owner in owners if owner.get("controller")]
    if len(controllers) > 1:
        text = "Only one reference can have Controller set to true"
        yield _invalid("metadata.ownerReferences", [owner["name"] for owner in controllers], text)


_PLAIN_FINALIZERS = ("kubernetes", "orphan", "foregroundDeletion")


def _check_finalizers(resource: Resource, found: Object, old: Object | None) -> Iterator[Cause]:
    finalizers = found.get("finalizers") or []
    for item in finalizers:
        if problem := qualified_name_problem(item):
            yield _invalid("metadata.finalizers", item, problem)
    if resource.custom is not None or resource.group.startswith("api"):
        return
    for at, item in enumerate(finalizers):
        if "/" not in item and item not in _PLAIN_FINALIZERS:
            text = "name is neither a standard finalizer name nor is it fully qualified"
            yield _invalid(f"metadata.finalizers[{at}]", item, text)


def _check_new_finalizers(resource: Resource, found: Object, old: Object | None) -> Iterator[Cause]:
    if old is None or not old.get("deletionTimestamp"):
        return
    new = [item for item in found.get("finalizers") or [] if item not in (old.get("finalizers") or [])]
    if not new:
        return
    quoted = ", ".join(f'"{item}"' for item in new)
    text = f"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{quoted}}}"
    refusal = cause("FieldValueForbidden", f"Forbidden: {text}", "metadata.finalizers")
    yield from [refusal] * (2 if resource.custom is not None else 1)  # kube-apiserver checks custom resources twice


_METADATA_RULES: tuple[Callable[[Resource, Object, Object | None], Iterator[Cause]], ...] = (
    _check_names,
    _check_labels,
    _check_annotations,
    _check_owners,
    _check_finalizers,
    _check_new_finalizers,
)


def _name_problem(resource: Resource, name: str) -> str:
    """Return why the name is not valid for the kind, or "" if it is."""
    if resource.group == "rbac.authorization.k8s.io":
        return "" if name not in (".", "..") and "/" not in name and "%" not in name else "may not contain '/' or '%'"
    if resource.plural == "namespaces":
        return "" if len(name) <= 63 and LABEL.fullmatch(name) else LABEL_TEXT
    if (resource.group, resource.plural) == ("", "services"):
        return "" if len(name) <= 63 and LABEL_1035.fullmatch(name) else LABEL_1035_TEXT
    if len(name) > 253:
        return "must be no more than 253 characters"
    return "" if SUBDOMAIN.fullmatch(name) else SUBDOMAIN_TEXT


def _pod_spec(spec: Object, path: str) -> Causes:
    """Return why a Pod's spec, which is at `path` in its object, is not valid."""
    causes: Causes = []
    if not spec.get("containers"):
        causes.append(cause("FieldValueRequired", "Required value", f"{path}.containers"))
    for position, toleration in enumerate(spec.get("tolerations") or []):
        if not toleration.get("key") and toleration.get("operator") != "Exists":
            text = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            causes.append(_invalid(f"{path}.tolerations[{position}].operator", toleration.get("operator") or "", text))
    volumes, seen = {volume.get("name") for volume in spec.get("volumes") or []}, set[str]()
    for kind in ("initContainers", "containers"):
        for position, container in enumerate(spec.get(kind) or []):
            causes += _check_container(container, f"{path}.{kind}[{position}]", volumes, seen)
            seen.add(container.get("name") or "")
    return causes


def _check_container(container: Object, where: str, volumes: set[Any], seen: set[str]) -> Iterator[Cause]:
    """`volumes`: the names of the Pod's volumes; `seen`: the names of the containers before this one."""
    name = container.get("name") or ""
    if not name:
        yield cause("FieldValueRequired", "Required value", f"{where}.name")
    elif not LABEL.fullmatch(name):
        yield _invalid(f"{where}.name", name, LABEL_TEXT)
    if name in seen:
        yield cause("FieldValueDuplicate", f'Duplicate value: "{name}"', f"{where}.name")
    if not container.get("image"):
        yield cause("FieldValueRequired", "Required value", f"{where}.image")
    for number, mount in enumerate(container.get("volumeMounts") or []):
        if mount.get("name") not in volumes:
            yield cause("FieldValueNotFound", f'Not found: "{mount.get("name")}"', f"{where}.volumeMounts[{number}].name")


def _selector(obj: Object, old: Object | None) -> Causes:
    spec = obj["spec"]
    changed = old is not None and old["spec"].get("selector") != spec.get("selector")
    immutable = [_invalid("spec.selector", spec.get("selector"), IMMUTABLE)] if changed else []
    labels = (spec["template"].get("metadata") or {}).get("labels") or {}
    try:
        selector = label_selector(spec.get("selector"))
    except SelectorError as error:
        return [_invalid("spec.selector", spec.get("selector"), str(error))]
    if not (spec.get("selector") or {}):
        return [_invalid("spec.selector", spec.get("selector"), "empty selector is invalid for deployment")]
    if not selector.matches(labels):
        return [_invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`"), *immutable]
    return immutable


def _always_restarts(obj: Object, old: Object | None) -> Causes:
    policy = obj["spec"]["template"]["spec"]["restartPolicy"]
    causes = _selector(obj, old)
    if policy != "Always":
        text = f'Unsupported value: "{policy}": supported values: "Always"'
        causes.append(cause("FieldValueNotSupported", text, "spec.template.spec.restartPolicy"))
    return causes


def _deployment(obj: Object, old: Object | None) -> Causes:
    causes, strategy = _always_restarts(obj, old), obj["spec"]["strategy"]
    if strategy.get("type") == "Recreate" and strategy.get("rollingUpdate") is not None:
        text = "Forbidden: may not be specified when strategy `type` is 'Recreate'"
        causes.append(cause("FieldValueForbidden", text, "spec.strategy.rollingUpdate"))
    elif strategy.get("type") not in ("Recreate", "RollingUpdate"):
        text = f'Unsupported value: {json.dumps(strategy.get("type"))}: supported values: "Recreate", "RollingUpdate"'
        causes.append(cause("FieldValueNotSupported", text, "spec.strategy.type"))
    return causes


_STATEFUL_MUTABLE = {
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
}


def _stateful_set(obj: Object, old: Object | None) -> Causes:
    causes = _always_restarts(obj, None)
    if old is not None and _without(obj["spec"], _STATEFUL_MUTABLE) != _without(old["spec"], _STATEFUL_MUTABLE):
        names = "'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', "
        names += "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds'"
        text = f"updates to statefulset spec for fields other than {names} are forbidden"
        causes.append(cause("FieldValueForbidden", f"Forbidden: {text}", "spec"))
    return causes


def _without(spec: Object, names: set[str]) -> Object:
    return {name: value for name, value in spec.items() if name not in names}


def _job(obj: Object, old: Object | None) -> Causes:
    spec = obj["spec"]
    policy = spec["template"]["spec"]["restartPolicy"]
    if policy not in ("OnFailure", "Never"):
        text = f'Unsupported value: "{policy}": supported values: "OnFailure", "Never"'
        return [cause("FieldValueNotSupported", text, "spec.template.spec.restartPolicy")]
    if old is None:
        return []
    return [
        _invalid(f"spec.{member}", spec.get(member), IMMUTABLE)
        for member in ("completions", "selector", "template", "completionMode")
        if spec.get(member) != old["spec"].get(member) and not (member == "template" and old["spec"].get("suspend"))
    ]


_POD_MUTABLE = {"tolerations", "activeDeadlineSeconds", "terminationGracePeriodSeconds", "containers", "initContainers"}


def _pod(obj: Object, old: Object | None) -> Causes:
    if old is None:
        return []
    now, before = _without(obj["spec"], _POD_MUTABLE), _without(old["spec"], _POD_MUTABLE)
    if not before.get("nodeName"):
        before["nodeName"] = now.get("nodeName")
        before, now = ({k: v for k, v in spec.items() if v is not None} for spec in (before, now))
    images = [[_without(item, {"image"}) for item in defaults.containers(side["spec"])] for side in (obj, old)]
    if now == before and images[0] == images[1]:
        return []
    names = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    text = f"pod updates may not change fields other than {names}`spec.tolerations` (only additions to existing tolerations)"
    return [cause("FieldValueForbidden", f"Forbidden: {text}", "spec")]


def _service(obj: Object, old: Object | None) -> Causes:
    spec, causes = obj["spec"], list[Cause]()
    if not spec.get("ports") and spec["type"] != "ExternalName" and spec.get("clusterIP") != "None":
        causes.append(cause("FieldValueRequired", "Required value", "spec.ports"))
    if spec["type"] not in ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName"):
        text = f'Unsupported value: "{spec["type"]}": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"'
        causes.append(cause("FieldValueNotSupported", text, "spec.type"))
    if old is not None and "ExternalName" not in (spec["type"], old["spec"]["type"]):
        before = old["spec"].get("clusterIP")
        if before and spec.get("clusterIP") != before:
            causes.append(_invalid("spec.clusterIPs[0]", [spec.get("clusterIP")], "may not change once set"))
    return causes


def _frozen(obj: Object, old: Object | None, members: tuple[str, ...]) -> Causes:
    """Refuse changes of `members` once a Secret or ConfigMap is immutable."""
    if old is None or not old.get("immutable"):
        return []
    text = "Forbidden: field is immutable when `immutable` is set"
    return [cause("FieldValueForbidden", text, member) for member in members if obj.get(member) != old.get(member)]


_DATA_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_DATA_KEY_TEXT = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or "
    "'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)


def _data_keys(obj: Object, members: tuple[str, ...]) -> Causes:
    causes: Causes = []
    for member in members:
        for key in sorted(obj.get(member) or {}):
            where = f"{member}[{key}]"
            if len(key) > 253:
                causes.append(_invalid(where, key, "must be no more than 253 characters"))
            if not _DATA_KEY.fullmatch(key):
                causes.append(_invalid(where, key, _DATA_KEY_TEXT))
            if member == "data" and key in (obj.get("binaryData") or {}):
                causes.append(_invalid(where, key, "duplicate of key present in binaryData"))
    return causes


def _config_map(obj: Object, old: Object | None) -> Causes:
    return _frozen(obj, old, ("immutable", "data", "binaryData")) + _data_keys(obj, ("data", "binaryData"))


def _secret(obj: Object, old: Object | None) -> Causes:
    causes = _data_keys(obj, ("data",)) + _frozen(obj, old, ("immutable", "data"))
    if old is not None and obj.get("type") != old.get("type"):
        causes.append(_invalid("type", obj.get("type"), IMMUTABLE))
    needed = {"kubernetes.io/tls": ("tls.crt", "tls.key"), "kubernetes.io/dockerconfigjson": (".dockerconfigjson",)}
    for name in needed.get(obj.get("type") or "", ()):
        if name not in (obj.get("data") or {}):
            causes.append(cause("FieldValueRequired", "Required value", f"data[{name}]"))
    return causes


def _namespace(obj: Object, old: Object | None) -> Causes:
    phase, ending = (obj.get("status") or {}).get("phase"), bool(obj["metadata"].get("deletionTimestamp"))
    if old is None or phase == ("Terminating" if ending else "Active"):
        return []
    text = (
        "may only be 'Terminating' if `deletionTimestamp` is not empty"
        if ending
        else "may only be 'Active' if `deletionTimestamp` is empty"
    )
    return [_invalid("status.Phase", phase, text)]


def _role_binding(obj: Object, old: Object | None) -> Causes:
    if old is not None and obj["roleRef"] != old["roleRef"]:
        shown = {"APIGroup": obj["roleRef"]["apiGroup"], "Kind": obj["roleRef"]["kind"], "Name": obj["roleRef"]["name"]}
        return [_invalid("roleRef", shown, IMMUTABLE)]
    return []


_KINDS: dict[tuple[str, str], Callable[[Object, Object | None], Causes]] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _always_restarts,
    ("apps", "DaemonSet"): _always_restarts,
    ("apps", "StatefulSet"): _stateful_set,
    ("batch", "Job"): _job,
    ("", "Pod"): _pod,
    ("", "Service"): _service,
    ("", "Secret"): _secret,
    ("", "Namespace"): _namespace,
    ("", "ConfigMap"): _config_map,
    ("rbac.authorization.k8s.io", "RoleBinding"): _role_binding,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): _role_binding,
}
"""(group, kind) -> the check of objects of a built-in kind against the objects they replace (`None` for new ones)."""
