"""Get, list and watch: answers joined from the stored bytes.

Only what must look inside objects decodes them: selectors, Tables, metadata-only answers. May import everything of this
package below the request handlers.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from azuresandbox import trees
from azuresandbox.clock import Clock
from azuresandbox.kubernetes.api.request import Request
from azuresandbox.kubernetes.api.write.common import as_version
from azuresandbox.kubernetes.model import decoding, errors, goform, tables
from azuresandbox.kubernetes.model.resources import Resource
from azuresandbox.kubernetes.model.selectors import (
    FieldSelector,
    Selector,
    SelectorError,
    parse_field_selector,
    parse_label_selector,
)
from azuresandbox.kubernetes.model.types import Object, dump, head
from azuresandbox.store import Compacted, Event, Page, Record, Watch

BOOKMARK_SECONDS = 60.0
WATCH_SECONDS = 2400.0
"""How long a watch lasts whose client names no timeout (kube-apiserver: between 30 and 60 minutes)."""

FIELDS: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "pods"): (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ),
    ("", "events"): (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    ("", "secrets"): ("type",),
    ("", "nodes"): ("spec.unschedulable",),
    ("", "namespaces"): ("status.phase",),
    ("", "services"): ("spec.clusterIP", "spec.type"),
    ("", "replicationcontrollers"): ("status.replicas",),
    ("batch", "jobs"): ("status.successful",),
}
"""What can be selected by field besides metadata.name and metadata.namespace."""

_EXPIRED = "The resourceVersion for the provided list is too old."
_NOWHERE = (("", "nodes"), ("", "namespaces"))
"""Kinds with fields of their own that cannot be selected by a namespace."""

_EXPIRED_CONTINUE = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without the "
    "continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with "
    "the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the "
    "first chunk was returned and now may show up in the list."
)
_LATEST = -1
"""The revision of a continue token that goes on in the present."""


class View:
    """How a client wants objects shown: whole, metadata only, or as a Table."""

    def __init__(self, request: Request, resource: Resource) -> None:
        self.resource = resource
        self.cluster = request.cluster
        self.kind, self.table_version = _wanted(request.header(b"accept"))
        self.include = request.query.get("includeObject", "Metadata")
        if self.kind == "Table":
            self._check_include()

    def one(self, data: bytes) -> bytes:
        if not self.kind:
            return as_version(data, self.resource)
        if self.kind == "Table":
            return json.dumps(self._table([self._load(data)], {})).encode()
        return json.dumps(tables.partial(self._load(data), self.table_version)).encode()

    def many(self, records: list[bytes], metadata: Object) -> bytes:
        if self.kind == "Table":
            return json.dumps(self._table([self._load(data) for data in records], metadata)).encode()
        if self.kind:
            items = [tables.partial(self._load(data), self.table_version) for data in records]
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
        """An object in a list: what Go's types decode does not repeat what the list says of its kind."""
        if self.resource.custom is not None:
            return as_version(data, self.resource)
        return b"{" + data[len(head(self.resource.stored_as)) + len(self.resource.kind) + 10 :]

    def event(self, kind: str, data: bytes, first: bool) -> bytes:
        """A line of a watch."""
        if self.kind == "Table":
            table = self._table([self._load(data)], {"resourceVersion": self._load(data)["metadata"]["resourceVersion"]})
            if not first:
                table["columnDefinitions"] = None
            shown = json.dumps(table).encode()
        else:
            shown = self.one(data)
        return b'{"type":"' + kind.encode() + b'","object":' + shown + b"}\n"

    def bookmark(self, revision: int, *, initial: bool, first: bool = False) -> bytes:
        """A line of a watch that only says how far it is. `first`: nothing was sent before, so a Table names its columns."""
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

    def _load(self, data: bytes) -> Object:
        obj: Object = trees.parse(data)
        obj["apiVersion"] = self.resource.api_version
        return obj

    def _check_include(self) -> None:
        if self.include not in ("", "Metadata", "Object", "None"):
            why = f"includeObject: Invalid value: {json.dumps(self.include)}: must be 'Metadata', 'Object', 'None', or empty"
            raise errors.bad_request(f"Unable to convert to Table as requested: {why}")

    def _table(self, objects: list[Object], metadata: Object) -> Object:
        return tables.table(
            self.resource, objects, metadata, self.include, self.cluster.sandbox.clock.now(), self.table_version
        )


