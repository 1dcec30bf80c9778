"""Label and field selectors, as text in a query string and as objects in a spec.

Source of grammar and messages: apimachinery's `labels` and `fields` packages, and `metav1.LabelSelectorAsSelector`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from azuresandbox.kubernetes.model.names import SUBDOMAIN, SUBDOMAIN_TEXT


class SelectorError(ValueError):
    """The selector cannot be parsed; the message is that of the API's 400 BadRequest."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on a label. `operator`: = == != in notin exists ! gt lt."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        if self.operator in ("=", "==", "in"):
            return value is not None and value in self.values
        if self.operator in ("!=", "notin"):
            return value is None or value not in self.values
        if self.operator == "exists":
            return value is not None
        if self.operator == "!":
            return value is None
        return self._compares(value)

    def _compares(self, value: str | None) -> bool:
        if value is None or not _INTEGER.fullmatch(value):
            return False
        bound = int(next(iter(self.values)))
        return int(value) > bound if self.operator == "gt" else int(value) < bound


@dataclass(frozen=True, slots=True)
class Selector:
    """Conditions that must all hold; without one, all labels match. `nothing`: no labels match."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        if self.nothing:
            return False
        held = labels or {}
        return all(requirement.matches(held) for requirement in self.requirements)


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    """`field` = or != `value`."""

    field: str
    operator: str
    value: str


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """Conditions on fields that must all hold; the caller checks which fields a kind supports."""

    requirements: tuple[FieldRequirement, ...] = ()

    def matches(self, fields: Mapping[str, str]) -> bool:
        """Return whether the conditions hold; a missing field counts as ""."""
        return all((fields.get(r.field, "") == r.value) == (r.operator == "=") for r in self.requirements)


_INTEGER = re.compile(r"[+-]?[0-9]+")
_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_TOKEN = re.compile(r"==|!=|[=!<>(),]|[^ \t\r\n=!<>(),]+")
_SYMBOLS = frozenset(("!=", "==", "=", "!", "<", ">", "(", ")", ","))
_BINARY = {"in": "in", "notin": "notin", "=": "=", "==": "==", "!=": "!=", ">": "gt", "<": "lt"}


def parse_label_selector(text: str) -> Selector:
    """Return the selector of `?labelSelector=`. Raises SelectorError."""
    return Selector(tuple(sorted(_Parser(text).requirements(), key=lambda requirement: requirement.key)))


class _Parser:
    """Reads comma-separated requirements from tokens; after the last one, the next token is always ""."""

    def __init__(self, text: str) -> None:
        self._tokens = _TOKEN.findall(text)
        self._at = 0

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        self._at += 1
        return token

    def requirements(self) -> list[Requirement]:
        found: list[Requirement] = []
        while (token := self._peek()) != "":
            if token in _SYMBOLS and token != "!":
                raise SelectorError(f"found '{token}', expected: !, identifier, or 'end of string'")
            try:
                found.append(self._requirement())
            except SelectorError as error:
                raise SelectorError(f"unable to parse requirement: {error}") from None
            token = self._next()
            if token == "":
                break
            if token != ",":
                raise SelectorError(f"found '{token}', expected: ',' or 'end of string'")
            following = self._peek()
            if following in _SYMBOLS - {"!"} or following == "":
                raise SelectorError(f"found '{following}', expected: identifier after ','")
        return found

    def _requirement(self) -> Requirement:
        absent = self._peek() == "!"
        if absent:
            self._next()
        key = self._next()
        if key in _SYMBOLS or key == "":
            raise SelectorError(f"found '{key}', expected: identifier")
        problem = qualified_name_problem(key)
        if problem:
            raise SelectorError(_invalid("<nil>", key, problem))
        if absent or self._peek() in ("", ","):
            return Requirement(key, "!" if absent else "exists")
        operator = self._next()
        if operator not in _BINARY:
            raise SelectorError(f"found '{operator}', expected: in, notin, =, ==, !=, gt, lt")
        values = self._set() if operator in ("in", "notin") else [self._exact()]
        return _requirement(key, _BINARY[operator], values)

    def _exact(self) -> str:
        if self._peek() in ("", ","):
            return ""
        token = self._next()
        if token in _SYMBOLS:
            raise SelectorError(f"found '{token}', expected: identifier")
        return token

    def _set(self) -> list[str]:
        token = self._next()
        if token != "(":
            raise SelectorError(f"found '{token}' expected: '('")
        token = self._peek()
        if token != "," and token != ")" and (token in _SYMBOLS or token == ""):
            raise SelectorError(f"found '{token}', expected: ',', ')' or identifier")
        values, last = set[str](), ","
        while True:
            token = self._next()
            if token in (",", ")"):
                if last == ",":
                    values.add("")
                if token == ")":
                    return sorted(values)
            elif token in _SYMBOLS or token == "" or last != ",":
                wanted = "',', or identifier" if last == "," else "',' or ')'"
                raise SelectorError(f"found '{token}', expected: {wanted}")
            else:
                values.add(token)
            last = token


def _invalid(path: str, value: str | list[str] | None, detail: str) -> str:
    return f"{path}: Invalid value: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}: {detail}"


def _requirement(key: str, operator: str, values: list[str]) -> Requirement:
    """Return a requirement; raise SelectorError with all its problems."""
    problems = []
    if found := qualified_name_problem(key):
        problems.append(_invalid("key", key, found))
    if operator in ("in", "notin") and not values:
        problems.append(_invalid("values", None, "for 'in', 'notin' operators, values set can't be empty"))
    if operator in ("exists", "!") and values:
        problems.append(_invalid("values", values, "values set must be empty for exists and does not exist"))
    if operator in ("gt", "lt") and not _INTEGER.fullmatch(values[0]):
        problems.append(_invalid("values[0]", values[0], "for 'Gt', 'Lt' operators, the value must be an integer"))
    for at, value in enumerate(values):
        if found := label_value_problem(value):
            problems.append(_invalid(f"values[{at}][{key}]", value, found))
    if problems:
        raise SelectorError(problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")
    return Requirement(key, operator, frozenset(values))


_NAME_RULE = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


def qualified_name_problem(key: str) -> str:
    """Return why `key` is not valid for a label or an annotation, with IsQualifiedName's message, or "" if it is."""
    prefix, slash, name = key.rpartition("/")
    if "/" in prefix:
        return f"a valid label key {_NAME_RULE} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
    found = []
    if slash and prefix == "":
        found.append("prefix part must be non-empty")
    elif slash:
        found += ["prefix part must be no more than 253 bytes"] if len(prefix) > 253 else []
        found += [] if SUBDOMAIN.fullmatch(prefix) else [f"prefix part {SUBDOMAIN_TEXT}"]
    if name == "":
        found.append("name part must be non-empty")
    elif len(name.encode()) > 63:
        found.append("name part must be no more than 63 bytes")
    if not _NAME.fullmatch(name):
        found.append(f"name part {_NAME_RULE}")
    return "; ".join(found)


