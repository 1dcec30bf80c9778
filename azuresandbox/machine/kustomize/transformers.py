"""The transformers of all resources: namespace, names, labels, annotations, images, replicas, replacements.

The field specifications are kustomize's builtin ones.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from typing import Any

from azuresandbox.machine.kustomize.documents import dump
from azuresandbox.machine.kustomize.errors import KustomizeError
from azuresandbox.machine.kustomize.resource import Id, Resource, walk
from azuresandbox.machine.types import Object

FieldSpec = tuple[str, str, bool]
"""(kind, path, create). An empty kind matches any; `create`: add the field where it is missing."""

METADATA_LABELS: list[FieldSpec] = [("", "metadata/labels", True)]
TEMPLATE_LABELS: list[FieldSpec] = [
    *(
        (kind, "spec/template/metadata/labels", True)
        for kind in ("ReplicationController", "Deployment", "ReplicaSet", "DaemonSet", "StatefulSet", "Job")
    ),
    ("CronJob", "spec/jobTemplate/metadata/labels", True),
    ("CronJob", "spec/jobTemplate/spec/template/metadata/labels", True),
]
_AFFINITIES = tuple(
    f"spec/template/spec/affinity/{affinity}/{rule}/labelSelector/matchLabels"
    for affinity in ("podAffinity", "podAntiAffinity")
    for rule in (
        "preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm",
        "requiredDuringSchedulingIgnoredDuringExecution",
    )
)
SELECTOR_LABELS: list[FieldSpec] = [
    ("StatefulSet", "spec/volumeClaimTemplates[]/metadata/labels", True),
    ("Service", "spec/selector", True),
    ("ReplicationController", "spec/selector", True),
    *((kind, "spec/selector/matchLabels", True) for kind in ("Deployment", "ReplicaSet", "DaemonSet", "StatefulSet")),
    ("Job", "spec/selector/matchLabels", False),
    ("CronJob", "spec/jobTemplate/spec/selector/matchLabels", False),
    ("PodDisruptionBudget", "spec/selector/matchLabels", False),
    ("NetworkPolicy", "spec/podSelector/matchLabels", False),
    ("NetworkPolicy", "spec/ingress/from/podSelector/matchLabels", False),
    ("NetworkPolicy", "spec/egress/to/podSelector/matchLabels", False),
    *((kind, path, False) for kind in ("Deployment", "StatefulSet") for path in _AFFINITIES),
    *(
        (kind, "spec/template/spec/topologySpreadConstraints/labelSelector/matchLabels", False)
        for kind in ("Deployment", "StatefulSet")
    ),
]
ANNOTATIONS: list[FieldSpec] = [
    ("", "metadata/annotations", True),
    *(
        (kind, "spec/template/metadata/annotations", True)
        for kind in ("ReplicationController", "Deployment", "ReplicaSet", "DaemonSet", "StatefulSet", "Job")
    ),
    ("CronJob", "spec/jobTemplate/metadata/annotations", True),
    ("CronJob", "spec/jobTemplate/spec/template/metadata/annotations", True),
]
_NAMESPACE_FIELDS: list[FieldSpec] = [
    ("APIService", "spec/service/namespace", True),
    ("ValidatingWebhookConfiguration", "webhooks/clientConfig/service/namespace", False),
    ("MutatingWebhookConfiguration", "webhooks/clientConfig/service/namespace", False),
    ("CustomResourceDefinition", "spec/conversion/webhook/clientConfig/service/namespace", False),
]
_NOT_RENAMED = {
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("apiregistration.k8s.io", "APIService"),
    ("", "Namespace"),
}
_REPLICATED = ("Deployment", "StatefulSet", "ReplicaSet", "ReplicationController")


def _set_all(resource: Resource, specs: Iterable[FieldSpec], values: Mapping[str, Any]) -> None:
    """Add entries to the maps that the field specifications name."""
    kind = resource.id.kind
    for wanted, path, create in specs:
        if wanted in ("", kind):
            for holder, name in walk(resource.obj, tuple(path.split("/")), create):
                holder[name] = {**(holder.get(name) or {}), **{key: str(value) for key, value in values.items()}}


# --- namespace and names ---------------------------------------------------------------------------------------------


def set_namespace(resources: list[Resource], namespace: str) -> None:
    for resource in resources:
        identity = resource.id
        resource.remember()
        if (identity.group, identity.kind) == ("", "Namespace"):
            resource.metadata["name"] = namespace
        elif not identity.cluster_scoped:
            resource.metadata["namespace"] = namespace
        for kind, path, create in _NAMESPACE_FIELDS:
            if kind == identity.kind:
                for holder, name in walk(resource.obj, tuple(path.split("/")), create):
                    holder[name] = namespace
        if identity.kind in ("RoleBinding", "ClusterRoleBinding"):
            for subject in resource.obj.get("subjects") or []:
                if subject.get("kind") == "ServiceAccount" and subject.get("name") == "default":
                    subject["namespace"] = namespace
    seen: dict[tuple[str, str, str, str], Id] = {}
    for resource in resources:
        identity = resource.id
        known = seen.setdefault((identity.group, identity.kind, identity.name, identity.effective_namespace), identity)
        if known is not identity:
            raise KustomizeError(f"namespace transformation produces ID conflict: [{known} {identity}]")


def add_prefix(resources: list[Resource], prefix: str) -> None:
    for resource in _renamable(resources):
        resource.rename(prefix + str(resource.metadata["name"]))
        resource.prefixes.append(prefix)


def add_suffix(resources: list[Resource], suffix: str) -> None:
    for resource in _renamable(resources):
        resource.rename(str(resource.metadata["name"]) + suffix)
        resource.suffixes.append(suffix)


def _renamable(resources: list[Resource]) -> list[Resource]:
    return [resource for resource in resources if (resource.id.group, resource.id.kind) not in _NOT_RENAMED]


# --- labels and annotations ------------------------------------------------------------------------------------------


def set_common_labels(resources: list[Resource], labels: Mapping[str, Any]) -> None:
    for resource in resources:
        _set_all(resource, [*METADATA_LABELS, *SELECTOR_LABELS, *TEMPLATE_LABELS], labels)


def set_labels(resources: list[Resource], entry: Mapping[str, Any]) -> None:
    """Apply one entry of `labels`: to the objects, and on request to templates and selectors."""
    specs = list(METADATA_LABELS)
    if entry.get("includeSelectors"):
        specs += [*SELECTOR_LABELS, *TEMPLATE_LABELS]
    elif entry.get("includeTemplates"):
        specs += TEMPLATE_LABELS
    for field in entry.get("fields") or []:
        specs.append((field.get("kind", ""), field["path"], bool(field.get("create"))))
    for resource in resources:
        _set_all(resource, specs, entry.get("pairs") or {})


def set_annotations(resources: list[Resource], annotations: Mapping[str, Any]) -> None:
    for resource in resources:
        _set_all(resource, ANNOTATIONS, annotations)


# --- images and replicas ---------------------------------------------------------------------------------------------


def set_image(resources: list[Resource], image: Mapping[str, Any]) -> None:
    for resource in resources:
        if resource.id.kind != "CustomResourceDefinition":
            _set_images(resource.obj, image)


def _set_images(node: Any, image: Mapping[str, Any]) -> None:
    if isinstance(node, list):
        for element in node:
            _set_images(element, image)
    elif isinstance(node, dict):
        for name, value in node.items():
            if name in ("containers", "initContainers") and isinstance(value, list):
                for container in value:
                    if isinstance(container, dict) and isinstance(container.get("image"), str):
                        container["image"] = _new_image(container["image"], image)
            _set_images(value, image)


def _new_image(value: str, image: Mapping[str, Any]) -> str:
    name = image.get("name", "")
    if not re.fullmatch(f"{name}(:[a-zA-Z0-9_.{{}}-]*)?(@sha256:[a-zA-Z0-9_.{{}}-]*)?", value):
        return value
    base, _, digest = value.partition("@")
    head, slash, last = base.rpartition("/")
    last, _, tag = last.partition(":")
    result = image.get("newName") or head + slash + last
    if image.get("newTag") or image.get("digest"):
        tag, digest = image.get("newTag") or "", image.get("digest") or ""
    if image.get("tagSuffix"):
        tag, digest = tag + image["tagSuffix"], ""
    return str(result) + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")


def set_replicas(resources: list[Resource], entry: Mapping[str, Any]) -> None:
    name, found = entry.get("name"), False
    for resource in resources:
        if resource.id.kind in _REPLICATED and any(known.name == name for known in resource.ids):
            resource.obj.setdefault("spec", {})["replicas"] = entry.get("count")
            found = True
    if not found:
        kinds = " ".join(f"{kind}.[noVer].[noGrp]" for kind in _REPLICATED)
        raise KustomizeError(f"resource with name {name} does not match a config with the following GVK [{kinds}]")


# --- selection and replacements --------------------------------------------------------------------------------------


def selected(resource: Resource, selector: Mapping[str, Any]) -> bool:
    """Return whether a selector (regular expressions over any identity; label and annotation selectors) matches a resource."""
    return (
        any(
            all(
                re.fullmatch(str(selector[part]), getattr(known, part)) is not None
                for part in ("group", "version", "kind", "name", "namespace")
                if selector.get(part)
            )
            for known in resource.ids
        )
        and matches_labels(resource.labels(), selector.get("labelSelector") or "")
        and matches_labels(resource.annotations(), selector.get("annotationSelector") or "")
    )


_REQUIREMENT = re.compile(
    r"\s*(?:(?P<not>!)\s*(?P<absent>[^\s,=!()]+)"
    r"|(?P<key>[^\s,=!()]+)\s*(?:(?P<op>==|=|!=)\s*(?P<value>[^\s,()]*)|(?P<set>in|notin)\s*\((?P<values>[^)]*)\))?)\s*(?:,|$)"
)


def matches_labels(labels: Mapping[str, str], selector: str) -> bool:
    """Return whether labels match a selector as kubectl writes it: `a=b,c!=d,e in (f,g),!h,i`. Raises `KustomizeError`."""
    position = 0
    while position < len(selector):
        found = _REQUIREMENT.match(selector, position)
        if found is None or found.end() == position:
            raise KustomizeError(f"unable to parse requirement: {selector!r}")
        position = found.end()
        if not _holds(labels, found):
            return False
    return True


def _holds(labels: Mapping[str, str], found: re.Match[str]) -> bool:
    if found["absent"]:
        return found["absent"] not in labels
    value = labels.get(found["key"])
    if found["op"]:
        return (value == found["value"]) != (found["op"] == "!=")
    if found["set"]:
        values = {item.strip() for item in found["values"].split(",")}
        return (value in values) == (found["set"] == "in")
    return value is not None


def replace(resources: list[Resource], replacement: Mapping[str, Any]) -> None:
    """Apply one entry of `replacements`: copy a field's value to fields of other resources."""
    if "source" not in replacement and "sourceValue" not in replacement:
        raise KustomizeError("replacements must specify a source and at least one target")
    value = _source_value(resources, replacement)
    for target in replacement.get("targets") or []:
        if "select" not in target:
            raise KustomizeError("target must specify resources to select")
        for resource in resources:
            if _chosen(resource, target):
                for path in target.get("fieldPaths") or ["metadata.name"]:
                    _replace_field(resource, path, value, target.get("options") or {})


