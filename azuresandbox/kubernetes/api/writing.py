"""Create, update, patch and delete: how an object gets into the store, as the generic registry of kube-apiserver does it.

All of it is synchronous once the body has been read, so nothing can change between reading and writing. May import
everything of this package below the request handlers.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, replace
from typing import Any

from azuresandbox import trees
from azuresandbox.kubernetes.api import admission
from azuresandbox.kubernetes.api.request import Request
from azuresandbox.kubernetes.model import builtin, crds, decoding, defaults, errors, fieldmanager, goform, validation
from azuresandbox.kubernetes.model.patch import PatchError, json_patch, merge_patch, strategic_merge_patch
from azuresandbox.kubernetes.model.resources import Resource
from azuresandbox.kubernetes.model.schema import OBJECT_META, Schema
from azuresandbox.kubernetes.model.types import Object, dump, head
from azuresandbox.kubernetes.state import allocation, escalation, rbac
from azuresandbox.kubernetes.state.cluster import Cluster
from azuresandbox.store import Record

PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)
_KEPT = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "selfLink",
    "name",
    "namespace",
)
RETURNED = {
    *(
        ("", name)
        for name in (
            "pods",
            "services",
            "serviceaccounts",
            "podtemplates",
            "persistentvolumes",
            "persistentvolumeclaims",
            "resourcequotas",
        )
    ),
    *(("storage.k8s.io", name) for name in ("csidrivers", "csinodes", "storageclasses", "volumeattachments")),
}
"""Kinds whose deletion is answered with the object and not with a Status. Source: `ReturnDeletedObject` in pkg/registry."""
FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"


@dataclass(frozen=True, slots=True)
class Written:
    """The outcome of a write: the object's bytes as stored (or as they would be), and whether it is new."""

    data: bytes
    created: bool = False


def as_version(data: bytes, resource: Resource) -> bytes:
    """Stored bytes in the version that was asked for (conversion strategy None: only apiVersion differs)."""
    start = head(resource.api_version)
    return data if data.startswith(start) else start + data[data.index(b",") + 1 :]


def load(record: Record, resource: Resource) -> Object:
    """The stored object in the resource's version."""
    obj: Object = trees.parse(record.value)
    obj["apiVersion"] = resource.api_version
    return obj


# --- decoding --------------------------------------------------------------------------------------------------------


def accept(request: Request, resource: Resource, obj: Object, namespace: str, name: str = "") -> Object:
    """Check what every written object must say, and prune it as `fieldValidation` asks. The object, changed in place."""
    _check_kind(request, resource, obj)
    _check_types(request, resource, obj)
    metadata = obj.get("metadata")
    if metadata is None:
        metadata = obj["metadata"] = {}
    for member in ("labels", "annotations"):
        if metadata.get(member) is None:
            metadata.pop(member, None)
    if resource.namespaced:
        if metadata.get("namespace") not in (None, "", namespace):
            raise errors.bad_request("the namespace of the provided object does not match the namespace sent on the request")
        metadata["namespace"] = namespace
    else:
        metadata.pop("namespace", None)
    if name and not metadata.get("name"):
        raise errors.bad_request(f"the name of the object ({name} based on URL) was undeterminable: name must be provided")
    if name and metadata["name"] != name:
        raise errors.bad_request(f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})")
    _prune(request, resource, obj)
    request.forget_managers = metadata.get("managedFields") == []
    if resource.custom is not None:
        _tidy_metadata(obj)
        decoding.whole_numbers(obj)
    else:
        goform.form(obj, request.cluster.schema(resource))
    return obj


SUBRESOURCE_KINDS = {"TokenRequest": "authentication.k8s.io", "Binding": "", "Eviction": "policy"}
"""Kinds that only subresources take -> their group; all are in v1."""


async def subresource_body(request: Request, resource: Resource, kind: str) -> Object:
    """The body of a subresource that takes a kind of its own, read as an object of that kind is."""
    obj = await request.document(kind)
    shown = replace(resource, group=SUBRESOURCE_KINDS[kind], version="v1", kind=kind)
    _check_kind(request, shown, obj)
    _check_types(request, shown, obj)
    _prune(request, shown, obj)
    return obj


_SCHEME = 'in scheme "pkg/runtime/scheme.go:111"'
"""Where kube-apiserver's types are registered, as it says itself."""


def _check_kind(request: Request, resource: Resource, obj: Object) -> None:
    version, kind = obj.get("apiVersion"), obj.get("kind")
    if resource.custom is not None:
        if request.method == "PATCH" and version != resource.api_version:
            text = f"Invalid value: {json.dumps(version)}: must be {resource.api_version}"
            causes = [errors.cause("FieldValueInvalid", text, "apiVersion")]
            raise errors.invalid(resource.group, str(kind), (obj.get("metadata") or {}).get("name") or "", causes)
        if version != resource.api_version:
            text = f"the API version in the data ({version or ''}) does not match the expected API version ({resource.api_version})"
            raise errors.bad_request(text)
        if kind != resource.kind:
            causes = [errors.cause("FieldValueInvalid", f"Invalid value: {json.dumps(kind)}: must be {resource.kind}", "kind")]
            name = (obj.get("metadata") or {}).get("name") or ""
            raise errors.invalid(resource.group, str(kind), name, causes)
        return
    version, kind = version or resource.api_version, kind or resource.kind
    if (version, kind) != (resource.api_version, resource.kind):
        raise errors.bad_request(_unconvertible(resource, str(version), str(kind), obj))
    obj["apiVersion"], obj["kind"] = resource.api_version, resource.kind


