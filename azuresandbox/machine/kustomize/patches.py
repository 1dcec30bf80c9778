"""The patches of a kustomization: their targets are found, and keep their identities."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from azuresandbox.machine.kustomize.documents import MalformedYAML, dump, parse, parse_one
from azuresandbox.machine.kustomize.errors import KustomizeError
from azuresandbox.machine.kustomize.patch import json6902, strategic
from azuresandbox.machine.kustomize.resource import Id, Resource, find
from azuresandbox.machine.kustomize.source import Read
from azuresandbox.machine.kustomize.transformers import selected
from azuresandbox.machine.types import Object


def apply_strategic(resources: list[Resource], patch: str, read: Read) -> None:
    """Apply an entry of `patchesStrategicMerge`: a file's path, or the patch itself."""
    for document in parse(patch if "\n" in patch else read(patch)):
        _apply_by_id(resources, document)


def apply_json(resources: list[Resource], patch: Mapping[str, Any], read: Read) -> None:
    """Apply an entry of `patchesJson6902`."""
    target = patch.get("target") or {}
    wanted = Id(*(str(target.get(part, "")) for part in ("group", "version", "kind", "name", "namespace")))
    found = _one(resources, wanted)
    text = read(patch["path"]) if patch.get("path") else patch.get("patch", "")
    operations = parse_one(text)
    _set_object(found, json6902(found.obj, operations if isinstance(operations, list) else [operations]))


def apply_patch(resources: list[Resource], patch: Mapping[str, Any], read: Read) -> None:
    """Apply an entry of `patches`: a strategic merge patch or JSON 6902 operations."""
    if bool(patch.get("path")) == bool(patch.get("patch")):
        raise KustomizeError("must specify one of patch and path in\n" + dump(dict(patch)).strip())
    where = f"[{'path' if patch.get('path') else 'patch'}: {json.dumps(patch.get('path') or patch['patch'])}]"
    try:
        documents = _documents(_text(patch, read), where)
    except KustomizeError as error:
        config = "trouble configuring builtin PatchTransformer with config: `\n"
        config += dump({k: v for k, v in patch.items() if v})
        raise KustomizeError(f"{config.rstrip()}\n`: {error}") from error
    target, options = patch.get("target"), patch.get("options") or {}
    if isinstance(documents[0], list) or _is_operation(documents[0]):
        if not target:
            raise KustomizeError(f"must specify a target for JSON patch {where}")
        operations = [op for document in documents for op in (document if isinstance(document, list) else [document])]
        for resource in [r for r in resources if selected(r, target)]:
            _set_object(resource, json6902(resource.obj, operations))
    elif not target:
        for document in documents:
            _apply_by_id(resources, document, options)
    elif len(documents) > 1:
        raise KustomizeError(
            "Multiple Strategic-Merge Patches in one `patches` entry is not allowed to set `patches.target` field: " + where
        )
    else:
        for resource in [r for r in resources if selected(r, target)]:
            _merge(resources, resource, documents[0], options)


def _text(patch: Mapping[str, Any], read: Read) -> str | bytes:
    if not patch.get("path"):
        return str(patch["patch"])
    try:
        return read(patch["path"])
    except KustomizeError as error:
        raise KustomizeError(f"failed to get the patch file from path({patch['path']}): {error}") from error


def _documents(text: str | bytes, where: str) -> list[Any]:
    try:
        documents = parse(text)
    except MalformedYAML as error:
        raise KustomizeError(f"unable to parse SM or JSON patch from {where}") from error
    first = documents[0] if documents else None
    if not isinstance(first, list) and not _is_operation(first) and (not isinstance(first, dict) or "kind" not in first):
        raise KustomizeError(f"unable to parse SM or JSON patch from {where}")
    return documents


def _is_operation(document: Any) -> bool:
    return isinstance(document, dict) and "op" in document and "kind" not in document


def _apply_by_id(resources: list[Resource], patch: Object, options: Mapping[str, Any] | None = None) -> None:
    wanted = Resource(patch).id
    try:
        target = _one(resources, wanted)
    except KustomizeError as error:
        text = f"{error}; failed to find unique target for patch {wanted}"
        raise KustomizeError(f'no resource matches strategic merge patch "{wanted}": {text}') from error
    _merge(resources, target, patch, options or {})


def _one(resources: list[Resource], wanted: Id) -> Resource:
    found = find(resources, wanted)
    if len(found) == 1:
        return found[0]
    raise KustomizeError(f"{'multiple' if found else 'no'} matches for Id {wanted}")


def _merge(resources: list[Resource], target: Resource, patch: Object, options: Mapping[str, Any]) -> None:
    identity = target.id
    merged = strategic(target.obj, copy.deepcopy(patch), identity.group, identity.kind)
    if merged is None:
        resources.remove(target)
        return
    name, kind = merged.get("metadata", {}).get("name"), merged.get("kind")
    if name != identity.name and not options.get("allowNameChange"):
        merged["metadata"]["name"] = identity.name
    if kind != identity.kind and not options.get("allowKindChange"):
        merged["kind"] = identity.kind
    _set_object(target, merged)


def _set_object(resource: Resource, obj: Object) -> None:
    """Replace the resource's object; a former identity is remembered."""
    before = resource.id
    metadata = obj.get("metadata") or {}
    if (metadata.get("name"), metadata.get("namespace") or "") != (before.name, before.namespace):
        resource.remember()
    resource.obj = obj
