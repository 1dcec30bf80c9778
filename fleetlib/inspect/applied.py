"""What Flux has applied in one cluster, by its own books, and what of it is there now.

The books are the inventories of Kustomizations, and what Helm stored of the releases of HelmReleases: the manifest as it was last deployed, which is also
what is declared, to the letter. A Kustomization's inventory names objects only. Each kind that is in the books is listed once; of Secrets
nothing but their metadata is asked for. May import `reading`, `kube`, `errors`, `managers`.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from fleetlib.clients.kube import Kube, Object, Objects
from fleetlib.errors import FleetError
from fleetlib.inspect.reading import CLUSTER_TIMEOUT, FLUX

BUILT_IN = frozenset(
    {
        "",
        "apps",
        "batch",
        "autoscaling",
        "policy",
        "networking.k8s.io",
        "rbac.authorization.k8s.io",
        "apiextensions.k8s.io",
        "admissionregistration.k8s.io",
        "storage.k8s.io",
        "scheduling.k8s.io",
        "apiregistration.k8s.io",
        "source.toolkit.fluxcd.io",
        "kustomize.toolkit.fluxcd.io",
        "helm.toolkit.fluxcd.io",
    }
)
"""Groups whose resources are named regularly after their kinds; of others the cluster is asked. Source: Kubernetes, API conventions."""

SOURCES = "source.toolkit.fluxcd.io"

RELEASES = "owner=helm,status=deployed"
"""The labels of what Helm stores of releases, one revision each. Source: Helm, storage driver `secrets`."""

MAX_RELEASE = 64 << 20
"""Bytes of a release, unpacked: a Secret holds a megabyte, and repetitive text packs fifty-fold."""

SECRET = object()
"""In the place of what a Secret holds."""


class Key(NamedTuple):
    """An object of a cluster; of no particular version, as versions are only ways to look at it."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return "/".join(part for part in (self.kind, self.namespace, self.name) if part)


@dataclass(frozen=True)
class Wanted:
    """An object in the books of `applier`, a Kustomization or HelmRelease; with its manifest, where that is known."""

    api_version: str
    applier: Object
    manifest: Object | None = None


@dataclass
class Applied:
    """A cluster's books, all objects there are of the kinds in them, and what could not be read."""

    wanted: dict[Key, Wanted] = field(default_factory=dict)
    objects: dict[Key, Object] = field(default_factory=dict)
    unread: dict[str, FleetError] = field(default_factory=dict)


AGENT: Object = {"kind": "fluxconfig-agent", "metadata": {}}
"""In the place of what applies the objects that stand for Azure's Flux configurations."""


def of_configuration(name: str, properties: Mapping[str, Any]) -> Iterator[Key]:
    """The objects that Azure's agent makes of a Flux configuration in ARM. Source: Azure, "GitOps Flux v2 configurations"."""
    namespace, source = properties.get("namespace") or "default", properties.get("sourceKind")
    if source in FLUX:
        yield Key(SOURCES, source, namespace, name)
    for kustomization in properties.get("kustomizations") or {}:
        yield Key("kustomize.toolkit.fluxcd.io", "Kustomization", namespace, f"{name}-{kustomization}")


def read(
    kube: Kube, by_agent: Iterable[Key] = (), *, without: Collection[str] = (), releases_without: Collection[str] = ()
) -> Applied:
    """One cluster's; `by_agent` is Azure's own book. Left out: kinds that are compared elsewhere, and releases of nothing but those.

    Raises `FleetError`.
    """
    lists = {kind: kube.items(*FLUX[kind], timeout=CLUSTER_TIMEOUT) for kind in ("Kustomization", "HelmRelease")}
    found = Applied({key: Wanted(FLUX[key.kind][0], AGENT) for key in by_agent})
    for kustomization in lists["Kustomization"]:
        found.wanted.update(_inventory({**kustomization, "kind": "Kustomization"}))
    stored = _stored(kube, found)
    for release in lists["HelmRelease"]:
        if last_release(release).get("name") not in releases_without:
            found.wanted.update(_released({**release, "kind": "HelmRelease"}, stored))
    found.wanted = {key: wanted for key, wanted in found.wanted.items() if key.kind not in without}
    for kind in _sources(lists["Kustomization"], found.wanted) - lists.keys():
        lists[kind] = kube.items(*FLUX[kind], timeout=CLUSTER_TIMEOUT)
    for kind, objects in lists.items():
        _keep(found, FLUX[kind][0].partition("/")[0], kind, objects)
    _list(kube, found, lists)
    return found


def _sources(kustomizations: Objects, wanted: Collection[Key]) -> set[str]:
    """The kinds of sources that Kustomizations have: no inventory names those that Azure's agent makes."""
    kinds = {item["spec"]["sourceRef"]["kind"] for item in kustomizations} | {
        key.kind for key in wanted if key.group == SOURCES
    }
    return kinds & FLUX.keys()


def _list(kube: Kube, found: Applied, known: Collection[str]) -> None:
    """Every kind in the books, once."""
    asked: dict[str, dict[str, tuple[str, bool]]] = {}
    kinds = {(key.group, key.kind): wanted.api_version for key, wanted in found.wanted.items()}
    for (group, kind), api_version in kinds.items():
        if kind in known and group.endswith(".toolkit.fluxcd.io"):
            continue
        if group in BUILT_IN:
            plural = regular(kind)
        else:
            if api_version not in asked:
                asked[api_version] = kube.resources(api_version, CLUSTER_TIMEOUT)
            if kind not in asked[api_version]:  # its definition is gone, and all its objects with it
                continue
            plural, namespaced = asked[api_version][kind]
            if not namespaced:
                _in_no_namespace(found, group, kind)
        hidden = (group, kind) == ("", "Secret")
        _keep(found, group, kind, kube.items(api_version, plural, timeout=CLUSTER_TIMEOUT, only_metadata=hidden))


