"""How every controller in the sandbox works: caches kept by list-then-watch, one queue of keys, retries with backoff.

A controller watches kinds, maps each change to the keys it concerns, and reconciles one key at a time (never the same key
twice at once). Reconciling is level-driven: it reads the caches or the API, and writes only differences. May import
`machine.client` and `sandbox.clock`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from azuresandbox.clock import Clock
from azuresandbox.machine.client import ApiError, KubeClient, NoMatch, Object, Objects
from azuresandbox.wire import Unreachable


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """What is reconciled: an object's kind, namespace ("" for cluster scope) and name."""

    kind: str
    namespace: str
    name: str


def key_of(obj: Object) -> Key:
    metadata = obj["metadata"]
    return Key(obj["kind"], metadata.get("namespace", ""), metadata["name"])


Mapper = Callable[[Object], Iterable[Key]]
Reconcile = Callable[[Key], Awaitable[float | None]]
"""Returns the seconds after which to look again (of the modelled system's time), or None. An exception is retried."""


class Cache:
    """All objects of one kind at a cluster, kept current. Objects are shared: never change one in place."""

    def __init__(self, api_version: str, kind: str) -> None:
        self.api_version = api_version
        self.kind = kind
        self.objects: dict[tuple[str, str], Object] = {}
        self.synced = asyncio.Event()
        self.listeners: list[Callable[[Object, Object | None], None]] = []

    def get(self, name: str, namespace: str = "") -> Object | None:
        return self.objects.get((namespace, name))

    def list(self, namespace: str | None = None) -> Iterator[Object]:
        return (obj for (ns, _), obj in list(self.objects.items()) if namespace is None or ns == namespace)

    def put(self, obj: Object) -> None:
        """Take up what a write has returned, ahead of the watch, so that the next decision knows of it."""
        self._set(obj)

    def _set(self, obj: Object) -> None:
        metadata = obj["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        old = self.objects.get(key)
        if old is not None and _is_newer(old["metadata"], metadata):
            return
        self.objects[key] = obj
        if old is None or old["metadata"].get("resourceVersion") != metadata.get("resourceVersion"):
            self._tell(obj, old)

    def _remove(self, obj: Object) -> None:
        metadata = obj["metadata"]
        old = self.objects.pop((metadata.get("namespace", ""), metadata["name"]), None)
        if old is not None:
            self._tell(obj, old)

    def _replace(self, objects: Objects) -> None:
        current = {(o["metadata"].get("namespace", ""), o["metadata"]["name"]) for o in objects}
        for key in [key for key in self.objects if key not in current]:
            self._remove(self.objects[key])
        for obj in objects:
            self._set(obj)

    def _tell(self, obj: Object, old: Object | None) -> None:
        for listener in self.listeners:
            listener(obj, old)


class Informers:
    """The caches of one client, each kind watched once however many controllers ask for it."""

    def __init__(self, kube: KubeClient, clock: Clock, log: Callable[[str], None]) -> None:
        self.kube = kube
        self._clock = clock
        self._log = log
        self._caches: dict[tuple[str, str], Cache] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def cache(self, api_version: str, kind: str) -> Cache:
        """The cache of a kind; its watch starts with the first call. A kind without a CRD yet is waited for."""
        key = (api_version, kind)
        if key not in self._caches:
            self._caches[key] = Cache(api_version, kind)
            task = asyncio.create_task(self._follow(self._caches[key]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return self._caches[key]

    async def stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, cache: Cache) -> None:
        while True:
            try:
                await self._list_and_watch(cache)
            except NoMatch:
                await self._wait_for_kind(cache)
            except (ApiError, Unreachable) as error:
                code = error.code if isinstance(error, ApiError) else 0
                if code == 410:
                    continue
                if code == 404:
                    self.kube.forget_mappings()  # the definition is gone, or the cluster: there is nothing to tell
                else:
                    self._log(f"watch of {cache.kind} ({cache.api_version}): {error}")
                await self._clock.wait(1)

    async def _list_and_watch(self, cache: Cache) -> None:
        path = await self.kube.path(cache.api_version, cache.kind)
        found = await self.kube.raw("GET", path)
        typed = {"apiVersion": cache.api_version, "kind": cache.kind}
        cache._replace([{**typed, **item} for item in found["items"]])
        cache.synced.set()
        since = found["metadata"]["resourceVersion"]
        while True:
            async for kind, obj in self.kube.watch(cache.api_version, cache.kind, since=since):
                since = obj["metadata"]["resourceVersion"]
                if kind in ("ADDED", "MODIFIED"):
                    cache._set(obj)
                elif kind == "DELETED":
                    cache._remove(obj)

    async def _wait_for_kind(self, cache: Cache) -> None:
        """Until the CRD of the kind is established."""
        cache._replace([])
        group = cache.api_version.partition("/")[0]
        watch = self.kube.watch("apiextensions.k8s.io/v1", "CustomResourceDefinition")
        async for _, crd in watch:
            spec = crd.get("spec", {})
            if spec.get("group") == group and spec.get("names", {}).get("kind") == cache.kind and _established(crd):
                return


def _is_newer(known: Object, seen: Object) -> bool:
    """Whether a watch tells what a write has told already, or less."""
    return known.get("uid") == seen.get("uid") and int(known["resourceVersion"]) > int(seen["resourceVersion"])


def _established(crd: Object) -> bool:
    conditions = crd.get("status", {}).get("conditions", [])
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)


class Queue:
    """Keys to reconcile: each at most once, and never handed out while it is being worked on."""

    def __init__(self) -> None:
        self._waiting: dict[Key, None] = {}
        self._active: set[Key] = set()
        self._wake = asyncio.Event()

    def add(self, key: Key) -> None:
        self._waiting[key] = None
        self._wake.set()

    async def take(self) -> Key:
        while True:
            for key in self._waiting:
                if key not in self._active:
                    del self._waiting[key]
                    self._active.add(key)
                    return key
            self._wake.clear()
            await self._wake.wait()

    def done(self, key: Key) -> None:
        self._active.discard(key)
        self._wake.set()

    @property
    def idle(self) -> bool:
        return not self._waiting and not self._active


class Controller:
    """See the module. `backoff` is (first, longest) delay in seconds after an exception, doubling between."""

    def __init__(
        self,
        name: str,
        informers: Informers,
        clock: Clock,
        log: Callable[[str], None],
        *,
        workers: int = 4,
        backoff: tuple[float, float] = (1.0, 300.0),
    ) -> None:
        self.name = name
        self.informers = informers
        self.kube = informers.kube
        self._clock = clock
        self._log = log
        self._workers = workers
        self._backoff = backoff
        self.queue = Queue()
        self._failures: dict[Key, int] = {}
        self._timers: dict[Key, asyncio.Task[None]] = {}
        self._caches: list[Cache] = []

    def watch(self, api_version: str, kind: str, to_keys: Mapper | None = None) -> Cache:
        """Reconcile what each change of a kind concerns: the object itself, or what `to_keys` makes of it."""
        cache = self.informers.cache(api_version, kind)
        mapper = to_keys or (lambda obj: (key_of(obj),))

        def changed(obj: Object, old: Object | None) -> None:
            for key in {*mapper(obj), *(mapper(old) if old is not None else ())}:
                self.queue.add(key)

        cache.listeners.append(changed)
        for obj in cache.list():
            changed(obj, None)
        self._caches.append(cache)
        return cache

    async def run(self, reconcile: Reconcile, *, wait_for: Iterable[Cache] | None = None) -> None:
        """Work until cancelled. Starts once the caches in `wait_for` (none by default) have been listed."""
        for cache in wait_for or ():
            await cache.synced.wait()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._workers):
                    group.create_task(self._work(reconcile))
        finally:
            for timer in self._timers.values():
                timer.cancel()

    async def _work(self, reconcile: Reconcile) -> None:
        while True:
            key = await self.queue.take()
            self._cancel_timer(key)
            try:
                again = await reconcile(key)
                self._failures.pop(key, None)
            except ApiError as error:
                again = self._failed(key, error, quiet=error.conflict)
            except Exception as error:
                again = self._failed(key, error)
            finally:
                self.queue.done(key)
            if again is not None:
                self.later(key, again)

    def _failed(self, key: Key, error: Exception, quiet: bool = False) -> float:
        count = self._failures[key] = self._failures.get(key, 0) + 1
        if not quiet:
            self._log(f"{self.name}: {key.kind} {key.namespace}/{key.name}: {type(error).__name__}: {error}")
        return min(self._backoff[0] * 2.0 ** (count - 1), self._backoff[1])

    def later(self, key: Key, seconds: float) -> None:
        """Reconcile `key` again after that time, unless a change does it sooner."""
        self._cancel_timer(key)

        async def timer() -> None:
            await self._clock.wait(seconds)
            self._timers.pop(key, None)
            self.queue.add(key)

        self._timers[key] = asyncio.create_task(timer())

    def _cancel_timer(self, key: Key) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None and timer is not asyncio.current_task():
            timer.cancel()


def same(a: Any, b: Any) -> bool:
    """Whether two JSON values are equal: the test before every write."""
    return bool(a == b)
