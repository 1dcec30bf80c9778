"""The public names of the package: documented, and imported only when they are used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import fleetlib


@pytest.mark.parametrize("name", fleetlib.__all__)
def test_a_public_name_can_be_imported_and_has_a_docstring(name: str) -> None:
    found = getattr(fleetlib, name)
    assert found.__doc__ and found.__module__.startswith("fleetlib.")


def test_an_unknown_name_is_an_attribute_error() -> None:
    name = "Flet"
    with pytest.raises(AttributeError, match="has no attribute 'Flet'"):
        getattr(fleetlib, name)


def test_importing_the_package_imports_none_of_its_modules() -> None:
    code = "import sys, fleetlib; print([name for name in sys.modules if name.startswith(('fleetlib.', 'pandas', 'azure.'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
