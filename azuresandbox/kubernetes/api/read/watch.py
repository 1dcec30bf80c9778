"""Watches: the changes of a list or of one object, one JSON line for each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from azuresandbox import trees
from azuresandbox.clock import Clock, ScaledClock
from azuresandbox.kubernetes.api.read.filter import Filter
from azuresandbox.kubernetes.api.read.listing import check_options, version_problem
from azuresandbox.kubernetes.api.read.view import View
from azuresandbox.kubernetes.api.request import Request
from azuresandbox.kubernetes.api.streaming import chunk, close_on_disconnect
from azuresandbox.kubernetes.model import errors
from azuresandbox.kubernetes.model.resources import Resource
from azuresandbox.kubernetes.model.types import Object, dump
from azuresandbox.store import Compacted, Event, Record, Watch

BOOKMARK_SECONDS = 60.0
WATCH_SECONDS = 2400.0
"""The duration of a watch whose client names no timeout (kube-apiserver: between 30 and 60 minutes)."""


@dataclass(frozen=True, slots=True)
class _Scope:
    """The objects that a watch shows: those below a prefix that a selector accepts, or one key (`only`)."""

    prefix: str
    only: str
    accepts: Callable[[bytes], bool]

    def covers(self, record: Record) -> bool:
        return not self.only or record.key == self.only


@dataclass(frozen=True, slots=True)
class _Start:
    """An open watch of the store, the records to show first, and the revision that they are of."""

    stream: Watch
    backlog: list[Record]
    revision: int


async def watch(request: Request, resource: Resource, namespace: str, name: str = "") -> None:
    """Stream changes until the client disconnects, the timeout is over, or the cluster stops."""
    view, scope = View(request, resource), _scope(request, resource, namespace, name)
    check_options(request, watching=True)
    opened = _open(request, scope.prefix)
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-cache, private")]
    await request.send({"type": "http.response.start", "status": 200, "headers": headers})
    if isinstance(opened, errors.StatusError):
        await chunk(request, _error_line(opened))
    else:
        await _stream(request, view, scope, opened)
    await request.send({"type": "http.response.body", "body": b""})


def _scope(request: Request, resource: Resource, namespace: str, name: str) -> _Scope:
    wanted = Filter(request, resource)
    if name:
        key = resource.key(namespace, name)
        return _Scope(key, key, lambda data: True)
    return _Scope(resource.prefix + (f"{namespace}/" if namespace else ""), "", wanted.matches)


def _error_line(error: errors.StatusError) -> bytes:
    return b'{"type":"ERROR","object":' + error.dump() + b"}\n"


def _open(request: Request, prefix: str) -> _Start | errors.StatusError:
    """Open the watch at the requested resourceVersion; or return the error to send as its only event."""
    cluster = request.cluster
    store, partition = cluster.sandbox.store, cluster.objects.partition
    version = request.query.get("resourceVersion") or "0"
    if not version.isdigit():
        raise errors.plain(500, version_problem(version))
    since, current = int(version), store.revision(partition)
    if cluster.sandbox.faults.take("watch-expired", cluster.id):
        return errors.expired(f"too old resource version: {since} ({current})")
    initial = request.flag("sendInitialEvents")
    if since == 0 or initial:
        page = store.list(partition, prefix)
        backlog = page.records if initial or request.query.get("sendInitialEvents") != "false" else []
        return _Start(store.watch(partition, prefix, since=page.revision), backlog, page.revision)
    try:
        return _Start(store.watch(partition, prefix, since=min(since, current)), [], since)
    except Compacted as error:
        return errors.expired(f"too old resource version: {since} ({error.oldest})")


async def _stream(request: Request, view: View, scope: _Scope, opened: _Start) -> None:
    """Send the backlog, then the changes, with bookmarks if the client allows them."""
    stream, cluster = opened.stream, request.cluster
    cluster.watches.add(stream)
    helpers = [asyncio.create_task(close_on_disconnect(request, stream)), asyncio.create_task(_end(request, stream))]
    try:
        shown = [record for record in opened.backlog if scope.covers(record) and scope.accepts(record.value)]
        start = b"".join(view.event("ADDED", record.value, first=at == 0) for at, record in enumerate(shown))
        if request.flag("sendInitialEvents"):
            start += view.bookmark(opened.revision, initial=True, first=not shown)
        await chunk(request, start)
        bookmarks = request.flag("allowWatchBookmarks")
        if bookmarks:
            helpers.append(asyncio.create_task(_bookmarks(request, stream, view)))
        await _follow(request, view, scope, opened, first=not shown)
        if bookmarks and not cluster.stopped:
            await chunk(request, view.bookmark(cluster.sandbox.store.revision(stream.partition), initial=False))
    finally:
        stream.close()
        cluster.watches.discard(stream)
        for helper in helpers:
            helper.cancel()


async def _follow(request: Request, view: View, scope: _Scope, opened: _Start, *, first: bool) -> None:
    """Send the changes after the start, in one chunk all that have arrived. `first`: no event has been sent yet."""
    cluster, stream = request.cluster, opened.stream
    async for event in stream:
        lines = b""
        for item in (event, *stream.pending()):
            if not scope.covers(item.record) or item.record.revision <= opened.revision:
                continue
            kind = _event_kind(item, scope.accepts)
            if kind:
                lines += view.event(kind, _shown(item, kind), first)
                first = False
        if cluster.sandbox.faults.take("watch-expired", cluster.id):
            revision = event.record.revision
            lines = _error_line(errors.expired(f"too old resource version: {revision} ({revision + 1})"))
            stream.close()
        if lines:
            await chunk(request, lines)


def _shown(event: Event, kind: str) -> bytes:
    """Return the bytes to show: an object that a selector no longer accepts is shown as it was before the change."""
    if kind != "DELETED" or event.kind == "DELETED" or event.previous is None:
        return event.record.value
    obj: Object = trees.parse(event.previous.value)
    obj["metadata"]["resourceVersion"] = str(event.record.revision)
    return dump(obj)


def _event_kind(event: Event, accepts: Callable[[bytes], bool]) -> str:
    """Return the event's type under the selector, which may turn a change into ADDED or DELETED; "" to skip it."""
    if event.kind == "ADDED":
        return "ADDED" if accepts(event.record.value) else ""
    before = event.previous is not None and accepts(event.previous.value)
    if event.kind == "DELETED":
        return "DELETED" if before else ""
    now = accepts(event.record.value)
    if now:
        return "MODIFIED" if before else "ADDED"
    return "DELETED" if before else ""


async def _end(request: Request, stream: Watch) -> None:
    await wall(request.cluster.sandbox.clock, float(request.number("timeoutSeconds") or WATCH_SECONDS))
    stream.close()


async def _bookmarks(request: Request, stream: Watch, view: View) -> None:
    store = request.cluster.sandbox.store
    while True:
        await wall(request.cluster.sandbox.clock, BOOKMARK_SECONDS)
        await chunk(request, view.bookmark(store.revision(stream.partition), initial=False))


async def wall(clock: Clock, seconds: float) -> None:
    """Wait real seconds: the timeouts of clients are not shortened with the sandbox's own time."""
    await clock.wait(seconds / clock.rates.wait if isinstance(clock, ScaledClock) else seconds)