def _unconvertible(resource: Resource, version: str, kind: str, obj: Object) -> str:
    """Why an object of another kind cannot be taken for one of this: a built-in one is decoded before that is seen."""
    group, _, number = version.rpartition("/")
    text = f'{kind} in version "{number}" cannot be handled as a {resource.kind}: '
    other = builtin.schema_for(group, number, kind)
    if other is None:
        return text + f'no kind "{kind}" is registered for version "{version}" {_SCHEME}'
    if problem := decoding.misfit(obj, other.root, kind):
        return text + problem.decoded()
    package = resource.group.partition(".")[0] or "core"
    return text + f"converting ({number}.{kind}) to ({package}.{resource.kind}): unknown conversion"


def _check_types(request: Request, resource: Resource, obj: Object) -> None:
    """Whether the object can be decoded at all: of a custom resource, its metadata."""
    if resource.custom is None:
        found = decoding.misfit(obj, request.cluster.schema(resource).root, resource.kind)
        if found is not None:
            raise Undecodable(_handled(resource, found.decoded()), found.converted())
        return
    metadata = obj.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise errors.bad_request(_handled(resource, "json: cannot unmarshal metadata into Go value of type v1.ObjectMeta"))
    found = decoding.misfit(metadata or {}, _METADATA, "ObjectMeta")
    if found is not None:
        raise Undecodable(_handled(resource, found.decoded()), found.converted())


class Undecodable(errors.StatusError):
    """A value of the wrong type. `converted`: what is said where the object is not decoded but converted."""

    def __init__(self, message: str, converted: str) -> None:
        super().__init__(400, "BadRequest", message)
        self.converted = converted


_METADATA = Schema(OBJECT_META).root


def _handled(resource: Resource, why: str) -> str:
    return f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: {why}'


def _prune(request: Request, resource: Resource, obj: Object) -> None:
    mode = request.query.get("fieldValidation") or "Warn"
    if mode not in ("Strict", "Warn", "Ignore"):
        text = f'Unsupported value: "{mode}": supported values: "", "Ignore", "Strict", "Warn"'
        raise request.invalid_option("FieldValueNotSupported", text, "fieldValidation")
    unknown = request.cluster.schema(resource).prune(obj)
    found = [path if path.startswith("line ") else f'duplicate field "{path}"' for path in request.duplicates]
    found += [f'unknown field "{path}"' for path in unknown]
    if not found:
        return
    if mode == "Strict":
        raise errors.bad_request(_handled(resource, "strict decoding error: " + ", ".join(found)))
    if mode == "Warn":
        request.warnings += found


def _check(cluster: Cluster, resource: Resource, obj: Object, old: Object | None) -> None:
    """Defaults, then schema and validation."""
    schema = cluster.schema(resource)
    found = [errors.cause(*item) for item in schema.validate(obj, old)]
    if not found:
        found = validation.check(resource, obj, old)
        if resource.group == crds.GROUP and resource.plural == "customresourcedefinitions":
            found = found + crds.validate(obj, old)
    if found:
        raise errors.invalid(resource.group, resource.kind, obj["metadata"].get("name") or "", found)


def _tidy_metadata(obj: Object) -> None:
    """Metadata is of a Go type whatever the object is: what is empty is left out."""
    metadata = obj["metadata"]
    for member in [member for member, value in metadata.items() if value in ("", [], {}, None)]:
        del metadata[member]


def _fill(cluster: Cluster, resource: Resource, obj: Object) -> None:
    schema = cluster.schema(resource)
    schema.default(obj)
    if resource.custom is not None:
        _tidy_metadata(obj)
    if resource.custom is None:
        try:
            defaults.apply(resource.group, resource.kind, obj)
        except (AttributeError, TypeError, KeyError):
            _check(cluster, resource, obj, None)  # an object of the wrong shape: the schema says where
            raise
        if resource.kind == "CustomResourceDefinition":
            crds.default(obj)
        goform.form(obj, schema)


# --- create ----------------------------------------------------------------------------------------------------------


def create(request: Request, resource: Resource, obj: Object, namespace: str, *, managed: bool = False) -> Written:
    """Create an accepted object. `managed`: managedFields are already right (server-side apply)."""
    cluster, metadata = request.cluster, obj["metadata"]
    admission.check_refused(resource)
    request.warnings += admission.warnings(resource)
    if metadata.get("resourceVersion"):
        raise errors.plain(500, "resourceVersion should not be set on objects to be created")
    generated = not metadata.get("name") and bool(metadata.get("generateName"))
    if generated:
        metadata["name"] = metadata["generateName"][:58] + admission.suffix()
    admission.namespace_lifecycle(cluster, resource, metadata.get("name") or "", namespace)
    _fill(cluster, resource, obj)
    if not managed:
        obj = _owned_from_the_start(request, resource, obj)
    _initialise(cluster, resource, obj)
    admission.on_create(cluster, resource, obj)
    if resource.custom is None:
        goform.form(obj, cluster.schema(resource))
    _check(cluster, resource, obj, None)
    escalation.check(cluster.policy, request.user, resource, obj, None)
    key = resource.key(namespace, metadata["name"])
    present = cluster.objects.read(key)
    if present is not None:
        ending = bool(present["metadata"].get("deletionTimestamp"))
        raise errors.already_exists(resource.group, resource.plural, metadata["name"], ending=ending)
    if request.dry_run:
        if (resource.group, resource.kind) == ("", "Service"):
            allocation.assign(cluster, key, obj, None, dry=True)
        return Written(dump(obj), True)
    with cluster.sandbox.store.transaction():
        _before_write(cluster, resource, key, obj, None)
        record = cluster.objects.put(resource, key, obj, None, 0)
    after_write(cluster, resource, obj)
    return Written(as_version(record.value, resource), True)


