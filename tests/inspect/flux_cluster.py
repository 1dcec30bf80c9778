"""A cluster under Flux as documents: it answers lists, and its objects have managedFields as the API server writes them."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any, cast

import yaml

from fleetlib.clients.kube import Kube
from fleetlib.errors import FinalError
from fleetlib.inspect import applied, inside_drift
from fleetlib.inspect.rows import Row
from tests.inspect.fleet_documents import SINCE

Document = dict[str, Any]
HELM = {"helm.toolkit.fluxcd.io/name": "web", "helm.toolkit.fluxcd.io/namespace": "flux"}
KUSTOMIZE = {"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux"}


def owns(manager: str, fields: Document, subresource: str = "") -> Document:
    more = {"subresource": subresource} if subresource else {}
    return {"manager": manager, "operation": "Update", "time": SINCE, "fieldsV1": fields, **more}


def fields_of(tree: Any) -> Document:
    return {f"f:{name}": fields_of(value) for name, value in tree.items()} if isinstance(tree, dict) else {}


def made(kind: str, name: str, namespace: str, by: str, labels: Document, api_version: str = "v1", **body: Any) -> Document:
    """Return an object as its applier `by` has created it, owning all its fields."""
    metadata = {"name": name, **({"namespace": namespace} if namespace else {}), "labels": dict(labels)}
    found = {"apiVersion": api_version, "kind": kind, "metadata": metadata, **body}
    applied_fields = {
        "f:metadata": {"f:labels": fields_of(labels)},
        **{f"f:{key}": fields_of(value) for key, value in body.items()},
    }
    found["metadata"]["managedFields"] = [owns(by, applied_fields)]
    return found


class Cluster:
    """A cluster that answers lists in place of `Kube`, and records them in `calls`."""

    def __init__(self) -> None:
        self.objects: list[Document] = []
        self.calls: list[str] = []
        self.accepted: dict[str, bool] = {}
        self.kustomization: Document = {
            "metadata": {
                "name": "apps",
                "namespace": "flux",
                "managedFields": [owns("fluxconfig-agent", {"f:spec": {"f:prune": {}}})],
            },
            "spec": {"prune": True, "sourceRef": {"kind": "GitRepository", "name": "fleet"}},
            "status": {"inventory": {"entries": []}},
        }
        last = {"name": "web", "namespace": "web", "version": 2, "status": "deployed"}
        self.release: Document = {
            "metadata": {"name": "web", "namespace": "flux", "labels": dict(KUSTOMIZE)},
            "spec": {},
            "status": {"history": [last], "storageNamespace": "flux"},
        }
        self.manifest: list[Document] = []
        self.refused = False
        self.by_agent: list[applied.Key] = []
        self.custom: dict[str, dict[str, tuple[str, bool]]] = {}

    def by_kustomize(self, kind: str, name: str, namespace: str, **more: Any) -> Document:
        obj = made(kind, name, namespace, "kustomize-controller", KUSTOMIZE, **more)
        group, _, version = obj["apiVersion"].rpartition("/")
        entry = {"id": f"{namespace}_{name}_{group}_{kind}", "v": version}
        self.kustomization["status"]["inventory"]["entries"].append(entry)
        self.objects.append(obj)
        return obj

    def by_helm(self, kind: str, name: str, namespace: str = "web", **more: Any) -> Document:
        obj = made(kind, name, namespace, "helm-controller", HELM, **more)
        self.manifest.append(json.loads(json.dumps(obj)))
        self.manifest[-1]["metadata"].pop("managedFields")
        self.manifest[-1]["metadata"].pop("namespace", None)
        self.objects.append(obj)
        return obj

    def items(
        self,
        api_version: str,
        plural: str,
        namespace: str | None = None,
        timeout: float = 0,
        *,
        labels: str = "",
        only_metadata: bool = False,
    ) -> list[Document]:
        self.calls.append(plural)
        if labels:
            return self._stored()
        self.accepted[plural] = only_metadata
        special = {"kustomizations": [self.kustomization], "helmreleases": [self.release]}
        if plural in special:
            return special[plural]
        found = [o for o in self.objects if o["apiVersion"] == api_version and self._plural(o) == plural]
        return [{"metadata": o["metadata"]} for o in found] if only_metadata else found

    def _plural(self, obj: Document) -> str:
        known = self.custom.get(obj["apiVersion"], {})
        return known[obj["kind"]][0] if obj["kind"] in known else applied.regular(obj["kind"])

    def _stored(self) -> list[Document]:
        if self.refused:
            raise FinalError(
                "could not list in cluster x",
                target="secrets",
                said='Forbidden: secrets is forbidden: User "reader" cannot list',
            )
        content = json.dumps({"manifest": "---\n".join(map(yaml.safe_dump, self.manifest))}).encode()
        data = base64.b64encode(base64.b64encode(gzip.compress(content))).decode()
        return [{"metadata": {"name": "sh.helm.release.v1.web.v2", "namespace": "flux"}, "data": {"release": data}}]

    def resources(self, api_version: str, timeout: float = 0) -> dict[str, tuple[str, bool]]:
        self.calls.append(api_version)
        return self.custom.get(api_version, {})

    def drift(self) -> list[Row]:
        return list(inside_drift.differences("one-aks", applied.read(cast(Kube, self), self.by_agent)))

    def told(self) -> list[tuple[Any, ...]]:
        """Return (object, kind, field, declared, actual, by) of each difference."""
        return [
            tuple(row.get(name) for name in ("object", "kind", "field", "declared", "actual", "by")) for row in self.drift()
        ]


def deployment(cluster: Cluster, **spec: Any) -> Document:
    return cluster.by_helm("Deployment", "web", api_version="apps/v1", spec={"replicas": 1, **spec})


def takes(obj: Document, manager: str, subresource: str = "", **spec: Any) -> None:
    """Let another manager write fields of the spec: afterwards it owns them, not the applier."""
    obj["spec"].update(spec)
    for entry in obj["metadata"]["managedFields"]:
        for name in spec:
            entry["fieldsV1"].get("f:spec", {}).pop(f"f:{name}", None)
    obj["metadata"]["managedFields"].append(owns(manager, {"f:spec": fields_of(spec)}, subresource))
