"""The sandbox's storage: bytes under (partition, key) in one SQLite file, with revisions, compare-and-swap and watches.

The contract is narrow, after etcd's: every write has a revision of its partition, watches start from a revision, and a write
survives `kill -9` once the call has returned (WAL, whose pages the kernel keeps). All calls are synchronous and made on the
event loop's thread: a read costs tens of microseconds, less than handing it to another thread.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

Value = bytes | Callable[[int], bytes]
"""A value to store. A function is given the revision that the write will have, for values that carry it."""

HISTORY = 20_000
"""Revisions that the watchers of a partition may lag behind before they have to list again."""

_PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", "temp_store=MEMORY", "cache_size=-16000", "wal_autocheckpoint=8000")
"""A checkpoint waits for the disk: every 32 MB instead of every 4 saves an eighth of a busy write's time."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS partitions (name TEXT PRIMARY KEY, revision INTEGER NOT NULL, oldest INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records (partition TEXT NOT NULL, key TEXT NOT NULL, revision INTEGER NOT NULL,
    created INTEGER NOT NULL, value BLOB NOT NULL, PRIMARY KEY (partition, key));
CREATE TABLE IF NOT EXISTS events (partition TEXT NOT NULL, revision INTEGER NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL,
    created INTEGER NOT NULL, value BLOB NOT NULL, previous BLOB, previous_revision INTEGER, PRIMARY KEY (partition, revision));
"""


class StoreError(Exception):
    """A store call failed."""


class Conflict(StoreError):
    """The record is not at the expected revision. `actual` is the stored record, or `None`."""

    def __init__(self, partition: str, key: str, expected: int, actual: Record | None) -> None:
        found = f"revision {actual.revision}" if actual else "nothing"
        super().__init__(f"{partition} {key}: expected revision {expected}, found {found}")
        self.actual = actual


class Compacted(StoreError):
    """The requested revision is no longer in the history. `oldest` is the oldest one that is."""

    def __init__(self, partition: str, revision: int, oldest: int) -> None:
        super().__init__(f"{partition}: revision {revision} has been compacted, the oldest is {oldest}")
        self.revision = revision
        self.oldest = oldest


@dataclass(frozen=True, slots=True)
class Record:
    """One stored value. `created` is the revision of the write that created it, `revision` that of the last write."""

    key: str
    value: bytes
    revision: int
    created: int


Records = list[Record]


@dataclass(frozen=True, slots=True)
class Event:
    """A change. `kind` is ADDED, MODIFIED or DELETED; a deletion's `record` is the last state, at the deletion's revision."""

    kind: str
    record: Record
    previous: Record | None


Events = list[Event]


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list at `revision`; `remaining` records follow the last one."""

    records: list[Record]
    revision: int
    remaining: int