def _owned_from_the_start(request: Request, resource: Resource, obj: Object) -> Object:
    """The object with managedFields for what the client sent and defaults added; what the server sets further belongs to nobody."""
    schema = request.cluster.schema(resource)
    before = goform.zero(resource.api_version, resource.kind, schema) if resource.custom is None else None
    sent = {name: member for name, member in obj.items() if name != "status"} if resource.has_status() else obj
    owned = fieldmanager.update(before, sent, request.manager, "Update", schema, request.cluster.now())
    return {**obj, "metadata": owned["metadata"]}


def _initialise(cluster: Cluster, resource: Resource, obj: Object) -> None:
    """The metadata that the server sets, and a status that clients may not."""
    metadata = obj["metadata"]
    for name in ("resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"):
        metadata.pop(name, None)
    metadata["uid"] = str(uuid.uuid4())
    metadata["creationTimestamp"] = cluster.now()
    if resource.generation:
        metadata["generation"] = 1
    if resource.has_status() and resource.kind != "Node":
        obj.pop("status", None)
    if resource.custom is None:
        function = _INITIAL.get(resource.kind)
        if function:
            function(cluster, obj)


def _initial_pod(cluster: Cluster, obj: Object) -> None:
    obj["status"] = {"phase": "Pending", "qosClass": qos_class(obj.get("spec") or {})}


def qos_class(spec: Object) -> str:
    """Guaranteed, Burstable or BestEffort, of CPU and memory requests and limits."""
    pairs = [
        ((item.get("resources") or {}).get("requests") or {}, (item.get("resources") or {}).get("limits") or {})
        for item in defaults.containers(spec)
    ]
    if not any(requests or limits for requests, limits in pairs):
        return "BestEffort"
    names = ("cpu", "memory")
    whole = all(limits.get(n) and requests.get(n, limits[n]) == limits[n] for requests, limits in pairs for n in names)
    return "Guaranteed" if whole else "Burstable"


def _initial_namespace(cluster: Cluster, obj: Object) -> None:
    obj["spec"] = {"finalizers": ["kubernetes"]}
    obj["status"] = {"phase": "Active"}


def _initial_volume(cluster: Cluster, obj: Object) -> None:
    obj["status"] = {"phase": "Pending", "lastPhaseTransitionTime": cluster.now()}


def _initial_claim(cluster: Cluster, obj: Object) -> None:
    obj["status"] = {"phase": "Pending"}


def _initial_job(cluster: Cluster, obj: Object) -> None:
    """A Job selects its Pods by its own uid, unless manualSelector is set."""
    spec, metadata = obj.get("spec"), obj["metadata"]
    if not isinstance(spec, dict) or spec.get("manualSelector") or not isinstance(spec.get("template"), dict):
        return
    labels = spec["template"].setdefault("metadata", {}).setdefault("labels", {})
    for prefix in ("", "batch.kubernetes.io/"):
        labels[prefix + "controller-uid"] = metadata["uid"]
        labels[prefix + "job-name"] = metadata["name"]
    spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": metadata["uid"]}}


def _initial_crd(cluster: Cluster, obj: Object) -> None:
    finalizers = obj["metadata"].setdefault("finalizers", [])
    if crds.CLEANUP not in finalizers:
        finalizers.append(crds.CLEANUP)


_INITIAL: dict[str, Any] = {
    "Pod": _initial_pod,
    "Namespace": _initial_namespace,
    "Job": _initial_job,
    "PersistentVolume": _initial_volume,
    "PersistentVolumeClaim": _initial_claim,
    "CustomResourceDefinition": _initial_crd,
}


def _before_write(cluster: Cluster, resource: Resource, key: str, obj: Object, old: Object | None) -> None:
    """What goes into the store together with the object."""
    if resource.custom is not None:
        return
    if resource.kind == "Service" and resource.group == "":
        allocation.assign(cluster, key, obj, old)
    elif resource.kind == "CustomResourceDefinition" and not obj["metadata"].get("deletionTimestamp"):
        crds.accept(obj, cluster.definitions.values(), cluster.now())


def after_write(cluster: Cluster, resource: Resource, obj: Object) -> None:
    """What follows from a written object at once."""
    if resource.custom is not None:
        return
    if resource.kind == "Namespace" and not obj["metadata"].get("deletionTimestamp"):
        furnish(cluster, obj["metadata"]["name"])
    elif resource.kind == "ClusterRole":
        aggregate(cluster, resource)


