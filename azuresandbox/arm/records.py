"""Resources as they are stored: one record of partition `arm` each, under the lower-cased id."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from azuresandbox import trees
from azuresandbox.arm.resource_id import GROUPS, ResourceId, provider_at
from azuresandbox.store import Store

PARTITION = "arm"


@dataclass
class Resource:
    """A stored resource.

    `document` is visible to clients: id, name, type, location, tags, identity, sku, properties. `private` is not: secrets as
    hashes, counters, the version asked for. `revision` is the record's, 0 before it is stored.
    """

    id: ResourceId
    document: dict[str, Any]
    private: dict[str, Any] = field(default_factory=dict)
    revision: int = 0

    @property
    def properties(self) -> dict[str, Any]:
        found: dict[str, Any] = self.document.setdefault("properties", {})
        return found

    @property
    def location(self) -> str:
        return str(self.document.get("location", ""))

    @property
    def type(self) -> str:
        return str(self.document["type"])

    @property
    def state(self) -> str:
        """The provisioning state; "" for types without one."""
        return str(self.properties.get("provisioningState", ""))

    @property
    def etag(self) -> str:
        """A GUID that changes with every write, as AKS's etags do; without the quotes of the header."""
        import uuid

        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.id.key}#{self.revision}"))


def get(store: Store, resource_id: ResourceId | str) -> Resource | None:
    record = store.get(PARTITION, str(resource_id).lower())
    return _load(record.value, record.revision) if record else None


def put(store: Store, resource: Resource) -> Resource:
    """Write the resource over any stored one. Return it with its new revision."""
    data = json.dumps({"document": resource.document, "private": resource.private}, separators=(",", ":")).encode()
    resource.revision = store.put(PARTITION, resource.id.key, data).revision
    return resource


def update(store: Store, resource_id: ResourceId | str, change: Callable[[Resource], None]) -> Resource | None:
    """Read, change and write the resource in one step, and return it; `None` if it does not exist.

    An equal resource is not written.
    """
    resource = get(store, resource_id)
    if resource is None:
        return None
    before = json.dumps([resource.document, resource.private], sort_keys=True)
    change(resource)
    changed = json.dumps([resource.document, resource.private], sort_keys=True) != before
    return put(store, resource) if changed else resource


def delete(store: Store, resource_id: ResourceId | str) -> None:
    """Delete a resource with all its nested resources and extensions, role assignments too."""
    key = str(resource_id).lower()
    with store.transaction():
        for record in store.list(PARTITION, f"{key}/").records:
            store.delete(PARTITION, record.key)
        store.delete(PARTITION, key)


def under(store: Store, scope: ResourceId | str, type_name: str = "") -> Iterator[Resource]:
    """Yield all resources below a scope, at any depth, in the order of their ids; those of one type, if it is named."""
    wanted = type_name.lower()
    for record in store.list(PARTITION, str(scope).lower() + "/").records:
        if not wanted or _type_of(record.key) == wanted:
            yield _load(record.value, record.revision)


def _type_of(key: str) -> str:
    """Return the type that a key names, in lower case. It saves parsing the records of other types in a long list."""
    at = provider_at(key)
    if at < 0:
        return GROUPS.lower()
    namespace, *rest = key[at + len("/providers/") :].split("/")
    return "/".join((namespace, *rest[::2]))


def group_exists(store: Store, resource_id: ResourceId) -> bool:
    return (
        store.get(PARTITION, f"/subscriptions/{resource_id.subscription}/resourcegroups/{resource_id.group}".lower())
        is not None
    )


def group(subscription: str, name: str, location: str, tags: dict[str, str], managed_by: str = "") -> Resource:
    """Return a new resource group, for the Resources provider and for AKS, which creates groups of its own (`MC_...`)."""
    document: dict[str, Any] = {
        "id": f"/subscriptions/{subscription}/resourceGroups/{name}",
        "name": name,
        "type": GROUPS,
        "location": location,
        "tags": tags,
        "properties": {"provisioningState": "Succeeded"},
    }
    if managed_by:
        document["managedBy"] = managed_by
    return Resource(ResourceId(document["id"]), document)


def _load(value: bytes, revision: int) -> Resource:
    stored = trees.parse(value)
    return Resource(ResourceId(stored["document"]["id"]), stored["document"], stored["private"], revision)
