"""Server-side apply as the Flux controllers do it: in stages, dry-run first, no write without a difference; prune and wait.

Source: fluxcd/pkg/ssa. May import `machine.client`, `images.kstatus`, `sandbox.clock`.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from azuresandbox.clock import Clock
from azuresandbox.machine.client import ApiError, KubeClient, NoMatch, Object, Objects
from azuresandbox.machine.images.flux import kstatus

CREATED, CONFIGURED, UNCHANGED, DELETED, SKIPPED, UNKNOWN = (
    "created",
    "configured",
    "unchanged",
    "deleted",
    "skipped",
    "unknown",
)
_FIRST = (
    "CustomResourceDefinition",
    "Namespace",
    "ClusterRole",
    "ClusterClass",
    "RuntimeClass",
    "PriorityClass",
    "StorageClass",
    "VolumeSnapshotClass",
    "IngressClass",
    "GatewayClass",
    "ClusterRoleBinding",
    "ResourceQuota",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ConfigMap",
    "Secret",
    "Service",
    "LimitRange",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
)
_LAST = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
_ORDER = {kind: index - len(_FIRST) for index, kind in enumerate(_FIRST)} | {kind: 1 + i for i, kind in enumerate(_LAST)}
_IMMUTABLE = re.compile(r"is\simmutable|immutable\sfield")
_DEFINITIONS = {
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("", "Namespace"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
}
_STAGE_TIMEOUT = 60.0


class ApplyError(Exception):
    """What could not be applied, deleted or waited for, in the words of fluxcd/pkg/ssa."""


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """An object's identity; `id` is how an inventory writes it, `subject` how messages do."""

    namespace: str
    name: str
    group: str
    kind: str

    @property
    def id(self) -> str:
        name = self.name.replace(":", "__") if self.group == "rbac.authorization.k8s.io" else self.name
        return f"{self.namespace}_{name}_{self.group}_{self.kind}"

    @property
    def subject(self) -> str:
        return "/".join(part for part in (self.kind, self.namespace, self.name) if part)

    @classmethod
    def parse(cls, text: str) -> Ref:
        namespace, _, rest = text.partition("_")
        rest, _, kind = rest.rpartition("_")
        name, _, group = rest.rpartition("_")
        return cls(namespace, name.replace("__", ":"), group, kind)

    @property
    def order(self) -> tuple[int, str, str, str, str]:
        return (_ORDER.get(self.kind, 0), self.group, self.kind, self.namespace, self.name)


def ref_of(obj: Mapping[str, Any]) -> Ref:
    metadata = obj["metadata"]
    return Ref(metadata.get("namespace") or "", metadata["name"], obj["apiVersion"].rpartition("/")[0], obj["kind"])


@dataclass(frozen=True, slots=True)
class Entry:
    """What happened to one object. `version` is the version of its API group."""

    ref: Ref
    version: str
    action: str

    def __str__(self) -> str:
        return f"{self.ref.subject} {self.action}"


@dataclass(frozen=True)
class Options:
    """Selectors are labels or annotations (name -> value, any case); one match is enough."""

    force: bool = False
    force_on: Mapping[str, str] = field(default_factory=dict)
    skip: Mapping[str, str] = field(default_factory=dict)
    only_if_absent: Mapping[str, str] = field(default_factory=dict)
    keep_others: Mapping[str, str] = field(default_factory=dict)
    remove_annotations: tuple[str, ...] = ()
    undo_managers: tuple[tuple[str, str], ...] = ()
    ignore: tuple[Mapping[str, Any], ...] = ()


def in_metadata(obj: Mapping[str, Any] | None, wanted: Mapping[str, str]) -> bool:
    """Whether a label or an annotation of the object is among `wanted`."""
    metadata = (obj or {}).get("metadata") or {}
    values = {**(metadata.get("labels") or {}), **(metadata.get("annotations") or {})}
    return any(str(values.get(name, "")).lower() == value.lower() for name, value in wanted.items())


