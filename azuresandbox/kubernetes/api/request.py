"""A request to a cluster's API server: its path, query, options and body."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from azuresandbox.context import Receive, Scope, Send
from azuresandbox.http import TooLarge, read_body
from azuresandbox.kubernetes.model import decoding, errors, protobuf
from azuresandbox.kubernetes.model.resources import Resource
from azuresandbox.kubernetes.state.cluster import Cluster
from azuresandbox.kubernetes.state.tokens import User

MAX_BODY = 3 << 20
"""The limit of a request's body in bytes, which is kube-apiserver's."""

MAX_MANAGER = 128
"""The limit of a field manager's name in bytes."""

JSON = "application/json"
_OPTIONS = {"POST": "CreateOptions", "PUT": "UpdateOptions", "PATCH": "PatchOptions", "DELETE": "DeleteOptions"}
YAML = ("application/yaml", "application/x-yaml", "text/yaml")


@dataclass(frozen=True, slots=True)
class Target:
    """The resource, object or subresource that a path names; parts that it does not name are ""."""

    group: str
    version: str
    plural: str
    namespace: str
    name: str
    subresource: str
    watched: bool = False
    """Whether the path has the deprecated `watch/` in it."""


@dataclass(slots=True)
class Request:
    """One authenticated request. `warnings` become Warning headers; `duplicates` are fields that the body gives twice."""

    cluster: Cluster
    method: str
    path: str
    query: dict[str, str]
    headers: dict[bytes, bytes]
    user: User
    receive: Receive
    send: Send
    warnings: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    forget_managers: bool = False
    """Whether the sent object has an empty managedFields list, which removes the stored one."""

    def header(self, name: bytes) -> str:
        return self.headers.get(name, b"").decode("latin-1")

    def flag(self, name: str) -> bool:
        """Return whether an option of the query is set; an empty value sets it."""
        value = self.query.get(name)
        return value is not None and value.lower() in ("", "1", "true", "t")

    def number(self, name: str) -> int:
        """Return a number of the query, 0 if it is missing or negative; raise 400 if it is not a number."""
        text = self.query.get(name) or "0"
        if not text.removeprefix("-").isdigit():
            raise errors.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
        return max(int(text), 0)

    @property
    def dry_run(self) -> bool:
        value = self.query.get("dryRun", "")
        self.check_dry_run([value] if value else [])
        return value == "All"

    def check_dry_run(self, values: list[str]) -> None:
        """Refuse a value other than `All`."""
        if any(value != "All" for value in values):
            text = f'Unsupported value: {json.dumps(values)}: supported values: "All"'
            raise self.invalid_option("FieldValueNotSupported", text, "dryRun")

    def invalid_option(self, reason: str, text: str, option: str) -> errors.StatusError:
        """Return the refusal of one of the request's own options."""
        kind = _OPTIONS.get(self.method, "ListOptions")
        return errors.invalid("meta.k8s.io", kind, "", [errors.cause(reason, text, option)])

    def check_options(self) -> None:
        """Refuse options of a write that are not valid; kube-apiserver checks them first."""
        _ = self.dry_run
        manager = self.query.get("fieldManager", "")
        if len(manager) > MAX_MANAGER:
            raise self.invalid_option(
                "FieldValueTooLong", f"Too long: may not be more than {MAX_MANAGER} bytes", "fieldManager"
            )
        for at, character in enumerate(manager):
            if not character.isprintable():
                text = f"Invalid value: {json.dumps(manager)}: invalid character U+{ord(character):04X} (at position {at})"
                raise self.invalid_option("FieldValueInvalid", text, "fieldManager")

    @property
    def manager(self) -> str:
        """The field manager: `fieldManager` of the query, else the first part of the user agent."""
        return self.query.get("fieldManager") or self.header(b"user-agent").split("/", 1)[0] or "unknown"

    @property
    def content_type(self) -> str:
        return self.header(b"content-type").split(";", 1)[0].strip().lower()

    async def body(self) -> bytes:
        """Return the body; raise 413 if it is larger than `MAX_BODY`."""
        try:
            return await read_body(self.receive, MAX_BODY)
        except TooLarge as error:
            raise errors.too_large(error.limit) from None

    async def document(self, kind: str = "DeleteOptions", *, typed: bool = True) -> dict[str, Any]:
        """Return the body, JSON, YAML or protobuf, as an object of `kind`. `typed`: the kind is built in.

        An empty body of DeleteOptions is {}. Fields that the body gives twice are put into `duplicates`.
        """
        data = await self.body()
        media = self.content_type
        if media == protobuf.MEDIA_TYPE and typed and data:
            try:
                return protobuf.decode(data)
            except protobuf.ProtobufError as error:
                raise errors.bad_request(str(error)) from None
        if media not in ("", JSON, "*/*", *YAML):
            raise errors.unsupported_media_type((JSON, YAML[0], *((protobuf.MEDIA_TYPE,) if typed else ())))
        if not data and kind == "DeleteOptions":
            return {}
        as_yaml = media in YAML
        if kind == "DeleteOptions":
            return _delete_options(data, as_yaml=as_yaml)
        found = decoding.document(data, kind, as_yaml=as_yaml, typed=typed)
        self.duplicates = decoding.duplicates(data, found, as_yaml=as_yaml)
        return decoding.merged(data) if self.duplicates and typed and not as_yaml else found


