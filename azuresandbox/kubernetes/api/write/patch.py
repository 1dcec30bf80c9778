"""Change an object by one of the four kinds of patch; server-side apply also creates."""

from __future__ import annotations

import json
import re
from typing import Any

from azuresandbox import trees
from azuresandbox.kubernetes.api.request import Request
from azuresandbox.kubernetes.api.stored import find, load
from azuresandbox.kubernetes.api.write.body import (
    Undecodable,
    accept,
    check_kind,
    check_name,
    check_types,
    prune,
    set_namespace,
)
from azuresandbox.kubernetes.api.write.common import Written
from azuresandbox.kubernetes.api.write.create import create
from azuresandbox.kubernetes.api.write.update import update
from azuresandbox.kubernetes.model import decoding, errors, fieldmanager
from azuresandbox.kubernetes.model.patch import PatchError, json_patch, merge_patch, strategic_merge_patch
from azuresandbox.kubernetes.model.resources import Resource
from azuresandbox.kubernetes.model.types import Object
from azuresandbox.kubernetes.state import escalation, rbac
from azuresandbox.kubernetes.state.cluster import Cluster

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
PATCHES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, APPLY_PATCH)


def patch(request: Request, resource: Resource, namespace: str, name: str, subresource: str, data: bytes) -> Written:
    """Patch an object. The Content-Type names the kind of patch."""
    kind = request.content_type
    if kind not in PATCHES or (kind == STRATEGIC_MERGE_PATCH and resource.custom is not None):
        if resource.custom is None:
            raise errors.StatusError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
        raise errors.unsupported_media_type([item for item in PATCHES if item != STRATEGIC_MERGE_PATCH])
    if kind == APPLY_PATCH:
        return _apply(request, resource, namespace, name, subresource, data)
    if "force" in request.query:
        text = "Forbidden: may not be specified for non-apply patch"
        raise request.invalid_option("FieldValueForbidden", text, "force")
    record = find(request.cluster, resource, namespace, name)
    old = load(record.value, resource)
    changes = _decoded_patch(kind, data)
    new = _patched(request, resource, old, kind, changes)
    if kind == STRATEGIC_MERGE_PATCH:
        new |= {"apiVersion": old["apiVersion"], "kind": old["kind"]}
    shown = (
        decoding.gotext(changes)
        if kind == STRATEGIC_MERGE_PATCH
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
    """Refuse a patch whose result cannot be decoded, with 422. `shown`: the patch as the message quotes it."""
    if new.get("metadata") is None:
        new["metadata"] = {}
    try:
        if resource.custom is None:
            check_kind(request, resource, new)
        check_types(request, resource, new)
        if request.query.get("fieldValidation") == "Strict":
            prune(request, resource, trees.copy(new))
    except errors.StatusError as error:
        why = re.sub(r"^\w+ in version \S+ cannot be handled as a \w+: ", "", error.message)
        if request.content_type == STRATEGIC_MERGE_PATCH and isinstance(error, Undecodable):
            why = error.converted
        causes = [errors.cause("FieldValueInvalid", f"Invalid value: {json.dumps(shown, ensure_ascii=False)}: {why}", "patch")]
        raise errors.invalid("", "", "", causes) from None


def _decoded_patch(kind: str, data: bytes) -> Any:
    """Return the decoded patch; refuse one that is not of its kind's JSON type."""
    try:
        changes = trees.parse(data)
    except ValueError:
        raise errors.bad_request("invalid JSON patch") from None
    wanted, named = (list, "[]handlers.jsonPatchOp") if kind == JSON_PATCH else (dict, "map[string]interface {}")
    if changes is None:
        if kind == MERGE_PATCH:
            raise errors.bad_request("Invalid JSON Patch")
        return wanted()
    if not isinstance(changes, wanted):
        text = f"json: cannot unmarshal {decoding.json_name(changes)} into Go value of type {named}"
        raise errors.bad_request(text if kind == STRATEGIC_MERGE_PATCH else f"error decoding patch: {text}")
    if kind != JSON_PATCH:
        return changes
    for item in changes:
        if not isinstance(item, dict):
            text = f"json: cannot unmarshal {decoding.json_name(item)} into Go value of type handlers.jsonPatchOp"
            raise errors.bad_request(f"error decoding patch: {text}")
    return [{"value": None, **item} for item in changes]  # Go's type always has a value


def _patched(request: Request, resource: Resource, old: Object, kind: str, changes: Any) -> Object:
    """Return the patched object; raise the API's error if the patch does not apply."""
    live = trees.copy(old)
    try:
        if kind == JSON_PATCH:
            found = json_patch(live, changes)
        elif kind == MERGE_PATCH:
            found = merge_patch(live, changes)
        else:
            found = strategic_merge_patch(live, changes, request.cluster.schema(resource))
    except PatchError as error:
        if kind == JSON_PATCH:
            message = "the server rejected our request due to an error in our request"
            raise errors.StatusError(422, "Invalid", message, {}) from None
        raise (errors.plain(500, str(error)) if kind == STRATEGIC_MERGE_PATCH else errors.bad_request(str(error))) from None
    if not isinstance(found, dict):
        raise errors.StatusError(422, "Invalid", "the server rejected our request due to an error in our request", {})
    return found


def _apply(request: Request, resource: Resource, namespace: str, name: str, subresource: str, data: bytes) -> Written:
    """Apply a configuration (server-side apply); create the object if it does not exist."""
    cluster = request.cluster
    if not request.query.get("fieldManager"):
        missing = errors.cause("FieldValueRequired", "Required value: is required for apply patch", "fieldManager")
        raise errors.invalid("meta.k8s.io", "PatchOptions", "", [missing])
    applied = _decoded_apply(request, data)
    _check_applied(cluster, resource, applied, namespace, name)
    uid = applied["metadata"].pop("uid", None)
    record = cluster.objects.get(resource.key(namespace, name))
    if record is None and subresource:
        raise errors.not_found(resource.group, resource.plural, name)
    live = load(record.value, resource) if record else None
    version = applied["metadata"].pop("resourceVersion", None)
    if version and (live is None or version != live["metadata"]["resourceVersion"]):
        raise errors.conflict(resource.group, resource.plural, name)
    schema, manager = cluster.schema(resource), request.query["fieldManager"]
    try:
        merged = fieldmanager.apply(
            trees.copy(live), applied, manager, request.flag("force"), schema, cluster.now(), subresource
        )
    except fieldmanager.ApplyConflict as error:
        causes: errors.Causes = [{"reason": "FieldManagerConflict", "message": m, "field": f} for m, f in error.causes]
        raise errors.apply_conflict(_conflict_message(causes), causes) from None
    if record is None:
        asked = rbac.Attributes("create", resource.group, resource.plural, "", namespace, name)
        escalation.authorize(cluster.policy, request.user, asked)  # the right to patch does not include the right to create
        return create(request, resource, merged, namespace, managed=True)
    assert live is not None
    if uid and uid != live["metadata"]["uid"]:
        raise _immutable_uid(resource, name, uid)
    merged["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
    return update(request, resource, record, merged, subresource, managed=True)


def _decoded_apply(request: Request, data: bytes) -> Object:
    """Return the applied configuration, from YAML or JSON; it must have an apiVersion and a kind."""
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
    """Refuse a configuration of another kind, name or namespace, or one that its schema cannot read."""
    if (applied["apiVersion"], applied["kind"]) != (resource.api_version, resource.kind):
        group, _, version = applied["apiVersion"].rpartition("/")
        raise errors.bad_request(f"invalid object type: {group}/{version}, Kind={applied['kind']}")
    metadata = applied.setdefault("metadata", {})
    if not isinstance(metadata, dict):
        metadata = applied["metadata"] = {}
    where = f"{metadata.get('namespace') or ''}/{metadata.get('name') or ''}; "
    where += f"{resource.group}/{resource.version}, Kind={resource.kind}"
    problem = decoding.typed_problem(applied, cluster.schema(resource).root)
    if problem and not metadata.get("managedFields"):
        raise errors.plain(500, f"failed to create typed patch object ({where}): {problem}")
    if metadata.get("managedFields"):
        raise errors.bad_request("metadata.managedFields must be nil")
    if metadata.get("name"):
        check_name(metadata, name)
    metadata["name"] = name
    if resource.namespaced:
        set_namespace(metadata, namespace)
    for member in ("creationTimestamp", "uid", "generation", "selfLink"):
        if metadata.get(member) is None:
            metadata.pop(member, None)


def _conflict_message(causes: errors.Causes) -> str:
    """Return the message of a conflict as structured-merge-diff words it: several conflicts are grouped by manager."""
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