def normalise(obj: Object) -> Object:
    """The object as a typed client would send it: Secrets in base64, ports with their protocol, no status."""
    obj = {name: value for name, value in obj.items() if name != "status"}
    obj["metadata"] = {k: v for k, v in obj["metadata"].items() if k not in ("creationTimestamp", "managedFields")}
    if (obj["apiVersion"], obj["kind"]) == ("v1", "Secret") and "stringData" in obj:
        text = obj.pop("stringData") or {}
        obj["data"] = {**(obj.get("data") or {}), **{k: base64.b64encode(str(v).encode()).decode() for k, v in text.items()}}
    if (obj["apiVersion"], obj["kind"]) == ("v1", "Service"):
        obj = copy.deepcopy(obj)
        for port in (obj.get("spec") or {}).get("ports") or ():
            port.setdefault("protocol", "TCP")
    return obj


class ResourceManager:
    """Applies as one identity (`kube`), under one field manager, for objects labelled with their owner."""

    def __init__(self, kube: KubeClient, clock: Clock, manager: str, group: str) -> None:
        self.kube = kube
        self.clock = clock
        self.manager = manager
        self.group = group

    def owner_labels(self, name: str, namespace: str) -> dict[str, str]:
        return {f"{self.group}/name": name, f"{self.group}/namespace": namespace}

    # --- apply -------------------------------------------------------------------------------------------------------

    async def apply_staged(self, objects: Objects, options: Options) -> tuple[list[Entry], ApplyError | None]:
        """Definitions first (and wait for them), classes, then the rest. What was done is returned with the error."""
        stages: list[Objects] = [[], [], []]
        for obj in objects:
            ref = ref_of(obj)
            stages[0 if (ref.group, ref.kind) in _DEFINITIONS else 1 if ref.kind.endswith("Class") else 2].append(obj)
        done: list[Entry] = []
        for number, stage in enumerate(stages):
            if not stage:
                continue
            try:
                entries = await self.apply_all(stage, options)
                done += entries
                if number < 2:
                    await self.wait([entry.ref for entry in entries], _versions(entries), _STAGE_TIMEOUT)
            except ApplyError as error:
                return done, error
        return done, None

    async def apply_all(self, objects: Objects, options: Options) -> list[Entry]:
        """Dry-run all, then write those that differ. Raises `ApplyError` before the first write if one would fail."""
        changes = []
        for obj in sorted(objects, key=lambda obj: ref_of(obj).order):
            changes.append((obj, await self._plan(obj, options)))
        for obj, entry in changes:
            if entry.action in (CREATED, CONFIGURED):
                try:
                    await self.kube.apply(obj, self.manager, force=True)
                except (ApiError, NoMatch) as error:
                    raise ApplyError(f"{ref_of(obj).subject} apply failed: {error}") from error
        return [entry for _, entry in changes]

    async def _plan(self, obj: Object, options: Options) -> Entry:
        existing = await self._existing(obj)
        source = existing or obj
        if in_metadata(obj, options.skip) or in_metadata(existing, options.skip):
            return self._entry(source, SKIPPED)
        if existing is not None and in_metadata(obj, options.only_if_absent):
            return self._entry(source, SKIPPED)
        planned = await self._dry_run(obj, existing, options)
        if planned is None:
            existing, planned = None, obj
        cleaned = existing is not None and await self._clean(obj, existing, options)
        if existing is None:
            return self._entry(planned, CREATED)
        return self._entry(planned, CONFIGURED if cleaned or _drifted(existing, planned, options.ignore) else UNCHANGED)

    async def _existing(self, obj: Object) -> Object | None:
        metadata = obj["metadata"]
        try:
            resource = await self.kube.mapping(obj["apiVersion"], obj["kind"])
            namespace = metadata.get("namespace", "") if resource.namespaced else ""
            if resource.namespaced and not namespace:
                return None
            return await self.kube.find(obj["apiVersion"], obj["kind"], metadata["name"], namespace)
        except (NoMatch, ApiError):
            return None

    async def _dry_run(self, obj: Object, existing: Object | None, options: Options) -> Object | None:
        """What the API would make of `obj`; None if the old object had to be deleted to make room for it."""
        subject = ref_of(obj).subject
        try:
            resource = await self.kube.mapping(obj["apiVersion"], obj["kind"])
            if resource.namespaced and not obj["metadata"].get("namespace"):
                raise ApplyError(f"{subject} namespace not specified: the server could not find the requested resource")
            return await self.kube.apply(obj, self.manager, force=True, dry_run=True)
        except NoMatch as error:
            raise ApplyError(f"{subject} dry-run failed: {error}") from error
        except ApiError as error:
            forced = options.force or in_metadata(obj, options.force_on) or in_metadata(existing, options.force_on)
            if existing is not None and forced and _is_immutable(error):
                await self._recreate(existing, subject)
                return None
            raise ApplyError(dry_run_error(obj, error)) from error

    async def _recreate(self, existing: Object, subject: str) -> None:
        try:
            await self._delete(existing, "Background")
        except ApiError as error:
            raise ApplyError(f"{subject} immutable field detected, failed to delete object: {error}") from error
        while await self._existing(existing) is not None:
            await self.clock.wait(2)

    async def _clean(self, obj: Object, existing: Object, options: Options) -> bool:
        """Take over what other ways of applying left: their annotations and field managers. Whether anything was."""
        if in_metadata(obj, options.keep_others) or in_metadata(existing, options.keep_others):
            return False
        annotations = existing["metadata"].get("annotations") or {}
        patch: list[Object] = [
            {"op": "remove", "path": "/metadata/annotations/" + name.replace("~", "~0").replace("/", "~1")}
            for name in options.remove_annotations
            if name in annotations
        ]
        managers = _without_managers(existing, set(options.undo_managers), self.manager)
        if managers is not None:
            patch.append({"op": "replace", "path": "/metadata/managedFields", "value": managers})
            version = existing["metadata"]["resourceVersion"]
            patch.append({"op": "replace", "path": "/metadata/resourceVersion", "value": version})
        if not patch:
            return False
        try:
            await self.kube.patch(existing, patch, kind="json", manager=self.manager)
        except ApiError as error:
            raise ApplyError(f"{ref_of(existing).subject} metadata.managedFields cleanup failed: {error}") from error
        return True

    def _entry(self, obj: Object, action: str) -> Entry:
        return Entry(ref_of(obj), obj["apiVersion"].rpartition("/")[2], action)

    # --- delete ------------------------------------------------------------------------------------------------------

    async def delete_all(
        self, refs: Mapping[Ref, str], owner: Mapping[str, str], keep: Mapping[str, str]
    ) -> tuple[list[Entry], ApplyError | None]:
        """Delete the objects (with their API versions) that carry the owner's labels; those marked to be kept are skipped."""
        done: list[Entry] = []
        errors = ""
        for ref in sorted(refs, key=lambda ref: ref.order, reverse=True):
            try:
                action = await self._delete_one(ref, refs[ref], owner, keep)
            except ApplyError as error:
                action, errors = UNKNOWN, f"{errors}{error};"
            done.append(Entry(ref, refs[ref], action))
        return done, ApplyError(f"delete failed, errors: {errors}") if errors else None

    async def _delete_one(self, ref: Ref, version: str, owner: Mapping[str, str], keep: Mapping[str, str]) -> str:
        api_version = f"{ref.group}/{version}" if ref.group else version
        try:
            existing = await self.kube.find(api_version, ref.kind, ref.name, ref.namespace)
        except NoMatch:
            return DELETED
        except ApiError as error:
            raise ApplyError(f"{ref.subject} query failed: {error}") from error
        if existing is None:
            return DELETED
        labels = existing["metadata"].get("labels") or {}
        if any(labels.get(name) != value for name, value in owner.items()) or in_metadata(existing, keep):
            return SKIPPED
        try:
            await self._delete({**existing, "apiVersion": api_version, "kind": ref.kind}, "Background")
        except ApiError as error:
            raise ApplyError(f"{ref.subject} delete failed: {error}") from error
        return DELETED

    async def _delete(self, obj: Object, propagation: str) -> None:
        metadata = obj["metadata"]
        await self.kube.delete(
            obj["apiVersion"], obj["kind"], metadata["name"], metadata.get("namespace", ""), propagation=propagation
        )

    # --- wait --------------------------------------------------------------------------------------------------------

    async def wait(self, refs: Iterable[Ref], versions: Mapping[Ref, str], timeout: float, *, fail_fast: bool = False) -> None:
        """Until all are Current. Raises `ApplyError` when all that is left has failed (with `fail_fast`: any), or too late."""
        await _Wait(self.kube, self.clock, {ref: versions.get(ref, "") for ref in refs}, fail_fast).run(timeout)

    async def wait_gone(self, refs: Mapping[Ref, str], timeout: float) -> None:
        """Until none of the objects is there. Raises `ApplyError`."""
        deadline = self.clock.now().timestamp() + timeout
        for ref, version in refs.items():
            api_version = f"{ref.group}/{version}" if ref.group else version
            while True:
                try:
                    if await self.kube.find(api_version, ref.kind, ref.name, ref.namespace) is None:
                        break
                except NoMatch:
                    break
                if self.clock.now().timestamp() >= deadline:
                    raise ApplyError(f"{ref.subject} termination timeout: context deadline exceeded")
                await self.clock.wait(2)


