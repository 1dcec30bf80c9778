"""The store against a model: revisions, compare-and-swap, lists as of earlier revisions, watches, and kill -9."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azuresandbox.store import Compacted, Conflict, Event, Store
from tests.processes import started

KEYS = st.sampled_from(["/a/1", "/a/2", "/b/1", "/b/1/x", "/é"])
WRITES = st.lists(st.tuples(st.sampled_from(["put", "delete"]), KEYS, st.binary(max_size=4)), max_size=30)


@given(WRITES)
@settings(max_examples=60, deadline=None)
def test_lists_as_of_a_revision_do_not_change_later(writes: list[tuple[str, str, bytes]]) -> None:
    store, model, states = Store(), dict[str, bytes](), [dict[str, bytes]()]
    for verb, key, value in writes:
        before = store.revision("p")
        if verb == "put":
            model[key] = value
            store.put("p", key, value)
        elif store.delete("p", key) is not None:
            del model[key]
        if store.revision("p") > before:
            states.append(dict(model))
    for revision, state in enumerate(states):
        page = store.list("p", at=revision)
        assert {record.key: record.value for record in page.records} == state
        assert page.revision == revision
    store.close()


@given(WRITES, st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_pages_put_together_are_the_list(writes: list[tuple[str, str, bytes]], limit: int) -> None:
    store = Store()
    for verb, key, value in writes:
        store.put("p", key, value) if verb == "put" else store.delete("p", key)
    found, after = [], ""
    while True:
        page = store.list("p", "/", after=after, limit=limit)
        found += page.records
        if not page.remaining:
            break
        after = page.records[-1].key
    assert found == store.list("p", "/").records
    store.close()


@given(WRITES, st.integers(0, 30))
@settings(max_examples=40, deadline=None)
def test_a_watch_from_any_revision_sees_all_that_follows(writes: list[tuple[str, str, bytes]], start: int) -> None:
    store = Store()
    live = store.watch("p", "/a/")
    for verb, key, value in writes:
        store.put("p", key, value) if verb == "put" else store.delete("p", key)
    since = min(start, store.revision("p"))
    late = store.watch("p", "/a/", since=since).pending()
    assert late == [event for event in live.pending() if event.record.revision > since]
    store.close()


def test_compare_and_swap() -> None:
    store = Store()
    first = store.put("p", "k", b"1", expected=0)
    with pytest.raises(Conflict):
        store.put("p", "k", b"2", expected=0)
    with pytest.raises(Conflict):
        store.put("p", "k", b"2", expected=first.revision + 1)
    second = store.put("p", "k", lambda revision: str(revision).encode(), expected=first.revision)
    assert (second.value, second.created) == (b"2", 1)
    with pytest.raises(Conflict):
        store.delete("p", "k", expected=first.revision)
    assert store.delete("p", "missing") is None


def test_a_failed_transaction_writes_and_publishes_no_change() -> None:
    store = Store()
    store.put("p", "kept", b"1")
    watch = store.watch("p")
    with pytest.raises(RuntimeError), store.transaction():
        store.put("p", "lost", b"1")
        store.delete("p", "kept")
        raise RuntimeError
    assert [record.key for record in store.list("p").records] == ["kept"]
    assert (watch.pending(), store.revision("p")) == ([], 1)
    assert store.put("p", "next", b"1").revision == 2


def test_too_old_a_revision_is_refused() -> None:
    store = Store()
    for number in range(10):
        store.put("p", "k", str(number).encode())
    store.compact("p", 6)
    assert [event.record.revision for event in store.watch("p", since=5).pending()] == [6, 7, 8, 9, 10]
    with pytest.raises(Compacted) as error:
        store.watch("p", since=3)
    assert error.value.oldest == 6
    with pytest.raises(Compacted):
        store.list("p", at=3)


def test_history_is_bounded() -> None:
    store = Store(history=1000)
    for number in range(5000):
        store.put("p", "k", str(number).encode())
    with pytest.raises(Compacted):
        store.watch("p", since=1)
    assert len(store.watch("p", since=4500).pending()) == 500


async def test_watches_end_when_closed() -> None:
    store = Store()
    watch = store.watch("p")

    async def read() -> list[Event]:
        return [event async for event in watch]

    task = asyncio.create_task(read())
    store.put("p", "k", b"1")
    await asyncio.sleep(0)
    store.drop("p")
    assert len(await task) == 1


WRITER = """
import sys
from pathlib import Path
from azuresandbox.store import Store
store = Store(Path(sys.argv[1]))
while True:
    record = store.put("p", "/n", lambda revision: str(revision).encode())
    print(record.revision, flush=True)
"""


def test_acknowledged_writes_survive_kill_9(tmp_path: Path) -> None:
    """Acknowledged writes are kept and revisions never decrease, over five kills after different numbers of writes."""
    path, acknowledged = tmp_path / "store.db", 0
    for count in (1, 7, 40, 200, 500):
        with started([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(count):
                acknowledged = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
        store = Store(path)
        assert store.revision("p") >= acknowledged
        record = store.get("p", "/n")
        assert record is not None
        assert int(record.value) == record.revision == store.revision("p")
        store.close()


def test_the_file_is_private(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.db")
    store.put("p", "k", b"secret")
    assert {oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()} == {"0o600"}
    store.close()