def put_own(cluster: Cluster, resource: Resource, obj: Object, *, overwrite: bool = False) -> None:
    """Create one of the API server's own objects, unless it is there (or put it right, if `overwrite`)."""
    metadata = obj["metadata"]
    key = resource.key(metadata.get("namespace", ""), metadata["name"])
    found = cluster.objects.get(key)
    if found is not None and not overwrite:
        return
    obj = trees.copy(obj) | {"apiVersion": resource.api_version, "kind": resource.kind}
    old = None
    if found is None:
        _initialise(cluster, resource, obj)
    else:
        old = load(found, resource)
        obj["metadata"] = old["metadata"] | metadata
    _fill(cluster, resource, obj)
    if old is not None and old == obj:
        return
    with cluster.sandbox.store.transaction():
        _before_write(cluster, resource, key, obj, old)
        cluster.objects.put(resource, key, obj, old, found.revision if found else 0)
    after_write(cluster, resource, obj)


def furnish(cluster: Cluster, namespace: str) -> None:
    """What every namespace has from the start: the default service account and the cluster's CA."""
    registry = cluster.registry
    account, config = registry.find("", "v1", "serviceaccounts"), registry.find("", "v1", "configmaps")
    assert account and config
    put_own(cluster, account, {"metadata": {"name": "default", "namespace": namespace}})
    about = {
        "kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver when using internal "
        "endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions "
        "of Kubernetes clusters."
    }
    metadata = {"name": "kube-root-ca.crt", "namespace": namespace, "annotations": about}
    put_own(cluster, config, {"metadata": metadata, "data": {"ca.crt": cluster.sandbox.ca_pem}})


def aggregate(cluster: Cluster, resource: Resource) -> None:
    """Bring the rules of aggregated ClusterRoles up to date; they may gather each other, so until nothing changes."""
    changed = True
    while changed:
        changed = False
        roles = cluster.objects.all(resource.prefix)
        for role in roles:
            rules = rbac.aggregated_rules(role, roles)
            if rules is not None and rules != (role.get("rules") or []):
                key = resource.key("", role["metadata"]["name"])
                new = trees.copy(role) | {"rules": rules}
                cluster.objects.put(resource, key, new, role, int(role["metadata"]["resourceVersion"]))
                changed = True
                break


# --- update ----------------------------------------------------------------------------------------------------------


def read(cluster: Cluster, resource: Resource, namespace: str, name: str) -> Record:
    record = cluster.objects.get(resource.key(namespace, name))
    if record is None:
        raise errors.not_found(resource.group, resource.plural, name)
    return record


def update(
    request: Request, resource: Resource, record: Record, new: Object, subresource: str = "", *, managed: bool = False
) -> Written:
    """Replace what is stored by an accepted object. `subresource`: "", "status" or "scale"; `managed`: see `create`."""
    cluster = request.cluster
    old = load(record, resource)
    _check_preconditions(resource, old, new)
    new = _prepared(resource, old, new, subresource)
    if subresource != "status":
        _fill(cluster, resource, new)
    if resource.custom is None:
        _follow_template(resource, old, new)
    try:
        _check(cluster, resource, new, old)
    except errors.StatusError as error:
        raise _of_status(resource, error) if subresource == "status" and resource.custom is not None else error from None
    escalation.check(cluster.policy, request.user, resource, new, old)
    followed = new["metadata"].get("managedFields") or old["metadata"].get("managedFields")
    if not managed and (request.forget_managers or not followed):
        new["metadata"].pop("managedFields", None)  # reset: nobody is followed until somebody applies
    elif not managed:
        time = "" if subresource == "scale" else cluster.now()  # a Scale has no room for it
        new = fieldmanager.update(old, new, request.manager, "Update", cluster.schema(resource), time, subresource)
    return _replace(request, resource, record, old, new, status=subresource == "status")


def _of_status(resource: Resource, error: errors.StatusError) -> errors.StatusError:
    """A custom resource's status is validated by itself: what is said of a field names it from there."""
    causes = [
        {
            **item,
            "message": item["message"].replace(f"{item['field']} in body", f"{item['field'].removeprefix('status.')} in body"),
        }
        for item in (error.details or {}).get("causes", [])
    ]
    return errors.invalid(resource.group, resource.kind, (error.details or {}).get("name", ""), causes)


def _follow_template(resource: Resource, old: Object, new: Object) -> None:
    """A DaemonSet's annotation that counts the changes of its template."""
    if resource.kind == "DaemonSet":
        count = int(old["metadata"]["annotations"].get(defaults.TEMPLATE_GENERATION) or 1)
        count += old["spec"].get("template") != new["spec"].get("template")
        new["metadata"].setdefault("annotations", {})[defaults.TEMPLATE_GENERATION] = str(count)


_STORED_AS = {
    "services": "services/specs",
    "endpoints": "services/endpoints",
    "nodes": "minions",
    "ingresses": "ingress",
    "replicationcontrollers": "controllers",
}
"""Where etcd has kinds that are not kept under their own name. Source: kubernetes, `pkg/kubeapiserver`."""
_GROUPED = ("apiextensions.k8s.io", "apiregistration.k8s.io")