def dry_run_error(obj: Object, error: ApiError) -> str:
    """fluxcd/pkg/ssa/errors.DryRunErr."""
    subject = ref_of(obj).subject
    if error.not_found:
        if not obj["metadata"].get("namespace"):
            return f"{subject} namespace not specified: {error}"
        return f"{subject} not found: {error}"
    causes = (error.status.get("details") or {}).get("causes") or ()
    reason = "FieldManagerConflict" if any(c.get("reason") == "FieldManagerConflict" for c in causes) else error.reason
    return f"{subject} dry-run failed{f' ({reason})' if reason else ''}: {error}"


def _is_immutable(error: ApiError) -> bool:
    return error.conflict or error.reason == "Invalid" or bool(_IMMUTABLE.search(str(error)))


def _versions(entries: Iterable[Entry]) -> dict[Ref, str]:
    return {entry.ref: entry.version for entry in entries}


def _drifted(existing: Object, planned: Object, ignore: Iterable[Mapping[str, Any]]) -> bool:
    return comparable(existing, ignore) != comparable(planned, ignore)


def comparable(obj: Object, ignore: Iterable[Mapping[str, Any]]) -> Object:
    """What of an object counts when it is compared with another state of it."""
    metadata = {part: obj["metadata"].get(part) or {} for part in ("labels", "annotations")}
    return {"metadata": metadata, **_content(obj, ignore)}


