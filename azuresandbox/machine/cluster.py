"""One cluster as its own components see it: clients, shared caches, and the writes.

Every write goes through here, so that the caches have it at once. A status that changes nothing is not written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from azuresandbox.clock import Clock, rfc3339
from azuresandbox.context import Sandbox
from azuresandbox.fabric import ClusterGoal
from azuresandbox.machine.client import ApiError, KubeClient
from azuresandbox.machine.controller import Cache, Controller, Informers, Key, Mapper, key_of
from azuresandbox.machine.objects import controller_of, controller_uid, is_deleted, owner_reference
from azuresandbox.machine.selectors import matches
from azuresandbox.machine.types import Object, Objects

APPS, BATCH, CORE = "apps/v1", "batch/v1", "v1"


@dataclass
class Cluster:
    """See the module. `token`: the credential of the components; `goal`: the latest state that ARM wants."""

    sandbox: Sandbox
    goal: ClusterGoal
    token: str
    manager: KubeClient = field(init=False)
    kubelet: KubeClient = field(init=False)
    scheduler: KubeClient = field(init=False)
    informers: Informers = field(init=False)
    _events: dict[tuple[str, ...], Object] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.manager, self.kubelet, self.scheduler = (
            KubeClient(self.sandbox.wire, self.server, self.token, agent)
            for agent in ("kube-controller-manager", "kubelet", "kube-scheduler")
        )
        self.informers = Informers(self.manager, self.sandbox.clock, self.log)
        self._stamp = 0

    @property
    def id(self) -> str:
        return self.goal.cluster_id

    @property
    def server(self) -> str:
        return f"{self.sandbox.base}/clusters/{self.id}"

    @property
    def clock(self) -> Clock:
        return self.sandbox.clock

    def log(self, text: str) -> None:
        self.sandbox.log("machine", f"{self.goal.cluster_name or self.id}: {text}")

    def now(self) -> str:
        return rfc3339(self.clock.now())

    def cache(self, api_version: str, kind: str) -> Cache:
        return self.informers.cache(api_version, kind)

    def pods(self, namespace: str | None = None) -> Objects:
        return list(self.cache(CORE, "Pod").list(namespace))

    def owned(self, api_version: str, kind: str, owner: Object) -> Objects:
        """Return the objects of a kind that `owner` controls."""
        namespace, uid = owner["metadata"].get("namespace", ""), owner["metadata"]["uid"]
        return [obj for obj in self.cache(api_version, kind).list(namespace) if controller_uid(obj) == uid]

    def controller(self, name: str, workers: int = 1) -> Controller:
        return Controller(name, self.informers, self.clock, self.log, workers=workers)

    # --- writes ------------------------------------------------------------------------------------------------------

    def _seen(self, obj: Object) -> Object:
        self.cache(obj["apiVersion"], obj["kind"]).put(obj)
        return obj

    async def create(self, obj: Object) -> Object:
        return self._seen(await self.manager.create(obj))

    async def ensure(self, obj: Object) -> None:
        """Create an object unless it exists; an existing one is not changed."""
        try:
            await self.manager.create(obj)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise

    async def update(self, obj: Object) -> Object:
        """Replace an object. Raises `ApiError` (Conflict) if it has changed since it was read."""
        return self._seen(await self.manager.update(obj))

    async def annotate(self, obj: Object) -> Object:
        """Replace an object's annotations through the status subresource, as controllers do: the generation stays."""
        return self._seen(await self.manager.update(obj, "status"))

    async def status(self, obj: Object, status: Object, kube: KubeClient | None = None) -> Object:
        """Write a status, if it differs from the object's. Returns the stored object."""
        if obj.get("status") == status:
            return obj
        return self._seen(await (kube or self.manager).update({**obj, "status": status}, "status"))

    async def claim(
        self, api_version: str, kind: str, owner: Object, member: Callable[[Object], bool] = lambda obj: True
    ) -> None:
        """Adopt objects without a controller that the owner's selector matches; release own objects that it no longer matches.

        `member`: whether the owner could have created an object. Source: Kubernetes `pkg/controller/controller_ref_manager.go`.
        """
        metadata = owner["metadata"]
        for obj in list(self.cache(api_version, kind).list(metadata["namespace"])):
            controller = controller_of(obj)
            fits = matches(owner["spec"]["selector"], obj["metadata"].get("labels") or {})
            references = obj["metadata"].get("ownerReferences") or []
            if controller is None and fits and not is_deleted(obj) and member(obj):
                references = [*references, owner_reference(owner)]
            elif controller is not None and controller["uid"] == metadata["uid"] and not fits:
                references = [reference for reference in references if reference is not controller]
            else:
                continue
            await self.update({**obj, "metadata": {**obj["metadata"], "ownerReferences": references}})

    async def delete(self, obj: Object, *, grace: int | None = None, propagation: str = "Background") -> None:
        """Delete the object with this uid; one that was recreated under its name is not deleted."""
        metadata = obj["metadata"]
        options: Object = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": propagation,
            "preconditions": {"uid": metadata["uid"]},
        }
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        path = await self.manager.path(obj["apiVersion"], obj["kind"], metadata.get("namespace", ""), metadata["name"])
        try:
            answer = await self.manager.raw("DELETE", path, body=options)
        except ApiError as error:
            if not error.not_found and error.code != 409:
                raise
            return
        if isinstance(answer, dict) and answer.get("kind") == obj["kind"] and answer["metadata"].get("deletionTimestamp"):
            self._seen(answer)

    async def event(self, about: Object, kind: str, reason: str, message: str, component: str, path: str = "") -> None:
        """Record an event; a repeated one counts up. `kind`: Normal or Warning; `path`: the field concerned."""
        metadata, now = about["metadata"], self.now()
        key = (metadata["uid"], path, reason, message, component)
        known = self._events.get(key)
        if known is not None:
            try:
                patch = {"count": known["count"] + 1, "lastTimestamp": now}
                self._events[key] = await self.manager.patch(known, patch)
                return
            except ApiError as error:
                if not error.not_found:
                    self.log(f"event {reason}: {error}")
                    return
        event = self._event(about, kind, reason, message, component, path)
        try:
            created = await self.manager.create(event)
        except ApiError as error:
            # An event about an object whose namespace is being deleted is lost on a real cluster, too.
            if error.code not in (403, 404):
                self.log(f"event {reason}: {error}")
            return
        if len(self._events) > 2000:
            self._events.clear()
        self._events[key] = created

    def _event(self, about: Object, kind: str, reason: str, message: str, component: str, path: str) -> Object:
        metadata, now = about["metadata"], self.now()
        involved = {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "name": metadata["name"],
            "uid": metadata["uid"],
            "resourceVersion": metadata.get("resourceVersion", ""),
            "namespace": metadata.get("namespace"),
            "fieldPath": path or None,
        }
        source = {"component": component, "host": (about.get("spec") or {}).get("nodeName") if component == "kubelet" else None}
        return {
            "apiVersion": CORE,
            "kind": "Event",
            "metadata": {
                "name": f"{metadata['name']}.{self._event_stamp():x}",
                "namespace": metadata.get("namespace") or "default",
            },
            "involvedObject": _present(involved),
            "reason": reason,
            "message": message,
            "type": kind,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": _present(source),
            "reportingComponent": component,
            "reportingInstance": "",
        }

    def _event_stamp(self) -> int:
        """Return nanoseconds, never the same twice: `kubectl describe` sorts events by name, so these are in order of time."""
        self._stamp = max(self._stamp + 1, int(self.clock.now().timestamp() * 1_000_000) * 1000)
        return self._stamp


def _present(fields: Object) -> Object:
    return {name: value for name, value in fields.items() if value}


def owner_keys(kind: str, owners: Cache | None = None) -> Mapper:
    """Return a mapper for `Controller.watch`: from an object to the `kind` that controls it.

    An object without a controller is mapped to those of `owners` whose selector matches it.
    """

    def mapper(obj: Object) -> tuple[Key, ...]:
        found, namespace = controller_of(obj), obj["metadata"].get("namespace", "")
        if found is not None:
            return (Key(kind, namespace, found["name"]),) if found["kind"] == kind else ()
        labels = obj["metadata"].get("labels") or {}
        candidates = owners.list(namespace) if owners is not None and labels else ()
        return tuple(key_of(owner) for owner in candidates if matches(owner["spec"]["selector"], labels))

    return mapper