def _precondition(resource: Resource, uid: str, found: Object) -> str:
    place = _STORED_AS.get(resource.plural, resource.plural)
    if resource.custom is not None or resource.group in _GROUPED:
        place = f"{resource.group}/{place}"
    place = "/".join(filter(None, (place, found.get("namespace", ""), found["name"])))
    return (
        f"StorageError: invalid object, Code: 4, Key: /registry/{place}, ResourceVersion: 0, AdditionalErrorMsg: "
        f"Precondition failed: UID in precondition: {uid}, UID in object meta: {found['uid']}"
    )


def _check_preconditions(resource: Resource, old: Object, new: Object) -> None:
    wanted, found = new["metadata"], old["metadata"]
    if wanted.get("uid") and wanted["uid"] != found["uid"]:
        raise errors.conflict(resource.group, resource.plural, found["name"], _precondition(resource, wanted["uid"], found))
    version = wanted.get("resourceVersion")
    if version and not version.isdigit():
        raise errors.plain(500, f'strconv.ParseUint: parsing "{version}": invalid syntax')
    if not version and resource.custom is not None:
        causes = [
            errors.cause("FieldValueInvalid", "Invalid value: 0: must be specified for an update", "metadata.resourceVersion")
        ]
        raise errors.invalid(resource.group, resource.plural, found["name"], causes)
    if version and version != found["resourceVersion"]:
        raise errors.conflict(resource.group, resource.plural, found["name"])


def _prepared(resource: Resource, old: Object, new: Object, subresource: str) -> Object:
    """The new object with all that this request may not change taken from the old one."""
    before, after = old["metadata"], new["metadata"]
    if subresource == "status":
        kept = dict(before)
        if resource.custom is None:
            names = ("annotations",) if resource.kind == "Deployment" else ("labels", "annotations")
            kept |= {name: after[name] for name in names if name in after}
        kept["managedFields"] = after.get("managedFields", before.get("managedFields", []))
        result = {**old, "metadata": kept}
        result.pop("status", None)
        return result | ({"status": new["status"]} if "status" in new else {})
    if after.get("deletionTimestamp") and not before.get("deletionTimestamp"):
        text = f'Invalid value: "{after["deletionTimestamp"]}": field is immutable'
        causes = [errors.cause("FieldValueInvalid", text, "metadata.deletionTimestamp")]
        raise errors.invalid(resource.group, resource.kind, before["name"], causes)
    for name in _KEPT:
        after.pop(name, None)
        if name in before:
            after[name] = before[name]
    after["resourceVersion"] = before["resourceVersion"]
    if "managedFields" not in after and "managedFields" in before:
        after["managedFields"] = before["managedFields"]
    if resource.has_status():
        new.pop("status", None)
        if "status" in old:
            new["status"] = old["status"]
    if resource.kind == "Namespace" and resource.group == "":
        new["spec"] = old.get("spec") or {}
    if resource.kind == "Service" and resource.group == "" and isinstance(new.get("spec"), dict):
        for name in ("clusterIP", "clusterIPs"):
            if not new["spec"].get(name) and (old["spec"].get(name)) and new["spec"].get("type") != "ExternalName":
                new["spec"][name] = old["spec"][name]
    return new


def _content(obj: Object, *, status: bool) -> Object:
    skipped = ("apiVersion", "kind", "metadata") if status else ("apiVersion", "kind", "metadata", "status")
    return {name: value for name, value in obj.items() if name not in skipped}


def _replace(
    request: Request, resource: Resource, record: Record, old: Object, new: Object, *, status: bool = False
) -> Written:
    cluster, metadata = request.cluster, new["metadata"]
    if resource.generation:
        with_status = resource.custom is not None and not resource.has_status()
        counted = {"EndpointSlice": "labels", "Deployment": "annotations"}.get(resource.kind, "")
        relabelled = bool(counted) and not status and old["metadata"].get(counted) != metadata.get(counted)
        if relabelled or _content(old, status=with_status) != _content(new, status=with_status):
            metadata["generation"] = old["metadata"].get("generation", 0) + 1
    if not metadata.get("finalizers"):
        metadata.pop("finalizers", None)
    if metadata.get("deletionTimestamp") and not pending_finalizers(resource, new) and pending_finalizers(resource, old):
        if not request.dry_run:
            cluster.objects.remove(record.key, trees.copy(new), record.revision)
            after_delete(cluster, resource, new)
        return Written(dump(new | {"apiVersion": resource.api_version}))
    if _same(old, new):
        return Written(as_version(record.value, resource))
    if request.dry_run:
        return Written(dump(new))
    with cluster.sandbox.store.transaction():
        _before_write(cluster, resource, record.key, new, old)
        stored = cluster.objects.put(resource, record.key, new, old, record.revision)
    after_write(cluster, resource, new)
    return Written(as_version(stored.value, resource))


def _same(old: Object, new: Object) -> bool:
    """Whether a write would change nothing but the time of a managedFields entry."""
    if {**old, "metadata": None} != {**new, "metadata": None}:
        return False
    sides = [
        {**side["metadata"], "managedFields": [{**m, "time": ""} for m in side["metadata"].get("managedFields") or []]}
        for side in (old, new)
    ]
    return sides[0] == sides[1]


def pending_finalizers(resource: Resource, obj: Object) -> list[str]:
    """What must go before the object does: its finalizers, a namespace's own, a pod's grace period."""
    found = list(obj["metadata"].get("finalizers") or [])
    if resource.kind == "Namespace" and resource.group == "":
        found += (obj.get("spec") or {}).get("finalizers") or []
    if resource.kind == "Pod" and resource.group == "" and obj["metadata"].get("deletionGracePeriodSeconds"):
        found.append("grace period")
    return found