def _content(obj: Object, ignore: Iterable[Mapping[str, Any]]) -> Object:
    content = {name: value for name, value in obj.items() if name not in ("metadata", "status")}
    paths = [path for rule in ignore if _rule_matches(rule.get("target"), obj) for path in rule.get("paths") or ()]
    if paths:
        content = copy.deepcopy(content)
        for path in paths:
            _remove_pointer(content, path)
    return content


def _rule_matches(target: Mapping[str, Any] | None, obj: Object) -> bool:
    if not target:
        return True
    ref = ref_of(obj)
    found = {"kind": ref.kind, "name": ref.name, "namespace": ref.namespace, "group": ref.group}
    return all(re.fullmatch(str(target[part]), value) for part, value in found.items() if target.get(part))


def _remove_pointer(node: Any, pointer: str) -> None:
    *steps, last = [step.replace("~1", "/").replace("~0", "~") for step in pointer.lstrip("/").split("/")]
    for step in steps:
        if isinstance(node, list) and step.isdigit() and int(step) < len(node):
            node = node[int(step)]
        elif isinstance(node, dict) and step in node:
            node = node[step]
        else:
            return
    if isinstance(node, dict):
        node.pop(last, None)


def _without_managers(existing: Object, unwanted: set[tuple[str, str]], owner: str) -> Objects | None:
    """The managed fields with those of unwanted (prefix of managers, operation) given to the owner; None if there are none."""
    entries: Objects = existing["metadata"].get("managedFields") or []

    def is_unwanted(entry: Object) -> bool:
        manager, operation = str(entry.get("manager") or ""), entry.get("operation")
        return not entry.get("subresource") and any(
            manager.startswith(prefix) and operation == wanted for prefix, wanted in unwanted
        )

    taken = [entry for entry in entries if is_unwanted(entry)]
    if not taken:
        return None
    kept = [copy.deepcopy(entry) for entry in entries if not is_unwanted(entry)]
    owned = [e for e in kept if (e.get("manager"), e.get("operation")) == (owner, "Apply") and not e.get("subresource")]
    own = owned[0] if owned else None
    if own is None:
        own = {**copy.deepcopy(taken[0]), "manager": owner, "operation": "Apply"}
        kept.append(own)
    for entry in taken:
        own["fieldsV1"] = _union(own.get("fieldsV1") or {}, entry.get("fieldsV1") or {})
    return kept


