"""Fixtures that several folders of tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from azuresandbox import lifecycle


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lifecycle.Endpoint]:
    """A whole sandbox in a process of its own, on its port, one for the session. Tests must not depend on each other's names."""
    state = tmp_path_factory.mktemp("sandbox")
    yield lifecycle.up(state)
    lifecycle.down(state)
