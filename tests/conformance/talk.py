"""A recorded conversation with an API server, to compare with the same conversation with another one."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import yaml

from tests.conformance.servers import Server

JSON = "application/json"
MERGE, PATCH = "application/merge-patch+json", "application/json-patch+json"
STRATEGIC, APPLY = "application/strategic-merge-patch+json", "application/apply-patch+yaml"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
PARTIAL_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


@dataclass
class Exchange:
    """One request and its answer. `body`: decoded JSON, or the list of a watch's events; `stem`: the sent generateName."""

    request: str
    status: int
    headers: dict[str, Any]
    body: Any
    stem: str = ""


@dataclass
class Talk:
    """Requests to one server, in a namespace of the conversation's own."""

    server: Server
    namespace: str
    exchanges: list[Exchange] = field(default_factory=list)
    recording: bool = True

    def __post_init__(self) -> None:
        self._connection = self.server.connect()

    def at(self, resource: str, name: str = "", part: str = "", *, namespace: str | None = None) -> str:
        """Return the path of a resource (`configmaps`, `apps/v1/deployments`) or of one object; "": cluster-wide."""
        version, _, plural = resource.rpartition("/")
        root = f"/apis/{version}" if version else "/api/v1"
        inside = self.namespace if namespace is None else namespace
        parts = [
            root,
            *(["namespaces", inside] if inside else []),
            plural,
            *([quote(name)] if name else []),
            *([part] if part else []),
        ]
        return "/".join(parts)

    def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = JSON,
        accept: str = JSON,
        user: str = "",
        groups: tuple[str, ...] = (),
        headers: dict[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        **options: str,
    ) -> Any:
        """Send a request and return the decoded answer.

        `body`: a document, or text or bytes that are sent unchanged. `options` and `query`: the query of the path;
        options that are not Python names, such as `continue`, go into `query`.
        """
        connection, asked = self._connection, {**options, **(query or {})}
        data = (
            body.encode()
            if isinstance(body, str)
            else body
            if body is None or isinstance(body, bytes)
            else json.dumps(body).encode()
        )
        sent = (
            self._headers(accept, user, groups) | ({"content-type": content_type} if data is not None else {}) | (headers or {})
        )
        target = self._target(path, asked)
        try:
            connection.request(method, target, body=data, headers=sent)
            response = connection.getresponse()
        except (http.client.HTTPException, OSError):
            connection.close()
            connection.request(method, target, body=data, headers=sent)
            response = connection.getresponse()
        found = _decoded(response.read(), response.headers.get("content-type") or "")
        stem = ((body.get("metadata") or {}).get("generateName") or "") if isinstance(body, dict) else ""
        self._record(method, path, asked, response, found, stem[:58])
        return found

    def watch(
        self,
        path: str,
        events: int,
        *,
        accept: str = JSON,
        seconds: int = 10,
        query: Mapping[str, str] | None = None,
        **options: str,
    ) -> Any:
        """Return the first `events` events of a watch, fewer if the server ends it; or the Status of a refusal."""
        connection, asked = self.server.connect(seconds + 10), {**options, **(query or {})}
        target = self._target(path, {"watch": "1", "timeoutSeconds": str(seconds), **asked})
        connection.request("GET", target, headers=self._headers(accept, "", ()))
        response = connection.getresponse()
        found: Any = []
        if response.status != 200:
            found = _decoded(response.read())
        else:
            while len(found) < events and (line := response.readline()):
                found.append(json.loads(line))
        response.close()
        connection.close()
        self._record("WATCH", path, asked, response, found)
        return found

    def quietly(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """Send a request that prepares the conversation and is not compared."""
        self.recording = False
        try:
            return self(method, path, body, **more)
        finally:
            self.recording = True

    def close(self) -> None:
        self._connection.close()

    def _target(self, path: str, query: dict[str, str]) -> str:
        return self.server.prefix + path + (f"?{urlencode(query)}" if query else "")

    def _headers(self, accept: str, user: str, groups: tuple[str, ...]) -> dict[str, str]:
        sent = {"authorization": f"Bearer {self.server.token}", "accept": accept, "user-agent": "conformance/1"}
        if user:
            sent["impersonate-user"] = user
        if groups:
            sent["impersonate-group"] = ",".join(groups)
        return sent

    def _record(
        self, method: str, path: str, query: dict[str, str], response: http.client.HTTPResponse, body: Any, stem: str = ""
    ) -> None:
        if self.recording:
            headers: dict[str, Any] = {"content-type": response.headers.get("content-type")}
            headers["warning"] = response.headers.get_all("warning") or []
            asked = path.replace(f"/namespaces/{self.namespace}", "/namespaces/NS") + (f"?{urlencode(query)}" if query else "")
            self.exchanges.append(Exchange(f"{method} {asked}", response.status, headers, body, stem))


def _decoded(data: bytes, media: str = "") -> Any:
    if media == "application/yaml":
        return yaml.safe_load(data)
    try:
        return json.loads(data)
    except ValueError:
        return data.decode("utf-8", "replace")


# --- names for values that may differ --------------------------------------------------------------------------------

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_ADDRESS = re.compile(r"\b10\.0\.\d+\.\d+\b")
_SUFFIX = re.compile(r"(kube-api-access-)[a-z0-9]{5}\b")


def _ordered(value: dict[str, Any]) -> dict[str, Any]:
    """Return a Status whose causes are sorted and removed from its message, if the server lists them in random order."""
    details = value.get("details")
    if not isinstance(details, dict) or details.get("group") != "conformance.example.com":
        return value
    causes = details.get("causes")
    if not causes or len(causes) < 2:
        return value
    message = value["message"].partition(" is invalid: [")[0]
    return {**value, "message": message, "details": {**details, "causes": sorted(causes, key=json.dumps)}}


_DOCUMENT = re.compile(r'Invalid value: ("\{(?:[^"\\]|\\.)*\}")')


class Names:
    """Replaces values that differ from server to server by names; equal values get equal names.

    Uids are numbered as they appear, resourceVersions of objects by their order. Times, addresses, generated names and
    continue tokens have one name each.
    """

    def __init__(self, exchanges: list[Exchange]) -> None:
        self._uids: dict[str, str] = {}
        stems = {re.escape(exchange.stem) for exchange in exchanges if exchange.stem}
        self._generated = re.compile(rf"\b({'|'.join(sorted(stems))})[a-z0-9]{{5}}\b") if stems else None
        versions: set[int] = set()
        for exchange in exchanges:
            self._collect(exchange.body, versions)
        self._versions = {str(version): f"<version {rank}>" for rank, version in enumerate(sorted(versions), 1)}

    def _collect(self, value: Any, versions: set[int]) -> None:
        if isinstance(value, dict):
            version = value.get("resourceVersion")
            if isinstance(version, str) and version.isdigit() and "uid" in value:
                versions.add(int(version))
            for member in value.values():
                self._collect(member, versions)
        elif isinstance(value, list):
            for item in value:
                self._collect(item, versions)

    def name(self, value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            known = "uid" in value  # the version of a list or a bookmark changes with every write
            return {
                member: self.name(found, member) if known or member != "resourceVersion" or found in ("", "0") else "<version>"
                for member, found in _ordered(value).items()
            }
        if isinstance(value, list):
            if key == "resources" and all(isinstance(item, dict) for item in value):
                # custom resources are listed in random order, that of a Go map
                value = sorted(value, key=lambda item: str(item.get("name")))
            if key == "cells":
                return [re.sub(r"^\d+s$", "<age>", self.name(cell)) if isinstance(cell, str) else cell for cell in value]
            if key == "causes" and all(item.get("reason") == "FieldManagerConflict" for item in value):
                value = sorted(value, key=json.dumps)  # in random order, that of a Go map
            return [self.name(item) for item in value]
        if isinstance(value, str):
            return self._text(value, key)
        if key in ("nodePort", "healthCheckNodePort") and isinstance(value, int) and 30000 <= value < 32768:
            return "<node port>"
        return value

    def _document(self, quoted: str) -> str:
        """Return a JSON object in a message with its members sorted: they may come in any order."""
        try:
            return f"Invalid value: {json.dumps(self.name(json.loads(json.loads(quoted))), sort_keys=True)}"
        except ValueError:
            return f"Invalid value: {quoted}"

    def _text(self, text: str, key: str) -> str:
        if key == "resourceVersion":
            return self._versions.get(text, "<version>" if text.isdigit() and text != "0" else text)
        if key == "continue" and text:
            return "<continue>"
        text = _TIME.sub("<time>", text)
        text = _UID.sub(lambda match: self._uids.setdefault(match[0], f"<uid {len(self._uids) + 1}>"), text)
        text = _SUFFIX.sub(r"\1<suffix>", text)
        if self._generated is not None:
            text = self._generated.sub(r"\1<5 letters>", text)
        if key == "message":
            head, errors, rest = text.partition("errors:\n")
            text = head + errors + "\n".join(sorted(rest.split("\n")))  # in random order, that of a Go map
            text = re.sub(r"current: \d+", "current: <version>", text)
            text = _DOCUMENT.sub(lambda match: self._document(match[1]), text)
            text = re.sub(r"\b\d{2,}\b", lambda match: "<version>" if match[0] in self._versions else match[0], text)
        return _ADDRESS.sub("<address>", text)
