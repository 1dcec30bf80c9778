"""Version constraints: the cases that Masterminds/semver documents and tests."""

from __future__ import annotations

import pytest

from azuresandbox.machine.images.flux.source.semver import Constraint, ConstraintError, parse


@pytest.mark.parametrize(
    ("constraint", "version", "allowed"),
    [
        ("*", "1.2.3", True),
        ("*", "1.2.3-beta", False),
        ("1.x", "1.9.9", True),
        ("1.x", "2.0.0", False),
        ("1.2", "1.2.7", True),
        ("1.2", "1.3.0", False),
        ("1", "1.3.0", True),
        ("=1.2.3", "1.2.3", True),
        ("1.2.3", "v1.2.3", True),
        (">=1.0.0-alpha", "1.0.0-beta", True),
        (">=1.0.0", "1.1.0-beta", False),
        (">=1.0.0-0", "1.1.0-beta", True),
        ("~1.2.3", "1.2.9", True),
        ("~1.2.3", "1.3.0", False),
        ("~1", "1.9.0", True),
        ("~1.2", "1.3.0", False),
        ("^1.2.3", "1.9.0", True),
        ("^1.2.3", "2.0.0", False),
        ("^0.2.3", "0.2.9", True),
        ("^0.2.3", "0.3.0", False),
        ("^0.0.3", "0.0.3", True),
        ("^0.0.3", "0.0.4", False),
        ("^0.0", "0.0.9", True),
        ("^0.0", "0.1.0", False),
        ("^0", "0.9.0", True),
        ("1.2 - 1.4.5", "1.4.5", True),
        ("1.2 - 1.4.5", "1.4.6", False),
        ("1.2 - 1.4", "1.4.9", True),
        (">=1.2, <2", "1.9.0", True),
        (">=1.2 <2", "2.0.0", False),
        (">=1.2 <2 || >=3", "3.1.0", True),
        (">=1.2 <2 || >=3", "2.1.0", False),
        (">1", "1.2.0", False),
        (">1", "2.0.0", True),
        (">1.2", "1.2.9", False),
        (">1.2", "1.3.0", True),
        ("<=1.2", "1.2.9", True),
        ("<=1", "1.9.0", True),
        ("<=1", "2.0.0", False),
        ("!=1.2.3", "1.2.4", True),
        ("!=1.2.x", "1.2.4", False),
        ("!=1.2.x", "1.3.0", True),
        ("<1.0.0-beta.2", "1.0.0-beta.1", True),
        ("<1.0.0-beta.10", "1.0.0-beta.9", True),
        ("0.0.6-fleetdemo", "0.0.6-fleetdemo", True),
    ],
)
def test_constraints(constraint: str, version: str, allowed: bool) -> None:
    found = parse(version)
    assert found is not None
    assert Constraint(constraint).allows(found) is allowed


@pytest.mark.parametrize("text", ["", "x.y", "abc", ">=", "1.2.3.4", ">= 1 foo"])
def test_invalid_constraints_are_refused(text: str) -> None:
    with pytest.raises(ConstraintError, match="improper constraint"):
        Constraint(text)


@pytest.mark.parametrize("text", ["1.2", "1.2.3.4", "01.2.3", "latest", "1.2.3_1", ""])
def test_only_complete_versions_are_versions(text: str) -> None:
    assert parse(text) is None


def test_the_highest_is_chosen() -> None:
    versions = [found for text in ("1.2.3", "v1.10.0", "1.9.9", "1.11.0-rc.1") if (found := parse(text))]
    highest = Constraint(">=1").highest(versions)
    assert highest is not None
    assert highest.original == "v1.10.0"
