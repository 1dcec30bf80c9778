"""configMapGenerator and secretGenerator, and the hash that their names end in.

Source: kustomize api/internal/generators and api/hasher.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from azuresandbox.machine.kustomize.errors import KustomizeError
from azuresandbox.machine.kustomize.resource import Resource
from azuresandbox.machine.kustomize.source import Read
from azuresandbox.machine.types import Object

_LINE = 70
_LETTERS = str.maketrans({"0": "g", "1": "h", "3": "k", "a": "m", "e": "t"})


def generate(kind: str, spec: Mapping[str, Any], options: Mapping[str, Any], read: Read) -> Resource:
    """Return a generated ConfigMap or Secret. `options`: the kustomization's generatorOptions. Raises `KustomizeError`."""
    name = spec.get("name")
    if not name:
        raise KustomizeError("a configmap must be named" if kind == "ConfigMap" else "a secret must be named")
    merged = _merge_options(options, spec.get("options") or {})
    data = _pairs(spec, read)
    obj: Object = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}
    if spec.get("namespace"):
        obj["metadata"]["namespace"] = spec["namespace"]
    if kind == "ConfigMap":
        _fill_config_map(obj, data)
    else:
        obj["type"] = spec.get("type") or "Opaque"
        obj["data"] = {key: _base64(value) for key, value in data.items()}
    for part in ("labels", "annotations"):
        if merged.get(part):
            obj["metadata"][part] = dict(merged[part])
    if merged.get("immutable"):
        obj["immutable"] = True
    return Resource(obj, hashed=not merged.get("disableNameSuffixHash"), behavior=spec.get("behavior") or "")


def combine(old: Resource, new: Resource, behavior: str) -> None:
    """Replace the object of `old`, of an earlier layer, by that of `new`; with behavior merge, their data is merged."""
    before, after = old.obj, new.obj
    if behavior == "merge":
        for part in ("data", "binaryData"):
            values = {**(before.get(part) or {}), **(after.get(part) or {})}
            if values:
                after[part] = values
    for part in ("labels", "annotations"):
        values = {**(before["metadata"].get(part) or {}), **(after["metadata"].get(part) or {})}
        if values:
            after["metadata"][part] = values
    after["metadata"]["name"] = before["metadata"]["name"]
    if "namespace" in before["metadata"]:
        after["metadata"]["namespace"] = before["metadata"]["namespace"]
    old.obj = after
    old.hashed = old.hashed or new.hashed


def content_hash(obj: Object) -> str:
    """Return the ten characters that kustomize appends to the name of a generated object.

    The name is not hashed: kustomize looks it up under the wrong key and hashes "" instead.
    """
    kind, name = obj.get("kind"), ""
    if kind == "ConfigMap":
        content: Object = {"kind": "ConfigMap", "name": name, "data": obj.get("data", "")}
        if isinstance(obj.get("binaryData"), dict):
            content["binaryData"] = obj["binaryData"]
    elif kind == "Secret":
        content = {"kind": "Secret", "type": obj.get("type", ""), "name": name, "data": obj.get("data", "")}
        if isinstance(obj.get("stringData"), dict):
            content["stringData"] = obj["stringData"]
    else:
        content = obj
    return hashlib.sha256(_go_json(content).encode()).hexdigest()[:10].translate(_LETTERS)


def _go_json(value: Any) -> str:
    """Return JSON as Go's encoding/json writes it: sorted keys, no spaces, HTML characters escaped."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _merge_options(general: Mapping[str, Any], own: Mapping[str, Any]) -> Object:
    merged = {**general, **{name: value for name, value in own.items() if value is not None}}
    for part in ("labels", "annotations"):
        merged[part] = {**(general.get(part) or {}), **(own.get(part) or {})}
    for flag in ("disableNameSuffixHash", "immutable"):
        merged[flag] = bool(general.get(flag) or own.get(flag))
    return merged


def _fill_config_map(obj: Object, data: Mapping[str, bytes]) -> None:
    text, binary = {}, {}
    for key, value in data.items():
        try:
            text[key] = value.decode()
        except UnicodeDecodeError:
            binary[key] = _base64(value)
    if text:
        obj["data"] = text
    if binary:
        obj["binaryData"] = binary


def _base64(value: bytes) -> str:
    """Return base64 as kustomize writes it: a text of 70 characters or more is split into lines of 70."""
    text = base64.b64encode(value).decode()
    if len(text) < _LINE:
        return text
    return "".join(text[start : start + _LINE] + "\n" for start in range(0, len(text), _LINE))


def _pairs(spec: Mapping[str, Any], read: Read) -> dict[str, bytes]:
    """Return the entries of env files, literals and files. Raises `KustomizeError` for a duplicate key."""
    found: list[tuple[str, bytes]] = []
    envs = [*([spec["env"]] if spec.get("env") else []), *(spec.get("envs") or [])]
    for path in envs:
        found += _env_file(read(path).decode("utf-8-sig"))
    for literal in spec.get("literals") or []:
        key, equals, value = str(literal).partition("=")
        if not equals or not key:
            sources = " ".join(str(item) for item in spec["literals"])
            raise KustomizeError(f"literal sources [{sources}]: invalid literal source {literal}, expected key=value")
        found.append((key, _unquote(value).encode()))
    for source in spec.get("files") or []:
        key, equals, path = str(source).partition("=")
        if not equals:
            key, path = str(source).rpartition("/")[2], str(source)
        found.append((key, read(path)))
    pairs: dict[str, bytes] = {}
    for key, content in found:
        if key in pairs:
            raise KustomizeError(f"cannot add key {key}, another key by that name already exists")
        pairs[key] = content
    return pairs


def _unquote(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value


def _env_file(text: str) -> list[tuple[str, bytes]]:
    """Return the `KEY=value` lines. A bare key takes its value from the environment, which is empty here."""
    pairs = []
    for line in text.splitlines():
        line = line.lstrip()
        if line and not line.startswith("#"):
            key, _, value = line.partition("=")
            pairs.append((key, value.encode()))
    return pairs
