"""Post-renderers and origin labels: helm-controller changes a release's manifests before they are stored and applied.

Source: fluxcd/helm-controller internal/postrender.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from azuresandbox.machine.helm.manifests import Document, ManifestError, Transform
from azuresandbox.machine.images.flux.helm.run import GROUP
from azuresandbox.machine.kustomize import KustomizeError, build
from azuresandbox.machine.kustomize.documents import dump

_SOURCE = "postrenderer.helm.sh/postrender-filename"


def post_renderer(spec: Mapping[str, Any], name: str, namespace: str) -> Transform:
    """Return a function that runs the spec's post-renderers in order, then labels each object with its HelmRelease."""

    def transform(documents: list[Document]) -> list[Document]:
        for renderer in spec.get("postRenderers") or ():
            if renderer.get("kustomize"):
                documents = _kustomized(documents, renderer["kustomize"])
        labels = {f"{GROUP}/name": name, f"{GROUP}/namespace": namespace}
        for document in documents:
            metadata = document.obj.setdefault("metadata", {})
            metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
        return documents

    return transform


def _kustomized(documents: list[Document], settings: Mapping[str, Any]) -> list[Document]:
    """Apply kustomize's patches and images. An annotation keeps the source of each document meanwhile."""
    marked = []
    for document in documents:
        metadata = document.obj.get("metadata") or {}
        annotations = {**(metadata.get("annotations") or {}), _SOURCE: document.source}
        marked.append({**document.obj, "metadata": {**metadata, "annotations": annotations}})
    fields = {"resources": ["manifests.yaml"], **{k: settings[k] for k in ("patches", "images") if settings.get(k)}}
    files = {
        "kustomization.yaml": dump(fields).encode(),
        "manifests.yaml": "".join(f"---\n{dump(obj)}" for obj in marked).encode(),
    }
    try:
        built = build(files, ".", top="")
    except KustomizeError as error:
        raise ManifestError(f"error while running post render on files: {error}") from error
    result = []
    for obj in built:
        source = obj["metadata"]["annotations"].pop(_SOURCE)
        if not obj["metadata"]["annotations"]:
            del obj["metadata"]["annotations"]
        result.append(Document(source, obj))
    return result
