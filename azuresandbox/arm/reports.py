"""Write goals for the data plane and wait for its reports, as long-running operations do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from azuresandbox import fabric
from azuresandbox.context import Sandbox
from azuresandbox.fabric import Goal, Report

Done = Callable[[Report], bool]


def ask(sandbox: Sandbox, goal: Goal, parts: tuple[str, ...] = ("",)) -> int:
    """Write the goal and return its revision. A goal that failed is always written, so that the data plane tries again."""
    found = [_read(sandbox, goal, part) for part in parts]
    if any(report is not None and report.state == "Failed" for report in found):
        goal.revision = 0
        return sandbox.store.put(fabric.PARTITION, goal.key, goal.dump()).revision
    return fabric.put_goal(sandbox.store, goal)


def settled(report: Report) -> bool:
    """Return whether the reporter has finished, successfully or not."""
    return report.state != "Progressing"


def observed(report: Report) -> bool:
    """Return whether the reporter has observed the goal; any report shows it."""
    return True


async def wait(
    sandbox: Sandbox, goal: Goal, revision: int, *, parts: tuple[str, ...] = ("",), done: Done = settled, patience: float
) -> Report | None:
    """Wait until every part has a report that is `done` with that revision. Return the first Failed report, or the last one.

    Returns `None` if the goal was dropped. `patience` is in seconds of the modelled system. Raises `TimeoutError` after it.
    """
    reporting = asyncio.create_task(_reported(sandbox, goal, revision, parts, done))
    waiting = asyncio.create_task(_timer(sandbox, patience))
    try:
        await asyncio.wait((reporting, waiting), return_when=asyncio.FIRST_COMPLETED)
        if reporting.done():
            return reporting.result()
        raise TimeoutError(f"no report on {goal.key} within {patience:g} s")
    finally:
        reporting.cancel()
        waiting.cancel()
        await asyncio.gather(reporting, waiting, return_exceptions=True)


async def _timer(sandbox: Sandbox, seconds: float) -> None:
    await sandbox.clock.wait(seconds)


async def _reported(sandbox: Sandbox, goal: Goal, revision: int, parts: tuple[str, ...], done: Done) -> Report | None:
    store = sandbox.store
    watch = store.watch(fabric.PARTITION)
    try:
        while True:
            if store.get(fabric.PARTITION, goal.key) is None:
                return None
            found = [_read(sandbox, goal, part) for part in parts]
            through = [report for report in found if report is not None and report.observed >= revision and done(report)]
            if len(through) == len(parts):
                return next((report for report in through if report.state == "Failed"), through[-1])
            await anext(watch)
    finally:
        watch.close()


def _read(sandbox: Sandbox, goal: Goal, part: str) -> Report | None:
    if goal.KIND == "cluster" and part == "api":
        report = fabric.get_cluster_report(sandbox.store, goal.cluster_id)
        return Report(report.observed, report.state, report.error) if report else None
    return fabric.get_report(sandbox.store, goal.KIND, goal.cluster_id, goal.name, part)
