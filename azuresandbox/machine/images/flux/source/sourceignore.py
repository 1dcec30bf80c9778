"""Chooses the files of an artifact by `.sourceignore` and `spec.ignore`, in the notation of gitignore. Pure.

The rules are those of fluxcd/pkg/sourceignore: the last pattern that matches a path, or a folder above it, decides. Unlike
in Git, a pattern can include a file again below an excluded folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

VCS = (".git/", ".gitignore", ".gitmodules", ".gitattributes")
DEFAULTS = (
    "*.jpg",
    "*.jpeg",
    "*.gif",
    "*.png",
    "*.wmv",
    "*.flv",
    "*.tar.gz",
    "*.zip",
    ".github/",
    ".circleci/",
    ".travis.yml",
    ".gitlab-ci.yml",
    "appveyor.yml",
    ".drone.yml",
    "cloudbuild.yaml",
    "codeship-services.yml",
    "codeship-steps.yml",
    "**/.goreleaser.yml",
    "**/.sops.yaml",
    "**/.flux.yaml",
)
FILE = ".sourceignore"


@dataclass(frozen=True, slots=True)
class _Pattern:
    domain: tuple[str, ...]
    segments: tuple[str, ...]
    anchored: bool
    folder_only: bool
    excludes: bool

    def matches(self, path: tuple[str, ...]) -> bool:
        """Return whether the pattern matches the file at `path`, or a folder above it."""
        depth = len(self.domain)
        if path[:depth] != self.domain:
            return False
        inner = path[depth:]
        last = len(inner) - 1 if self.folder_only else len(inner)
        if not self.anchored:
            return any(_matches(self.segments[0], name) for name in inner[:last])
        return any(_glob(self.segments, inner[:end]) for end in range(1, last + 1))


def keep(paths: Mapping[str, bytes] | Iterable[str], ignore: str | None, contents: Mapping[str, bytes]) -> list[str]:
    """Return the paths that are not ignored. `contents` has the `.sourceignore` files, `ignore` is `spec.ignore`."""
    own = _own_patterns(contents, ignore)
    patterns = [*_parse(VCS, ()), *([] if own else _parse(DEFAULTS, ())), *own]
    return [path for path in paths if not _excluded(tuple(path.split("/")), patterns)]


def _own_patterns(contents: Mapping[str, bytes], ignore: str | None) -> list[_Pattern]:
    found: list[_Pattern] = []
    files = sorted((path for path in contents if path.split("/")[-1] == FILE), key=lambda path: path.split("/"))
    for path in sorted(files, key=lambda path: path.count("/")):
        text = contents[path].decode("utf-8", "replace")
        found += _parse(text.splitlines(), tuple(path.split("/")[:-1]))
    return found + _parse((ignore or "").splitlines(), ())


def _parse(lines: Iterable[str], domain: tuple[str, ...]) -> list[_Pattern]:
    return [_pattern(line, domain) for line in lines if line.strip() and not line.startswith("#")]


def _pattern(line: str, domain: tuple[str, ...]) -> _Pattern:
    line = line.rstrip("\r") if line.endswith("\\ ") else line.rstrip("\r ")
    excludes = not line.startswith("!")
    line = line.removeprefix("!")
    folder_only = line.endswith("/")
    line = line.removesuffix("/")
    anchored = "/" in line
    segments = tuple(line.removeprefix("/").split("/"))
    return _Pattern(domain, segments, anchored, folder_only, excludes)


def _excluded(path: tuple[str, ...], patterns: list[_Pattern]) -> bool:
    return next((pattern.excludes for pattern in reversed(patterns) if pattern.matches(path)), False)


def _glob(segments: tuple[str, ...], path: tuple[str, ...]) -> bool:
    if not segments:
        return not path
    if segments[0] == "**":
        return any(_glob(segments[1:], path[start:]) for start in range(len(path) + 1))
    return bool(path) and _matches(segments[0], path[0]) and _glob(segments[1:], path[1:])


def _matches(pattern: str, name: str) -> bool:
    return _compiled(pattern).fullmatch(name) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Translate a pattern of Go's filepath.Match for one path segment: `*`, `?`, `[...]`, `\\` escapes."""
    result, position = "", 0
    while position < len(pattern):
        character = pattern[position]
        closing = pattern.find("]", position + 2) if character == "[" else -1
        if character == "\\" and position + 1 < len(pattern):
            position += 1
            result += re.escape(pattern[position])
        elif closing > 0:
            inside = pattern[position + 1 : closing].replace("\\", "\\\\")
            result += f"[{'^' + inside[1:] if inside[0] in '^!' else inside}]"
            position = closing
        else:
            result += {"*": "[^/]*", "?": "[^/]"}.get(character, re.escape(character))
        position += 1
    return re.compile(result, re.DOTALL)


def ignores(text: str, path: str) -> bool:
    """Return whether the patterns in `text` alone exclude a path, as in a chart's `.helmignore`."""
    return _excluded(tuple(path.split("/")), _parse(text.splitlines(), ()))