def label_value_problem(value: str) -> str:
    """Return why `value` is not valid for a label, with IsValidLabelValue's message, or "" if it is."""
    found = ["must be no more than 63 bytes"] if len(value.encode()) > 63 else []
    return "; ".join(found if value == "" or _NAME.fullmatch(value) else [*found, _VALUE_RULE])


_EXPRESSIONS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


def label_selector(obj: Mapping[str, Any] | None) -> Selector:
    """Return the selector of a spec: `{matchLabels: {..}, matchExpressions: [{key, operator, values}]}`.

    `None` matches no labels, an empty object matches all. Raises SelectorError.
    """
    if obj is None:
        return Selector(nothing=True)
    found = [_requirement(key, "=", [value]) for key, value in (obj.get("matchLabels") or {}).items()]
    for expression in obj.get("matchExpressions") or ():
        operator = _EXPRESSIONS.get(expression.get("operator", ""))
        if operator is None:
            raise SelectorError(f'"{expression.get("operator", "")}" is not a valid label selector operator')
        found.append(_requirement(expression.get("key", ""), operator, list(expression.get("values") or ())))
    return Selector(tuple(sorted(found, key=lambda requirement: requirement.key)))


_TERM = re.compile(r"(?:\\.|[^,\\])+\\?|\\$", re.DOTALL)
_OPERATOR = re.compile("!=|==|=")


def parse_field_selector(text: str) -> FieldSelector:
    """Return the selector of `?fieldSelector=`: terms with `=`, `==` or `!=`; in values, `\\` escapes `,`, `=` and itself."""
    found = []
    for term in sorted(_TERM.findall(text)):
        operator = _OPERATOR.search(term)
        if operator is None:
            raise SelectorError(f"invalid selector: '{text}'; can't understand '{term}'")
        value = _unescaped(term[operator.end() :])
        field = term[: operator.start()]
        if field or value:  # the term "=" adds no condition
            found.append(FieldRequirement(field, "!=" if operator.group() == "!=" else "=", value))
    return FieldSelector(tuple(found))


def _unescaped(value: str) -> str:
    result, characters = "", iter(value)
    for character in characters:
        if character == "\\":
            character = next(characters, "")
            if character not in ("\\", ",", "="):
                raise SelectorError(f"invalid field selector: invalid escape sequence: \\{character}")
        elif character in ",=":
            raise SelectorError(f"invalid field selector: unescaped character in value: {ord(character)}")
        result += character
    return result
