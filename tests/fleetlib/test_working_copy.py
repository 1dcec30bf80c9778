"""fleetlib's working copy of a Git repository: after an interrupted git, the next run works or reports the true reason."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from fleetlib.clients.cloud import Cloud
from fleetlib.clients.gitops import Repository
from fleetlib.errors import FinalError

INTERRUPTED = """#!/bin/sh
# Like git after SIGKILL: the folder exists, its branches do not.
[ "$1" = clone ] || exec {git} "$@"
for target; do :; done
{git} init --quiet "$target"
exit 137
"""


def git(folder: Path, *arguments: str) -> str:
    settings = ["-c", "user.name=test", "-c", "user.email=test@localhost.invalid"]
    return subprocess.run(
        ["git", *settings, *arguments], cwd=folder, check=True, capture_output=True, text=True, timeout=300
    ).stdout.strip()


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    folder = tmp_path / "origin"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "fleet.yaml").write_text("clusterCount: 3\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "first")
    return folder


def copy_of(origin: Path, branch: str = "main") -> Repository:
    cloud = Cloud(name="any", resource_manager="https://arm", authority="https://entra", home=origin.parent / "home")
    return Repository(str(origin), branch, cloud)


def test_an_interrupted_clone_is_repeated(origin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = origin.parent / "bin" / "git"
    wrapper.parent.mkdir()
    wrapper.write_text(INTERRUPTED.format(git=shutil.which("git")))
    wrapper.chmod(0o755)
    repository = copy_of(origin)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{wrapper.parent}{os.pathsep}{os.environ['PATH']}")
        with pytest.raises(FinalError, match="git clone failed"):
            repository.sync()
    assert list(repository.folder.parent.iterdir()) == [], "no folder may pass for a working copy"
    assert repository.sync() == git(origin, "rev-parse", "HEAD")
    assert repository.read("fleet.yaml") == "clusterCount: 3\n"
    assert [path.name for path in repository.folder.parent.iterdir()] == [repository.folder.name]


def test_a_branch_that_does_not_exist_is_named(origin: Path) -> None:
    with pytest.raises(FinalError, match="does not have the branch 'next'") as error:
        copy_of(origin, "next").sync()
    assert "fleet_branch" in error.value.fix


def test_a_lock_that_a_killed_git_left_is_not_called_a_missing_branch(origin: Path) -> None:
    repository = copy_of(origin)
    repository.sync()
    lock = repository.folder / ".git" / "index.lock"
    lock.touch()
    with pytest.raises(FinalError, match=r"index\.lock': File exists") as error:
        repository.sync()
    assert "does not have the branch" not in str(error.value)
    assert f"delete {repository.folder}" in error.value.fix
    shutil.rmtree(repository.folder)
    assert repository.sync() == git(origin, "rev-parse", "HEAD")
