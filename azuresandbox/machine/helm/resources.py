"""The objects of a release in the cluster: their namespace, Helm's marks of ownership, apply and delete.

The messages are those of helm.sh/helm/v4/pkg/kube and pkg/action.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from azuresandbox.machine.client import ApiError, KubeClient, NoMatch
from azuresandbox.machine.helm import manifests
from azuresandbox.machine.helm.releases import Release
from azuresandbox.machine.types import Object

MANAGED_BY = ("app.kubernetes.io/managed-by", "Helm")
RELEASE_NAME, RELEASE_NAMESPACE = "meta.helm.sh/release-name", "meta.helm.sh/release-namespace"
Identity = tuple[str, str, str, str]


class HelmFailure(Exception):
    """An action failed. The text is Helm's."""


@dataclass(frozen=True)
class Resources:
    """Access to the objects of one release (`name` in `namespace`), with a field manager."""

    kube: KubeClient
    name: str
    namespace: str
    manager: str

    async def of(self, release: Release, problem: str = "") -> list[Object]:
        """Return the release's objects with their namespaces. Objects of kinds that the API does not have are left out.

        With `problem`, the beginning of the message, such kinds raise `HelmFailure` instead.
        """
        found, problems = [], []
        for obj in manifests.objects_of(release.manifest):
            try:
                found.append(await self.placed(obj))
            except NoMatch as error:
                problems.append(mapping_problem(obj, error))
        if problems and problem:
            raise HelmFailure(f"{problem}: " + (problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"))
        return found

    async def placed(self, obj: Object) -> Object:
        """Return the object with its namespace (default: the release's); without it if it is cluster-wide. Raises `NoMatch`."""
        resource = await self.kube.mapping(obj["apiVersion"], obj["kind"])
        metadata = dict(obj.get("metadata") or {})
        if resource.namespaced:
            metadata.setdefault("namespace", self.namespace)
        else:
            metadata.pop("namespace", None)
        return {**obj, "metadata": metadata}

    async def find(self, obj: Object) -> Object | None:
        """Return the object as the cluster has it, or `None`. Raises `HelmFailure`."""
        metadata = obj["metadata"]
        try:
            return await self.kube.find(obj["apiVersion"], obj["kind"], metadata["name"], metadata.get("namespace", ""))
        except NoMatch:
            return None
        except ApiError as error:
            raise HelmFailure(f"could not get information about the resource {_resource(obj)}: {error}") from error

    def owned(self, obj: Object) -> Object:
        """Return the object with Helm's label and annotations of ownership."""
        metadata = dict(obj["metadata"])
        metadata["labels"] = {**(metadata.get("labels") or {}), MANAGED_BY[0]: MANAGED_BY[1]}
        marks = {RELEASE_NAME: self.name, RELEASE_NAMESPACE: self.namespace}
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **marks}
        return {**obj, "metadata": metadata}

    async def apply(self, obj: Object, owned: bool = True) -> None:
        """Apply an object, with the marks of ownership unless it is a hook's. Raises `HelmFailure`."""
        metadata = obj["metadata"]
        try:
            await self.kube.apply(self.owned(obj) if owned else obj, self.manager, force=True)
        except (ApiError, NoMatch) as error:
            where = f"{metadata.get('namespace', '')}/{metadata['name']} {_gvk(obj)}"
            raise HelmFailure(f"server-side apply failed for object {where}: {error}") from error

    async def delete(self, obj: Object, propagation: str) -> None:
        metadata = obj["metadata"]
        try:
            await self.kube.delete(
                obj["apiVersion"], obj["kind"], metadata["name"], metadata.get("namespace", ""), propagation=propagation
            )
        except ApiError as error:
            raise HelmFailure(str(error)) from error

    async def delete_all(self, objects: Iterable[Object]) -> None:
        for obj in objects:
            await self.delete(obj, "Background")

    async def check_ownership(self, objects: Iterable[Object], problem: str) -> None:
        """Raise `HelmFailure` if one of the objects exists and belongs to another release or to no release."""
        for obj in objects:
            live = await self.find(obj)
            problems = self.ownership_problems(live) if live is not None else []
            if problems:
                raise HelmFailure(
                    f"{problem}: {_resource(obj)} exists and cannot be imported into the current release: "
                    f"invalid ownership metadata; {'; '.join(problems)}"
                )

    def ownership_problems(self, live: Object) -> list[str]:
        """Return why an existing object does not belong to this release; empty if it does."""
        metadata = live["metadata"]
        labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
        checks = (
            ("label", labels, *MANAGED_BY),
            ("annotation", annotations, RELEASE_NAME, self.name),
            ("annotation", annotations, RELEASE_NAMESPACE, self.namespace),
        )
        problems = []
        for part, found, key, value in checks:
            if key not in found:
                problems.append(f'{part} validation error: missing key "{key}": must be set to "{value}"')
            elif found[key] != value:
                problems.append(f'{part} validation error: key "{key}" must equal "{value}": current value is "{found[key]}"')
        return problems


def identity(obj: Mapping[str, Any]) -> Identity:
    """Return group, kind, namespace and name."""
    metadata = obj["metadata"]
    return obj["apiVersion"].rpartition("/")[0], obj["kind"], metadata.get("namespace", ""), metadata["name"]


def _resource(obj: Mapping[str, Any]) -> str:
    metadata = obj["metadata"]
    return f'{obj["kind"]} "{metadata["name"]}" in namespace "{metadata.get("namespace", "")}"'


def _gvk(obj: Mapping[str, Any]) -> str:
    api_version = obj["apiVersion"]
    return f"{api_version if '/' in api_version else '/' + api_version}, Kind={obj['kind']}"


def mapping_problem(obj: Mapping[str, Any], error: NoMatch) -> str:
    """Return the message about an object of a kind that the API does not have."""
    metadata = obj.get("metadata") or {}
    name, namespace = metadata.get("name", ""), metadata.get("namespace", "")
    return (
        f'resource mapping not found for name: "{name}" namespace: "{namespace}" from "": {error}\n'
        "ensure CRDs are installed first"
    )
