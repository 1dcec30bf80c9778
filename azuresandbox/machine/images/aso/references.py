"""The references of an ASO object, to its owner, other resources, Secrets and ConfigMaps; and its exports.

Source: `v2/internal/resolver`, `v2/pkg/genruntime/{secrets,configmaps}` of Azure/azure-service-operator, with its reasons.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from azuresandbox.machine.client import ApiError, KubeClient, NoMatch
from azuresandbox.machine.images.aso import convert
from azuresandbox.machine.images.aso.azure import FAST, Arm, ReadyError
from azuresandbox.machine.images.aso.kinds import KINDS, Kind
from azuresandbox.machine.images.aso.objects import FINALIZER, RESOURCE_ID, annotations_of
from azuresandbox.machine.objects import is_ready
from azuresandbox.machine.types import Object

_BY_KIND = {(kind.group, kind.kind): kind for kind in KINDS}


class References:
    """The references of one object. Resolving one that does not exist raises `ReadyError`."""

    def __init__(self, kube: KubeClient, kind: Kind, obj: Object) -> None:
        self._kube, self.kind, self.obj = kube, kind, obj

    def _named_owner(self) -> tuple[str, str, Object]:
        """Return (group, kind, reference) of the owner."""
        reference = self.obj["spec"].get("owner") or {}
        group, kind = self.kind.owner or ("", "")
        return group or reference.get("group", ""), kind or reference.get("kind", ""), reference

    async def owner_id(self) -> str:
        """Return the owner's ARM id, "" for a kind without owner. Raises `ReadyError` until the owner exists and is ready."""
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
        if owner is None or (not is_ready(owner) and not claimed):
            shown = f"{reference.get('name', '')}, Group/Kind: {group}/{kind}"
            text = f"Owner {json.dumps(shown)} cannot be found. Progress is blocked until the owner is created."
            raise ReadyError("Warning", "WaitingForOwner", text, FAST)
        return annotations_of(owner).get(RESOURCE_ID, "")

    async def owner(self) -> Object | None:
        """Return the owner's object, or `None` if it does not exist or is named by its ARM id."""
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
        """Return the ARM id that a reference stands for. Raises `ReadyError`."""
        if reference.get("armId"):
            return str(reference["armId"])
        if reference.get("wellKnownName"):
            return self._role(reference["wellKnownName"])
        group, kind, name = (reference.get(key, "") for key in ("group", "kind", "name"))
        found = await self._find(group, kind, name)
        resource_id = "" if found is None else annotations_of(found).get(RESOURCE_ID, "")
        if not resource_id:
            namespace = self.obj["metadata"]["namespace"]
            cause = f'{kind}.{group} "{name}" not found' if found is None else f'{kind}.{group} "{name}" has no resource id yet'
            raise ReadyError("Warning", "ReferenceNotFound", f"{namespace}/{name} does not exist ({cause})", FAST)
        return resource_id

    def _role(self, name: str) -> str:
        role = convert.ROLES.get(name)
        if role is None:
            text = f"the sandbox knows no role with the well-known name {name!r}: use armId, or one of "
            raise ReadyError("Error", "Failed", text + ", ".join(convert.ROLES))
        subscription = annotations_of(self.obj)[RESOURCE_ID].split("/")[2]
        return f"/subscriptions/{subscription}/providers/Microsoft.Authorization/roleDefinitions/{role}"

    async def look_up(self, source: str, reference: Object) -> Any:
        """Return a value from a Secret or ConfigMap in the object's namespace (see `convert.Lookup`). Raises `ReadyError`."""
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
        """Write the exports that `operatorSpec` names to Secrets and ConfigMaps that the object owns."""
        wanted = self.obj["spec"].get("operatorSpec") or {}
        for refused in ("configMapExpressions", "secretExpressions"):
            if wanted.get(refused):
                text = f"operatorSpec.{refused} is not part of the sandbox: use configMaps or secrets"
                raise ReadyError("Error", "Failed", text)
        values: dict[tuple[str, str], dict[str, str]] = {}
        for name, target in (wanted.get("configMaps") or {}).items():
            value = convert.value_at(resource, self.kind.config_maps[name])
            if value is not None:
                values.setdefault(("ConfigMap", target["name"]), {})[target["key"]] = str(value)
        for name, target in (wanted.get("secrets") or {}).items():
            identifier = annotations_of(self.obj)[RESOURCE_ID]
            listed = await arm.post(identifier, self.kind.secrets[name], self.kind.arm_api_version)
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
    """Return a reference to an owner that is not the object's controller: deleting the owner deletes the object."""
    metadata = owner["metadata"]
    return {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": metadata["name"], "uid": metadata["uid"]}