# --- patch -----------------------------------------------------------------------------------------------------------


def patch(request: Request, resource: Resource, namespace: str, name: str, subresource: str, data: bytes) -> Written:
    """Change an object by one of the four kinds of patch."""
    kind = request.content_type
    if kind not in PATCHES or (kind == PATCHES[2] and resource.custom is not None):
        if resource.custom is None:
            raise errors.StatusError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
        raise errors.unsupported_media_type([item for item in PATCHES if item != PATCHES[2]])
    if kind == PATCHES[3]:
        return _apply(request, resource, namespace, name, subresource, data)
    if "force" in request.query:
        text = "Forbidden: may not be specified for non-apply patch"
        raise request.invalid_option("FieldValueForbidden", text, "force")
    record = read(request.cluster, resource, namespace, name)
    old = load(record, resource)
    changes = _decoded_patch(kind, data)
    new = _patched(request, resource, old, kind, changes)
    if kind == PATCHES[2]:
        new |= {"apiVersion": old["apiVersion"], "kind": old["kind"]}
    shown = (
        decoding.gotext(changes)
        if kind == PATCHES[2]
        else json.dumps(new, separators=(",", ":"), ensure_ascii=False, sort_keys=True)
    )
    _check_patched(request, resource, new, shown)
    version, uid = new["metadata"].get("resourceVersion"), new["metadata"].get("uid")
    accept(request, resource, new, namespace, name)
    new["metadata"]["resourceVersion"] = version or old["metadata"]["resourceVersion"]
    if uid and uid != old["metadata"]["uid"]:
        raise _immutable_uid(resource, name, uid)
    return update(request, resource, record, new, subresource)


def _immutable_uid(resource: Resource, name: str, uid: str) -> errors.StatusError:
    causes = [errors.cause("FieldValueInvalid", f"Invalid value: {json.dumps(uid)}: field is immutable", "metadata.uid")]
    return errors.invalid(resource.group, resource.kind, name, causes)


def _check_patched(request: Request, resource: Resource, new: Object, shown: str) -> None:
    """What cannot be decoded after a patch is a fault of the patch."""
    if new.get("metadata") is None:
        new["metadata"] = {}
    try:
        if resource.custom is None:
            _check_kind(request, resource, new)
        _check_types(request, resource, new)
        if request.query.get("fieldValidation") == "Strict":
            _prune(request, resource, trees.copy(new))
    except errors.StatusError as error:
        why = re.sub(r"^\w+ in version \S+ cannot be handled as a \w+: ", "", error.message)
        if request.content_type == PATCHES[2] and isinstance(error, Undecodable):
            why = error.converted
        causes = [errors.cause("FieldValueInvalid", f"Invalid value: {json.dumps(shown, ensure_ascii=False)}: {why}", "patch")]
        raise errors.invalid("", "", "", causes) from None


def _decoded_patch(kind: str, data: bytes) -> Any:
    """The patch, of the JSON type that its kind wants."""
    try:
        changes = trees.parse(data)
    except ValueError:
        raise errors.bad_request("invalid JSON patch") from None
    wanted, named = (list, "[]handlers.jsonPatchOp") if kind == PATCHES[0] else (dict, "map[string]interface {}")
    if changes is None:
        if kind == PATCHES[1]:
            raise errors.bad_request("Invalid JSON Patch")
        return wanted()
    if not isinstance(changes, wanted):
        text = f"json: cannot unmarshal {decoding.json_name(changes)} into Go value of type {named}"
        raise errors.bad_request(text if kind == PATCHES[2] else f"error decoding patch: {text}")
    if kind != PATCHES[0]:
        return changes
    for item in changes:
        if not isinstance(item, dict):
            text = f"json: cannot unmarshal {decoding.json_name(item)} into Go value of type handlers.jsonPatchOp"
            raise errors.bad_request(f"error decoding patch: {text}")
    return [{"value": None, **item} for item in changes]  # Go's type has a value, whether it was sent or not


def _patched(request: Request, resource: Resource, old: Object, kind: str, changes: Any) -> Object:
    live = trees.copy(old)
    try:
        if kind == PATCHES[0]:
            found = json_patch(live, changes)
        elif kind == PATCHES[1]:
            found = merge_patch(live, changes)
        else:
            found = strategic_merge_patch(live, changes, request.cluster.schema(resource))
    except PatchError as error:
        if kind == PATCHES[0]:
            message = "the server rejected our request due to an error in our request"
            raise errors.StatusError(422, "Invalid", message, {}) from None
        raise (errors.plain(500, str(error)) if kind == PATCHES[2] else errors.bad_request(str(error))) from None
    if not isinstance(found, dict):
        raise errors.StatusError(422, "Invalid", "the server rejected our request due to an error in our request", {})
    return found