_MEDIA = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")
_ANY = ("*/*", "application/*")


def check_accept(accept: str, media: tuple[str, ...] = _MEDIA) -> None:
    """What the web framework in front of the built-in kinds refuses before anything else."""
    offers = [offer.partition(";")[0].strip() for offer in accept.split(",")]
    if accept and not any(offer in _ANY or offer in media for offer in offers):
        message = "406: Not Acceptable\n\nAvailable representations: " + ", ".join(media)
        raise errors.StatusError(406, "NotAcceptable", message, {})


def _wanted(accept: str) -> tuple[str, str]:
    """The `as=` of the first media type that the server can answer with: "", "Table", "PartialObjectMetadata"."""
    if not accept or accept.startswith("*/*"):
        return "", ""
    for offer in accept.split(","):
        media, *parameters = [part.strip() for part in offer.split(";")]
        known = dict(part.partition("=")[::2] for part in parameters)
        if media not in (*_ANY, "application/json", "application/yaml"):
            continue
        kind, version = known.get("as", ""), known.get("v", "v1")
        if not kind:
            return "", ""
        if known.get("g") == "meta.k8s.io" and version in ("v1", "v1beta1"):
            if kind == "Table":
                return "Table", version
            if kind in ("PartialObjectMetadata", "PartialObjectMetadataList"):
                return "PartialObjectMetadata", version
    raise _not_acceptable()


def _not_acceptable() -> errors.StatusError:
    return errors.StatusError(406, "NotAcceptable", "only the following media types are accepted: " + ", ".join(_MEDIA))


def wants_aggregated(accept: str) -> bool:
    """Whether of the forms of discovery, aggregated in version v2 or plain, the aggregated is the first that the client accepts."""
    for offer in accept.split(",") if accept else ():
        media, *parameters = [part.strip() for part in offer.split(";")]
        known = dict(part.partition("=")[::2] for part in parameters)
        if media in (*_ANY, "application/json", "application/yaml"):
            if "as" not in known:
                return False
            if (known["as"], known.get("g"), known.get("v")) == ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2"):
                return True
    if accept:
        raise _not_acceptable()
    return False


def wants_yaml(accept: str) -> bool:
    """Whether YAML is the first of what the client accepts that the server has."""
    offers = (offer.partition(";")[0].strip() for offer in accept.split(","))
    return next((offer for offer in offers if offer in _MEDIA or offer in _ANY), "") == "application/yaml"


class Filter:
    """The label and field selectors of a list or a watch."""

    def __init__(self, request: Request, resource: Resource) -> None:
        try:
            labels = request.query.get("labelSelector", "")
            self._labels: Selector | None = parse_label_selector(labels) if labels else None
            fields = request.query.get("fieldSelector", "")
            self._fields: FieldSelector | None = parse_field_selector(fields) if fields else None
        except SelectorError as error:
            raise errors.bad_request(str(error)) from None
        self._paths = self._supported(resource) if self._fields else ()
        self.everything = self._labels is None and self._fields is None
        self.name = next(
            (
                r.value
                for r in (self._fields.requirements if self._fields else ())
                if r.field == "metadata.name" and r.operator == "="
            ),
            "",
        )

    def _supported(self, resource: Resource) -> tuple[str, ...]:
        assert self._fields is not None
        custom = [item["jsonPath"].lstrip(".") for item in (resource.custom or {}).get("selectableFields") or []]
        named = ("metadata.name",) if (resource.group, resource.plural) in _NOWHERE else ("metadata.name", "metadata.namespace")
        known = (*named, *FIELDS.get((resource.group, resource.plural), ()), *custom)
        for requirement in self._fields.requirements:
            if requirement.field not in known:
                raise errors.bad_request(_unknown_field(resource, requirement.field))
        return tuple(requirement.field for requirement in self._fields.requirements)

    def matches(self, data: bytes) -> bool:
        if self.everything:
            return True
        obj = trees.parse(data)
        if self._labels is not None and not self._labels.matches(obj["metadata"].get("labels")):
            return False
        return self._fields is None or self._fields.matches({path: _field(obj, path) for path in self._paths})


