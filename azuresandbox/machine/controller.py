"""How every controller in the sandbox works: caches kept by list-then-watch, one queue of keys, retries with backoff.

A controller watches kinds, maps each change to the keys it concerns, and reconciles keys (never the same key twice at once).
Reconciling is level-driven: it reads the caches or the API, and writes only differences.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from azuresandbox.clock import Clock
from azuresandbox.machine.client import ApiError, KubeClient, NoMatch
from azuresandbox.machine.objects import is_established
from azuresandbox.machine.types import Object, Objects
from azuresandbox.wire import Unreachable


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """What is reconciled: an object by its kind, namespace ("" for cluster scope) and name."""

    kind: str
    namespace: str
    name: str


def key_of(obj: Object) -> Key:
    metadata = obj["metadata"]
    return Key(obj["kind"], metadata.get("namespace", ""), metadata["name"])


Mapper = Callable[[Object], Iterable[Key]]
Reconcile = Callable[[Key], Awaitable[float | None]]
"""Returns the seconds (of the sandbox's clock) after which to reconcile again, or `None`. An exception is retried."""


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

    @contextmanager
    def changes(self) -> Iterator[asyncio.Event]:
        """Give an event that is set at each change of the cache, until the block ends."""
        changed = asyncio.Event()

        def tell(obj: Object, old: Object | None) -> None:
            changed.set()

        self.listeners.append(tell)
        try:
            yield changed
        finally:
            self.listeners.remove(tell)

    def put(self, obj: Object) -> None:
        """Store the object that a write has returned, ahead of the watch, so that the next decision is based on it."""
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
    """The caches of one client. Each kind is watched once, however many controllers use it."""

    def __init__(self, kube: KubeClient, clock: Clock, log: Callable[[str], None]) -> None:
        self.kube = kube
        self._clock = clock
        self._log = log
        self._caches: dict[tuple[str, str], Cache] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def cache(self, api_version: str, kind: str) -> Cache:
        """Return the cache of a kind. Its watch starts with the first call, or when the kind's CRD is established."""
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
                    self.kube.forget_mappings()  # the definition or the cluster was deleted, which is not an error
                else:
                    self._log(f"watch of {cache.kind} ({cache.api_version}): {error}")
                await self._clock.wait(1)

    async def _list_and_watch(self, cache: Cache) -> None:
        objects, since = await self.kube.snapshot(cache.api_version, cache.kind)
        cache._replace(objects)
        cache.synced.set()
        while True:
            async for kind, obj in self.kube.watch(cache.api_version, cache.kind, since=since):
                since = obj["metadata"]["resourceVersion"]
                if kind in ("ADDED", "MODIFIED"):
                    cache._set(obj)
                elif kind == "DELETED":
                    cache._remove(obj)

    async def _wait_for_kind(self, cache: Cache) -> None:
        """Wait until the CRD of the kind is established."""
        cache._replace([])
        group = cache.api_version.partition("/")[0]
        watch = self.kube.watch("apiextensions.k8s.io/v1", "CustomResourceDefinition")
        async for _, crd in watch:
            spec = crd.get("spec", {})
            if spec.get("group") == group and spec.get("names", {}).get("kind") == cache.kind and is_established(crd):
                return


def _is_newer(known: Object, seen: Object) -> bool:
    """Return whether the known object is newer than the seen one: a write has returned it, and the watch is behind."""
    return known.get("uid") == seen.get("uid") and int(known["resourceVersion"]) > int(seen["resourceVersion"])


class Queue:
    """Keys to reconcile: each is queued at most once, and not returned while it is being reconciled."""

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


class Controller:
    """See the module. `backoff`: first and longest delay in seconds after an exception; it doubles in between."""

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
        """Reconcile the keys that each change of a kind concerns: the object's own, or those that `to_keys` returns."""
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
        """Reconcile until cancelled. Starts when the caches in `wait_for` have been listed."""
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
        """Reconcile `key` again after that time, unless a change causes it sooner."""
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
