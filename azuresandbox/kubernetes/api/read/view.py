"""Objects as a client wants them shown, joined from the stored bytes wherever possible."""

from __future__ import annotations

import json

from azuresandbox.kubernetes.api.accept import wanted_form
from azuresandbox.kubernetes.api.request import Request
from azuresandbox.kubernetes.api.stored import as_version, load
from azuresandbox.kubernetes.model import errors, goform, tables
from azuresandbox.kubernetes.model.resources import Resource
from azuresandbox.kubernetes.model.types import Object, head


class View:
    """The form in which a client wants objects: whole (`kind` is ""), PartialObjectMetadata or Table."""

    def __init__(self, request: Request, resource: Resource) -> None:
        self.resource = resource
        self.cluster = request.cluster
        self.kind, self.table_version = wanted_form(request.header(b"accept"))
        self.include = request.query.get("includeObject", "Metadata")
        if self.kind == "Table":
            self._check_include()

    def one(self, data: bytes) -> bytes:
        """Return one object in the wanted form."""
        if not self.kind:
            return as_version(data, self.resource)
        if self.kind == "Table":
            return json.dumps(self._table([load(data, self.resource)], {})).encode()
        return json.dumps(tables.partial(load(data, self.resource), self.table_version)).encode()

    def many(self, records: list[bytes], metadata: Object) -> bytes:
        """Return a list in the wanted form. `metadata`: the list's own."""
        if self.kind == "Table":
            return json.dumps(self._table([load(data, self.resource) for data in records], metadata)).encode()
        if self.kind:
            items = [tables.partial(load(data, self.resource), self.table_version) for data in records]
            version = f"meta.k8s.io/{self.table_version}"
            return json.dumps(
                {"kind": "PartialObjectMetadataList", "apiVersion": version, "metadata": metadata, "items": items}
            ).encode()
        if self.resource.custom is not None:
            metadata = {"continue": "", **metadata}
        about = {"kind": self.resource.list_kind, "apiVersion": self.resource.api_version, "metadata": metadata}
        start = json.dumps(about, separators=(",", ":")).encode()[:-1]
        return start + b',"items":[' + b",".join([self._item(data) for data in records]) + b"]}"

    def _item(self, data: bytes) -> bytes:
        """Return an item of a list; built-in kinds have no apiVersion and kind there, since the list names them."""
        if self.resource.custom is not None:
            return as_version(data, self.resource)
        return b"{" + data[len(head(self.resource.stored_as)) + len(self.resource.kind) + 10 :]

    def event(self, kind: str, data: bytes, first: bool) -> bytes:
        """Return a line of a watch. `first`: no line was sent before, so a Table names its columns."""
        if self.kind == "Table":
            obj = load(data, self.resource)
            table = self._table([obj], {"resourceVersion": obj["metadata"]["resourceVersion"]})
            if not first:
                table["columnDefinitions"] = None
            shown = json.dumps(table).encode()
        else:
            shown = self.one(data)
        return b'{"type":"' + kind.encode() + b'","object":' + shown + b"}\n"

    def bookmark(self, revision: int, *, initial: bool, first: bool = False) -> bytes:
        """Return a line of a watch that only carries a resourceVersion. `initial`: it ends the initial
        events; `first`: see `event`.
        """
        metadata: Object = {"resourceVersion": str(revision)}
        if initial:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        shown: Object = {"kind": self.resource.kind, "apiVersion": self.resource.api_version, "metadata": metadata}
        if self.resource.custom is None and not self.kind:
            shown = goform.zero(self.resource.api_version, self.resource.kind, self.cluster.schema(self.resource)) | shown
        if self.kind == "Table":
            shown = self._table([], {"resourceVersion": str(revision)})
            about = {"kind": "PartialObjectMetadata", "apiVersion": shown["apiVersion"], "metadata": metadata}
            if not first:
                shown["columnDefinitions"] = None
            shown["rows"] = [{"cells": tables.blank(self.resource, self.cluster.sandbox.clock.now()), "object": about}]
        elif self.kind:
            shown = {"kind": "PartialObjectMetadata", "apiVersion": f"meta.k8s.io/{self.table_version}", "metadata": metadata}
        return b'{"type":"BOOKMARK","object":' + json.dumps(shown, separators=(",", ":")).encode() + b"}\n"

    def _check_include(self) -> None:
        if self.include not in ("", "Metadata", "Object", "None"):
            why = f"includeObject: Invalid value: {json.dumps(self.include)}: must be 'Metadata', 'Object', 'None', or empty"
            raise errors.bad_request(f"Unable to convert to Table as requested: {why}")

    def _table(self, objects: list[Object], metadata: Object) -> Object:
        return tables.table(
            self.resource, objects, metadata, self.include, self.cluster.sandbox.clock.now(), self.table_version
        )