def _unknown_field(resource: Resource, name: str) -> str:
    """Kinds with fields of their own say it in one way, all others in another."""
    if (resource.group, resource.plural) == ("batch", "jobs"):
        return f'field label "{name}" not supported for Job'
    if resource.custom is not None or (resource.group, resource.plural) in FIELDS:
        return f"field label not supported: {name}"
    return f'"{name}" is not a known field selector: only "metadata.name", "metadata.namespace"'


def _field(obj: Object, path: str) -> str:
    found: Any = obj
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    if path == "source" and isinstance(found, dict):
        found = found.get("component")
    if path in ("spec.unschedulable", "spec.hostNetwork"):
        return "true" if found else "false"
    return "" if found is None else str(found)


# --- list ------------------------------------------------------------------------------------------------------------


def listing(request: Request, resource: Resource, namespace: str) -> bytes:
    """A list, perhaps a page of one."""
    found, metadata = select(request, resource, namespace)
    return View(request, resource).many([record.value for record in found], metadata)


def select(request: Request, resource: Resource, namespace: str) -> tuple[list[Record], Object]:
    """The records a list asks for, and the list's metadata."""
    store, partition = request.cluster.sandbox.store, request.cluster.objects.partition
    prefix = resource.prefix + (f"{namespace}/" if namespace else "")
    wanted = Filter(request, resource)
    check_options(request, watching=False)
    limit = _number(request, "limit") or None
    after, at = _position(request, store.revision(partition))
    found: list[Record] = []
    remaining, revision = 0, 0
    try:
        while True:
            room = None if limit is None else limit - len(found)
            page: Page = store.list(partition, prefix, after=after, limit=room, at=at)
            revision, remaining = page.revision, page.remaining
            found += [record for record in page.records if wanted.matches(record.value)]
            if not remaining or limit is None or len(found) >= limit:
                break
            after, at = page.records[-1].key, page.revision
    except Compacted:
        raise _too_old(request, after) from None
    metadata: Object = {"resourceVersion": str(revision)}
    if remaining:
        metadata["continue"] = _continue(revision, page.records[-1].key)
        if wanted.everything:
            metadata["remainingItemCount"] = remaining
    return found, metadata


def _too_old(request: Request, after: str) -> errors.StatusError:
    """A further page is offered the rest as it is now. Source: apiserver's `storage/etcd3/errors.go`."""
    if not request.query.get("continue"):
        return errors.expired(_EXPIRED)
    return errors.expired(_EXPIRED_CONTINUE, {"continue": _continue(_LATEST, after)})


def _number(request: Request, name: str) -> int:
    """A number in the query; one below zero says as little as none."""
    text = request.query.get(name) or "0"
    if not text.removeprefix("-").isdigit():
        raise errors.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return max(int(text), 0)