def _apply(request: Request, resource: Resource, namespace: str, name: str, subresource: str, data: bytes) -> Written:
    """Server-side apply."""
    cluster = request.cluster
    if not request.query.get("fieldManager"):
        causes = [errors.cause("FieldValueRequired", "Required value: is required for apply patch", "fieldManager")]
        raise errors.invalid("meta.k8s.io", "PatchOptions", "", causes)
    applied = _decoded_apply(request, data)
    _check_applied(cluster, resource, applied, namespace, name)
    uid = applied["metadata"].pop("uid", None)
    record = cluster.objects.get(resource.key(namespace, name))
    if record is None and subresource:
        raise errors.not_found(resource.group, resource.plural, name)
    live = load(record, resource) if record else None
    version = applied["metadata"].pop("resourceVersion", None)
    if version and (live is None or version != live["metadata"]["resourceVersion"]):
        raise errors.conflict(resource.group, resource.plural, name)
    schema, manager = cluster.schema(resource), request.query["fieldManager"]
    try:
        merged = fieldmanager.apply(
            trees.copy(live), applied, manager, request.flag("force"), schema, cluster.now(), subresource
        )
    except fieldmanager.ApplyConflict as error:
        causes = [{"reason": "FieldManagerConflict", "message": m, "field": f} for m, f in error.causes]
        raise errors.apply_conflict(_conflict_message(causes), causes) from None
    if record is None:
        asked = rbac.Attributes("create", resource.group, resource.plural, "", namespace, name)
        escalation.authorize(cluster.policy, request.user, asked)  # who may patch may not therefore create
        return create(request, resource, merged, namespace, managed=True)
    assert live is not None
    if uid and uid != live["metadata"]["uid"]:
        raise _immutable_uid(resource, name, uid)
    merged["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
    return update(request, resource, record, merged, subresource, managed=True)


def _decoded_apply(request: Request, data: bytes) -> Object:
    try:
        applied = decoding.parse(data, as_yaml=True)
        if isinstance(applied, dict):
            request.warnings += decoding.duplicates(data, applied, as_yaml=True)
    except decoding.Malformed as error:
        raise errors.bad_request(f"error decoding patch: error converting YAML to JSON: {error}") from None
    if applied is not None and not isinstance(applied, dict):
        text = f"json: cannot unmarshal {decoding.json_name(applied)} into Go value of type map[string]interface {{}}"
        raise errors.bad_request(f"error decoding patch: error unmarshaling JSON: while decoding JSON: {text}")
    version, kind = (str((applied or {}).get(name) or "") for name in ("apiVersion", "kind"))
    if not version or not kind:
        group, _, short = version.rpartition("/")
        raise errors.bad_request(f"invalid object type: {group}/{short}, Kind={kind}")
    return dict(applied or {})


def _check_applied(cluster: Cluster, resource: Resource, applied: Object, namespace: str, name: str) -> None:
    if (applied["apiVersion"], applied["kind"]) != (resource.api_version, resource.kind):
        group, _, version = applied["apiVersion"].rpartition("/")
        raise errors.bad_request(f"invalid object type: {group}/{version}, Kind={applied['kind']}")
    metadata = applied.setdefault("metadata", {})
    if not isinstance(metadata, dict):
        metadata = applied["metadata"] = {}
    where = f"{metadata.get('namespace') or ''}/{metadata.get('name') or ''}; {resource.group}/{resource.version}, Kind={resource.kind}"
    problem = decoding.typed_problem(applied, cluster.schema(resource).root)
    if problem and not metadata.get("managedFields"):
        raise errors.plain(500, f"failed to create typed patch object ({where}): {problem}")
    if metadata.get("managedFields"):
        raise errors.bad_request("metadata.managedFields must be nil")
    if metadata.get("name") not in (None, "", name):
        raise errors.bad_request(f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})")
    metadata["name"] = name
    if resource.namespaced:
        if metadata.get("namespace") not in (None, "", namespace):
            raise errors.bad_request("the namespace of the provided object does not match the namespace sent on the request")
        metadata["namespace"] = namespace
    for member in ("creationTimestamp", "uid", "generation", "selfLink"):
        if metadata.get(member) is None:
            metadata.pop(member, None)


def _conflict_message(causes: list[dict[str, str]]) -> str:
    """As structured-merge-diff groups conflicts: one line for a single one, a list by manager otherwise."""
    if len(causes) == 1:
        return f"Apply failed with 1 conflict: {causes[0]['message']}: {causes[0]['field']}"
    by_manager: dict[str, list[str]] = {}
    for item in causes:
        by_manager.setdefault(item["message"], []).append(item["field"])
    groups = [
        message.replace("conflict with", "conflicts with", 1) + ":\n" + "\n".join(f"- {field}" for field in fields)
        for message, fields in by_manager.items()
    ]
    return f"Apply failed with {len(causes)} conflicts: " + "\n".join(groups)


# --- delete ----------------------------------------------------------------------------------------------------------


def warn_of_orphans(request: Request, resource: Resource, options: Object) -> None:
    """Jobs leave their Pods behind, for the sake of old clients; whoever deletes one is told."""
    if resource.kind == "Job" and resource.group == "batch" and not _policy(options):
        request.warnings.append(
            "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set "
            "propagationPolicy=Orphan to suppress this warning"
        )