class Watch:
    """Events of one partition under a prefix, in order. Iterate asynchronously; `close()` ends the iteration."""

    def __init__(self, store: Store, partition: str, prefix: str, backlog: Events) -> None:
        self._store = store
        self.partition = partition
        self.prefix = prefix
        self._queue: deque[Event] = deque(backlog)
        self._wake: asyncio.Future[None] | None = None
        self._closed = False

    def _offer(self, event: Event) -> None:
        self._queue.append(event)
        self._signal()

    def _signal(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def close(self) -> None:
        self._closed = True
        self._store._unwatch(self)
        self._signal()

    def pending(self) -> list[Event]:
        """Return and remove the events that have arrived, without waiting."""
        events = list(self._queue)
        self._queue.clear()
        return events

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Event:
        while not self._queue:
            if self._closed:
                raise StopAsyncIteration
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        return self._queue.popleft()


class Store:
    """A store (see the module). One instance a process; `path` may be ":memory:"."""

    def __init__(self, path: Path | str = ":memory:", *, history: int = HISTORY) -> None:
        if isinstance(path, Path):
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            path.chmod(0o600)
        self._history = history
        self._watches: dict[str, list[Watch]] = {}
        self._depth = 0
        self._pending: list[tuple[str, Event]] = []
        self._revisions: dict[str, int] = {}
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)
        weakref.finalize(self, self._db.close)  # a store that is dropped closes its connection
        for pragma in _PRAGMAS:
            self._db.execute(f"PRAGMA {pragma}")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        for watches in list(self._watches.values()):
            for watch in list(watches):
                watch.close()
        self._db.close()

    # --- reading -----------------------------------------------------------------------------------------------------

    def revision(self, partition: str) -> int:
        """Return the revision of the last write to the partition; 0 before the first write."""
        known = self._revisions.get(partition)
        if known is None:
            row = self._db.execute("SELECT revision FROM partitions WHERE name=?", (partition,)).fetchone()
            known = self._revisions[partition] = row[0] if row else 0
        return known

    def partitions(self, prefix: str = "") -> list[str]:
        rows = self._db.execute("SELECT name FROM partitions WHERE name>=? AND name<? ORDER BY name", _range(prefix))
        return [name for (name,) in rows]

    def get(self, partition: str, key: str) -> Record | None:
        row = self._db.execute(
            "SELECT value, revision, created FROM records WHERE partition=? AND key=?", (partition, key)
        ).fetchone()
        return Record(key, *row) if row else None

    def count(self, partition: str, prefix: str = "") -> int:
        row = self._db.execute(
            "SELECT count(*) FROM records WHERE partition=? AND key>=? AND key<?", (partition, *_range(prefix))
        ).fetchone()
        return int(row[0])

    def list(
        self, partition: str, prefix: str = "", *, after: str = "", limit: int | None = None, at: int | None = None
    ) -> Page:
        """Return the records under `prefix`, by key, only those behind `after`. `at` reads as of an earlier revision."""
        current = self.revision(partition)
        if at is not None and at < current:
            return self._list_at(partition, prefix, after, limit, at)
        low, high = _range(prefix)
        sql = "SELECT key, value, revision, created FROM records WHERE partition=? AND key>=? AND key>? AND key<? ORDER BY key"
        rows = self._db.execute(f"{sql} LIMIT ?", (partition, low, after, high, -1 if limit is None else limit))
        records = [Record(*row) for row in rows]
        return Page(records, current, self._remaining(partition, prefix, records, limit))

    def _remaining(self, partition: str, prefix: str, records: Records, limit: int | None) -> int:
        if limit is None or len(records) < limit or not records:
            return 0
        row = self._db.execute(
            "SELECT count(*) FROM records WHERE partition=? AND key>? AND key<?",
            (partition, records[-1].key, _range(prefix)[1]),
        ).fetchone()
        return int(row[0])

    def _list_at(self, partition: str, prefix: str, after: str, limit: int | None, at: int) -> Page:
        self._check_history(partition, at)
        records = {record.key: record for record in self.list(partition, prefix).records}
        low, high = _range(prefix)
        undo = self._db.execute(
            "SELECT key, previous, previous_revision, created, kind FROM events "
            "WHERE partition=? AND revision>? AND key>=? AND key<? ORDER BY revision DESC",
            (partition, at, low, high),
        )
        for key, previous, previous_revision, created, kind in undo:
            if kind == "ADDED":
                records.pop(key, None)
            else:
                records[key] = Record(key, previous, previous_revision, created)
        rest = [records[key] for key in sorted(records) if key > after]
        page = rest if limit is None else rest[:limit]
        return Page(page, at, len(rest) - len(page))

    # --- writing -----------------------------------------------------------------------------------------------------

    def put(self, partition: str, key: str, value: Value, *, expected: int | None = None) -> Record:
        """Write a value and return its record.

        `expected` is the revision that the record must have: 0 for a new key, `None` for any. Raises `Conflict` otherwise.
        """
        with self.transaction():
            previous = self._expect(partition, key, expected)
            revision = self._advance(partition)
            data = value if isinstance(value, bytes) else value(revision)
            record = Record(key, data, revision, previous.created if previous else revision)
            self._db.execute(
                "INSERT OR REPLACE INTO records (partition, key, revision, created, value) VALUES (?,?,?,?,?)",
                (partition, key, revision, record.created, data),
            )
            self._log(partition, Event("MODIFIED" if previous else "ADDED", record, previous))
        return record

    def delete(self, partition: str, key: str, *, expected: int | None = None, value: Value | None = None) -> Record | None:
        """Delete a record and return it as watchers see it (with `value`, if given); `None` if it does not exist."""
        with self.transaction():
            previous = self._expect(partition, key, expected)
            if previous is None:
                return None
            revision = self._advance(partition)
            last = previous.value if value is None else value if isinstance(value, bytes) else value(revision)
            record = Record(key, last, revision, previous.created)
            self._db.execute("DELETE FROM records WHERE partition=? AND key=?", (partition, key))
            self._log(partition, Event("DELETED", record, previous))
        return record

    def drop(self, partition: str) -> None:
        """Delete a partition with its history. Its watches end."""
        for watch in list(self._watches.get(partition, ())):
            watch.close()
        with self.transaction():
            for table in ("records", "events"):
                self._db.execute(f"DELETE FROM {table} WHERE partition=?", (partition,))
            self._db.execute("DELETE FROM partitions WHERE name=?", (partition,))
        self._revisions.pop(partition, None)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all writes inside durable and visible to watches together, or discard them all. The block must not await."""
        if self._depth:
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
            return
        self._db.execute("BEGIN IMMEDIATE")
        self._depth = 1
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            self._pending.clear()
            self._revisions.clear()
            raise
        finally:
            self._depth = 0
        self._publish()

    def _expect(self, partition: str, key: str, expected: int | None) -> Record | None:
        previous = self.get(partition, key)
        if expected is not None and expected != (previous.revision if previous else 0):
            raise Conflict(partition, key, expected, previous)
        return previous

    def _advance(self, partition: str) -> int:
        revision = self.revision(partition) + 1
        self._db.execute(
            "INSERT INTO partitions (name, revision, oldest) VALUES (?,?,0) ON CONFLICT(name) DO UPDATE SET revision=?",
            (partition, revision, revision),
        )
        self._revisions[partition] = revision
        return revision

    def _log(self, partition: str, event: Event) -> None:
        record, previous = event.record, event.previous
        self._db.execute(
            "INSERT INTO events (partition, revision, kind, key, created, value, previous, previous_revision) "
            "VALUES (?,?,?,?,?,?,?,?)",
            (
                partition,
                record.revision,
                event.kind,
                record.key,
                record.created,
                record.value,
                previous.value if previous else None,
                previous.revision if previous else None,
            ),
        )
        if record.revision % 1000 == 0 and record.revision > self._history:
            self.compact(partition, record.revision - self._history)
        self._pending.append((partition, event))

    def compact(self, partition: str, oldest: int) -> None:
        """Delete the history before revision `oldest`: watches and lists from before it raise `Compacted`."""
        with self.transaction():
            self._db.execute("DELETE FROM events WHERE partition=? AND revision<?", (partition, oldest))
            self._db.execute("UPDATE partitions SET oldest=? WHERE name=? AND oldest<?", (oldest, partition, oldest))

    # --- watching ----------------------------------------------------------------------------------------------------

    def watch(self, partition: str, prefix: str = "", *, since: int | None = None) -> Watch:
        """Return a watch of the events after revision `since` (`None`: from now on)."""
        backlog: list[Event] = []
        if since is not None and since < self.revision(partition):
            self._check_history(partition, since)
            backlog = self._events(partition, prefix, since)
        watch = Watch(self, partition, prefix, backlog)
        self._watches.setdefault(partition, []).append(watch)
        return watch

    def _events(self, partition: str, prefix: str, since: int) -> Events:
        rows = self._db.execute(
            "SELECT kind, key, value, revision, created, previous, previous_revision FROM events "
            "WHERE partition=? AND revision>? AND key>=? AND key<? ORDER BY revision",
            (partition, since, *_range(prefix)),
        )
        return [
            Event(
                kind,
                Record(key, value, revision, created),
                None if previous is None else Record(key, previous, previous_revision, created),
            )
            for kind, key, value, revision, created, previous, previous_revision in rows
        ]

    def _check_history(self, partition: str, revision: int) -> None:
        row = self._db.execute("SELECT oldest FROM partitions WHERE name=?", (partition,)).fetchone()
        oldest = row[0] if row else 0
        if oldest and revision < oldest - 1:
            raise Compacted(partition, revision, oldest)

    def _unwatch(self, watch: Watch) -> None:
        watches = self._watches.get(watch.partition, [])
        if watch in watches:
            watches.remove(watch)

    def _publish(self) -> None:
        pending, self._pending = self._pending, []
        for partition, event in pending:
            for watch in self._watches.get(partition, ()):
                if event.record.key.startswith(watch.prefix):
                    watch._offer(event)


def _range(prefix: str) -> tuple[str, str]:
    """Return the half-open range of the keys that start with `prefix`."""
    return prefix, prefix + "\U0010ffff"