def check_options(request: Request, *, watching: bool) -> None:
    """Refuse options of a list or a watch that make no sense together. Source: apimachinery, `ValidateListOptions`."""
    causes: errors.Causes = []

    def forbid(field: str, why: str) -> None:
        causes.append(errors.cause("FieldValueForbidden", f"Forbidden: {why}", field))

    asked = request.query
    match, initial = asked.get("resourceVersionMatch", ""), "sendInitialEvents" in asked
    if watching and initial and match != "NotOlderThan":
        forbid("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
    elif watching and match and not initial:
        forbid("resourceVersionMatch", "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
    if watching and match not in ("", "NotOlderThan"):
        text = f'Unsupported value: {json.dumps(match)}: supported values: "NotOlderThan"'
        causes.append(errors.cause("FieldValueNotSupported", text, "resourceVersionMatch"))
    if match and not watching:
        if not asked.get("resourceVersion"):
            forbid("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided")
        if asked.get("continue"):
            forbid("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided")
        if match not in ("Exact", "NotOlderThan"):
            text = f'Unsupported value: {json.dumps(match)}: supported values: "Exact", "NotOlderThan", ""'
            causes.append(errors.cause("FieldValueNotSupported", text, "resourceVersionMatch"))
        if match == "Exact" and asked.get("resourceVersion") == "0":
            forbid("resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"')
    if initial and not watching:
        forbid("sendInitialEvents", "sendInitialEvents is forbidden for list")
    if causes:
        raise errors.invalid("meta.k8s.io", "ListOptions", "", causes)


def _position(request: Request, current: int) -> tuple[str, int | None]:
    """Where a list starts: behind a key, as of a revision (None: now)."""
    token = request.query.get("continue")
    if token:
        if request.query.get("resourceVersion") not in (None, "", "0"):
            raise errors.bad_request("specifying resource version is not allowed when using continue")
        return _continued(token)
    revision = _revision(request)
    if revision > current:
        raise errors.too_large_resource_version(revision, current)
    if request.query.get("resourceVersionMatch") == "Exact":
        return "", revision
    return "", None


def _continued(token: str) -> tuple[str, int | None]:
    """Where a page says that the next one starts."""
    why = "encoded continue token is invalid"
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        found = json.loads(text)
        at = int(found["rv"])
        return str(found["start"]), None if at == _LATEST else at
    except binascii.Error:
        pass
    except ValueError:
        why = decoding.json_problem(text)
    except (KeyError, TypeError):
        pass
    raise errors.bad_request(f"invalid continue token: continue key is not valid: {why}")


def _revision(request: Request) -> int:
    text = request.query.get("resourceVersion") or "0"
    if not text.isdigit():
        raise errors.bad_request(f"invalid resource version: {version_problem(text)}")
    return int(text)


def version_problem(text: str) -> str:
    return f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'


def _continue(revision: int, key: str) -> str:
    text = json.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": key}, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


# --- watch -----------------------------------------------------------------------------------------------------------


async def watch(request: Request, resource: Resource, namespace: str, name: str = "") -> None:
    """Stream changes until the client hangs up, the time is over, or the cluster goes away."""
    view, wanted = View(request, resource), Filter(request, resource)
    initial = request.flag("sendInitialEvents")
    check_options(request, watching=True)
    prefix = resource.prefix + (f"{namespace}/" if namespace else "")
    accepts: Callable[[bytes], bool] = wanted.matches
    if name:
        key = resource.key(namespace, name)
        prefix, accepts = key, (lambda data: True)
    opened = _open(request, resource, prefix, initial)
    await request.send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"application/json"), (b"cache-control", b"no-cache, private")],
        }
    )
    if isinstance(opened, errors.StatusError):
        await _chunk(request, b'{"type":"ERROR","object":' + opened.dump() + b"}\n")
        await request.send({"type": "http.response.body", "body": b""})
        return
    stream, backlog, revision = opened
    request.cluster.watches.add(stream)
    helpers = [asyncio.create_task(_hang_up(request, stream)), asyncio.create_task(_end(request, stream))]
    try:
        first = True
        start = b""
        for record in backlog:
            if accepts(record.value) and (not name or record.key == prefix):
                start += view.event("ADDED", record.value, first)
                first = False
        if initial:
            start += view.bookmark(revision, initial=True, first=first)
        await _chunk(request, start)
        bookmarks = request.flag("allowWatchBookmarks")
        if bookmarks:
            helpers.append(asyncio.create_task(_bookmarks(request, stream, view)))
        await _follow(request, stream, view, accepts, prefix if name else "", first, revision)
        if bookmarks and not request.cluster.stopped:
            store = request.cluster.sandbox.store
            await _chunk(request, view.bookmark(store.revision(stream.partition), initial=False))
    finally:
        stream.close()
        request.cluster.watches.discard(stream)
        for helper in helpers:
            helper.cancel()
    await request.send({"type": "http.response.body", "body": b""})


