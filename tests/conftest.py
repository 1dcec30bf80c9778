"""Fixtures that several folders of tests share, and the way `async def` tests are run."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator

import pytest

from azuresandbox import lifecycle


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an `async def` test in an event loop of its own; leave the others to pytest."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    asyncio.run(pyfuncitem.obj(**wanted))
    return True


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lifecycle.Endpoint]:
    """Start a whole sandbox in a process of its own, once for the session. Tests must not depend on each other's names."""
    state = tmp_path_factory.mktemp("sandbox")
    yield lifecycle.up(state)
    lifecycle.down(state)
