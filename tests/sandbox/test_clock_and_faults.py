"""Virtual time moves only by `advance`; faults strike where and as often as they were armed."""

from __future__ import annotations

import asyncio

import pytest

from azuresandbox.clock import ScaledClock, VirtualClock
from azuresandbox.faults import Faults, UnknownFault
from azuresandbox.store import Store


async def test_sleepers_wake_in_order_of_time() -> None:
    clock, woken = VirtualClock(), list[tuple[str, float]]()
    start = clock.now()

    async def sleeper(name: str, *delays: float) -> None:
        for delay in delays:
            await clock.wait(delay)
            woken.append((name, (clock.now() - start).total_seconds()))

    tasks = [
        asyncio.create_task(sleeper("a", 10, 10)),
        asyncio.create_task(sleeper("b", 15)),
        asyncio.create_task(sleeper("c", 90)),
    ]
    await clock.advance(60)
    tasks[2].cancel()
    assert woken == [("a", 10), ("b", 15), ("a", 20)]


def test_unknown_modes_are_refused() -> None:
    with pytest.raises(ValueError, match="choose one of instant, demo, realistic"):
        ScaledClock("fast")


def test_faults_are_used_up_and_survive_restarts() -> None:
    store = Store()
    Faults(store).arm("throttled", "/subscriptions/*/managedClusters/prod-*", times=2)
    faults = Faults(store)
    assert faults.take("throttled", "/subscriptions/1/managedclusters/staging-0") is None
    assert faults.take("server-error", "/subscriptions/1/managedclusters/prod-0") is None
    assert faults.take("throttled", "/subscriptions/1/managedclusters/prod-0") is not None
    assert Faults(store).armed()[0].times == 1
    assert faults.take("throttled", "/subscriptions/1/managedclusters/PROD-1") is not None
    assert faults.take("throttled", "/subscriptions/1/managedclusters/prod-0") is None
    assert Faults(store).armed() == []


def test_a_fault_without_a_limit_strikes_until_disarmed() -> None:
    faults = Faults(Store())
    faults.arm("git-unreachable", times=-1)
    assert all(faults.take("git-unreachable", "x") for _ in range(5))
    assert faults.disarm("git-unreachable") == 1
    assert faults.take("git-unreachable", "x") is None


def test_a_fault_that_never_strikes_is_refused() -> None:
    with pytest.raises(ValueError, match="strikes once or more, or until it is disarmed"):
        Faults(Store()).arm("throttled", times=0)


def test_unknown_faults_are_refused_by_name() -> None:
    with pytest.raises(UnknownFault, match="no fault is named 'meteor'"):
        Faults(Store()).arm("meteor")