def _open(
    request: Request, resource: Resource, prefix: str, initial: bool
) -> tuple[Watch, list[Record], int] | errors.StatusError:
    """The watch, what it starts with, at which revision; or the error that is its only event."""
    cluster = request.cluster
    store, partition = cluster.sandbox.store, cluster.objects.partition
    version = request.query.get("resourceVersion") or "0"
    if not version.isdigit():
        raise errors.plain(500, version_problem(version))
    since, current = int(version), store.revision(partition)
    if cluster.sandbox.faults.take("watch-expired", cluster.id):
        return errors.expired(f"too old resource version: {since} ({current})")
    if since == 0 or initial:
        page = store.list(partition, prefix)
        backlog = page.records if initial or request.query.get("sendInitialEvents") != "false" else []
        return store.watch(partition, prefix, since=page.revision), backlog, page.revision
    try:
        return store.watch(partition, prefix, since=min(since, current)), [], since
    except Compacted as error:
        return errors.expired(f"too old resource version: {since} ({error.oldest})")


async def _follow(
    request: Request, stream: Watch, view: View, accepts: Callable[[bytes], bool], only: str, first: bool, since: int
) -> None:
    """Send the events after `since`, all that have arrived in one chunk. The selector may turn a change into an addition or a deletion."""
    cluster = request.cluster
    async for event in stream:
        chunk = b""
        for item in (event, *stream.pending()):
            if only and item.record.key != only or item.record.revision <= since:
                continue
            kind = _event_kind(item, accepts)
            if kind:
                chunk += view.event(kind, _shown(item, kind), first)
                first = False
        if cluster.sandbox.faults.take("watch-expired", cluster.id):
            revision = event.record.revision
            chunk = (
                b'{"type":"ERROR","object":'
                + errors.expired(f"too old resource version: {revision} ({revision + 1})").dump()
                + b"}\n"
            )
            stream.close()
        if chunk:
            await _chunk(request, chunk)


def _shown(event: Event, kind: str) -> bytes:
    """What went out of a selector's sight is shown as it was last seen, at the version of the change."""
    if kind != "DELETED" or event.kind == "DELETED" or event.previous is None:
        return event.record.value
    obj: Object = trees.parse(event.previous.value)
    obj["metadata"]["resourceVersion"] = str(event.record.revision)
    return dump(obj)


def _event_kind(event: Event, accepts: Callable[[bytes], bool]) -> str:
    if event.kind == "ADDED":
        return "ADDED" if accepts(event.record.value) else ""
    before = event.previous is not None and accepts(event.previous.value)
    if event.kind == "DELETED":
        return "DELETED" if before else ""
    now = accepts(event.record.value)
    if now:
        return "MODIFIED" if before else "ADDED"
    return "DELETED" if before else ""


async def _chunk(request: Request, data: bytes) -> None:
    await request.send({"type": "http.response.body", "body": data, "more_body": True})


async def _hang_up(request: Request, stream: Watch) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    stream.close()


async def _end(request: Request, stream: Watch) -> None:
    await wall(request.cluster.sandbox.clock, float(_number(request, "timeoutSeconds") or WATCH_SECONDS))
    stream.close()


async def _bookmarks(request: Request, stream: Watch, view: View) -> None:
    store = request.cluster.sandbox.store
    while True:
        await wall(request.cluster.sandbox.clock, BOOKMARK_SECONDS)
        await _chunk(request, view.bookmark(store.revision(stream.partition), initial=False))


async def wall(clock: Clock, seconds: float) -> None:
    """Wait in the client's seconds: what a client asks for is not shortened with the sandbox's own time."""
    rates = getattr(clock, "rates", None)
    await clock.wait(seconds / rates.wait if rates else seconds)


async def chunks(request: Request, parts: AsyncIterator[bytes], content_type: bytes) -> None:
    """A streamed answer of any kind."""
    await request.send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]})
    async for part in parts:
        await _chunk(request, part)
    await request.send({"type": "http.response.body", "body": b""})