def _source_value(resources: list[Resource], replacement: Mapping[str, Any]) -> Any:
    if "sourceValue" in replacement:
        return replacement["sourceValue"]
    source = replacement["source"]
    found = [resource for resource in resources if _exactly(resource, source)]
    wanted = Id(*(str(source.get(part, "")) for part in ("group", "version", "kind", "name", "namespace")))
    if len(found) > 1:
        raise KustomizeError(f"multiple matches for selector {wanted}")
    if not found:
        raise KustomizeError(f"nothing selected by {wanted}:{source.get('fieldPath', 'metadata.name')}")
    steps = _steps(source.get("fieldPath") or "metadata.name")
    places = list(_places(found[0].obj, steps, create=False))
    if not places:
        raise KustomizeError(f"fieldPath `{source.get('fieldPath')}` is missing for replacement source {found[0].id}")
    holder, key = places[0]
    value = copy.deepcopy(holder[key])
    options = source.get("options") or {}
    if options.get("delimiter"):
        parts = str(value).split(options["delimiter"])
        index = options.get("index") or 0
        if not 0 <= index < len(parts):
            raise KustomizeError(f"options.index {index} is out of bounds for value {value}")
        value = parts[index]
    return value


def _exactly(resource: Resource, selector: Mapping[str, Any]) -> bool:
    parts = ("group", "version", "kind", "name", "namespace")
    return any(all(selector[p] == getattr(known, p) for p in parts if selector.get(p)) for known in resource.ids)


