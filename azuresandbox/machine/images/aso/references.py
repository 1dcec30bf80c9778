"""What an ASO object refers to and what it exports: owners, other resources, Secrets and ConfigMaps.

Source: `v2/internal/resolver`, `v2/pkg/genruntime/{secrets,configmaps}` of Azure/azure-service-operator, with its reasons. May
import the `aso_*` modules.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from azuresandbox.machine.client import ApiError, KubeClient, NoMatch
from azuresandbox.machine.images.aso import convert as aso_convert
from azuresandbox.machine.images.aso import objects as aso_objects
from azuresandbox.machine.images.aso.azure import FAST, Arm, ReadyError
from azuresandbox.machine.images.aso.kinds import KINDS, Kind
from azuresandbox.machine.images.aso.objects import FINALIZER, marks_of
from azuresandbox.machine.types import Object

_BY_KIND = {(kind.group, kind.kind): kind for kind in KINDS}


class References:
    """Those of one object. All methods raise `ReadyError` for what is not there."""

    def __init__(self, kube: KubeClient, kind: Kind, obj: Object) -> None:
        self._kube, self.kind, self.obj = kube, kind, obj

    def _named_owner(self) -> tuple[str, str, Object]:
        """(group, kind, reference) of the owner."""
        reference = self.obj["spec"].get("owner") or {}
        group, kind = self.kind.owner or ("", "")
        return group or reference.get("group", ""), kind or reference.get("kind", ""), reference

    async def owner_id(self) -> str:
        """The owner's ARM id. Raises `ReadyError` while it is not there or not ready."""
        if self.kind.owner is None:
            return ""
        group, kind, reference = self._named_owner()
        if reference.get("armId"):
            return str(reference["armId"])
        owner = await self.owner()
        claimed = FINALIZER in (self.obj["metadata"].get("finalizers") or ())
        if owner is None and claimed:
            name = reference.get("name", "")
            cause = f'{kind}.{group} "{name}" not found'
            text = f"{self.obj['metadata']['namespace']}/{name} does not exist ({cause})"
            raise ReadyError("Warning", "ReferenceNotFound", text, FAST)
        if owner is None or (not aso_objects.is_ready(owner) and not claimed):
            shown = f"{reference.get('name', '')}, Group/Kind: {group}/{kind}"
            text = f"Owner {json.dumps(shown)} cannot be found. Progress is blocked until the owner is created."
            raise ReadyError("Warning", "WaitingForOwner", text, FAST)
        return owner["metadata"].get("annotations", {}).get(aso_objects.RESOURCE_ID, "")  # type: ignore[no-any-return]

    async def owner(self) -> Object | None:
        group, kind, reference = self._named_owner()
        if self.kind.owner is None or reference.get("armId") or not reference.get("name"):
            return None
        return await self._find(group, kind, reference["name"])

    async def _find(self, group: str, kind: str, name: str) -> Object | None:
        known = _BY_KIND.get((group, kind))
        if known is None:
            return None
        try:
            found = await self._kube.find(known.api_version, kind, name, self.obj["metadata"]["namespace"])
        except NoMatch:
            return None
        return None if found is None else {**found, "apiVersion": known.api_version, "kind": kind}

    async def resolve(self, reference: Object) -> str:
        """The ARM id that a reference stands for. Raises `ReadyError`."""
        if reference.get("armId"):
            return str(reference["armId"])
        if reference.get("wellKnownName"):
            return self._role(reference["wellKnownName"])
        group, kind, name = (reference.get(key, "") for key in ("group", "kind", "name"))
        found = await self._find(group, kind, name)
        resource_id = (found or {"metadata": {}})["metadata"].get("annotations", {}).get(aso_objects.RESOURCE_ID, "")
        if not resource_id:
            namespace = self.obj["metadata"]["namespace"]
            cause = f'{kind}.{group} "{name}" not found' if found is None else f'{kind}.{group} "{name}" has no resource id yet'
            raise ReadyError("Warning", "ReferenceNotFound", f"{namespace}/{name} does not exist ({cause})", FAST)
        return str(resource_id)

    def _role(self, name: str) -> str:
        role = aso_convert.ROLES.get(name)
        if role is None:
            text = f"the sandbox knows no role with the well-known name {name!r}: use armId, or one of "
            raise ReadyError("Error", "Failed", text + ", ".join(aso_convert.ROLES))
        return f"/subscriptions/{marks_of(self.obj)[aso_objects.RESOURCE_ID].split('/')[2]}/providers/Microsoft.Authorization/roleDefinitions/{role}"

    async def look_up(self, source: str, reference: Object) -> Any:
        """A value from a Secret or ConfigMap in the object's namespace. Raises `ReadyError`."""
        kind, reason = ("ConfigMap", "ConfigMapNotFound") if source == "config" else ("Secret", "SecretNotFound")
        namespace, name, key = self.obj["metadata"]["namespace"], reference["name"], reference.get("key", "")
        found = await self._kube.find("v1", kind, name, namespace)
        if found is None:
            raise ReadyError("Warning", reason, f'{namespace}/{name} does not exist ({kind} "{name}" not found)', FAST)
        data = found.get("data") or {}
        if source == "secrets":
            return {item: base64.b64decode(value).decode() for item, value in data.items()}
        if key not in data:
            cause = f'{kind} "{namespace}/{name}" does not contain key "{key}"'
            raise ReadyError("Warning", reason, f"{namespace}/{name} does not exist ({cause})", FAST)
        return data[key] if source == "config" else base64.b64decode(data[key]).decode()

    async def export(self, arm: Arm, resource: Object) -> None:
        """Write what `operatorSpec` asks for into Secrets and ConfigMaps that the object owns."""
        wanted = self.obj["spec"].get("operatorSpec") or {}
        for refused in ("configMapExpressions", "secretExpressions"):
            if wanted.get(refused):
                text = f"operatorSpec.{refused} is not part of the sandbox: use configMaps or secrets"
                raise ReadyError("Error", "Failed", text)
        values: dict[tuple[str, str], dict[str, str]] = {}
        for name, target in (wanted.get("configMaps") or {}).items():
            value = aso_convert.value_at(resource, self.kind.config_maps[name])
            if value is not None:
                values.setdefault(("ConfigMap", target["name"]), {})[target["key"]] = str(value)
        for name, target in (wanted.get("secrets") or {}).items():
            listed = await arm.post(
                marks_of(self.obj)[aso_objects.RESOURCE_ID], self.kind.secrets[name], self.kind.arm_api_version
            )
            values.setdefault(("Secret", target["name"]), {})[target["key"]] = listed["kubeconfigs"][0]["value"]
        for (kind, name), data in values.items():
            await self._write_export(kind, name, data)

    async def _write_export(self, kind: str, name: str, data: dict[str, str]) -> None:
        metadata = self.obj["metadata"]
        current = await self._kube.find("v1", kind, name, metadata["namespace"])
        owners = [] if current is None else current["metadata"].get("ownerReferences") or []
        if current is not None and not any(reference["uid"] == metadata["uid"] for reference in owners):
            text = f"cannot overwrite {kind} {metadata['namespace']}/{name} which is not owned by "
            raise ReadyError("Error", "FailedWritingAdditionalKubernetesObjects", text + f"{self.kind.kind}/{metadata['name']}")
        if current is not None and all((current.get("data") or {}).get(key) == value for key, value in data.items()):
            return
        wanted = {
            "apiVersion": "v1",
            "kind": kind,
            "data": data,
            "metadata": {"name": name, "namespace": metadata["namespace"], "ownerReferences": [owner_reference(self.obj)]},
        }
        try:
            await (self._kube.create(wanted) if current is None else self._kube.patch(wanted, {"data": data}))
        except ApiError as error:
            raise ReadyError("Warning", "FailedWritingAdditionalKubernetesObjects", str(error)) from None


def owner_reference(owner: Object) -> Object:
    metadata = owner["metadata"]
    return {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": metadata["name"], "uid": metadata["uid"]}
