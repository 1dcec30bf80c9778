"""Semantic versions and constraints, by the rules of github.com/Masterminds/semver/v3, which Flux and Helm use. Pure."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import total_ordering

_NUMBER = r"(?:0|[1-9]\d*)"
_EXTRA = r"(?:-(?P<pre>[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+(?P<meta>[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
_VERSION = re.compile(rf"v?(?P<major>{_NUMBER})\.(?P<minor>{_NUMBER})\.(?P<patch>{_NUMBER}){_EXTRA}")
_PARTIAL = r"v?(?P<major>\d+|[xX*])(?:\.(?P<minor>\d+|[xX*]))?(?:\.(?P<patch>\d+|[xX*]))?" + _EXTRA
_CONSTRAINT = re.compile(rf"\s*(?P<op>=|!=|>=|=>|<=|=<|>|<|~>|~|\^)?\s*(?P<version>{_PARTIAL})\s*")
_HYPHEN = re.compile(r"\s*([0-9xX*v][^\s,|]*)\s+-\s+([0-9xX*v][^\s,|]*)\s*")


@total_ordering
@dataclass(frozen=True, slots=True)
class Version:
    """A version. `original` is its text. Build metadata is ignored in comparisons."""

    major: int
    minor: int
    patch: int
    pre: str = ""
    original: str = ""

    @property
    def _key(self) -> tuple[int, int, int, tuple[object, ...]]:
        if not self.pre:
            return self.major, self.minor, self.patch, ((2,),)
        return self.major, self.minor, self.patch, tuple(_identifier(part) for part in self.pre.split("."))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self._key == other._key

    def __lt__(self, other: Version) -> bool:
        return self._key < other._key

    def __hash__(self) -> int:
        return hash(self._key)


def _identifier(text: str) -> tuple[int, int, str]:
    return (0, int(text), "") if text.isdecimal() else (1, 0, text)


def parse(text: str) -> Version | None:
    """Read a complete version, with or without a leading v (fluxcd/pkg/version). Returns `None` if it is not one."""
    match = _VERSION.fullmatch(text)
    if match is None:
        return None
    return Version(int(match["major"]), int(match["minor"]), int(match["patch"]), match["pre"] or "", text)


class ConstraintError(ValueError):
    """The text is not a constraint. The message is the library's."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """One comparison. `open_...` say which parts of the version are wildcards or missing."""

    op: str
    version: Version
    open_all: bool
    open_minor: bool
    open_patch: bool

    @property
    def open(self) -> bool:
        return self.open_all or self.open_minor or self.open_patch

    def allows(self, found: Version) -> bool:
        if found.pre and not self.version.pre and self.op != "!=":
            return False  # a pre-release matches only a constraint that has one
        return _CHECKS[self.op](self, found)


class Constraint:
    """A constraint like `>=1.0.0 <2.0.0 || ~3.1`. Raises `ConstraintError`."""

    def __init__(self, text: str) -> None:
        self._alternatives = [_rules(part) for part in text.split("||")]

    def allows(self, version: Version) -> bool:
        return any(all(rule.allows(version) for rule in rules) for rules in self._alternatives)

    def highest(self, versions: list[Version]) -> Version | None:
        """Return the highest allowed version (of equal ones the first), or `None`."""
        allowed = [version for version in versions if self.allows(version)]
        return max(allowed) if allowed else None


def _rules(text: str) -> list[_Rule]:
    text = _HYPHEN.sub(lambda match: f">={match[1]},<={match[2]}", text)
    rules, position = [], 0
    while position < len(text):
        match = _CONSTRAINT.match(text, position)
        if match is None:
            raise ConstraintError(f"improper constraint: {text}")
        rules.append(_rule(match))
        position = match.end()
        if position < len(text) and text[position] == ",":
            position += 1
    if not rules:
        raise ConstraintError(f"improper constraint: {text}")
    return rules


def _rule(match: re.Match[str]) -> _Rule:
    major, minor, patch = match["major"], match["minor"], match["patch"]
    open_all = _is_open(major)
    open_minor = not open_all and _is_open(minor)
    open_patch = not open_all and not open_minor and _is_open(patch)
    version = Version(
        0 if open_all else int(major),
        0 if open_all or open_minor else int(minor),
        0 if open_all or open_minor or open_patch else int(patch),
        match["pre"] or "",
        match["version"],
    )
    op = {"=>": ">=", "=<": "<=", "~>": "~", None: "="}.get(match["op"], match["op"])
    return _Rule(str(op), version, open_all, open_minor, open_patch)


def _is_open(part: str | None) -> bool:
    return part is None or part in "xX*"


def _equal(rule: _Rule, found: Version) -> bool:
    return _tilde(rule, found) if rule.open else found == rule.version


def _not_equal(rule: _Rule, found: Version) -> bool:
    if not rule.open:
        return found != rule.version
    if found.pre and not rule.version.pre:
        return False
    return not _tilde(rule, found)


def _greater(rule: _Rule, found: Version) -> bool:
    wanted = rule.version
    if not rule.open or found.major != wanted.major:
        return found > wanted if not rule.open else found.major > wanted.major
    if rule.open_minor or rule.open_all:
        return False
    return found.minor > wanted.minor


def _at_most(rule: _Rule, found: Version) -> bool:
    wanted = rule.version
    if not rule.open:
        return found <= wanted
    if found.major != wanted.major:
        return found.major < wanted.major
    return rule.open_minor or found.minor <= wanted.minor


def _tilde(rule: _Rule, found: Version) -> bool:
    wanted = rule.version
    if found < wanted:
        return False
    if rule.open_all or (wanted.major, wanted.minor, wanted.patch) == (0, 0, 0) and not rule.open:
        return True
    return found.major == wanted.major and (rule.open_minor or found.minor == wanted.minor)


def _caret(rule: _Rule, found: Version) -> bool:
    wanted = rule.version
    if found < wanted:
        return False
    if wanted.major > 0 or rule.open_minor:
        return found.major == wanted.major
    if found.major > 0:
        return False
    if wanted.minor > 0 or rule.open_patch:
        return found.minor == wanted.minor
    return found.minor == 0 and found.patch == wanted.patch


def _plain(compare: Callable[[Version, Version], bool]) -> Callable[[_Rule, Version], bool]:
    return lambda rule, found: compare(found, rule.version)


_CHECKS: dict[str, Callable[[_Rule, Version], bool]] = {
    "=": _equal,
    "!=": _not_equal,
    ">": _greater,
    "<": _plain(operator.lt),
    ">=": _plain(operator.ge),
    "<=": _at_most,
    "~": _tilde,
    "^": _caret,
}
