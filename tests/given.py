"""Give an async test a running system as its first argument."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Concatenate, TypeVar

Opened = TypeVar("Opened")
Test = Callable[Concatenate[Opened, ...], Awaitable[None]]


def given(opener: Callable[[Path], AbstractAsyncContextManager[Opened]]) -> Callable[[Test[Opened]], Callable[..., Any]]:
    """Open a system in a temporary folder for each call of the test. The test's other arguments are fixtures and parameters."""

    def decorate(test: Test[Opened]) -> Callable[..., Any]:
        async def runs(tmp_path: Path, **arguments: object) -> None:
            async with opener(tmp_path) as opened:
                await test(opened, **arguments)

        _, *others = inspect.signature(test).parameters.values()
        folder = inspect.Parameter("tmp_path", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        runs.__name__, runs.__doc__ = test.__name__, test.__doc__
        vars(runs)["__signature__"] = inspect.Signature([folder, *others])
        return runs

    return decorate