def _in_no_namespace(found: Applied, group: str, kind: str) -> None:
    """A manifest does not say that a kind is in no namespace."""
    for key in [key for key in found.wanted if (key.group, key.kind) == (group, kind)]:
        found.wanted[key._replace(namespace="")] = found.wanted.pop(key)


def _keep(found: Applied, group: str, kind: str, objects: Objects) -> None:
    for obj in objects:
        found.objects[Key(group, kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])] = obj


def regular(kind: str) -> str:
    """The plural by which built-in resources are named."""
    name = kind.lower()
    if name.endswith("y"):
        return f"{name[:-1]}ies"
    return f"{name}es" if name.endswith("s") else f"{name}s"


def _inventory(applier: Object) -> Iterator[tuple[Key, Wanted]]:
    """Of a Kustomization, or of a HelmRelease since Flux 2.8. Source: fluxcd/cli-utils, `namespace_name_group_kind`; colons are two underscores."""
    for entry in ((applier.get("status") or {}).get("inventory") or {}).get("entries") or ():
        namespace, _, rest = entry["id"].partition("_")
        rest, _, kind = rest.rpartition("_")
        name, _, group = rest.rpartition("_")
        key = Key(group, kind, namespace, name.replace("__", ":"))
        yield key, Wanted(f"{group}/{entry['v']}" if group else entry["v"], applier)


def last_release(release: Object) -> Mapping[str, Any]:
    """What a HelmRelease says of its last release: name, namespace, version, status."""
    history: Objects = (release.get("status") or {}).get("history") or [{}]
    return history[0]


def _stored(kube: Kube, found: Applied) -> dict[tuple[str, str], Object]:
    """(namespace, name) of the Secrets that Helm keeps releases in; none if this caller may not read Secrets."""
    try:
        secrets = kube.items("v1", "secrets", timeout=CLUSTER_TIMEOUT, labels=RELEASES)
    except FleetError as error:
        if "forbidden" not in error.said.lower():
            raise
        found.unread["what Helm has stored"] = error
        return {}
    return {(secret["metadata"]["namespace"], secret["metadata"]["name"]): secret for secret in secrets}


def _released(release: Object, stored: Mapping[tuple[str, str], Object]) -> Iterator[tuple[Key, Wanted]]:
    """The objects of a HelmRelease's last release, if that is the one deployed: of one that failed nobody knows how far it went."""
    last = last_release(release)
    namespace = (release.get("status") or {}).get("storageNamespace") or release["metadata"]["namespace"]
    secret = stored.get((namespace, f"sh.helm.release.v1.{last.get('name')}.v{last.get('version')}"))
    if last.get("status") != "deployed":
        return
    if secret is None:
        yield from _inventory(release)
        return
    for obj in manifests(unpacked(secret["data"]["release"])):
        metadata = obj["metadata"]
        place = "" if is_cluster_wide(obj) else metadata.get("namespace") or last["namespace"]
        group = obj["apiVersion"].rpartition("/")[0]
        yield Key(group, obj["kind"], place, metadata["name"]), Wanted(obj["apiVersion"], release, obj)


CLUSTER_WIDE = frozenset(
    {
        "Namespace",
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "IngressClass",
        "StorageClass",
        "PriorityClass",
        "PersistentVolume",
        "ValidatingWebhookConfiguration",
        "MutatingWebhookConfiguration",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "APIService",
        "RuntimeClass",
        "CSIDriver",
        "VolumeAttributesClass",
    }
)
"""Built-in kinds that are in no namespace: a manifest does not say so."""


def is_cluster_wide(obj: Object) -> bool:
    return obj["kind"] in CLUSTER_WIDE and obj["apiVersion"].rpartition("/")[0] in BUILT_IN


def unpacked(data: str) -> str:
    """The manifest in what Helm stores: base64 of base64 of gzipped JSON. Source: Helm, pkg/storage/driver."""
    import orjson

    content = base64.b64decode(base64.b64decode(data))
    if content[:3] == b"\x1f\x8b\x08":
        content = zlib.decompressobj(wbits=31).decompress(content, MAX_RELEASE)
    return str(orjson.loads(content).get("manifest") or "")


@lru_cache(maxsize=256)
def manifests(text: str) -> tuple[Object, ...]:
    """The objects of a manifest; most clusters of a fleet have the same one. What a Secret holds is forgotten at once."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found = (
        obj for obj in yaml.load_all(text, Loader=loader) if isinstance(obj, dict) and (obj.get("metadata") or {}).get("name")
    )
    return tuple(_without_secrets(obj) for obj in found)


def _without_secrets(obj: Object) -> Object:
    if (obj["apiVersion"], obj["kind"]) != ("v1", "Secret"):
        return obj
    names = {**(obj.get("data") or {}), **(obj.get("stringData") or {})}
    rest = {name: value for name, value in obj.items() if name not in ("data", "stringData")}
    return {**rest, "data": dict.fromkeys(names, SECRET)}
