"""Install, upgrade, roll back and uninstall a release, as Helm v4 does with server-side apply.

The order of the steps and the messages are Helm's (helm.sh/helm/v4/pkg/action). The caller brings the `Waiter`, because
helm-controller has its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from azuresandbox.clock import Clock, rfc3339_micro
from azuresandbox.machine.client import ApiError, KubeClient, NoMatch
from azuresandbox.machine.helm import manifests, releases
from azuresandbox.machine.helm.charts import Chart, ChartError, merge_values
from azuresandbox.machine.helm.hooks import Hooks, Waiter
from azuresandbox.machine.helm.releases import Release, Storage
from azuresandbox.machine.helm.resources import HelmFailure, Resources, identity
from azuresandbox.machine.types import Object


class NotFound(HelmFailure):
    """There is no such release."""


@dataclass(frozen=True)
class Options:
    """The options of an action. `timeout` is in seconds; `max_history` is the number of revisions that are kept."""

    timeout: float = 300.0
    wait: bool = True
    wait_for_jobs: bool = True
    hooks: bool = True
    take_ownership: bool = True
    create_namespace: bool = False
    replace: bool = False
    cleanup_on_fail: bool = False
    keep_history: bool = False
    propagation: str = "background"
    preserve_values: bool = False
    max_history: int = 5


@dataclass
class Helm:
    """The actions on one release, named `name` in `namespace`."""

    kube: KubeClient
    clock: Clock
    storage: Storage
    waiter: Waiter
    name: str
    namespace: str
    manager: str = "helm"

    @cached_property
    def resources(self) -> Resources:
        return Resources(self.kube, self.name, self.namespace, self.manager)

    @cached_property
    def hooks(self) -> Hooks:
        return Hooks(self.resources, self.storage, self.waiter, self.clock)

    # --- install -----------------------------------------------------------------------------------------------------

    async def install(
        self, chart: Chart, version: str, values: Mapping[str, Any], transform: manifests.Transform, options: Options
    ) -> Release:
        """Install a release. Raises `HelmFailure`; a release that was stored before the failure is stored as failed."""
        history = await self.storage.history(self.name)
        await self._name_available(history, options.replace)
        number = history[-1].version + 1 if history else 1
        rendered = self._render(chart, values, number, transform, upgrade=False)
        release = self._new(chart, version, values, rendered, number)
        release.set_status(releases.PENDING[0], "Initial install underway")
        objects = await self.resources.of(release, "unable to build kubernetes objects from release manifest")
        if not options.take_ownership:
            await self.resources.check_ownership(objects, "unable to continue with install")
        if options.create_namespace:
            await self._create_namespace()
        if history and options.replace:
            last = history[-1]
            last.set_status(releases.SUPERSEDED, "superseded by new release")
            await self.storage.update(last)
        await self._store(release)
        try:
            await self._run_hooks(release, "pre-install", options, "failed pre-install")
            for obj in objects:
                await self.resources.apply(obj)
            await self._wait(objects, options)
            await self._run_hooks(release, "post-install", options, "failed post-install")
        except HelmFailure as error:
            release.set_status(releases.FAILED, f'Release "{self.name}" failed: {error}')
            await self.storage.update(release)
            raise
        release.set_status(releases.DEPLOYED, "Install complete")
        await self.storage.update(release)
        return release

    async def _name_available(self, history: list[Release], replace: bool) -> None:
        if history and not (replace and history[-1].status in (releases.UNINSTALLED, releases.FAILED)):
            raise HelmFailure("release name check failed: cannot reuse a name that is still in use")

    async def _create_namespace(self) -> None:
        namespace = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": self.namespace, "labels": {"name": self.namespace}},
        }
        try:
            await self.kube.create(namespace)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise HelmFailure(str(error)) from error

    # --- upgrade and rollback ----------------------------------------------------------------------------------------

    async def upgrade(
        self, chart: Chart, version: str, values: Mapping[str, Any], transform: manifests.Transform, options: Options
    ) -> Release:
        """Store a new revision. Raises `HelmFailure`; a revision that was stored before the failure is stored as failed."""
        history = await self.storage.history(self.name)
        if not history:
            raise NotFound(f'"{self.name}" has no deployed releases')
        last = history[-1]
        if last.status in releases.PENDING:
            raise HelmFailure("another operation (install/upgrade/rollback) is in progress")
        current = next((r for r in reversed(history) if r.status == releases.DEPLOYED), last)
        if options.preserve_values:
            values = merge_values(current.config, values)
        number = last.version + 1
        rendered = self._render(chart, values, number, transform, upgrade=True)
        first = str(current.info.get("first_deployed", ""))
        release = self._new(chart, version, values, rendered, number, first)
        release.set_status(releases.PENDING[1], "Preparing upgrade")
        before = await self.resources.of(current)
        after = await self.resources.of(release, "unable to build kubernetes objects from new release manifest")
        known = {identity(obj) for obj in before}
        added = [obj for obj in after if identity(obj) not in known]
        if not options.take_ownership:
            await self.resources.check_ownership(added, "unable to continue with update")
        await self._store(release, options.max_history)
        return await self._update(current, release, before, after, options, ("pre-upgrade", "post-upgrade"))

    async def rollback(self, target: int, options: Options) -> Release:
        """Store a new revision with the content of revision `target`. Raises `HelmFailure`."""
        history = await self.storage.history(self.name)
        wanted = next((r for r in history if r.version == target), None)
        if wanted is None:
            raise HelmFailure(f"release has no {target} version")
        last = history[-1]
        content = {**wanted.copy().content, "version": last.version + 1}
        content["info"] = {
            "first_deployed": last.info.get("first_deployed"),
            "last_deployed": rfc3339_micro(self.clock.now()),
            **({"notes": wanted.info["notes"]} if wanted.info.get("notes") else {}),
            "rollback_revision": target,
        }
        release = Release(content)
        release.set_status(releases.PENDING[2], f"Rollback to {target}")
        before = await self.resources.of(last)
        after = await self.resources.of(release, "unable to build kubernetes objects from new release manifest")
        await self._store(release, options.max_history)
        return await self._update(last, release, before, after, options, ("pre-rollback", "post-rollback"))

    async def _update(
        self,
        current: Release,
        release: Release,
        before: list[Object],
        after: list[Object],
        options: Options,
        hooks: tuple[str, str],
    ) -> Release:
        rolls_back = hooks[0] == "pre-rollback"
        created: list[Object] = []
        try:
            await self._run_hooks(release, hooks[0], options, "" if rolls_back else f"{hooks[0]} hooks failed")
            created = await self._converge(before, after)
            await self._wait(after, options)
            await self._run_hooks(release, hooks[1], options, "" if rolls_back else f"{hooks[1]} hooks failed")
        except HelmFailure as error:
            action = "Rollback" if rolls_back else "Upgrade"
            release.set_status(releases.FAILED, f'{action} "{self.name}" failed: {error}')
            if rolls_back:
                current.set_status(releases.SUPERSEDED, str(current.info.get("description", "")))
            await self.storage.update(current)
            await self.storage.update(release)
            if options.cleanup_on_fail:
                await self.resources.delete_all(created)
            raise
        for old in await self.storage.history(self.name):
            replaced = old.status == releases.DEPLOYED or old.version == current.version
            if replaced and old.version != release.version and old.status != releases.SUPERSEDED:
                old.info["status"] = releases.SUPERSEDED
                await self.storage.update(old)
        release.set_status(releases.DEPLOYED, release.info["description"] if rolls_back else "Upgrade complete")
        await self.storage.update(release)
        return release

    async def _converge(self, before: list[Object], after: list[Object]) -> list[Object]:
        """Apply the new objects and delete the old ones that are not among them. Returns the objects that were created."""
        created = []
        for obj in after:
            if await self.resources.find(obj) is None:
                created.append(obj)
            await self.resources.apply(obj)
        wanted = {identity(obj) for obj in after}
        for obj in before:
            if identity(obj) not in wanted and manifests.annotation(obj, manifests.RESOURCE_POLICY) != "keep":
                live = await self.resources.find(obj)
                if live is not None and manifests.annotation(live, manifests.RESOURCE_POLICY) != "keep":
                    await self.resources.delete(obj, "Background")
        return created

    # --- uninstall ---------------------------------------------------------------------------------------------------

    async def uninstall(self, options: Options) -> Release:
        """Uninstall the release. Raises `NotFound` if there is none, `HelmFailure` with all errors."""
        history = await self.storage.history(self.name)
        if not history:
            raise NotFound("uninstall: Release not loaded: " + self.name + ": release: not found")
        release = history[-1]
        if release.status == releases.UNINSTALLED:
            if options.keep_history:
                raise HelmFailure(f'the release named "{self.name}" is already deleted')
            await self._purge(history)
            return release
        release.info["deleted"] = rfc3339_micro(self.clock.now())
        release.set_status(releases.UNINSTALLING, "Deletion in progress (or silently failed)")
        await self._run_hooks(release, "pre-delete", options, "")
        await self.storage.update(release)
        errors = await self._delete_release(release, options)
        try:
            await self._run_hooks(release, "post-delete", options, "")
        except HelmFailure as error:
            errors.append(str(error))
        release.set_status(releases.UNINSTALLED, "Uninstallation complete")
        self.storage.observe(release)
        if options.keep_history:
            await self.storage.update(release)
        else:
            await self._purge(history)
        if errors:
            raise HelmFailure(f"uninstallation completed with {len(errors)} error(s): {'; '.join(errors)}")
        return release

    async def _delete_release(self, release: Release, options: Options) -> list[str]:
        errors: list[str] = []
        owned = []
        for obj in sorted(manifests.objects_of(release.manifest), key=lambda obj: manifests.uninstall_key(obj["kind"])):
            if manifests.annotation(obj, manifests.RESOURCE_POLICY) == "keep":
                continue
            try:
                obj = await self.resources.placed(obj)
            except NoMatch:
                continue
            live = await self.resources.find(obj)
            if live is not None and not self.resources.ownership_problems(live):
                owned.append(obj)
        for obj in owned:
            try:
                await self.resources.delete(obj, options.propagation.capitalize())
            except HelmFailure as error:
                errors.append(str(error))
        if options.wait:
            try:
                await self.waiter.gone(owned, options.timeout)
            except HelmFailure as error:
                errors.append(str(error))
        return errors

    async def _purge(self, history: Iterable[Release]) -> None:
        for release in history:
            await self.storage.delete(release)

    # --- steps of several actions ------------------------------------------------------------------------------------

    def _render(
        self, chart: Chart, values: Mapping[str, Any], number: int, transform: manifests.Transform, upgrade: bool
    ) -> manifests.Rendered:
        try:
            files = chart.render(values, name=self.name, namespace=self.namespace, revision=number, upgrade=upgrade)
            return manifests.take_apart(files, chart.name, transform)
        except (ChartError, manifests.ManifestError) as error:
            raise HelmFailure(str(error)) from error

    def _new(
        self, chart: Chart, version: str, values: Mapping[str, Any], rendered: manifests.Rendered, number: int, first: str = ""
    ) -> Release:
        return releases.new(
            self.name,
            self.namespace,
            number,
            chart.stored(version),
            dict(values),
            rendered.manifest,
            rendered.hooks,
            rendered.notes,
            self.clock.now(),
            first,
        )

    async def _store(self, release: Release, keep: int = 0) -> None:
        try:
            await self.storage.create(release, keep)
        except releases.StorageError as error:
            raise HelmFailure(str(error)) from error

    async def _run_hooks(self, release: Release, event: str, options: Options, problem: str) -> None:
        if options.hooks:
            await self.hooks.run(release, event, options.timeout, problem)

    async def _wait(self, objects: list[Object], options: Options) -> None:
        if options.wait:
            await self.waiter.ready(objects, options.timeout, options.wait_for_jobs)
