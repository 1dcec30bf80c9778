"""A request to a cluster's API server, taken apart: path, query, what it asks for.

May import errors and resources.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import yaml

from fleetlib.sandbox import trees
from fleetlib.sandbox.context import Receive, Scope, Send
from fleetlib.sandbox.http import TooLarge, read_body
from fleetlib.sandbox.kubernetes import errors, protobuf
from fleetlib.sandbox.kubernetes.cluster import Cluster
from fleetlib.sandbox.kubernetes.resources import Resource
from fleetlib.sandbox.kubernetes.tokens import User

MAX_BODY = 3 << 20
"""Bytes of a request's body, as kube-apiserver limits it."""

JSON = "application/json"
YAML = ("application/yaml", "application/x-yaml", "text/yaml")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names. `resource` is None for paths that are not a resource's."""

    group: str
    version: str
    plural: str
    namespace: str
    name: str
    subresource: str


@dataclass(slots=True)
class Request:
    """One request, authenticated. `warnings` become Warning headers."""

    cluster: Cluster
    method: str
    path: str
    query: dict[str, str]
    headers: dict[bytes, bytes]
    user: User
    receive: Receive
    send: Send
    warnings: list[str] = field(default_factory=list)

    def header(self, name: bytes) -> str:
        return self.headers.get(name, b"").decode("latin-1")

    def flag(self, name: str) -> bool:
        value = self.query.get(name)
        return value is not None and value.lower() in ("", "1", "true", "t")

    @property
    def dry_run(self) -> bool:
        value = self.query.get("dryRun", "")
        if value not in ("", "All"):
            causes = [
                errors.cause("FieldValueNotSupported", f'Unsupported value: "{value}": supported values: "All"', "dryRun")
            ]
            raise errors.invalid("meta.k8s.io", "CreateOptions", "", causes)
        return value == "All"

    @property
    def manager(self) -> str:
        """The field manager: as named, else the first part of the user agent."""
        return self.query.get("fieldManager") or self.header(b"user-agent").split("/", 1)[0] or "unknown"

    @property
    def content_type(self) -> str:
        return self.header(b"content-type").split(";", 1)[0].strip().lower()

    async def body(self) -> bytes:
        try:
            return await read_body(self.receive, MAX_BODY)
        except TooLarge as error:
            raise errors.too_large(error.limit) from None

    async def document(self) -> dict[str, Any]:
        """The body as a JSON object (YAML is read too). {} if there is none."""
        data = await self.body()
        if not data:
            return {}
        kind = self.content_type
        if kind == protobuf.MEDIA_TYPE:
            try:
                return protobuf.decode(data)
            except protobuf.ProtobufError as error:
                raise errors.bad_request(str(error)) from None
        if kind not in ("", JSON, "*/*", *YAML):
            raise errors.unsupported_media_type((JSON, YAML[0]))
        return decode(data, as_yaml=kind in YAML)


def decode(data: bytes, *, as_yaml: bool) -> dict[str, Any]:
    """A JSON object from JSON or YAML text."""
    try:
        found = _parse_yaml(data) if as_yaml else trees.parse(data)
    except (ValueError, yaml.YAMLError) as error:
        raise errors.bad_request(f"the object provided is unrecognized (must be of type runtime.Object): {error}") from None
    if not isinstance(found, dict):
        raise errors.bad_request("the object provided is unrecognized: it is not a JSON object")
    return found


def _parse_yaml(data: bytes) -> Any:
    """YAML; nearly all of it is JSON under YAML's media type, which is read by the faster parser."""
    if data[:1] == b"{":
        try:
            return trees.parse(data)
        except ValueError:
            pass  # a flow mapping, or something that YAML's parser explains
    return yaml.load(data, _Loader)


def query(scope: Scope) -> dict[str, str]:
    """The query, the first value of each name."""
    found: dict[str, str] = {}
    raw = scope["query_string"]
    if raw:
        for name, value in parse_qsl(raw.decode("latin-1"), keep_blank_values=True):
            found.setdefault(name, value)
    return found


def target(parts: list[str]) -> Target | None:
    """What the path's parts (behind the cluster's address) name, if a resource."""
    if len(parts) >= 3 and parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    elif len(parts) >= 4 and parts[0] == "apis":
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    name = rest[1] if len(rest) > 1 else ""
    return Target(group, version, rest[0], namespace, name, "/".join(rest[2:]))


def served(cluster: Cluster, wanted: Target) -> Resource | None:
    """The resource that the target is in, if it is served at that path."""
    resource = cluster.registry.find(wanted.group, wanted.version, wanted.plural)
    if resource is None or (wanted.namespace and not resource.namespaced):
        return None
    if resource.namespaced and wanted.name and not wanted.namespace:
        return None
    if wanted.subresource and wanted.subresource not in resource.subresources:
        return None
    return resource
