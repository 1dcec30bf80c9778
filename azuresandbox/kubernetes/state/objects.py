"""The API objects of one cluster in the store, as ready-to-send JSON, with an index of owners in memory.

An object is stored as the bytes that clients get: `apiVersion` and `kind` first, and its resourceVersion, which is the
store's revision. The index of uids and owner references serves garbage collection.
"""

from __future__ import annotations

from collections.abc import Callable

from azuresandbox import trees
from azuresandbox.kubernetes.model.resources import Resource
from azuresandbox.kubernetes.model.types import Object, dump
from azuresandbox.store import Conflict, Record, Store


class Gone(Exception):
    """The object was changed or deleted between reading and writing. The caller reads it again."""


class Objects:
    """One cluster's objects. `on_change(key, old, new)` is called after every write."""

    def __init__(self, store: Store, partition: str) -> None:
        self.store = store
        self.partition = partition
        self.on_change: Callable[[str, Object | None, Object | None], None] = lambda key, old, new: None
        self.keys: dict[str, str] = {}
        """Uid -> key."""
        self.dependents: dict[str, set[str]] = {}
        """Uid of an owner -> keys of the objects that name it."""

    def load(self) -> None:
        """Build the index from the stored objects."""
        for record in self.store.list(self.partition).records:
            self._index(record.key, trees.parse(record.value))

    def get(self, key: str) -> Record | None:
        return self.store.get(self.partition, key)

    def read(self, key: str) -> Object | None:
        """Return the decoded object, or `None` if it does not exist."""
        record = self.store.get(self.partition, key)
        return None if record is None else trees.parse(record.value)

    def all(self, prefix: str) -> list[Object]:
        return [trees.parse(record.value) for record in self.store.list(self.partition, prefix).records]

    def put(self, resource: Resource, key: str, obj: Object, old: Object | None, expected: int) -> Record:
        """Write the object and set its resourceVersion. `expected`: see the store. Raises `Gone`."""
        obj["apiVersion"] = resource.stored_as
        try:
            record = self.store.put(self.partition, key, lambda revision: _stamped(obj, revision), expected=expected)
        except Conflict as error:
            raise Gone(key) from error
        if old is not None:
            self._forget(key, old)
        self._index(key, obj)
        self.on_change(key, old, obj)
        return record

    def remove(self, key: str, old: Object, expected: int) -> Record:
        """Delete the object; watchers see `old` at the deletion's resourceVersion. Raises `Gone`."""
        try:
            record = self.store.delete(self.partition, key, expected=expected, value=lambda revision: _stamped(old, revision))
        except Conflict as error:
            raise Gone(key) from error
        if record is None:
            raise Gone(key)
        self._forget(key, old)
        self.on_change(key, old, None)
        return record

    def _index(self, key: str, obj: Object) -> None:
        metadata = obj["metadata"]
        self.keys[metadata["uid"]] = key
        for owner in metadata.get("ownerReferences") or ():
            self.dependents.setdefault(owner.get("uid", ""), set()).add(key)

    def _forget(self, key: str, obj: Object) -> None:
        metadata = obj["metadata"]
        self.keys.pop(metadata["uid"], None)
        for owner in metadata.get("ownerReferences") or ():
            known = self.dependents.get(owner.get("uid", ""))
            if known is not None:
                known.discard(key)
                if not known:
                    del self.dependents[owner["uid"]]


def _stamped(obj: Object, revision: int) -> bytes:
    obj["metadata"]["resourceVersion"] = str(revision)
    return dump(obj)
