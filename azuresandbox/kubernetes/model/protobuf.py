"""Request bodies in Kubernetes' protobuf encoding, which kubectl's typed clients send, decoded to JSON objects.

Answers are always JSON, which these clients accept too. `protobuf_fields.json.gz` has the field numbers of the
`generated.proto` files of k8s.io/api and k8s.io/apimachinery: {message: {number: [name, type, one|list|map]}}, with `m:`
for `k8s.io.apimachinery.pkg.`, and without `k8s.io.api.`.
"""

from __future__ import annotations

import base64
import gzip
import json
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_DATA = Path(__file__).with_name("protobuf_fields.json.gz")
_META = "m:apis.meta.v1."
_META_KINDS = ("DeleteOptions", "CreateOptions", "UpdateOptions", "PatchOptions")

_INLINE = frozenset(
    (
        "volumeSource",
        "persistentVolumeSource",
        "handler",
        "localObjectReference",
        "ephemeralContainerCommon",
        "rule",
        "ruleWithOperations",
        "ingressRuleValue",
    )
)
"""Message members whose members belong to the holder in JSON (Go's `json:",inline"`)."""

_POINTERS = frozenset(
    (
        "activeDeadlineSeconds",
        "allocateLoadBalancerNodePorts",
        "allowPrivilegeEscalation",
        "automountServiceAccountToken",
        "backoffLimit",
        "blockOwnerDeletion",
        "completions",
        "controller",
        "defaultMode",
        "enableServiceLinks",
        "expirationSeconds",
        "failedJobsHistoryLimit",
        "fsGroup",
        "gracePeriodSeconds",
        "hostUsers",
        "immutable",
        "manualSelector",
        "minReplicas",
        "mode",
        "optional",
        "orphanDependents",
        "parallelism",
        "partition",
        "priority",
        "privileged",
        "progressDeadlineSeconds",
        "readOnlyRootFilesystem",
        "replicas",
        "revisionHistoryLimit",
        "runAsGroup",
        "runAsNonRoot",
        "runAsUser",
        "shareProcessNamespace",
        "startingDeadlineSeconds",
        "successfulJobsHistoryLimit",
        "suspend",
        "terminationGracePeriodSeconds",
        "tolerationSeconds",
        "ttlSecondsAfterFinished",
    )
)
"""Members that are pointers in Go: their zero was sent, and does not mean that there is no value."""

_EMPTY = frozenset(("metadata", "resources", "status", "strategy", "updateStrategy", "spec", "source"))
"""Structs by value, which are sent even when they are empty."""


class ProtobufError(ValueError):
    """The bytes are not Kubernetes protobuf, or of a kind whose field numbers are not known."""


@cache
def _messages() -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = json.loads(gzip.decompress(_DATA.read_bytes()))
    return found


def decode(data: bytes) -> dict[str, Any]:
    """Return the object in an encoded `runtime.Unknown`, with its apiVersion and kind. Raises `ProtobufError`."""
    if not data.startswith(_MAGIC):
        raise ProtobufError("the body does not start as Kubernetes protobuf does")
    try:
        envelope = dict(_fields(data[len(_MAGIC) :]))
        about = {number: bytes(value).decode() for number, value in _fields(envelope[1])}
        api_version, kind = about.get(1, ""), about.get(2, "")
        return {"apiVersion": api_version, "kind": kind, **_message(_name(api_version, kind), envelope.get(2, b""))}
    except (IndexError, KeyError, UnicodeDecodeError, struct.error, TypeError) as error:
        raise ProtobufError(f"the body cannot be read as Kubernetes protobuf: {error!r}") from None


def _name(api_version: str, kind: str) -> str:
    group, _, version = api_version.rpartition("/")
    name = _META + kind if kind in _META_KINDS else f"{group.partition('.')[0] or 'core'}.{version}.{kind}"
    if name not in _messages():
        raise ProtobufError(f"{kind} of {api_version} cannot be sent as protobuf: send it as JSON")
    return name


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Yield (number, value) of every field: bytes for strings and messages, int for varints, float for doubles."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, position = _varint(data, position)
            yield number, value
        elif wire == 2:
            size, position = _varint(data, position)
            if position + size > len(data):
                raise IndexError("a field is cut short")
            yield number, data[position : position + size]
            position += size
        elif wire == 1:
            yield number, struct.unpack_from("<d", data, position)[0]
            position += 8
        else:
            raise ProtobufError(f"unknown wire type {wire}")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _message(name: str, data: bytes) -> dict[str, Any]:
    known, found = _messages()[name], dict[str, Any]()
    for number, raw in _fields(data):
        if str(number) not in known:
            continue
        member, kind, label = known[str(number)]
        if label == "map":
            pair = dict(_fields(raw))
            empty = b"" if kind not in ("bool", "int32", "int64") else 0
            found.setdefault(member, {})[bytes(pair.get(1, b"")).decode()] = _value(kind, pair.get(2, empty))
            continue
        value = _value(kind, raw)
        if label == "list":
            found.setdefault(member, []).append(value)
        elif member in _INLINE and isinstance(value, dict):
            found |= value
        elif not _absent(member, value):
            found[member] = value
    return found


def _absent(member: str, value: Any) -> bool:
    """Return whether Go's protobuf means by this value that the member is not set."""
    if value is None or value == "":
        return True
    if value == {}:
        return member in _EMPTY
    return not isinstance(value, dict) and not value and member not in _POINTERS


def _value(kind: str, raw: Any) -> Any:
    scalar = _SCALARS.get(kind)
    if scalar is not None:
        return scalar(raw)
    if kind.endswith(".ExtraValue"):
        return [bytes(item).decode() for _, item in _fields(raw)]
    special = _SPECIAL.get(kind)
    return special(dict(_fields(raw))) if special is not None else _message(kind, raw)


def _signed(raw: int) -> int:
    return raw - (1 << 64) if raw >= 1 << 63 else raw


_SCALARS: dict[str, Callable[[Any], Any]] = {
    "string": lambda raw: bytes(raw).decode(),
    "bytes": lambda raw: base64.b64encode(raw).decode(),
    "bool": bool,
    "int32": _signed,
    "int64": _signed,
    "double": float,
}


def _time(fields: dict[int, Any]) -> str | None:
    if not fields:
        return None
    return datetime.fromtimestamp(_signed(fields.get(1, 0)), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _micro_time(fields: dict[int, Any]) -> str | None:
    if not fields:
        return None
    moment = datetime.fromtimestamp(_signed(fields.get(1, 0)), UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + f".{fields.get(2, 0) // 1000:06d}Z"


def _int_or_string(fields: dict[int, Any]) -> int | str:
    return bytes(fields.get(3, b"")).decode() if fields.get(1) else _signed(fields.get(2, 0))


def _raw_json(fields: dict[int, Any]) -> Any:
    return json.loads(fields[1]) if fields.get(1) else None


_SPECIAL: dict[str, Callable[[dict[int, Any]], Any]] = {
    _META + "Time": _time,
    _META + "MicroTime": _micro_time,
    _META + "FieldsV1": _raw_json,
    "m:runtime.RawExtension": _raw_json,
    "m:util.intstr.IntOrString": _int_or_string,
    "m:api.resource.Quantity": lambda fields: bytes(fields.get(1, b"0")).decode(),
}
