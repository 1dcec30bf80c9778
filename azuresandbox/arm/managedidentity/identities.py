"""User-assigned managed identities. Each is a service principal in the directory.

Client and principal ids are derived from the resource id and the number of its creations: a runbook's outputs are the same on
every fresh sandbox, and a recreated identity is still another principal.
"""

from __future__ import annotations

import uuid

from azuresandbox import directory
from azuresandbox.arm.errors import ArmError
from azuresandbox.arm.provider import ResourceType, Write
from azuresandbox.arm.records import PARTITION, Resource
from azuresandbox.context import Sandbox
from azuresandbox.store import Store

FEDERATED_VERSIONS = (
    "2025-05-31-preview",
    "2025-01-31-preview",
    "2024-11-30",
    "2023-07-31-preview",
    "2023-01-31",
    "2022-01-31-preview",
)
VERSIONS = (*FEDERATED_VERSIONS, "2021-09-30-preview", "2018-11-30", "2015-08-31-preview")
_NAMES = uuid.UUID("5f0c2c0b-7d7e-5c0b-9d7a-3b0a3d3b7f61")


def _prepare(write: Write) -> None:
    if write.current is not None:
        isolation = write.properties.get("isolationScope")
        write.document["properties"] = {**write.before, **({"isolationScope": isolation} if isolation else {})}
        return
    store, key = write.sandbox.store, write.id.key
    count = _count(store, key)
    principal, client = (str(uuid.uuid5(_NAMES, f"{kind}|{key}|{count}")) for kind in ("principal", "client"))
    given = {"isolationScope": write.properties["isolationScope"]} if write.properties.get("isolationScope") else {}
    write.document["properties"] = {"tenantId": write.sandbox.tenant_id, "principalId": principal, "clientId": client, **given}
    directory.put_principal(
        store, directory.Principal(client, principal, write.id.name, "ManagedIdentity", resource_id=write.document["id"])
    )


def _count(store: Store, key: str) -> int:
    """Return the number of this id's creations, this one included. Deletions do not reset it."""
    record = store.get(PARTITION, f"created/{key}")
    count = int(record.value) + 1 if record else 1
    store.put(PARTITION, f"created/{key}", str(count).encode())
    return count


def _remove(sandbox: Sandbox, resource: Resource) -> None:
    """Delete the principal from the directory. Role assignments that name it are kept."""
    directory.delete_principal(sandbox.store, resource.properties["clientId"])


def _name_error(name: str) -> ArmError:
    message = (
        f"The identity name '{name}' is invalid. A valid name starts with a letter or digit, has 3 to 128 characters, "
        "and holds "
        "letters, digits, hyphens and underscores only."
    )
    return ArmError(400, "InvalidResourceName", message)


TYPE = ResourceType(
    "userAssignedIdentities",
    VERSIONS,
    model="msi.Identity",
    patch_model="msi.IdentityUpdate",
    prepare=_prepare,
    remove=_remove,
    rank=80,
    name_rule=r"[A-Za-z0-9][A-Za-z0-9_-]{2,127}",
    name_error=_name_error,
)
