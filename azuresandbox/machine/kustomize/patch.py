"""The two kinds of patches: strategic merge, with a table of the keys by which lists are merged, and JSON 6902.

Source: kyaml's merge2 with the patch keys of the Kubernetes OpenAPI, and evanphx/json-patch.
"""

from __future__ import annotations

import copy
from typing import Any

from azuresandbox.machine.kustomize.errors import KustomizeError, Unsupported

_POD = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "volumes": ("name",),
    "imagePullSecrets": ("name",),
    "hostAliases": ("ip",),
    "schedulingGates": ("name",),
    "resourceClaims": ("name",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
}
_CONTAINER = {
    "ports": ("containerPort", "protocol"),
    "env": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
}
_POD_PATHS = {
    "Pod": "spec",
    "PodTemplate": "template/spec",
    "ReplicationController": "spec/template/spec",
    "Deployment": "spec/template/spec",
    "ReplicaSet": "spec/template/spec",
    "DaemonSet": "spec/template/spec",
    "StatefulSet": "spec/template/spec",
    "Job": "spec/template/spec",
    "CronJob": "spec/jobTemplate/spec/template/spec",
}
_BUILT_IN_GROUPS = {"", "apps", "batch", "autoscaling", "policy", "extensions"}
_OTHERS = {
    ("Service", "spec/ports"): ("port", "protocol"),
    ("ServiceAccount", "secrets"): ("name",),
    ("ServiceAccount", "imagePullSecrets"): ("name",),
    ("ValidatingWebhookConfiguration", "webhooks"): ("name",),
    ("MutatingWebhookConfiguration", "webhooks"): ("name",),
}
PRIMITIVES = ("",)
"""Stands for the keys of a list whose plain values are merged as a set."""


def _table() -> dict[tuple[str, str], tuple[str, ...]]:
    table = dict(_OTHERS)
    for kind, pod in _POD_PATHS.items():
        for name, keys in _POD.items():
            table[kind, f"{pod}/{name}"] = keys
        for containers in ("containers", "initContainers", "ephemeralContainers"):
            for name, keys in _CONTAINER.items():
                table[kind, f"{pod}/{containers}/{name}"] = keys
    return table


MERGE_KEYS = _table()


def merge_keys(group: str, kind: str, path: str) -> tuple[str, ...] | None:
    """Return the keys by which the list at `path` of a kind is merged, or `None` if it is replaced as a whole."""
    if not (group in _BUILT_IN_GROUPS or group.endswith(".k8s.io")):
        return None
    if path == "metadata/finalizers":
        return PRIMITIVES
    if path == "metadata/ownerReferences":
        return ("uid",)
    return MERGE_KEYS.get((kind, path))


def strategic(base: Any, patch: dict[str, Any], group: str, kind: str) -> dict[str, Any] | None:
    """Return `base` with a strategic merge patch applied and without its nulls, or `None` if the patch deletes it."""
    result = _merge_maps(base, patch, group, kind, "")
    return None if result is None else dict(_without_nulls(result))


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _merge_maps(base: Any, patch: dict[str, Any], group: str, kind: str, path: str) -> Any:
    directive = patch.get("$patch")
    for name in patch:
        if name.startswith(("$setElementOrder", "$deleteFromPrimitiveList", "$retainKeys")):
            raise Unsupported(f"the directive {name!r} in a patch", "write the list or the fields that should remain")
    if directive == "delete":
        return None
    patch = {name: value for name, value in patch.items() if name != "$patch"}
    if directive == "replace" or not isinstance(base, dict):
        return _clean(patch)
    if directive not in (None, "merge"):
        raise KustomizeError(f"unknown patch strategy '{directive}'")
    result = dict(base)
    for name, value in patch.items():
        inner = f"{path}/{name}" if path else name
        merged = _merge(result.get(name), value, group, kind, inner)
        if merged is None:
            result.pop(name, None)
        else:
            result[name] = merged
    return result


def _merge(base: Any, patch: Any, group: str, kind: str, path: str) -> Any:
    if isinstance(patch, dict):
        return _merge_maps(base, patch, group, kind, path)
    if isinstance(patch, list):
        return _merge_lists(base if isinstance(base, list) else None, patch, group, kind, path)
    return patch


