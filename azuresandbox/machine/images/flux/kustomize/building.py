"""Builds the objects of a Kustomization: kustomize with the spec's overlay, variable substitution, labels of the owner."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from azuresandbox.machine import kustomize
from azuresandbox.machine.client import ApiError
from azuresandbox.machine.images.flux.kustomize import texts
from azuresandbox.machine.images.flux.kustomize.cache import remembered
from azuresandbox.machine.images.flux.kustomize.run import GROUP, Failure, Run, Stalled
from azuresandbox.machine.images.flux.ssa.compare import in_metadata, normalise
from azuresandbox.machine.kustomize.documents import dump, parse
from azuresandbox.machine.types import Object, Objects

UNSUPPORTED = {
    "decryption": "keep secrets out of Git: create the Secret in the cluster and refer to it",
    "healthCheckExprs": "custom resources are healthy by their Ready condition",
}
"""Field of the spec -> what to do instead."""

_FIELDS = (
    "targetNamespace",
    "namePrefix",
    "nameSuffix",
    "patches",
    "components",
    "ignoreMissingComponents",
    "images",
    "buildMetadata",
)
_builds: OrderedDict[str, str] = OrderedDict()


def refuse_unsupported(spec: Mapping[str, Any]) -> None:
    """Raise `Stalled` if the spec uses a field that the sandbox does not support."""
    for name, instead in UNSUPPORTED.items():
        if spec.get(name):
            raise Stalled(texts.FIELD_UNSUPPORTED(field=name, instead=instead))
    for dependency in spec.get("dependsOn") or ():
        if dependency.get("readyExpr"):
            raise Stalled(texts.READY_EXPR_UNSUPPORTED())


def clean_path(path: str) -> str:
    """Return a path below the artifact's root. `..` cannot leave it, as with Go's securejoin."""
    steps: list[str] = []
    for step in path.split("/"):
        if step == "..":
            del steps[-1:]
        elif step not in ("", "."):
            steps.append(step)
    return "/".join(steps)


def folder_name(run: Run) -> str:
    """Return the name of the temporary folder in messages: like Flux's, but always the same for an object and revision."""
    seed = f"{run.obj['metadata'].get('uid', '')}{run.revision}"
    return f"/tmp/kustomization-{int(hashlib.sha256(seed.encode()).hexdigest()[:8], 16)}"


async def build(run: Run, files: dict[str, bytes], path: str, folder: str) -> Objects:
    """Return the objects to apply. Raises `Failure`."""
    try:
        objects = _built(run.artifact["digest"], files, path, run.spec, folder)
        if run.spec.get("postBuild"):
            objects = [await _substituted(run, obj) for obj in objects]
    except kustomize.KustomizeError as error:
        raise Failure(texts.BUILD_FAILED(error=error)) from error
    for obj in objects:
        if not (obj.get("apiVersion") and obj.get("kind") and (obj.get("metadata") or {}).get("name")):
            raise Failure(texts.NOT_AN_OBJECT(document=dump(obj)))
    return [normalise(obj) for obj in objects if not obj["apiVersion"].startswith("kustomize.config.k8s.io/")]


def set_owner(run: Run, objects: Objects, labels: Mapping[str, str]) -> None:
    """Give all objects the labels of their owner, and the labels and annotations of `spec.commonMetadata`."""
    common = run.spec.get("commonMetadata") or {}
    for obj in objects:
        metadata = obj["metadata"]
        metadata["labels"] = {**(metadata.get("labels") or {}), **labels, **(common.get("labels") or {})}
        if common.get("annotations"):
            metadata["annotations"] = {**(metadata.get("annotations") or {}), **common["annotations"]}


def _built(digest: str, files: dict[str, bytes], path: str, spec: Mapping[str, Any], folder: str) -> Objects:
    key = json.dumps([digest, path, {name: spec[name] for name in _FIELDS if name in spec}], sort_keys=True)

    def make() -> str:
        overlaid = kustomize.with_overlay(files, path, spec, top=folder)
        try:
            return json.dumps(kustomize.build(overlaid, path or ".", top=folder))
        except kustomize.Unsupported:
            raise
        except kustomize.KustomizeError as error:
            raise kustomize.KustomizeError(texts.KUSTOMIZE_FAILED(error=error).message) from error

    objects: Objects = json.loads(remembered(_builds, key, make))
    return objects


# --- substitution ----------------------------------------------------------------------------------------------------


async def _substituted(run: Run, obj: Object) -> Object:
    """Return the object with its variables replaced. Raises `KustomizeError`."""
    if in_metadata(obj, {f"{GROUP}/substitute": "disabled"}):
        return obj
    post = run.spec["postBuild"]
    strict = "StrictPostBuildSubstitutions=true" in run.pod.flag("feature-gates", "")
    try:
        variables = await _variables(run, post)
        if not variables and post.get("substituteStrategy") != "Always":
            return obj
        parsed = parse(kustomize.substitute(dump(obj), variables, strict=strict))
    except kustomize.KustomizeError as error:
        subject = f"{_gvk(obj)}/{obj['metadata']['name']}"
        raise kustomize.KustomizeError(texts.POST_BUILD_FAILED(subject=subject, error=error).message) from error
    result: Object = parsed[0]
    return result


async def _variables(run: Run, post: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables of `spec.postBuild`: those of ConfigMaps and Secrets, then its own. Raises `KustomizeError`."""
    variables: dict[str, str] = {}
    for reference in post.get("substituteFrom") or ():
        kind, name = reference["kind"], reference["name"]
        try:
            found = await run.pod.kube.get("v1", kind, name, run.namespace)
        except ApiError as error:
            if error.not_found and reference.get("optional"):
                continue
            message = texts.NO_SUBSTITUTES(kind=kind, name=name, error=error).message
            raise kustomize.KustomizeError(message) from error
        for key, value in (found.get("data") or {}).items():
            text = base64.b64decode(value).decode("utf-8", "replace") if kind == "Secret" else str(value)
            variables[key] = text.replace("\n", "")
    for key, value in (post.get("substitute") or {}).items():
        variables[key] = str(value).replace("\n", "")
    return variables


def _gvk(obj: Object) -> str:
    group, _, version = obj["apiVersion"].rpartition("/")
    return f"{obj['kind']}.{version}.{group or '[noGrp]'}"