def delete(request: Request, resource: Resource, record: Record, options: Object) -> tuple[int, bytes]:
    """Delete, or mark as being deleted. The answer's status and body."""
    cluster, obj = request.cluster, load(record, resource)
    metadata = obj["metadata"]
    _check_delete(resource, obj, options)
    dry = request.dry_run or options.get("dryRun") == ["All"]
    old = trees.copy(obj)
    _set_policy_finalizers(resource, metadata, options)
    grace = _grace(resource, obj, options)
    if not pending_finalizers(resource, {**obj, "metadata": {**metadata, "deletionGracePeriodSeconds": 0}}) and not grace:
        if (resource.group, resource.kind) == ("", "Pod"):
            if not metadata.get("deletionTimestamp"):
                metadata["generation"] = metadata.get("generation", 0) + 1
            metadata |= {"deletionTimestamp": cluster.now(), "deletionGracePeriodSeconds": 0}
        if not dry:
            removed = cluster.objects.remove(record.key, obj, record.revision)
            after_delete(cluster, resource, obj)
            record = removed
        if (resource.group, resource.plural) in RETURNED:
            return 200, as_version(record.value, resource)
        return 200, _deleted_status(resource, obj)
    if not metadata.get("deletionTimestamp") or grace < metadata.get("deletionGracePeriodSeconds", 0):
        metadata["deletionTimestamp"] = cluster.later(grace)
        metadata["deletionGracePeriodSeconds"] = grace
        if "generation" in metadata and not old["metadata"].get("deletionTimestamp"):
            metadata["generation"] += 1
        if resource.kind == "Namespace" and resource.group == "":
            obj.setdefault("status", {})["phase"] = "Terminating"
            metadata.pop("deletionGracePeriodSeconds")
    if obj != old and not dry:
        record = cluster.objects.put(resource, record.key, obj, old, record.revision)
    return 200, as_version(record.value, resource)


def _check_delete(resource: Resource, obj: Object, options: Object) -> None:
    metadata, wanted = obj["metadata"], options.get("preconditions") or {}
    for member, text, happened in (
        ("uid", "UID", "deleted and then recreated"),
        ("resourceVersion", "ResourceVersion", "modified"),
    ):
        found = metadata[member]
        if wanted.get(member) and wanted[member] != found:
            why = f"the {text} in the precondition ({wanted[member]}) does not match the {text} in record ({found}). "
            why += f"The object might have been {happened}"
            raise errors.conflict(resource.group, resource.kind, metadata["name"], why)
    if resource.kind == "Namespace" and resource.group == "" and metadata["name"] in admission.IMMORTAL:
        raise errors.forbidden("", "namespaces", metadata["name"], "this namespace may not be deleted")


def _policy(options: Object) -> str:
    policy = options.get("propagationPolicy")
    if options.get("orphanDependents") is not None:
        if policy is not None:
            text = f"Invalid value: {json.dumps(policy)}: orphanDependents and deletionPropagation cannot be both set"
            causes = [errors.cause("FieldValueInvalid", text, "propagationPolicy")]
            raise errors.invalid("meta.k8s.io", "DeleteOptions", "", causes)
        return "Orphan" if options["orphanDependents"] else "Background"
    if policy is None:
        return ""
    if policy not in ("Background", "Foreground", "Orphan"):
        text = f'Unsupported value: "{policy}": supported values: "Foreground", "Background", "Orphan", "nil"'
        causes = [errors.cause("FieldValueNotSupported", text, "propagationPolicy")]
        raise errors.invalid("meta.k8s.io", "DeleteOptions", "", causes)
    return str(policy)


def _set_policy_finalizers(resource: Resource, metadata: Object, options: Object) -> None:
    """The propagation policy, as the finalizer that the garbage collector acts on."""
    policy = _policy(options)
    finalizers = list(metadata.get("finalizers") or [])
    if not policy:
        if FOREGROUND in finalizers or ORPHAN in finalizers:
            return
        policy = "Orphan" if (resource.group, resource.kind) == ("batch", "Job") else "Background"
    kept = [item for item in finalizers if item not in (FOREGROUND, ORPHAN)]
    added = {"Orphan": [ORPHAN], "Foreground": [FOREGROUND]}.get(policy, [])
    if kept + added:
        metadata["finalizers"] = kept + added
    else:
        metadata.pop("finalizers", None)


def _grace(resource: Resource, obj: Object, options: Object) -> int:
    """How long a Pod may still run: it is its kubelet that deletes it for good, with a grace period of 0."""
    if resource.kind != "Pod" or resource.group != "":
        return 0
    asked = options.get("gracePeriodSeconds")
    seconds = int(obj["spec"].get("terminationGracePeriodSeconds") or 0) if asked is None else int(asked)
    unscheduled = not obj["spec"].get("nodeName")
    finished = (obj.get("status") or {}).get("phase") in ("Failed", "Succeeded")
    if unscheduled or finished:
        return 0
    pending = obj["metadata"].get("deletionGracePeriodSeconds")
    return seconds if pending is None else min(seconds, pending)


def _deleted_status(resource: Resource, obj: Object) -> bytes:
    details = {"name": obj["metadata"]["name"]}
    if resource.group:
        details["group"] = resource.group
    details |= {"kind": resource.plural, "uid": obj["metadata"]["uid"]}
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
    return json.dumps(status).encode()


def after_delete(cluster: Cluster, resource: Resource, obj: Object) -> None:
    """What follows from a deletion at once."""
    if resource.kind == "Service" and resource.group == "":
        allocation.release(cluster, obj)
    elif resource.kind == "ClusterRole" and resource.group == rbac.GROUP:
        aggregate(cluster, resource)
