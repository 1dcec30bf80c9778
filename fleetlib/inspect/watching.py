"""The times to read a table again: after each change on the control plane, and at intervals, for changes that only
Azure has.
"""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event, Thread

from fleetlib.clients.session import Session
from fleetlib.errors import FleetError
from fleetlib.inspect.reading import FLUX, HUB
from fleetlib.progress import Wait

WATCHED = ("GitRepository", "Kustomization", "HelmRelease", "ManagedCluster", "FluxConfiguration")
"""The kinds through which a change travels on the control plane."""

FOREVER = 10.0**9
SETTLE = 0.5
"""Seconds without a change after which a series of changes counts as finished: a commit changes many objects."""


def ticks(session: Session, interval: float) -> Iterator[None]:
    """Yield now, then after each change on the control plane, and at the latest every `interval` seconds."""
    changed = Event()
    yield
    for kind in WATCHED:
        Thread(target=_follow, args=(session, kind, interval, changed), daemon=True, name=f"watch-{kind}").start()
    while True:
        if changed.wait(interval):
            while changed.is_set():
                changed.clear()
                changed.wait(SETTLE)
        yield


def _follow(session: Session, kind: str, interval: float, changed: Event) -> None:
    """Set `changed` when an object of the kind changes. While the control plane cannot be read, only the interval counts."""
    versions: dict[tuple[str, str], str] | None = None
    pause = Event()  # never set: its wait is a sleep
    while True:
        try:
            wait = Wait(kind, FOREVER)
            wait.heartbeat = max(interval, 30.0)
            for objects in session.hub.changes({**HUB, **FLUX}[kind][0], kind, wait):
                seen = {key: obj["metadata"]["resourceVersion"] for key, obj in objects.items()}
                if versions is not None and seen != versions:
                    changed.set()
                versions = seen
        except FleetError:
            pause.wait(interval)
