"""The files of a build, held in memory, found as kustomize finds them."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from azuresandbox.machine.kustomize.errors import KustomizeError
from azuresandbox.machine.kustomize.fields import FILE_NAMES

Read = Callable[[str], bytes]
"""Returns a file by its path relative to the kustomization. Raises `KustomizeError`."""


@dataclass
class Source:
    """`root`: path -> content; `top`: the name of the root in messages."""

    root: Mapping[str, bytes]
    top: str
    _folders: frozenset[str] = field(default=frozenset())

    def __post_init__(self) -> None:
        folders = {""}
        for path in self.root:
            parts = path.split("/")[:-1]
            folders.update("/".join(parts[: depth + 1]) for depth in range(len(parts)))
        self._folders = frozenset(folders)

    def resolve(self, folder: str, path: str) -> str:
        """Return the normal form of `path` as seen from `folder`, without a leading slash. Raises `KustomizeError`."""
        joined = posixpath.normpath(posixpath.join("/" + folder, path))
        if posixpath.normpath(posixpath.join("./", folder, path)).startswith("../"):
            raise KustomizeError(f"file '{path}' is not in or below '{self.top}'")
        return joined.lstrip("/")

    def folder(self, path: str, base: str = "") -> str:
        """Return the normal form of a folder's path. Raises `KustomizeError` if it does not exist."""
        folder = self.resolve(base, path.lstrip("/") if not base else path)
        if folder in self.root:
            raise KustomizeError(f"must build at directory: '{self.name(folder)}': file is not directory")
        if folder not in self._folders:
            steps = folder.split("/")
            parts = ["/".join(steps[: depth + 1]) for depth in range(len(steps))]
            missing = next(part for part in parts if part not in self._folders)
            raise KustomizeError(
                f"must build at directory: not a valid directory: evalsymlink failure on '{self.name(folder)}' : "
                f"lstat {self.name(missing)}: no such file or directory"
            )
        return folder

    def name(self, path: str) -> str:
        """Return a path as messages print it."""
        return posixpath.join(self.top, path) if path else self.top

    def read(self, folder: str, path: str) -> bytes:
        """Return a file's content. Raises `KustomizeError`."""
        resolved = self.resolve(folder, path)
        if resolved in self.root:
            return self.root[resolved]
        if resolved in self._folders:
            raise KustomizeError(f"read {self.name(resolved)}: is a directory")
        raise KustomizeError(f"open {self.name(resolved)}: no such file or directory")

    def kustomization_file(self, folder: str) -> str | None:
        """Return the path of a folder's kustomization file, or `None`. Raises `KustomizeError` if there are several."""
        found = [path for name in FILE_NAMES if (path := posixpath.join(folder, name)) in self.root]
        if len(found) > 1:
            raise KustomizeError(f"Found multiple kustomization files: {' '.join(self.name(path) for path in found)}")
        return found[0] if found else None
