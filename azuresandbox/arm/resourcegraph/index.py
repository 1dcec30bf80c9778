"""Resource Graph's copy of ARM's resources: fast to read, and always a little late.

Azure Resource Manager notifies Resource Graph of changes, which then updates its database; until then a query shows the old
state. Here a change is visible `LAG` to twice `LAG` seconds after it was made. Whole families are read again (a resource with
all its nested resources and extensions), because a pool's change shows in its cluster.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable

from azuresandbox import fabric
from azuresandbox.arm import records
from azuresandbox.arm.provider import Caller, Request, ResourceType, Types
from azuresandbox.arm.records import Resource
from azuresandbox.arm.resourcegraph import tables
from azuresandbox.arm.resourcegraph.tables import Entry
from azuresandbox.context import Sandbox
from azuresandbox.store import Event, Watch

LAG = 5.0
"""Seconds from a change to the copy, at least. Azure promises no number; seconds are common, minutes happen."""

_NOBODY = Caller("", "", "")


class Index:
    """The copy of one sandbox. It is filled when it is first read or when `follow` begins."""

    def __init__(self, sandbox: Sandbox, types: Types) -> None:
        self._sandbox = sandbox
        self._types = types
        self._families: dict[str, list[Entry]] | None = None
        self._by_table: dict[str, list[Entry]] = {}

    def entries(self, table: str) -> list[Entry]:
        """Return the rows of a table, by id."""
        families = self._filled()
        if table not in self._by_table:
            found = (entry for key in sorted(families) for entry in families[key] if entry.table == table)
            self._by_table[table] = list(found)
        return self._by_table[table]

    def _filled(self) -> dict[str, list[Entry]]:
        if self._families is None:
            self._families = {}
            keys = (record.key for record in self._sandbox.store.list(records.PARTITION, "/").records)
            self._refresh({family(key) for key in keys})
        return self._families

    async def follow(self) -> None:
        """Copy ARM's changes, late, until cancelled."""
        store, queue = self._sandbox.store, asyncio.Queue[str]()
        watches = [store.watch(records.PARTITION, "/"), store.watch(fabric.PARTITION, "report/flux/")]
        self._filled()
        try:
            async with asyncio.TaskGroup() as tasks:
                for watch in watches:
                    tasks.create_task(_collect(watch, queue, self._family_of))
                while True:
                    changed = {await queue.get()}
                    changed |= {queue.get_nowait() for _ in range(queue.qsize())}
                    await self._sandbox.clock.wait(LAG)
                    self._refresh(changed)
        finally:
            for watch in watches:
                watch.close()

    def _family_of(self, event: Event) -> str:
        """Return the key of the family that a changed record (ARM's, or an agent's report) belongs to, or ""."""
        if event.record.key.startswith("/"):
            return family(event.record.key)
        _, kind, cluster, name = event.record.key.split("/", 3)
        goal = fabric.get_goal(self._sandbox.store, kind, cluster, name)
        return family(goal.resource_id.lower()) if goal else ""

    def _refresh(self, changed: Iterable[str]) -> None:
        families = self._filled()
        for key in filter(None, changed):
            found = list(self._read(key))
            if found:
                families[key] = found
            else:
                families.pop(key, None)
        self._by_table.clear()

    def _read(self, key: str) -> Iterable[Entry]:
        """Yield the rows of a family as ARM stores it now."""
        store = self._sandbox.store
        first = records.get(store, key)
        members = [first] if first else []
        if _FAMILY.match(key):
            members += records.under(store, key)
        for resource in members:
            kind = self._types(resource.type)
            if resource.type in tables.TABLES or (kind.tracked and resource.id.parent.key == resource.id.scope.key):
                yield self._entry(resource, kind)

    def _entry(self, resource: Resource, kind: ResourceType) -> Entry:
        stable = next((version for version in kind.api_versions if "preview" not in version), kind.api_versions[0])
        request = Request(
            sandbox=self._sandbox,
            method="LIST",
            id=resource.id.parent,
            type=kind,
            api_version=stable,
            caller=_NOBODY,
            query={},
            headers={},
            body={},
            namespace=resource.id.namespace,
        )
        document = kind.show(request, resource) if kind.show else resource.document
        return tables.entry(document, resource.id, self._sandbox.tenant_id, stable)


async def _collect(watch: Watch, queue: asyncio.Queue[str], family_of: Callable[[Event], str]) -> None:
    async for event in watch:
        queue.put_nowait(family_of(event))


_FAMILY = re.compile(r".*?/providers/[^/]+\.[^/]+/[^/]+/[^/]+")


def family(key: str) -> str:
    """Return the key of a resource's family: of itself, or of the resource in which it is nested or which it extends.

    `.../providers/{namespace}/{type}/{name}`.
    """
    match = _FAMILY.match(key)
    return match[0] if match else key
