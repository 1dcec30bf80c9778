"""No secret is committed, now or in the history."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECRET = rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\n[ +]*[\w+/=]{40}|eyJ[\w-]{30,}\.eyJ[\w-]{30,}\.[\w-]{30,}"
"""A PEM key with its content (in a file or in a diff), or a signed token."""


def _committed() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False, timeout=300)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name.decode() for name in listed.stdout.split(b"\0") if name]


def test_no_secret_is_committed() -> None:
    found = [path for path in _committed() if path.is_file() and re.search(SECRET, path.read_bytes())]
    assert not found


def test_no_secret_was_ever_committed() -> None:
    """Search the whole history: a removed secret is still in every clone."""
    assert re.search(SECRET, b"+-----BEGIN PRIVATE KEY-----\n+" + b"A" * 64), "a key in a diff is found"
    command = ["git", "log", "--all", "--patch", "--no-color", "--format=commit %H"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, timeout=300)
    if done.returncode:
        pytest.skip("not a git checkout")
    found = re.search(SECRET, done.stdout)
    assert found is None, done.stdout[: found.start()].rpartition(b"\ncommit ")[2][:40]
