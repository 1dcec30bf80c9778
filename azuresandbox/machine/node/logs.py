"""The logs of containers: lines in the store's partition `machine`, the last 5,000 of each container."""

from __future__ import annotations

from azuresandbox.clock import Clock
from azuresandbox.store import Store

PARTITION = "machine"
KEPT = 5_000


def prefix(cluster_id: str, namespace: str = "", pod: str = "", container: str = "") -> str:
    """Return the key prefix of a cluster's lines, or of a namespace's, a Pod's or a container's, if these are named too."""
    return "/".join(("log", cluster_id, *(part for part in (namespace, pod, container) if part))) + "/"


class Log:
    """One container's log. Its program writes by `write`."""

    def __init__(self, store: Store, clock: Clock, key_prefix: str) -> None:
        self._store, self._clock, self._prefix = store, clock, key_prefix
        self._next: int | None = None

    def write(self, text: str) -> None:
        if self._next is None:
            page = self._store.list(PARTITION, self._prefix, limit=1)
            first = int(page.records[0].key.rpartition("/")[2]) if page.records else 0
            self._next = first + len(page.records) + page.remaining
        stamp = self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
        for line in text.splitlines() or [""]:
            self._store.put(PARTITION, f"{self._prefix}{self._next:08d}", f"{stamp} {line}".encode())
            if self._next >= KEPT:
                self._store.delete(PARTITION, f"{self._prefix}{self._next - KEPT:08d}")
            self._next += 1


def drop(store: Store, key_prefix: str) -> None:
    """Delete all lines under a prefix."""
    with store.transaction():
        for record in store.list(PARTITION, key_prefix).records:
            store.delete(PARTITION, record.key)
