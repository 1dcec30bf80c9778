"""One world for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.arm_aks import azure_world


@pytest.fixture
def azure(tmp_path: Path) -> Iterator[azure_world.Azure]:
    with azure_world.azure(tmp_path) as world:
        yield world
