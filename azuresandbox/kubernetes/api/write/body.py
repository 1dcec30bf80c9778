"""The body of a write, checked and pruned before a verb sees it."""

from __future__ import annotations

import json
from dataclasses import replace

from azuresandbox.kubernetes.api.request import Request
from azuresandbox.kubernetes.api.write.common import tidy_metadata
from azuresandbox.kubernetes.model import builtin, decoding, errors, goform
from azuresandbox.kubernetes.model.resources import Resource
from azuresandbox.kubernetes.model.schema import Schema
from azuresandbox.kubernetes.model.schema_nodes import OBJECT_META
from azuresandbox.kubernetes.model.types import Object


def accept(request: Request, resource: Resource, obj: Object, namespace: str, name: str = "") -> Object:
    """Return the sent object, checked, completed and pruned in place as `fieldValidation` asks."""
    check_kind(request, resource, obj)
    check_types(request, resource, obj)
    metadata = obj.get("metadata")
    if metadata is None:
        metadata = obj["metadata"] = {}
    for member in ("labels", "annotations"):
        if metadata.get(member) is None:
            metadata.pop(member, None)
    if resource.namespaced:
        set_namespace(metadata, namespace)
    else:
        metadata.pop("namespace", None)
    if name and not metadata.get("name"):
        raise errors.bad_request(f"the name of the object ({name} based on URL) was undeterminable: name must be provided")
    if name:
        check_name(metadata, name)
    prune(request, resource, obj)
    request.forget_managers = metadata.get("managedFields") == []
    if resource.custom is not None:
        tidy_metadata(obj)
        decoding.whole_numbers(obj)
    else:
        goform.form(obj, request.cluster.schema(resource))
    return obj


def check_name(metadata: Object, name: str) -> None:
    """Refuse a name that is not the one in the path."""
    if metadata["name"] != name:
        raise errors.bad_request(f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})")


def set_namespace(metadata: Object, namespace: str) -> None:
    """Set the namespace of the path; refuse an object that names another one."""
    if metadata.get("namespace") not in (None, "", namespace):
        raise errors.bad_request("the namespace of the provided object does not match the namespace sent on the request")
    metadata["namespace"] = namespace


SUBRESOURCE_KINDS = {"TokenRequest": "authentication.k8s.io", "Binding": "", "Eviction": "policy"}
"""Kinds that only subresources take -> their group; all are v1."""


async def subresource_body(request: Request, resource: Resource, kind: str) -> Object:
    """Return the body of a subresource that takes a kind of its own, checked like any object of that kind."""
    obj = await request.document(kind)
    shown = replace(resource, group=SUBRESOURCE_KINDS[kind], version="v1", kind=kind)
    check_kind(request, shown, obj)
    check_types(request, shown, obj)
    prune(request, shown, obj)
    return obj


_SCHEME = 'in scheme "pkg/runtime/scheme.go:111"'
"""The registry of types that kube-apiserver names in its messages."""


def check_kind(request: Request, resource: Resource, obj: Object) -> None:
    """Refuse an object of another version or kind. A built-in object that leaves them out gets them, in place."""
    version, kind = obj.get("apiVersion"), obj.get("kind")
    if resource.custom is not None:
        _check_custom_kind(request, resource, obj)
        return
    version, kind = version or resource.api_version, kind or resource.kind
    if (version, kind) != (resource.api_version, resource.kind):
        raise errors.bad_request(_unconvertible(resource, str(version), str(kind), obj))
    obj["apiVersion"], obj["kind"] = resource.api_version, resource.kind


def _check_custom_kind(request: Request, resource: Resource, obj: Object) -> None:
    version, kind, expected = obj.get("apiVersion"), obj.get("kind"), resource.api_version
    name = (obj.get("metadata") or {}).get("name") or ""
    if version != expected and request.method == "PATCH":
        text = f"Invalid value: {json.dumps(version)}: must be {expected}"
        causes = [errors.cause("FieldValueInvalid", text, "apiVersion")]
        raise errors.invalid(resource.group, str(kind), name, causes)
    if version != expected:
        text = f"the API version in the data ({version or ''}) does not match the expected API version ({expected})"
        raise errors.bad_request(text)
    if kind != resource.kind:
        causes = [errors.cause("FieldValueInvalid", f"Invalid value: {json.dumps(kind)}: must be {resource.kind}", "kind")]
        raise errors.invalid(resource.group, str(kind), name, causes)


def _unconvertible(resource: Resource, version: str, kind: str, obj: Object) -> str:
    """Say why an object of another kind is refused.

    kube-apiserver decodes an object of a built-in kind first, so a misfit of that kind is reported before the conversion.
    """
    group, _, number = version.rpartition("/")
    text = f'{kind} in version "{number}" cannot be handled as a {resource.kind}: '
    other = builtin.schema_for(group, number, kind)
    if other is None:
        return text + f'no kind "{kind}" is registered for version "{version}" {_SCHEME}'
    if problem := decoding.misfit(obj, other.root, kind):
        return text + problem.decoded()
    package = resource.group.partition(".")[0] or "core"
    return text + f"converting ({number}.{kind}) to ({package}.{resource.kind}): unknown conversion"


def check_types(request: Request, resource: Resource, obj: Object) -> None:
    """Raise `Undecodable` if a value does not fit its Go type; of a custom resource, only metadata has a Go type."""
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
    """A value of the wrong type. `converted`: the message where the object is converted from a map, not decoded."""

    def __init__(self, message: str, converted: str) -> None:
        super().__init__(400, "BadRequest", message)
        self.converted = converted


_METADATA = Schema(OBJECT_META).root


def _handled(resource: Resource, why: str) -> str:
    return f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: {why}'


def prune(request: Request, resource: Resource, obj: Object) -> None:
    """Remove unknown fields in place. By `fieldValidation`, unknown and duplicate fields are refused, warned of or ignored."""
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
