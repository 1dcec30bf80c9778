"""One cluster as its own components see it: clients, shared caches, and the few ways in which they write.

Every write goes through here, so that the caches know of it at once and a write without a difference is none. May import
`machine.{client,controller,selectors}` and the sandbox's shared modules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from azuresandbox.clock import Clock, rfc3339
from azuresandbox.context import Sandbox
from azuresandbox.fabric import ClusterGoal
from azuresandbox.machine.client import ApiError, KubeClient, Object, Objects
from azuresandbox.machine.controller import Cache, Controller, Informers, Key, key_of
from azuresandbox.machine.selectors import matches

APPS, BATCH, CORE = "apps/v1", "batch/v1", "v1"
READY = "Ready"


@dataclass
class Cluster:
    """See the module. `token`: the component credential; `goal`: the latest that ARM wants."""

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
        """The objects of a kind that `owner` controls."""
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
        """Create what is not there; what is, stays as it is."""
        try:
            await self.manager.create(obj)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise

    async def update(self, obj: Object) -> Object:
        """Replace an object; a Conflict if it has changed since it was read."""
        return self._seen(await self.manager.update(obj))

    async def annotate(self, obj: Object) -> Object:
        """Replace an object's annotations through its status, as controllers do: the generation does not count them."""
        return self._seen(await self.manager.update(obj, "status"))

    async def status(self, obj: Object, status: Object, kube: KubeClient | None = None) -> Object:
        """Write a status that differs from the object's."""
        if obj.get("status") == status:
            return obj
        return self._seen(await (kube or self.manager).update({**obj, "status": status}, "status"))

    async def claim(
        self, api_version: str, kind: str, owner: Object, member: Callable[[Object], bool] = lambda obj: True
    ) -> None:
        """Adopt what the owner's selector matches and nobody controls; release what it no longer matches.

        `member` says what the owner could have made besides. Source: Kubernetes `pkg/controller/controller_ref_manager.go`.
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
        """Delete this very object (by uid)."""
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
        """Tell what happened; the same again counts up. `kind`: Normal or Warning; `path`: the field concerned."""
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
        event = {
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
        try:
            created = await self.manager.create(event)
        except ApiError as error:
            # An event about an object whose namespace is going away is lost on a real cluster, too.
            if error.code not in (403, 404):
                self.log(f"event {reason}: {error}")
            return
        if len(self._events) > 2000:
            self._events.clear()
        self._events[key] = created

    def _event_stamp(self) -> int:
        """Nanoseconds, never the same twice: events sort by name as they happened, and so does `kubectl describe`."""
        self._stamp = max(self._stamp + 1, int(self.clock.now().timestamp() * 1_000_000) * 1000)
        return self._stamp


def _present(fields: Object) -> Object:
    return {name: value for name, value in fields.items() if value}


def controller_of(obj: Object) -> Object | None:
    return next((ref for ref in obj["metadata"].get("ownerReferences") or () if ref.get("controller")), None)


def controller_uid(obj: Object) -> str:
    found = controller_of(obj)
    return found["uid"] if found else ""


def owner_keys(kind: str, owners: Cache | None = None) -> Any:
    """A mapper for `Controller.watch`: from an object to the `kind` that controls it, or else to the `owners` that could."""

    def mapper(obj: Object) -> tuple[Key, ...]:
        found, namespace = controller_of(obj), obj["metadata"].get("namespace", "")
        if found is not None:
            return (Key(kind, namespace, found["name"]),) if found["kind"] == kind else ()
        labels = obj["metadata"].get("labels") or {}
        candidates = owners.list(namespace) if owners is not None and labels else ()
        return tuple(key_of(owner) for owner in candidates if matches(owner["spec"]["selector"], labels))

    return mapper


def owner_reference(owner: Object) -> Object:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def is_deleted(obj: Object) -> bool:
    return "deletionTimestamp" in obj["metadata"]


def condition(obj: Object, kind: str) -> Object | None:
    return next((item for item in (obj.get("status") or {}).get("conditions") or () if item["type"] == kind), None)


def is_ready(obj: Object) -> bool:
    found = condition(obj, READY)
    return found is not None and found["status"] == "True"


def is_active(pod: Object) -> bool:
    """A Pod that counts as a replica."""
    return not is_deleted(pod) and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def set_condition(conditions: Objects, now: str, kind: str, status: str, **fields: str) -> None:
    """Put a condition into a list, in place; its transition time moves with its status only."""
    old = next((item for item in conditions if item["type"] == kind), None)
    since = old["lastTransitionTime"] if old is not None and old["status"] == status else now
    new = {"type": kind, "status": status, "lastTransitionTime": since, **{k: v for k, v in fields.items() if v}}
    if old is None:
        conditions.append(new)
    else:
        conditions[conditions.index(old)] = new


def counts(**numbers: int) -> Object:
    """The counts of a status, without those that are 0, as Go's omitempty has it."""
    return {name: value for name, value in numbers.items() if value}


def pod_from_template(owner: Object, template: Object, **metadata: Any) -> Object:
    """A Pod to create for a controller. `metadata`: name or generateName, and labels to add."""
    found = template.get("metadata") or {}
    labels = {**(found.get("labels") or {}), **metadata.pop("labels", {})}
    pod: Object = {
        "apiVersion": CORE,
        "kind": "Pod",
        "metadata": {
            **metadata,
            "namespace": owner["metadata"]["namespace"],
            "labels": labels,
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": template["spec"],
    }
    for name in ("annotations", "finalizers"):
        if found.get(name):
            pod["metadata"][name] = found[name]
    return pod
