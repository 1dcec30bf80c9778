"""Label and field selectors, as text in a query string and as objects in a spec.

Pure: imports nothing of the project. Grammar and messages are those of apimachinery's `labels` and `fields` packages and
of `metav1.LabelSelectorAsSelector`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class SelectorError(ValueError):
    """The selector cannot be parsed; the text is what the API answers with 400 BadRequest."""


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
    """Conditions that must all hold. No condition matches everything; `nothing` matches nothing."""

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
    """Conditions on fields that must all hold; which fields a kind supports is up to the caller."""

    requirements: tuple[FieldRequirement, ...] = ()

    def matches(self, fields: Mapping[str, str]) -> bool:
        """Whether the conditions hold; a field that is not there counts as ""."""
        return all((fields.get(r.field, "") == r.value) == (r.operator == "=") for r in self.requirements)


_INTEGER = re.compile(r"[+-]?[0-9]+")
_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_TOKEN = re.compile(r"\s*(!=|==|[=!<>(),]|[^\s=!<>(),]+)")
_SYMBOLS = frozenset(("!=", "==", "=", "!", "<", ">", "(", ")", ","))
_OPERATORS = "in, notin, =, ==, !=, gt, lt"


def parse_label_selector(text: str) -> Selector:
    """The selector written as in `?labelSelector=`. Raises SelectorError."""
    return Selector(tuple(sorted(_Parser(text).requirements(), key=lambda requirement: requirement.key)))


class _Parser:
    """Reads comma-separated requirements from tokens; `peek` of "" means the end."""

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
        while self._peek():
            found.append(self._requirement())
            token = self._next()
            if token == "":
                break
            if token != ",":
                raise _unable(f"found '{token}', expected: ',' or 'end of string'")
            following = self._peek()
            if following in _SYMBOLS - {"!"} or following == "":
                raise _unable(f"found '{following}', expected: identifier after ','")
        return found

    def _requirement(self) -> Requirement:
        absent = self._peek() == "!"
        if absent:
            self._next()
        key = self._next()
        if key in _SYMBOLS or key == "":
            raise _unable(f"found '{key}', expected: identifier")
        _check_key(key)
        if absent or self._peek() in ("", ","):
            return Requirement(key, "!" if absent else "exists")
        operator = self._next()
        if operator in ("in", "notin"):
            return _requirement(key, operator, self._set())
        if operator in ("=", "==", "!="):
            return _requirement(key, operator, [self._exact()])
        if operator in ("<", ">"):
            return _requirement(key, "lt" if operator == "<" else "gt", [self._exact()])
        raise _unable(f"found '{operator}', expected: {_OPERATORS}")

    def _exact(self) -> str:
        if self._peek() in ("", ","):
            return ""
        token = self._next()
        if token in _SYMBOLS:
            raise _unable(f"found '{token}', expected: identifier")
        return token

    def _set(self) -> list[str]:
        token = self._next()
        if token != "(":
            raise _unable(f"found '{token}' expected: '('")
        values: list[str] = []
        expects_value = True
        while True:
            token = self._next()
            if token in (")", ","):
                if expects_value:
                    values.append("")
                if token == ")":
                    return values
                expects_value = True
            elif token == "" or token in _SYMBOLS or not expects_value:
                raise _unable(
                    f"found '{token}', expected: ',' or ')'" if values else f"found '{token}', expected: ',', ')' or identifier"
                )
            else:
                values.append(token)
                expects_value = False


def _unable(reason: str) -> SelectorError:
    return SelectorError(f"unable to parse requirement: {reason}")


def _requirement(key: str, operator: str, values: list[str], where: str = "") -> Requirement:
    for at, value in enumerate(values):
        problem = label_value_problem(value)
        if problem:
            path = where + "values" + (f"[{at}][{key}]" if not where else f"[{at}]")
            raise (
                _unable(f'{path}: Invalid value: "{value}": {problem}')
                if not where
                else SelectorError(f'{path}: Invalid value: "{value}": {problem}')
            )
    if operator in ("gt", "lt") and not _INTEGER.fullmatch(values[0]):
        raise _unable(f"values[0]: Invalid value: \"{values[0]}\": for 'Gt', 'Lt' operators, the value must be an integer")
    return Requirement(key, operator, frozenset(values))


def _check_key(key: str) -> None:
    problem = qualified_name_problem(key)
    if problem:
        raise _unable(f'key: Invalid value: "{key}": {problem}')


_NAME_RULE = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


def qualified_name_problem(key: str) -> str:
    """Why `key` cannot be a label key or an annotation key ("" if it can), as IsQualifiedName words it."""
    prefix, slash, name = key.rpartition("/")
    if "/" in prefix:
        return f"a qualified name {_NAME_RULE} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
    if slash and prefix == "":
        return "prefix part must be non-empty"
    if slash and (len(prefix) > 253 or not _SUBDOMAIN.fullmatch(prefix)):
        return f"prefix part {_SUBDOMAIN_RULE}" if len(prefix) <= 253 else "prefix part must be no more than 253 bytes"
    if name == "":
        return f"name part must be non-empty; name part {_NAME_RULE}"
    if len(name) > 63:
        return "name part must be no more than 63 bytes"
    return "" if _NAME.fullmatch(name) else f"name part {_NAME_RULE}"


def label_value_problem(value: str) -> str:
    """Why `value` cannot be a label's value ("" if it can), as IsValidLabelValue words it."""
    if len(value) > 63:
        return "must be no more than 63 bytes"
    return "" if value == "" or _NAME.fullmatch(value) else _VALUE_RULE


