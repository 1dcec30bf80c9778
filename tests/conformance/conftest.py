"""Both servers, started once for the session; without the real server's binaries the tests are skipped."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.conformance import servers
from tests.conformance.comparing import Pair
from tests.conformance.definitions import DEFINITIONS, define


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    if not servers.BUILT:
        pytest.skip(servers.NOT_BUILT)
    folder = tmp_path_factory.mktemp("servers")
    with ExitStack() as stack:
        real = stack.enter_context(servers.real(folder / "real"))
        ours = stack.enter_context(servers.sandbox(folder / "sandbox"))
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda server: define(server, DEFINITIONS), (real, ours)))
        yield Pair(real, ours)