_OPTION_TYPES: tuple[tuple[str, type, str], ...] = (
    ("gracePeriodSeconds", int, "int64"),
    ("propagationPolicy", str, "v1.DeletionPropagation"),
    ("orphanDependents", bool, "bool"),
    ("dryRun", list, "[]string"),
    ("preconditions", dict, "v1.Preconditions"),
)
"""Members of DeleteOptions, with their types in Python and in Go."""


def _delete_options(data: bytes, *, as_yaml: bool) -> dict[str, Any]:
    """Return DeleteOptions, with refusals that name no object."""
    try:
        found = decoding.parse(data, as_yaml=as_yaml)
    except decoding.Malformed as error:
        raise errors.bad_request(f"couldn't get version/kind; json parse error: {error}") from None
    if not isinstance(found, dict):
        raise errors.bad_request("couldn't get version/kind; json parse error: the body is not an object")
    kind = found.get("kind") or "DeleteOptions"
    if kind != "DeleteOptions":
        version = found.get("apiVersion") or "v1"
        text = f'no kind "{kind}" is registered for version "{version}" in scheme "pkg/runtime/scheme.go:111"'
        raise errors.bad_request(text)
    for member, kind_here, go_type in _OPTION_TYPES:
        value = found.get(member)
        if value is not None and (not isinstance(value, kind_here) or kind_here is int and isinstance(value, bool)):
            why = f"cannot unmarshal {decoding.json_name(value)} into Go struct field DeleteOptions.{member} of type {go_type}"
            raise errors.bad_request(f"json: {why}")
    return found


def query(scope: Scope) -> dict[str, str]:
    """Return the query; of a name that is given twice, the first value."""
    found: dict[str, str] = {}
    raw = scope["query_string"]
    if raw:
        for name, value in parse_qsl(raw.decode("latin-1"), keep_blank_values=True):
            found.setdefault(name, value)
    return found


def target(parts: list[str]) -> Target | None:
    """Return the target of a path, or `None` if no resource has it. `parts`: the path behind the cluster's address."""
    if len(parts) >= 3 and parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    elif len(parts) >= 4 and parts[0] == "apis":
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    if watched := rest[0] == "watch" and len(rest) > 1:
        rest = rest[1:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    name = rest[1] if len(rest) > 1 else ""
    return Target(group, version, rest[0], namespace, name, "/".join(rest[2:]), watched)


def served(cluster: Cluster, wanted: Target) -> Resource | None:
    """Return the target's resource, or `None` if it is not served at that path."""
    resource = cluster.registry.find(wanted.group, wanted.version, wanted.plural)
    if resource is None or (wanted.namespace and not resource.namespaced):
        return None
    if resource.namespaced and wanted.name and not wanted.namespace:
        return None
    if wanted.subresource and wanted.subresource not in resource.subresources:
        return None
    return resource