def _union(a: Object, b: Object) -> Object:
    return {**a, **{name: _union(a.get(name) or {}, value) for name, value in b.items()}}


class _Wait:
    """Follows a set of objects by watches until their states decide."""

    def __init__(self, kube: KubeClient, clock: Clock, refs: Mapping[Ref, str], fail_fast: bool) -> None:
        self.kube, self.clock, self.refs, self.fail_fast = kube, clock, refs, fail_fast
        self.states: dict[Ref, kstatus.Status] = {}
        self.changed = asyncio.Event()

    async def run(self, timeout: float) -> None:
        for ref in self.refs:
            self.states[ref] = await self._read(ref)
        if not self._decided():
            await self._follow(timeout)
        self._raise_if_failed(timed_out=not self._decided())

    async def _read(self, ref: Ref) -> kstatus.Status:
        try:
            found = await self.kube.find(self._api_version(ref), ref.kind, ref.name, ref.namespace)
        except (NoMatch, ApiError):
            return kstatus.Status(kstatus.NOT_FOUND)
        return kstatus.compute({**found, "apiVersion": self._api_version(ref), "kind": ref.kind} if found else None)

    def _api_version(self, ref: Ref) -> str:
        version = self.refs[ref]
        return f"{ref.group}/{version}" if ref.group else version

    def _decided(self) -> bool:
        states = {status.state for status in self.states.values()}
        return states <= {kstatus.CURRENT, kstatus.FAILED} or (self.fail_fast and kstatus.FAILED in states)

    async def _follow(self, timeout: float) -> None:
        open_refs = [ref for ref, status in self.states.items() if status.state != kstatus.CURRENT]
        groups = {(self._api_version(ref), ref.kind, ref.namespace) for ref in open_refs}
        tasks = [asyncio.create_task(self._watch(*group)) for group in groups]
        timer = asyncio.create_task(self.clock.wait(timeout))
        try:
            while not self._decided() and not timer.done():
                self.changed.clear()
                waiting = asyncio.create_task(self.changed.wait())
                await asyncio.wait({waiting, timer}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
        finally:
            for task in (*tasks, timer):
                task.cancel()
            await asyncio.gather(*tasks, timer, return_exceptions=True)

    async def _watch(self, api_version: str, kind: str, namespace: str) -> None:
        while True:
            try:
                async for change, obj in self.kube.watch(api_version, kind, namespace):
                    if change in ("ADDED", "MODIFIED", "DELETED"):
                        self._seen({**obj, "apiVersion": api_version, "kind": kind}, change)
            except (ApiError, NoMatch):
                await self.clock.wait(5)
                self._api_changed()

    def _api_changed(self) -> None:
        self.kube.forget_mappings()

    def _seen(self, obj: Object, change: str) -> None:
        ref = ref_of(obj)
        if ref in self.states:
            self.states[ref] = kstatus.compute(None if change == "DELETED" else obj)
            self.changed.set()

    def _raise_if_failed(self, timed_out: bool) -> None:
        bad = [
            f"{ref.subject} status: '{status.state}'"
            for ref, status in self.states.items()
            if status.state == kstatus.FAILED or (timed_out and status.state != kstatus.CURRENT)
        ]
        if bad:
            what = "timeout waiting for" if timed_out else "failed early due to stalled resources"
            raise ApplyError(f"{what}: [{', '.join(bad)}]")