def _chosen(resource: Resource, target: Mapping[str, Any]) -> bool:
    return selected(resource, target["select"]) and not any(
        reject and selected(resource, reject) for reject in target.get("reject") or []
    )


def _replace_field(resource: Resource, path: str, value: Any, options: Mapping[str, Any]) -> None:
    places = list(_places(resource.obj, _steps(path), create=bool(options.get("create"))))
    if not places:
        raise KustomizeError(
            f"unable to find field `{path}` in replacement target"
            if not options.get("create")
            else f"unable to create field `{path}` in replacement target"
        )
    for holder, key in places:
        old = holder.get(key) if isinstance(holder, dict) else holder[key]
        new = _spliced(old, value, options)
        if path == "metadata.name":
            resource.rename(str(new))
        elif path == "metadata.namespace" and new != old:
            resource.remember()
            holder[key] = new
        else:
            holder[key] = copy.deepcopy(new)


def _spliced(old: Any, value: Any, options: Mapping[str, Any]) -> Any:
    delimiter = options.get("delimiter")
    if not delimiter:
        return str(value) if isinstance(old, str) and not isinstance(value, (dict, list)) else value
    parts, index = str(old).split(delimiter), options.get("index") or 0
    if index < 0:
        parts.insert(0, str(value))
    elif index >= len(parts):
        parts.append(str(value))
    else:
        parts[index] = str(value)
    return str(delimiter).join(parts)


