"""The objects that Flux has applied in one cluster, by its own records, and the objects that exist.

The records are the inventories of Kustomizations, which name objects only, and Helm's stored releases, which also have the
manifest that was last deployed: the declared state. Each recorded kind is listed once. Of Secrets, only the metadata is read,
except for those in which Helm stores its releases.
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
"""Groups in which a resource's name is the regular plural of its kind; for others, the cluster is asked. Source: Kubernetes,
API conventions."""

SOURCES = "source.toolkit.fluxcd.io"

RELEASES = "owner=helm,status=deployed"
"""The labels of the Secrets in which Helm stores releases, one for each revision. Source: Helm, storage driver `secrets`."""

MAX_RELEASE = 64 << 20
"""The most bytes of a release after decompression: a Secret holds one megabyte, and repetitive text compresses fifty-fold."""

SECRET = object()
"""Replaces each value of a Secret."""


class Key(NamedTuple):
    """The identity of an object in a cluster. It has no version: all versions of a kind show the same object."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return "/".join(part for part in (self.kind, self.namespace, self.name) if part)


@dataclass(frozen=True)
class Wanted:
    """An object recorded by `applier`, a Kustomization or HelmRelease. `manifest` is `None` if it is not known."""

    api_version: str
    applier: Object
    manifest: Object | None = None


@dataclass
class Applied:
    """The recorded objects of a cluster, all existing objects of their kinds, and the errors by what could not be read."""

    wanted: dict[Key, Wanted] = field(default_factory=dict)
    objects: dict[Key, Object] = field(default_factory=dict)
    unread: dict[str, FleetError] = field(default_factory=dict)


AGENT: Object = {"kind": "fluxconfig-agent", "metadata": {}}
"""The applier of the objects that Azure's agent creates for a Flux configuration."""


def of_configuration(name: str, properties: Mapping[str, Any]) -> Iterator[Key]:
    """Yield the objects that Azure's agent creates for a Flux configuration. Source: Azure, "GitOps Flux v2 configurations"."""
    namespace, source = properties.get("namespace") or "default", properties.get("sourceKind")
    if source in FLUX:
        yield Key(SOURCES, source, namespace, name)
    for kustomization in properties.get("kustomizations") or {}:
        yield Key("kustomize.toolkit.fluxcd.io", "Kustomization", namespace, f"{name}-{kustomization}")


def read(
    kube: Kube, by_agent: Iterable[Key] = (), *, without: Collection[str] = (), releases_without: Collection[str] = ()
) -> Applied:
    """Read one cluster. `by_agent`: the objects that Azure's agent creates.

    Objects of the kinds `without` are left out, and the releases named in `releases_without`: both are compared elsewhere.
    Raises `FleetError` if the cluster cannot be read.
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
    """Return the kinds of the Kustomizations' sources. No inventory has the sources that Azure's agent creates."""
    kinds = {item["spec"]["sourceRef"]["kind"] for item in kustomizations} | {
        key.kind for key in wanted if key.group == SOURCES
    }
    return kinds & FLUX.keys()


def _list(kube: Kube, found: Applied, known: Collection[str]) -> None:
    """List every recorded kind once."""
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
            if kind not in asked[api_version]:  # its definition was deleted, and with it all its objects
                continue
            plural, namespaced = asked[api_version][kind]
            if not namespaced:
                _in_no_namespace(found, group, kind)
        hidden = (group, kind) == ("", "Secret")
        _keep(found, group, kind, kube.items(api_version, plural, timeout=CLUSTER_TIMEOUT, only_metadata=hidden))


def _in_no_namespace(found: Applied, group: str, kind: str) -> None:
    """Remove the namespace from the keys of a cluster-scoped kind: a manifest does not show that its kind is cluster-scoped."""
    for key in [key for key in found.wanted if (key.group, key.kind) == (group, kind)]:
        found.wanted[key._replace(namespace="")] = found.wanted.pop(key)


def _keep(found: Applied, group: str, kind: str, objects: Objects) -> None:
    for obj in objects:
        found.objects[Key(group, kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])] = obj


def regular(kind: str) -> str:
    """Return the resource name of a built-in kind: its plural in lower case."""
    name = kind.lower()
    if name.endswith("y"):
        return f"{name[:-1]}ies"
    return f"{name}es" if name.endswith("s") else f"{name}s"


def _inventory(applier: Object) -> Iterator[tuple[Key, Wanted]]:
    """Yield the inventory of a Kustomization, or of a HelmRelease since Flux 2.8.

    An id is `namespace_name_group_kind`, with two underscores for a colon. Source: fluxcd/cli-utils.
    """
    for entry in ((applier.get("status") or {}).get("inventory") or {}).get("entries") or ():
        namespace, _, rest = entry["id"].partition("_")
        rest, _, kind = rest.rpartition("_")
        name, _, group = rest.rpartition("_")
        key = Key(group, kind, namespace, name.replace("__", ":"))
        yield key, Wanted(f"{group}/{entry['v']}" if group else entry["v"], applier)


def last_release(release: Object) -> Mapping[str, Any]:
    """Return the last release of a HelmRelease, with `name`, `namespace`, `version` and `status`; empty before the first."""
    history: Objects = (release.get("status") or {}).get("history") or [{}]
    return history[0]


def _stored(kube: Kube, found: Applied) -> dict[tuple[str, str], Object]:
    """Return Helm's Secrets by (namespace, name); empty, with an entry in `unread`, if the caller may not read Secrets."""
    try:
        secrets = kube.items("v1", "secrets", timeout=CLUSTER_TIMEOUT, labels=RELEASES)
    except FleetError as error:
        if "forbidden" not in error.said.lower():
            raise
        found.unread["Helm's stored releases"] = error
        return {}
    return {(secret["metadata"]["namespace"], secret["metadata"]["name"]): secret for secret in secrets}


def _released(release: Object, stored: Mapping[tuple[str, str], Object]) -> Iterator[tuple[Key, Wanted]]:
    """Yield the objects of a HelmRelease's last release if it is deployed: it is not known how far a failed one got."""
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
"""The built-in kinds that are cluster-scoped: a manifest does not show it."""


def is_cluster_wide(obj: Object) -> bool:
    return obj["kind"] in CLUSTER_WIDE and obj["apiVersion"].rpartition("/")[0] in BUILT_IN


def unpacked(data: str) -> str:
    """Return the manifest of a stored release: gzipped JSON, encoded with base64 twice. Source: Helm, pkg/storage/driver."""
    import orjson

    content = base64.b64decode(base64.b64decode(data))
    if content[:3] == b"\x1f\x8b\x08":
        content = zlib.decompressobj(wbits=31).decompress(content, MAX_RELEASE)
    return str(orjson.loads(content).get("manifest") or "")


@lru_cache(maxsize=256)
def manifests(text: str) -> tuple[Object, ...]:
    """Return the objects of a manifest, without the values of Secrets. Cached, since most clusters have the same manifest."""
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