_EXPRESSIONS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


def label_selector(obj: Mapping[str, Any] | None) -> Selector:
    """The selector of a spec: `{matchLabels: {..}, matchExpressions: [{key, operator, values}]}`.

    None selects nothing, an empty object everything. Raises SelectorError.
    """
    if obj is None:
        return Selector(nothing=True)
    found = []
    for key, value in (obj.get("matchLabels") or {}).items():
        _check_key(key)
        found.append(_requirement(key, "in", [value]))
    for expression in obj.get("matchExpressions") or ():
        found.append(_expression(expression))
    return Selector(tuple(sorted(found, key=lambda requirement: requirement.key)))


def _expression(expression: Mapping[str, Any]) -> Requirement:
    operator = _EXPRESSIONS.get(expression.get("operator", ""))
    if operator is None:
        raise SelectorError(f'"{expression.get("operator", "")}" is not a valid label selector operator')
    key, values = expression.get("key", ""), list(expression.get("values") or ())
    _check_key(key)
    if operator in ("in", "notin") and not values:
        raise SelectorError("values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty")
    if operator in ("exists", "!") and values:
        raise SelectorError(f"values: Invalid value: {_quoted(values)}: values set must be empty for exists and does not exist")
    return _requirement(key, operator, values)


def _quoted(values: list[str]) -> str:
    return "[" + ",".join(f'"{value}"' for value in values) + "]"


def parse_field_selector(text: str) -> FieldSelector:
    """The selector written as in `?fieldSelector=`: terms `field=value`, `==` or `!=`; `\\` escapes , = and itself."""
    found = []
    for term in re.findall(r"(?:\\.|[^,\\])+", text, re.DOTALL):
        match = re.match(r"((?:\\.|[^=!\\]|!(?!=))*)(!=|==|=)(.*)", term, re.DOTALL)
        if match is None:
            raise SelectorError(f"invalid selector: '{text}'; can't understand '{term}'")
        field, operator, value = match.groups()
        found.append(FieldRequirement(field, "!=" if operator == "!=" else "=", _unescaped(value)))
    return FieldSelector(tuple(found))


def _unescaped(value: str) -> str:
    bad = re.search(r"\\(?![\\,=])|(?<!\\)(?:\\\\)*=", value)
    if bad:
        raise SelectorError(f"invalid field selector: invalid escape sequence or unescaped character in value: {value}")
    return re.sub(r"\\(.)", r"\1", value)
