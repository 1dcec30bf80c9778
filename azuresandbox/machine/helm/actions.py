"""Install, upgrade, roll back and uninstall a release, as Helm v4 does with server-side apply.

Order, hooks, ownership and the wording of errors are Helm's (helm.sh/helm/v4/pkg/action, pkg/kube); waiting is left to the
caller's `Waiter`, because helm-controller brings its own. May import `machine.client` and this package.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from azuresandbox.clock import Clock, rfc3339_micro
from azuresandbox.machine.client import ApiError, KubeClient, NoMatch
from azuresandbox.machine.helm import manifests, releases
from azuresandbox.machine.helm.charts import Chart, ChartError
from azuresandbox.machine.helm.releases import Release, Storage

Object = dict[str, Any]

MANAGED_BY = ("app.kubernetes.io/managed-by", "Helm")
RELEASE_NAME, RELEASE_NAMESPACE = "meta.helm.sh/release-name", "meta.helm.sh/release-namespace"


class HelmFailure(Exception):
    """An action failed. The text is Helm's."""


class NotFound(HelmFailure):
    """There is no such release."""


class Waiter(Protocol):
    """How to wait. Each raises `HelmFailure` when it takes too long or cannot succeed."""

    async def ready(self, objects: list[Object], timeout: float, jobs: bool) -> None: ...

    async def hook(self, objects: list[Object], timeout: float) -> None: ...

    async def gone(self, objects: list[Object], timeout: float) -> None: ...


