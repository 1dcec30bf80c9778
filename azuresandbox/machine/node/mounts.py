"""The files and the environment of a container, resolved from the caches.

Source: Kubernetes `pkg/volume/{secret,configmap,projected,downwardapi}` and `pkg/kubelet/kubelet_pods.go`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping

from azuresandbox.machine.cluster import CORE, Cluster
from azuresandbox.machine.node.tokens import Tokens
from azuresandbox.machine.quantities import parse
from azuresandbox.machine.types import Object, Objects

SUPPORTED = ("secret", "configMap", "projected", "downwardAPI", "emptyDir", "persistentVolumeClaim", "hostPath")
_REFERENCE = re.compile(r"\$(\$|\(([^()]*)\))")


class NotMounted(Exception):
    """A volume cannot be set up. `str()` is the message of the FailedMount event."""


class ConfigError(Exception):
    """A container cannot be configured. `str()` is the message of the state CreateContainerConfigError."""


class Files(Mapping[str, bytes]):
    """The files of one container, path -> content. Volumes are read at each access."""

    def __init__(self, cluster: Cluster, pod: Object, container: Object, tokens: Tokens) -> None:
        self._cluster, self._pod, self._container, self._tokens = cluster, pod, container, tokens

    def _all(self) -> dict[str, bytes]:
        volumes = {volume["name"]: volume for volume in self._pod["spec"].get("volumes") or ()}
        found: dict[str, bytes] = {}
        for mount in self._container.get("volumeMounts") or ():
            volume = volumes.get(mount["name"])
            if volume is None:
                continue
            try:
                files = contents(self._cluster, self._pod, volume, self._tokens)
            except NotMounted:
                # On a real node, a deleted Secret stays mounted with its last content. Here its files vanish.
                continue
            found |= dict(_placed(files, mount))
        return found

    def __getitem__(self, path: str) -> bytes:
        return self._all()[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


def _placed(files: dict[str, bytes], mount: Object) -> Iterator[tuple[str, bytes]]:
    path, sub = mount["mountPath"].rstrip("/"), mount.get("subPath", "").strip("/")
    for name, data in files.items():
        if not sub:
            yield f"{path}/{name}", data
        elif name == sub:
            yield path, data
        elif name.startswith(sub + "/"):
            yield f"{path}/{name[len(sub) + 1 :]}", data


def contents(cluster: Cluster, pod: Object, volume: Object, tokens: Tokens) -> dict[str, bytes]:
    """Return the files of a volume, relative path -> content. Raises `NotMounted`."""
    namespace = pod["metadata"]["namespace"]
    if "secret" in volume:
        source = volume["secret"]
        return _keyed(cluster, "Secret", namespace, source["secretName"], source)
    if "configMap" in volume:
        return _keyed(cluster, "ConfigMap", namespace, volume["configMap"]["name"], volume["configMap"])
    if "downwardAPI" in volume:
        return _downward(pod, volume["downwardAPI"].get("items") or [])
    if "persistentVolumeClaim" in volume:
        _check_claim(cluster, namespace, volume["persistentVolumeClaim"]["claimName"])
    found: dict[str, bytes] = {}
    for source in (volume.get("projected") or {}).get("sources") or ():
        found |= _projected(cluster, pod, namespace, source, tokens)
    if not any(kind in volume for kind in SUPPORTED):
        kind = next((name for name in volume if name != "name"), "?")
        raise NotMounted(f"the sandbox has no volumes of type {kind}: use {', '.join(SUPPORTED)}")
    return found


def _projected(cluster: Cluster, pod: Object, namespace: str, source: Object, tokens: Tokens) -> dict[str, bytes]:
    if "serviceAccountToken" in source:
        wanted = source["serviceAccountToken"]
        token = tokens.of(wanted)
        return {wanted["path"]: token.encode()} if token else {}
    if "configMap" in source:
        return _keyed(cluster, "ConfigMap", namespace, source["configMap"]["name"], source["configMap"])
    if "secret" in source:
        return _keyed(cluster, "Secret", namespace, source["secret"]["name"], source["secret"])
    if "downwardAPI" in source:
        return _downward(pod, source["downwardAPI"].get("items") or [])
    raise NotMounted(f"the sandbox does not project {', '.join(source)}")


def _keyed(cluster: Cluster, kind: str, namespace: str, name: str, source: Object) -> dict[str, bytes]:
    obj = cluster.cache(CORE, kind).get(name, namespace)
    if obj is None:
        if source.get("optional"):
            return {}
        raise NotMounted(f'{kind.lower()} "{name}" not found')
    data = data_of(obj)
    if not source.get("items"):
        return data
    found = {}
    for item in source["items"]:
        if item["key"] in data:
            found[item["path"]] = data[item["key"]]
        elif not source.get("optional"):
            what = "config" if kind == "ConfigMap" else "secret"
            raise NotMounted(f"{'configmap ' if what == 'config' else ''}references non-existent {what} key: {item['key']}")
    return found


def data_of(obj: Object) -> dict[str, bytes]:
    """Return the data of a Secret or ConfigMap, key -> content."""
    if obj["kind"] == "Secret":
        return {key: base64.b64decode(value) for key, value in (obj.get("data") or {}).items()}
    binary = {key: base64.b64decode(value) for key, value in (obj.get("binaryData") or {}).items()}
    return {**{key: value.encode() for key, value in (obj.get("data") or {}).items()}, **binary}


def _check_claim(cluster: Cluster, namespace: str, name: str) -> None:
    claim = cluster.cache(CORE, "PersistentVolumeClaim").get(name, namespace)
    if claim is None:
        raise NotMounted(f'persistentvolumeclaim "{name}" not found')


def _downward(pod: Object, items: Objects) -> dict[str, bytes]:
    return {item["path"]: field(pod, item["fieldRef"]["fieldPath"]).encode() for item in items if "fieldRef" in item}


def field(pod: Object, path: str) -> str:
    """Return a field of the downward API. Raises `ConfigError` for a path that it does not have."""
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    simple = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "status.podIP": status.get("podIP", ""),
        "status.podIPs": status.get("podIP", ""),
        "status.hostIP": status.get("hostIP", ""),
    }
    if path in simple:
        return str(simple[path])
    for group in ("labels", "annotations"):
        values = metadata.get(group) or {}
        if path == f"metadata.{group}":
            return "\n".join(f'{key}="{value}"' for key, value in sorted(values.items()))
        if path.startswith(f"metadata.{group}['"):
            return str(values.get(path[len(f"metadata.{group}['") : -2], ""))
    raise ConfigError(f"failed to resolve fieldRef: unsupported fieldPath: {path}")


# --- environment -----------------------------------------------------------------------------------------------------


def environment(cluster: Cluster, pod: Object, container: Object) -> dict[str, str]:
    """Return the environment variables of a container. Raises `ConfigError`."""
    found = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTNAME": pod["metadata"]["name"],
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
        "KUBERNETES_SERVICE_PORT": "443",
        "KUBERNETES_SERVICE_PORT_HTTPS": "443",
    }
    for source in container.get("envFrom") or ():
        found |= _env_from(cluster, pod["metadata"]["namespace"], source)
    for item in container.get("env") or ():
        value = _value(cluster, pod, container, item)
        if value is not None:
            found[item["name"]] = expand(value, found)
    return found


def _env_from(cluster: Cluster, namespace: str, source: Object) -> dict[str, str]:
    kind, reference = ("Secret", source["secretRef"]) if "secretRef" in source else ("ConfigMap", source["configMapRef"])
    obj = cluster.cache(CORE, kind).get(reference["name"], namespace)
    if obj is None:
        if reference.get("optional"):
            return {}
        raise ConfigError(f'{kind.lower()} "{reference["name"]}" not found')
    return {source.get("prefix", "") + key: value.decode("utf-8", "replace") for key, value in data_of(obj).items()}


def _value(cluster: Cluster, pod: Object, container: Object, item: Object) -> str | None:
    source = item.get("valueFrom")
    if source is None:
        return str(item.get("value", ""))
    if "fieldRef" in source:
        return field(pod, source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        return _resource(pod, container, source["resourceFieldRef"])
    kind, reference = (
        ("Secret", source["secretKeyRef"]) if "secretKeyRef" in source else ("ConfigMap", source["configMapKeyRef"])
    )
    namespace, name, key = pod["metadata"]["namespace"], reference["name"], reference["key"]
    obj = cluster.cache(CORE, kind).get(name, namespace)
    if obj is None:
        if reference.get("optional"):
            return None
        raise ConfigError(f'{kind.lower()} "{name}" not found')
    data = data_of(obj)
    if key not in data:
        if reference.get("optional"):
            return None
        raise ConfigError(f"couldn't find key {key} in {kind} {namespace}/{name}")
    return data[key].decode("utf-8", "replace")


def _resource(pod: Object, container: Object, reference: Object) -> str:
    holder = container
    if reference.get("containerName"):
        holder = next(c for c in pod["spec"]["containers"] if c["name"] == reference["containerName"])
    group, _, name = reference["resource"].partition(".")
    amount = parse(((holder.get("resources") or {}).get(group) or {}).get(name, 0))
    divisor = parse(reference.get("divisor") or 1) or 1.0
    return str(-int(-amount // divisor))


def expand(text: str, known: Mapping[str, str]) -> str:
    """Replace $(NAME) where NAME is known; $$ is a dollar sign."""

    def replaced(found: re.Match[str]) -> str:
        if found[1] == "$":
            return "$"
        return known.get(found[2], found[0])

    return _REFERENCE.sub(replaced, text)
