"""Runs the hooks of a release: by weight, and deleted by their policies. Source: helm.sh/helm/v4/pkg/action/hooks.go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from azuresandbox.clock import Clock, rfc3339_micro
from azuresandbox.machine.client import NoMatch
from azuresandbox.machine.helm import manifests, releases
from azuresandbox.machine.helm.releases import Release, Storage
from azuresandbox.machine.helm.resources import HelmFailure, Resources, mapping_problem
from azuresandbox.machine.types import Object


class Waiter(Protocol):
    """How to wait; `timeout` is in seconds. Raises `HelmFailure` after the timeout, or when waiting is pointless."""

    async def ready(self, objects: list[Object], timeout: float, jobs: bool) -> None:
        """Wait until the objects are ready; with `jobs`, until Jobs are complete."""

    async def hook(self, objects: list[Object], timeout: float) -> None:
        """Wait until the objects of a hook have ended."""

    async def gone(self, objects: list[Object], timeout: float) -> None:
        """Wait until the objects are deleted."""


@dataclass(frozen=True)
class Hooks:
    """Runs the hooks of one release. The release is stored after each step; `timeout` in seconds is that of one hook."""

    resources: Resources
    storage: Storage
    waiter: Waiter
    clock: Clock

    async def run(self, release: Release, event: str, timeout: float, problem: str) -> None:
        """Run the hooks of an event, e.g. "pre-install". Raises `HelmFailure`; a `problem` begins its message."""
        found = [hook for hook in release.content.get("hooks") or () if event in hook.get("events", ())]
        found.sort(key=lambda hook: (hook.get("weight", 0), hook["name"]))
        try:
            for number, hook in enumerate(found):
                try:
                    await self._run_one(release, hook, event, timeout)
                except HelmFailure:
                    await self._delete(hook, "hook-failed", timeout)
                    for done in found[:number]:
                        await self._delete(done, "hook-succeeded", timeout)
                    raise
            for hook in reversed(found):
                await self._delete(hook, "hook-succeeded", timeout)
        except HelmFailure as error:
            raise HelmFailure(f"{problem}: {error}" if problem else str(error)) from error

    async def _run_one(self, release: Release, hook: Object, event: str, timeout: float) -> None:
        hook.setdefault("delete_policies", ["before-hook-creation"])
        await self._delete(hook, "before-hook-creation", timeout)
        objects = []
        for obj in manifests.objects_of(hook["manifest"]):
            try:
                objects.append(await self.resources.placed(obj))
            except NoMatch as error:
                text = f"unable to build kubernetes object for {event} hook {hook['path']}: {mapping_problem(obj, error)}"
                raise HelmFailure(text) from error
        hook["last_run"] = {"started_at": rfc3339_micro(self.clock.now()), "phase": "Running"}
        if release.status not in (releases.UNINSTALLING,):
            await self.storage.update(release)
        try:
            for obj in objects:
                await self.resources.apply(obj, owned=False)
        except HelmFailure as error:
            hook["last_run"].update(completed_at=rfc3339_micro(self.clock.now()), phase="Failed")
            raise HelmFailure(f"warning: Hook {event} {hook['path']} failed: {error}") from error
        try:
            await self.waiter.hook(objects, timeout)
        except HelmFailure:
            hook["last_run"].update(completed_at=rfc3339_micro(self.clock.now()), phase="Failed")
            raise
        hook["last_run"].update(completed_at=rfc3339_micro(self.clock.now()), phase="Succeeded")

    async def _delete(self, hook: Object, policy: str, timeout: float) -> None:
        if hook["kind"] == "CustomResourceDefinition" or policy not in hook.get("delete_policies", ()):
            return
        objects = []
        for obj in manifests.objects_of(hook["manifest"]):
            try:
                objects.append(await self.resources.placed(obj))
            except NoMatch:
                continue
        for obj in objects:
            await self.resources.delete(obj, "Background")
        await self.waiter.gone(objects, timeout)
