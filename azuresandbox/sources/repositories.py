"""Git repositories on disk: their folders, and their creation from a folder or from another repository.

Bare repositories under `<state>/git/<host>/<path>.git`. Making one is synchronous and touches files only, so that it can run
before the server does, or in a thread.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from dulwich.objects import Blob, Commit, ObjectID, Tree
from dulwich.refs import Ref
from dulwich.repo import Repo

from azuresandbox.context import Memory

IDENTITY = b"Fleet Sandbox <fleet@sandbox.invalid>"
SEEDED_AT = 1_767_225_600
"""2026-01-01T00:00:00Z: the date of seeded commits, so that equal trees have equal commits."""

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+~-]*")
_SKIPPED = {".git", "__pycache__", ".ipynb_checkpoints", ".DS_Store"}
_CONFIG: dict[bytes, dict[bytes, bytes | bool]] = {
    b"uploadpack": {b"allowFilter": True, b"allowAnySHA1InWant": True},
    b"receive": {b"autogc": False, b"advertisePushOptions": False},
    b"gc": {b"auto": b"0"},
    b"http": {b"receivepack": True},
}


class RepositoryError(Exception):
    """A repository cannot be created or read; the text says why."""


def locate(state: Path, url: str) -> Path:
    """Return the folder of the repository behind a public URL or `<host>/<path>`. Raises `RepositoryError` for another text."""
    path = url.partition("://")[2] or url
    parts = path.strip("/").removesuffix(".git").split("/")
    if len(parts) < 2 or not all(_SEGMENT.fullmatch(part) for part in parts):
        raise RepositoryError(f"{url!r} does not name a repository: expected https://<host>/<path>")
    return state.joinpath("git", parts[0].lower(), *parts[1:-1], parts[-1] + ".git")


def create(folder: Path, branch: str = "main") -> None:
    """Create an empty bare repository whose HEAD is `branch`."""
    _make(folder, branch, lambda repo: "")


def _make(folder: Path, branch: str, fill: Callable[[Repo], str]) -> str:
    """Create a repository, filled by `fill`, and return the result of `fill`.

    A half-made repository is never visible and not kept. Returns "" if another process has created the repository meanwhile.
    """
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    making = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
    try:
        _initialise(making, branch)
        with Repo(str(making)) as repo:
            result = fill(repo)
        os.rename(making, folder)
    except OSError as error:
        shutil.rmtree(making, ignore_errors=True)
        if not folder.is_dir():  # another process may have created it
            raise RepositoryError(f"{folder}: {error}") from error
        result = ""
    return result


def _initialise(folder: Path, branch: str) -> None:
    with Repo.init_bare(str(folder)) as repo:
        repo.refs.set_symbolic_ref(Ref(b"HEAD"), Ref(b"refs/heads/" + branch.encode()))
        config = repo.get_config()
        for section, values in _CONFIG.items():
            for name, value in values.items():
                config.set((section,), name, value)
        config.write_to_path()


SEEDS = Memory[dict[Path, Callable[[], str]]](lambda sandbox: {})
"""Folder of a repository -> the function that creates it at the first request."""


def seed_repository(
    state: Path,
    url: str,
    tree: Path,
    branch: str = "main",
    message: str = "Seed the fleet",
    *,
    folders: Iterable[str] = (),
) -> str:
    """Create a repository with one commit of `tree` (only of `folders`, if named). Return the commit's id.

    The commit has a fixed author and date, so equal trees give equal ids. A repository that exists already is left unchanged:
    its
    history is its users'.
    """
    folder = locate(state, url)
    if folder.is_dir():
        with Repo(str(folder)) as existing:
            return existing.refs[Ref(b"refs/heads/" + branch.encode())].decode()
    chosen = sorted(folders) or sorted(entry.name for entry in tree.iterdir() if entry.name not in _SKIPPED)
    missing = [name for name in chosen if not (tree / name).exists()]
    if missing:
        raise RepositoryError(f"{tree} has no {', '.join(missing)}")
    return _make(folder, branch, lambda repo: _first_commit(repo, tree, chosen, branch, message))


def _first_commit(repo: Repo, tree: Path, chosen: list[str], branch: str, message: str) -> str:
    root = Tree()
    for name in chosen:
        _add(repo, root, tree / name)
    repo.object_store.add_object(root)
    commit = _commit(root.id, message)
    repo.object_store.add_object(commit)
    repo.refs[Ref(b"refs/heads/" + branch.encode())] = commit.id
    return commit.id.decode()


def _commit(tree: ObjectID, message: str) -> Commit:
    commit = Commit()
    commit.tree = tree
    commit.author = commit.committer = IDENTITY
    commit.author_time = commit.commit_time = SEEDED_AT
    commit.author_timezone = commit.commit_timezone = 0
    commit.message = message.rstrip("\n").encode() + b"\n"
    return commit


def _add(repo: Repo, parent: Tree, path: Path) -> None:
    name = path.name.encode()
    if path.is_symlink():
        blob = Blob.from_string(os.readlink(path).encode())
        repo.object_store.add_object(blob)
        parent.add(name, 0o120000, blob.id)
    elif path.is_dir():
        tree = Tree()
        for child in sorted(path.iterdir()):
            if child.name not in _SKIPPED:
                _add(repo, tree, child)
        if len(tree):
            repo.object_store.add_object(tree)
            parent.add(name, 0o040000, tree.id)
    else:
        blob = Blob.from_string(path.read_bytes())
        repo.object_store.add_object(blob)
        parent.add(name, 0o100755 if os.access(path, os.X_OK) else 0o100644, blob.id)


def copy_repository(state: Path, url: str, source: Path) -> Path:
    """Copy a local Git repository, with its branches and tags, to where `url` is served. Replaces a former copy."""
    folder = locate(state, url)
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    making = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
    try:
        _initialise(making, "main")
        _git(
            "fetch",
            "--quiet",
            "--no-write-fetch-head",
            "--update-shallow",
            str(source.resolve()),
            "+refs/heads/*:refs/heads/*",
            "+refs/tags/*:refs/tags/*",
            cwd=making,
        )
        _git("symbolic-ref", "HEAD", _default_branch(source.resolve(), making), cwd=making)
        _replace(making, folder)
    except RepositoryError as error:
        shutil.rmtree(making, ignore_errors=True)
        raise RepositoryError(f"{source} cannot be mirrored as {url}: {error}") from None
    return folder


def _default_branch(source: Path, copy: Path) -> str:
    """Return the branch that is checked out in the source; with a detached HEAD: main, master or the first one."""
    try:
        return _git("symbolic-ref", "HEAD", cwd=source).strip()
    except RepositoryError:
        branches = _git("for-each-ref", "--format=%(refname)", "refs/heads", cwd=copy).split()
        usual = [name for name in ("refs/heads/main", "refs/heads/master") if name in branches]
        return [*usual, *branches, "refs/heads/main"][0]


def settle_head(folder: Path) -> None:
    """Point HEAD to a branch that exists: the first one pushed, as Git hosts do."""
    with Repo(str(folder)) as repo:
        branches = sorted(name for name in repo.get_refs() if name.startswith(b"refs/heads/"))
        head = repo.refs.get_symrefs().get(Ref(b"HEAD"))
        if branches and head not in branches:
            repo.refs.set_symbolic_ref(Ref(b"HEAD"), branches[0])


def _replace(making: Path, folder: Path) -> None:
    if folder.is_dir():
        old = Path(tempfile.mkdtemp(prefix=".old-", dir=folder.parent))
        os.rename(folder, old / "repository")
        os.rename(making, folder)
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.rename(making, folder)


def environment() -> dict[str, str]:
    """Return the environment of the sandbox's own git processes: no user's configuration, no prompts, no other repository."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.devnull,
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
    }


def _git(*arguments: str, cwd: Path) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=cwd, env=environment(), capture_output=True, text=True, check=False)
    except OSError as error:
        raise RepositoryError(str(error)) from error
    if done.returncode:
        raise RepositoryError(done.stderr.strip() or f"git {arguments[0]} failed")
    return done.stdout
