"""Server-side apply as the Flux controllers do it: in stages, by dry-run first, and only where a write changes something.

Source: fluxcd/pkg/ssa.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from azuresandbox.clock import Clock
from azuresandbox.machine.client import ApiError, KubeClient, NoMatch
from azuresandbox.machine.images.flux.ssa.compare import drifted, in_metadata, without_managers
from azuresandbox.machine.images.flux.ssa.refs import (
    CONFIGURED,
    CREATED,
    DELETED,
    SKIPPED,
    UNCHANGED,
    UNKNOWN,
    Entry,
    Ref,
    api_version,
    ref_of,
)
from azuresandbox.machine.images.flux.ssa.wait import ApplyError, Wait
from azuresandbox.machine.types import Object, Objects

_IMMUTABLE = re.compile(r"is\simmutable|immutable\sfield")
_DEFINITIONS = {
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("", "Namespace"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
}
_STAGE_TIMEOUT = 60.0


@dataclass(frozen=True)
class Options:
    """How to apply. The mappings are labels or annotations (name -> value, in any case); one match is enough."""

    force: bool = False
    force_on: Mapping[str, str] = field(default_factory=dict)
    skip: Mapping[str, str] = field(default_factory=dict)
    only_if_absent: Mapping[str, str] = field(default_factory=dict)
    keep_others: Mapping[str, str] = field(default_factory=dict)
    remove_annotations: tuple[str, ...] = ()
    undo_managers: tuple[tuple[str, str], ...] = ()
    ignore: tuple[Mapping[str, Any], ...] = ()


class ResourceManager:
    """Applies with one client (`kube`) under one field manager. Objects carry labels of their owner."""

    def __init__(self, kube: KubeClient, clock: Clock, manager: str, group: str) -> None:
        self.kube = kube
        self.clock = clock
        self.manager = manager
        self.group = group

    def owner_labels(self, name: str, namespace: str) -> dict[str, str]:
        return {f"{self.group}/name": name, f"{self.group}/namespace": namespace}

    # --- apply -------------------------------------------------------------------------------------------------------

    async def apply_staged(self, objects: Objects, options: Options) -> tuple[list[Entry], ApplyError | None]:
        """Apply definitions (and wait for them), then classes, then all other objects.

        Returns the entries of the objects that were applied, and the error that ended it or `None`.
        """
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
        """Dry-run all objects, then write those that differ. Raises `ApplyError` before the first write if a dry-run fails."""
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
        return self._entry(planned, CONFIGURED if cleaned or drifted(existing, planned, options.ignore) else UNCHANGED)

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
        """Return the object as the API would store it, or `None` if the existing object had to be deleted first.

        Raises `ApplyError`.
        """
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
        """Remove the annotations and field managers of other ways of applying. Returns whether there were any."""
        if in_metadata(obj, options.keep_others) or in_metadata(existing, options.keep_others):
            return False
        annotations = existing["metadata"].get("annotations") or {}
        patch: list[Object] = [
            {"op": "remove", "path": "/metadata/annotations/" + name.replace("~", "~0").replace("/", "~1")}
            for name in options.remove_annotations
            if name in annotations
        ]
        managers = without_managers(existing, set(options.undo_managers), self.manager)
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
        """Delete the objects (ref -> API version) that carry the owner's labels; those with a mark of `keep` are skipped.

        Returns an entry for each object, and an error or `None`.
        """
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
        try:
            existing = await self.kube.find(api_version(ref, version), ref.kind, ref.name, ref.namespace)
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
            await self._delete({**existing, "apiVersion": api_version(ref, version), "kind": ref.kind}, "Background")
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
        """Wait until all objects are Current.

        Raises `ApplyError` after the timeout (seconds), and once the others have failed; with `fail_fast`, once one has failed.
        """
        await Wait(self.kube, self.clock, {ref: versions.get(ref, "") for ref in refs}, fail_fast).run(timeout)

    async def wait_gone(self, refs: Mapping[Ref, str], timeout: float) -> None:
        """Wait until all objects are deleted. Raises `ApplyError` after the timeout (seconds)."""
        deadline = self.clock.now().timestamp() + timeout
        for ref, version in refs.items():
            while True:
                try:
                    if await self.kube.find(api_version(ref, version), ref.kind, ref.name, ref.namespace) is None:
                        break
                except NoMatch:
                    break
                if self.clock.now().timestamp() >= deadline:
                    raise ApplyError(f"{ref.subject} termination timeout: context deadline exceeded")
                await self.clock.wait(2)


def dry_run_error(obj: Object, error: ApiError) -> str:
    """Return the message of a failed dry-run: fluxcd/pkg/ssa/errors.DryRunErr."""
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