def _steps(path: str) -> list[str]:
    """Split `a.b\\.c.[name=x].0` at its dots, except those in brackets."""
    steps, current, depth, escaped = [], "", 0, False
    for character in path:
        if escaped:
            current += character if character == "." else "\\" + character
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == "." and depth == 0:
            steps.append(current)
            current = ""
        else:
            depth += (character == "[") - (character == "]")
            current += character
    return [step for step in [*steps, current] if step]


def _places(node: Any, steps: list[str], create: bool) -> list[tuple[Any, Any]]:
    step, rest = steps[0], steps[1:]
    places: list[tuple[Any, Any]] = []
    for holder, key in _matching(node, step, create, last=not rest):
        if not rest:
            places.append((holder, key))
        else:
            if isinstance(holder, dict) and holder.get(key) is None:
                if not create:
                    continue
                holder[key] = [] if rest[0].startswith("[") or rest[0].isdigit() else {}
            places += _places(holder[key], rest, create)
    return places


def _matching(node: Any, step: str, create: bool, last: bool) -> list[tuple[Any, Any]]:
    if isinstance(node, list):
        return [(node, index) for index in _indices(node, step, create)]
    if not isinstance(node, dict):
        return []
    if step == "*":
        return [(node, key) for key in node]
    if step.startswith("[") and step.endswith("]") and "=" not in step:
        step = step[1:-1]
    return [(node, step)] if step in node or create else []


def _indices(node: list[Any], step: str, create: bool) -> list[int]:
    if step == "*":
        return list(range(len(node)))
    if step.isdigit():
        index = int(step)
        if index < len(node):
            return [index]
        if create and index == len(node):
            node.append({})
            return [index]
        return []
    if step.startswith("[") and step.endswith("]"):
        key, _, value = step[1:-1].partition("=")
        found = [i for i, item in enumerate(node) if (isinstance(item, dict) and str(item.get(key)) == value) or item == value]
        if not found and create:
            node.append({key: value})
            return [len(node) - 1]
        return found
    return []


def set_origin(resources: list[Resource]) -> None:
    """Set the annotation of `buildMetadata: [originAnnotations]`."""
    for resource in resources:
        if resource.origin:
            annotations: Object = resource.metadata.setdefault("annotations", {})
            annotations["config.kubernetes.io/origin"] = dump(resource.origin)