def _merge_lists(base: list[Any] | None, patch: list[Any], group: str, kind: str, path: str) -> Any:
    keys = merge_keys(group, kind, path)
    if base is None or keys is None:
        return [item for item in (_clean(item) for item in patch) if item is not None]
    if keys == PRIMITIVES:
        return [*patch, *(item for item in base if item not in patch)]
    elements = [item for item in (*base, *patch) if isinstance(item, dict)]
    present = [key for key in keys if any(key in item for item in elements)]
    if any(isinstance(item, dict) and item.get("$patch") == "replace" and len(item) == 1 for item in patch):
        return [_clean(item) for item in patch if item.get("$patch") != "replace"]
    if not present:
        return [_clean(item) for item in patch]

    def identity(item: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(item.get(key) for key in present)

    old = {identity(item): item for item in base}
    merged: dict[tuple[Any, ...], Any] = {}
    for item in patch:
        merged[identity(item)] = _merge_maps(old.get(identity(item)), item, group, kind, path)
    for known, item in old.items():
        merged.setdefault(known, item)
    return [item for item in merged.values() if item is not None]


def _clean(value: Any) -> Any:
    """Return a patch without directives and nulls: its result where `base` has no value."""
    if isinstance(value, dict):
        if value.get("$patch") == "delete":
            return None
        return {k: _clean(v) for k, v in value.items() if v is not None and k != "$patch"}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return value


# --- JSON 6902 -------------------------------------------------------------------------------------------------------


def json6902(document: Any, operations: list[dict[str, Any]]) -> Any:
    """Return the document after the operations. Raises `KustomizeError` for one that does not apply."""
    result = copy.deepcopy(document)
    for operation in operations:
        result = _operate(result, operation)
    return result


def _operate(document: Any, operation: dict[str, Any]) -> Any:
    kind, path = operation.get("op"), operation.get("path", "")
    if kind == "add":
        return _add(document, path, copy.deepcopy(operation.get("value")))
    if kind == "remove":
        return _remove(document, path)
    if kind == "replace":
        holder, key = _locate(document, path, "replace")
        holder[key] = copy.deepcopy(operation.get("value"))
        return document
    if kind in ("move", "copy"):
        source = operation.get("from", "")
        holder, key = _locate(document, source, kind)
        value = copy.deepcopy(_existing(holder, key, source, kind))
        if kind == "move":
            document = _remove(document, source)
        return _add(document, path, value)
    if kind == "test":
        holder, key = _locate(document, path, "test")
        found = holder.get(key) if isinstance(holder, dict) else holder[key]
        if found != operation.get("value"):
            raise KustomizeError(f"testing value {path} failed: test failed")
        return document
    raise KustomizeError(f"Unexpected kind: {kind}")


def _add(document: Any, path: str, value: Any) -> Any:
    holder, key = _locate(document, path, "add", end=True)
    if isinstance(holder, list):
        holder.insert(key, value)
    else:
        holder[key] = value
    return document


def _remove(document: Any, path: str) -> Any:
    holder, key = _locate(document, path, "remove")
    _existing(holder, key, path, "remove")
    del holder[key]
    return document


def _locate(document: Any, path: str, operation: str, end: bool = False) -> tuple[Any, Any]:
    """Return (holder, key) of the last step of a JSON pointer."""
    steps = [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]
    if not steps:
        raise Unsupported("a JSON patch of the whole document", "name a field")
    holder = document
    for step in steps[:-1]:
        holder = _step(holder, step, path, operation)
    last: Any = steps[-1]
    if isinstance(holder, list):
        last = len(holder) if last == "-" and end else _index(holder, last, path, operation, end)
    elif not isinstance(holder, dict):
        raise _missing(path, operation)
    return holder, last


def _step(holder: Any, step: str, path: str, operation: str) -> Any:
    if isinstance(holder, list):
        return holder[_index(holder, step, path, operation, False)]
    if not isinstance(holder, dict) or step not in holder:
        raise _missing(path, operation)
    return holder[step]


def _index(holder: list[Any], step: str, path: str, operation: str, end: bool) -> int:
    try:
        index = int(step)
    except ValueError:
        raise _missing(path, operation) from None
    if index < 0:
        index += len(holder)
    if not 0 <= index < len(holder) + end:
        raise _missing(path, operation)
    return index


def _existing(holder: Any, key: Any, path: str, operation: str) -> Any:
    if isinstance(holder, dict) and key not in holder:
        raise KustomizeError(f"error in {operation} for path: '{path}': Unable to remove nonexistent key: {key}: missing value")
    return holder[key]


def _missing(path: str, operation: str) -> KustomizeError:
    return KustomizeError(f'{operation} operation does not apply: doc is missing path: "{path}": missing value')
