"""Variable substitution after the build: `${var}` and the string functions of a shell, as in Flux's envsubst.

A bare `$var` is not replaced, `$${var}` becomes `${var}`. Source: fluxcd/pkg/envsubst.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping

from azuresandbox.machine.kustomize.errors import KustomizeError

NAME = re.compile(r"^[_a-zA-Z][_a-zA-Z0-9]*$")


def substitute(text: str, variables: Mapping[str, str], *, strict: bool = False) -> str:
    """Return `text` with its variables replaced. An unset one is empty, or with `strict` an error. Raises `KustomizeError`."""
    for name in variables:
        if not NAME.match(name):
            pattern = "^[_[:alpha:]][_[:alpha:][:digit:]]*$"
            raise KustomizeError(f"envsubst error: '{name}' var name is invalid, must match '{pattern}'")
    try:
        return _Parser(text, variables, strict).text()
    except _BadSubstitution as error:
        raise KustomizeError(f"envsubst error: variable substitution failed: {error}") from error


class _BadSubstitution(Exception):
    pass


class _Parser:
    def __init__(self, source: str, variables: Mapping[str, str], strict: bool) -> None:
        self.source, self.position = source, 0
        self.variables, self.strict = variables, strict

    def peek(self) -> str:
        return self.source[self.position : self.position + 1]

    def take(self, characters: str) -> str:
        if self.source.startswith(characters, self.position):
            self.position += len(characters)
            return characters
        return ""

    def text(self) -> str:
        """Return the whole text, with its escapes and expansions replaced."""
        parts: list[str] = []
        while self.position < len(self.source):
            next_dollar = self.source.find("$", self.position)
            if next_dollar < 0:
                parts.append(self.source[self.position :])
                break
            parts.append(self.source[self.position : next_dollar])
            self.position = next_dollar
            if self.take("$$"):
                parts.append("$" + (self.take("{") or ""))
            elif self.take("${"):
                parts.append(self.expansion())
            else:
                parts.append("$")
                self.position += 1
        return "".join(parts)

    def expansion(self) -> str:
        """Return the value of an expansion. The position is after `${`, and is moved after its closing brace."""
        if self.take("#"):
            name = self.name()
            self.close()
            return str(len(self.value(name).encode()))
        name = self.name()
        for operator in (":=", ":-", ":?", ":+", "="):
            if self.take(operator):
                default = self.argument("}", raw=True)
                self.close()
                return self.variables.get(name, "") or default
        for operator, function in _CASES.items():
            if self.take(operator):
                self.close()
                return function(self.value(name))
        if self.take(":"):
            return self.substring(name)
        for operator in ("##", "#", "%%", "%"):
            if self.take(operator):
                pattern = self.argument("}")
                self.close()
                return _trimmed(self.value(name), operator, pattern)
        for operator in ("//", "/#", "/%", "/"):
            if self.take(operator):
                return self.replacement(name, operator)
        if not self.take("}"):
            raise _BadSubstitution("missing closing brace")
        return self.value(name)

    def name(self) -> str:
        start = self.position
        while (character := self.peek()) and (character.isalnum() or character == "_"):
            self.position += 1
        if start == self.position:
            raise _BadSubstitution("unable to parse variable name")
        return self.source[start : self.position]

    def value(self, name: str) -> str:
        if self.strict and name not in self.variables:
            raise _BadSubstitution(f'variable not set (strict mode): "{name}"')
        return self.variables.get(name, "")

    def close(self) -> None:
        if not self.take("}"):
            raise _BadSubstitution("bad substitution")

    def argument(self, end: str, raw: bool = False, escapes: bool = False) -> str:
        """Return the text up to one of the characters `end`, with nested expansions replaced."""
        parts: list[str] = []
        while True:
            character = self.peek()
            if not character:
                raise _BadSubstitution("unable to parse substitution within function" if raw else "bad substitution")
            if character in end:
                return "".join(parts)
            if self.take("${"):
                parts.append(self.expansion())
            elif escapes and (self.take("\\/") or self.take("\\\\")):
                parts.append(self.source[self.position - 1])
            elif escapes and self.take("$$"):
                parts.append("$")
            else:
                parts.append(character)
                self.position += 1

    def substring(self, name: str) -> str:
        offset, length = self.argument(":}"), None
        if self.take(":"):
            length = self.argument("}")
        self.close()
        value = self.value(name).encode()
        try:
            start = int(offset)
            size = None if length is None else int(length)
        except ValueError:
            return value.decode()
        start = max(0, start + len(value)) if start < 0 else start
        return (value[start:] if size is None else value[start : start + max(0, size)]).decode("utf-8", "replace")

    def replacement(self, name: str, operator: str) -> str:
        old = self.argument("/}", escapes=True)
        if not self.take("/"):
            raise _BadSubstitution("bad substitution")
        new = self.argument("}", escapes=True)
        self.close()
        value = self.value(name)
        if operator == "//":
            return value.replace(old, new)
        if operator == "/#":
            return new + value[len(old) :] if value.startswith(old) else value
        if operator == "/%":
            return value[: len(value) - len(old)] + new if old and value.endswith(old) else value
        return value.replace(old, new, 1)


_CASES: dict[str, Callable[[str], str]] = {
    "^^": str.upper,
    "^": lambda value: value[:1].upper() + value[1:],
    ",,": str.lower,
    ",": lambda value: value[:1].lower() + value[1:],
}


def _trimmed(value: str, operator: str, pattern: str) -> str:
    """Remove the shortest (`#`) or longest (`##`) prefix that matches a glob, or a suffix (`%`, `%%`)."""
    lengths = range(1, len(value) + 1) if len(operator) == 1 else range(len(value), 0, -1)
    for length in lengths:
        part = value[:length] if operator[0] == "#" else value[len(value) - length :]
        if fnmatch.fnmatchcase(part, pattern):
            return value[length:] if operator[0] == "#" else value[: len(value) - length]
    return value