@dataclass(frozen=True)
class Options:
    """What the spec's install, upgrade, rollback or uninstall section asks for. `timeout` in seconds."""

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
    """The actions on one release: its name and namespace, and where it is stored."""

    kube: KubeClient
    clock: Clock
    storage: Storage
    waiter: Waiter
    name: str
    namespace: str
    manager: str = "helm"

    # --- install -----------------------------------------------------------------------------------------------------

    async def install(
        self, chart: Chart, version: str, values: Mapping[str, Any], transform: manifests.Transform, options: Options
    ) -> Release:
        """Raises `HelmFailure`; a failure after the release was recorded leaves it there as failed."""
        history = await self.storage.history(self.name)
        await self._name_available(history, options.replace)
        number = history[-1].version + 1 if history else 1
        rendered = self._render(chart, values, number, transform, upgrade=False)
        release = self._new(chart, version, values, rendered, number)
        release.set_status(releases.PENDING[0], "Initial install underway")
        objects = await self._resources(release, "unable to build kubernetes objects from release manifest")
        await self._check_ownership(objects, options.take_ownership, "unable to continue with install")
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
                await self._apply(obj)
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
        """Raises `HelmFailure`; a failure after the new revision was recorded leaves it there as failed."""
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
        before = await self._resources(current)
        after = await self._resources(release, "unable to build kubernetes objects from new release manifest")
        known = {_identity(obj) for obj in before}
        added = [obj for obj in after if _identity(obj) not in known]
        await self._check_ownership(added, options.take_ownership, "unable to continue with update")
        await self._store(release, options.max_history)
        return await self._update(current, release, before, after, options, ("pre-upgrade", "post-upgrade"))

    async def rollback(self, target: int, options: Options) -> Release:
        """Make a new revision with the content of revision `target`."""
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
        before = await self._resources(last)
        after = await self._resources(release, "unable to build kubernetes objects from new release manifest")
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
            what = "Rollback" if rolls_back else "Upgrade"
            release.set_status(releases.FAILED, f'{what} "{self.name}" failed: {error}')
            if rolls_back:
                current.set_status(releases.SUPERSEDED, str(current.info.get("description", "")))
            await self.storage.update(current)
            await self.storage.update(release)
            if options.cleanup_on_fail:
                await self._delete_all(created)
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
        """Apply what is wanted, delete what is no longer; the objects that were created."""
        created = []
        for obj in after:
            if await self._find(obj) is None:
                created.append(obj)
            await self._apply(obj)
        wanted = {_identity(obj) for obj in after}
        for obj in before:
            if _identity(obj) not in wanted and manifests.annotation(obj, manifests.RESOURCE_POLICY) != "keep":
                live = await self._find(obj)
                if live is not None and manifests.annotation(live, manifests.RESOURCE_POLICY) != "keep":
                    await self._delete(obj, "Background")
        return created

    # --- uninstall ---------------------------------------------------------------------------------------------------

    async def uninstall(self, options: Options) -> Release:
        """Raises `NotFound` if there is no release, `HelmFailure` with all that went wrong."""
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
                obj = await self.placed(obj)
            except NoMatch:
                continue
            live = await self._find(obj)
            if live is not None and not self._ownership_problems(live):
                owned.append(obj)
        for obj in owned:
            try:
                await self._delete(obj, options.propagation.capitalize())
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

    # --- hooks -------------------------------------------------------------------------------------------------------

    async def _run_hooks(self, release: Release, event: str, options: Options, problem: str) -> None:
        if not options.hooks:
            return
        found = [hook for hook in release.content.get("hooks") or () if event in hook.get("events", ())]
        found.sort(key=lambda hook: (hook.get("weight", 0), hook["name"]))
        try:
            for number, hook in enumerate(found):
                try:
                    await self._run_hook(release, hook, event, options)
                except HelmFailure:
                    await self._delete_hook(hook, "hook-failed", options)
                    for done in found[:number]:
                        await self._delete_hook(done, "hook-succeeded", options)
                    raise
            for hook in reversed(found):
                await self._delete_hook(hook, "hook-succeeded", options)
        except HelmFailure as error:
            raise HelmFailure(f"{problem}: {error}" if problem else str(error)) from error

    async def _run_hook(self, release: Release, hook: Object, event: str, options: Options) -> None:
        hook.setdefault("delete_policies", ["before-hook-creation"])
        await self._delete_hook(hook, "before-hook-creation", options)
        objects = []
        for obj in manifests.objects_of(hook["manifest"]):
            try:
                objects.append(await self.placed(obj))
            except NoMatch as error:
                text = f"unable to build kubernetes object for {event} hook {hook['path']}: {_mapping_problem(obj, error)}"
                raise HelmFailure(text) from error
        hook["last_run"] = {"started_at": rfc3339_micro(self.clock.now()), "phase": "Running"}
        if release.status not in (releases.UNINSTALLING,):
            await self.storage.update(release)
        try:
            for obj in objects:
                await self._apply(obj, owned=False)
        except HelmFailure as error:
            hook["last_run"].update(completed_at=rfc3339_micro(self.clock.now()), phase="Failed")
            raise HelmFailure(f"warning: Hook {event} {hook['path']} failed: {error}") from error
        try:
            await self.waiter.hook(objects, options.timeout)
        except HelmFailure:
            hook["last_run"].update(completed_at=rfc3339_micro(self.clock.now()), phase="Failed")
            raise
        hook["last_run"].update(completed_at=rfc3339_micro(self.clock.now()), phase="Succeeded")

    async def _delete_hook(self, hook: Object, policy: str, options: Options) -> None:
        if hook["kind"] == "CustomResourceDefinition" or policy not in hook.get("delete_policies", ()):
            return
        objects = []
        for obj in manifests.objects_of(hook["manifest"]):
            try:
                objects.append(await self.placed(obj))
            except NoMatch:
                continue
        for obj in objects:
            await self._delete(obj, "Background")
        await self.waiter.gone(objects, options.timeout)

    # --- objects -----------------------------------------------------------------------------------------------------

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

    async def _resources(self, release: Release, problem: str = "") -> list[Object]:
        """The release's objects with their namespaces. With a `problem` to report, kinds the API lacks are an error."""
        found, problems = [], []
        for obj in manifests.objects_of(release.manifest):
            try:
                found.append(await self.placed(obj))
            except NoMatch as error:
                problems.append(_mapping_problem(obj, error))
        if problems and problem:
            raise HelmFailure(f"{problem}: " + (problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"))
        return found

    async def placed(self, obj: Object) -> Object:
        """The object in the release's namespace, if it has none of its own and its kind wants one. Raises `NoMatch`."""
        resource = await self.kube.mapping(obj["apiVersion"], obj["kind"])
        metadata = dict(obj.get("metadata") or {})
        if resource.namespaced:
            metadata.setdefault("namespace", self.namespace)
        else:
            metadata.pop("namespace", None)
        return {**obj, "metadata": metadata}

    async def _find(self, obj: Object) -> Object | None:
        metadata = obj["metadata"]
        try:
            return await self.kube.find(obj["apiVersion"], obj["kind"], metadata["name"], metadata.get("namespace", ""))
        except NoMatch:
            return None
        except ApiError as error:
            raise HelmFailure(f"could not get information about the resource {_resource(obj)}: {error}") from error

    def owned(self, obj: Object) -> Object:
        """The object with Helm's marks of ownership."""
        metadata = dict(obj["metadata"])
        metadata["labels"] = {**(metadata.get("labels") or {}), MANAGED_BY[0]: MANAGED_BY[1]}
        marks = {RELEASE_NAME: self.name, RELEASE_NAMESPACE: self.namespace}
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **marks}
        return {**obj, "metadata": metadata}

    async def _apply(self, obj: Object, owned: bool = True) -> None:
        metadata = obj["metadata"]
        try:
            await self.kube.apply(self.owned(obj) if owned else obj, self.manager, force=True)
        except (ApiError, NoMatch) as error:
            where = f"{metadata.get('namespace', '')}/{metadata['name']} {_gvk(obj)}"
            raise HelmFailure(f"server-side apply failed for object {where}: {error}") from error

    async def _delete(self, obj: Object, propagation: str) -> None:
        metadata = obj["metadata"]
        try:
            await self.kube.delete(
                obj["apiVersion"], obj["kind"], metadata["name"], metadata.get("namespace", ""), propagation=propagation
            )
        except ApiError as error:
            raise HelmFailure(str(error)) from error

    async def _delete_all(self, objects: Iterable[Object]) -> None:
        for obj in objects:
            await self._delete(obj, "Background")

    async def _wait(self, objects: list[Object], options: Options) -> None:
        if options.wait:
            await self.waiter.ready(objects, options.timeout, options.wait_for_jobs)

    async def _check_ownership(self, objects: Iterable[Object], take: bool, problem: str) -> None:
        if take:
            return
        for obj in objects:
            live = await self._find(obj)
            problems = self._ownership_problems(live) if live is not None else []
            if problems:
                raise HelmFailure(
                    f"{problem}: {_resource(obj)} exists and cannot be imported into the current release: "
                    f"invalid ownership metadata; {'; '.join(problems)}"
                )

    def _ownership_problems(self, live: Object) -> list[str]:
        metadata = live["metadata"]
        labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
        checks = (
            ("label", labels, *MANAGED_BY),
            ("annotation", annotations, RELEASE_NAME, self.name),
            ("annotation", annotations, RELEASE_NAMESPACE, self.namespace),
        )
        problems = []
        for what, found, key, value in checks:
            if key not in found:
                problems.append(f'{what} validation error: missing key "{key}": must be set to "{value}"')
            elif found[key] != value:
                problems.append(f'{what} validation error: key "{key}" must equal "{value}": current value is "{found[key]}"')
        return problems


def _identity(obj: Mapping[str, Any]) -> tuple[str, str, str, str]:
    metadata = obj["metadata"]
    return obj["apiVersion"].rpartition("/")[0], obj["kind"], metadata.get("namespace", ""), metadata["name"]


def _resource(obj: Mapping[str, Any]) -> str:
    metadata = obj["metadata"]
    return f'{obj["kind"]} "{metadata["name"]}" in namespace "{metadata.get("namespace", "")}"'


def _gvk(obj: Mapping[str, Any]) -> str:
    api_version = obj["apiVersion"]
    return f"{api_version if '/' in api_version else '/' + api_version}, Kind={obj['kind']}"


def _mapping_problem(obj: Mapping[str, Any], error: NoMatch) -> str:
    metadata = obj.get("metadata") or {}
    name, namespace = metadata.get("name", ""), metadata.get("namespace", "")
    return (
        f'resource mapping not found for name: "{name}" namespace: "{namespace}" from "": {error}\n'
        "ensure CRDs are installed first"
    )


def merge_values(base: Mapping[str, Any], top: Mapping[str, Any]) -> Object:
    """Values over values: maps are merged, all else is replaced."""
    result = dict(base)
    for key, value in top.items():
        old = result.get(key)
        result[key] = merge_values(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result
