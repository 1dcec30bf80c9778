"""Flux's preparation of a build: writes a kustomization.yaml where it is missing, and adds the Kustomization's spec to it.

Source: fluxcd/pkg/kustomize (Generator).
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from typing import Any

from azuresandbox.machine.kustomize.documents import MalformedYAML, dump, flattened, parse, parse_one, problem
from azuresandbox.machine.kustomize.errors import KustomizeError
from azuresandbox.machine.kustomize.fields import FIELDS, FILE_NAMES, REMOTE, UNSUPPORTED
from azuresandbox.machine.kustomize.source import Source
from azuresandbox.machine.types import Object


def with_overlay(files: Mapping[str, bytes], path: str, spec: Mapping[str, Any], *, top: str) -> dict[str, bytes]:
    """Return `files` with the kustomization file of folder `path` as Flux rewrites it for a Kustomization's spec."""
    source = Source(files, top)
    folder = source.folder(path)
    existing = source.kustomization_file(folder)
    if existing is None:
        fields = _generated(source, folder)
        existing = posixpath.join(folder, FILE_NAMES[0])
    else:
        loaded = parse_one(files[existing])
        fields = {k: v for k, v in (loaded if isinstance(loaded, dict) else {}).items() if k in FIELDS or k in UNSUPPORTED}
        if not fields.get("resources"):
            fields["buildMetadata"] = ["originAnnotations"]
    fields.setdefault("apiVersion", "kustomize.config.k8s.io/v1beta1")
    fields.setdefault("kind", "Kustomization")
    _lay_over(source, folder, fields, spec)
    return {**files, existing: dump(fields).encode()}


def _lay_over(source: Source, folder: str, fields: Object, spec: Mapping[str, Any]) -> None:
    for name, target in (("targetNamespace", "namespace"), ("namePrefix", "namePrefix"), ("nameSuffix", "nameSuffix")):
        if spec.get(name):
            fields[target] = spec[name]
    for patch in spec.get("patches") or ():
        fields.setdefault("patches", []).append({k: patch[k] for k in ("patch", "target") if k in patch})
    for component in spec.get("components") or ():
        if component.lower().startswith(REMOTE) or component.startswith("/"):
            raise KustomizeError(f"component path '{component}' must be local and relative")
        if spec.get("ignoreMissingComponents") and not _exists(source, folder, component):
            continue
        fields.setdefault("components", []).append(component)
    merge_images(fields, spec.get("images") or ())
    if spec.get("buildMetadata"):
        fields["buildMetadata"] = list(spec["buildMetadata"])


def merge_images(fields: Object, images: Iterable[Mapping[str, Any]]) -> None:
    """An image of the spec overrides the one of that name; tag and digest are one setting."""
    known: list[Object] = fields.setdefault("images", []) if images else []
    for image in images:
        entry = next((e for e in known if e.get("name") == image["name"]), None)
        if entry is None:
            known.append(dict(image))
            continue
        if image.get("newName"):
            entry["newName"] = image["newName"]
        if image.get("newTag") or image.get("digest"):
            entry.update(newTag=image.get("newTag", ""), digest=image.get("digest", ""))


def _exists(source: Source, folder: str, path: str) -> bool:
    try:
        source.folder(path, folder)
    except KustomizeError:
        return False
    return True


def _generated(source: Source, folder: str) -> Object:
    """Return a kustomization of all manifests below the folder; a subfolder with a kustomization is one resource."""
    resources = list(_scan(source, folder, folder))
    return {"resources": resources} if resources else {"namespace": "_placeholder"}


def _scan(source: Source, base: str, folder: str) -> Iterable[str]:
    prefix = folder + "/" if folder else ""
    for name in sorted({path[len(prefix) :].partition("/")[0] for path in source.root if path.startswith(prefix)}):
        path = prefix + name
        relative = "./" + (path[len(base) + 1 :] if base else path)
        if path in source.root:
            if name.endswith((".yaml", ".yml")):
                _check(source, path)
                yield relative
        elif any(f"{path}/{file}" in source.root for file in FILE_NAMES):
            yield relative
        else:
            yield from _scan(source, base, path)


def _check(source: Source, path: str) -> None:
    where = source.name(path)
    try:
        documents = parse(source.root[path])
    except MalformedYAML as error:
        raise KustomizeError(f"failed to decode Kubernetes YAML from {where}: {error}") from error
    for document in flattened(documents):
        if why := problem(document):
            raise KustomizeError(f"failed to decode Kubernetes YAML from {where}: {why}")
