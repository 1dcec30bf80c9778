"""The words of a query, and the error that names a word's place."""

from __future__ import annotations

import re
from typing import NamedTuple

DOCS = "docs/sandbox.md"


class QueryError(Exception):
    """A query that cannot be run.

    `code` and `message` are those of the answer's details; `at` is the word whose place they name.
    """

    def __init__(self, code: str, message: str, at: Token | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.at = at


class Token(NamedTuple):
    """A word of the query. `kind`: name, string, number, sign or end; `value`: a string without its quotes and escapes.

    `line` is 1-based, `column` and `offset` are 0-based.
    """

    kind: str
    text: str
    value: str
    line: int
    column: int
    offset: int


_WORDS = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
      | (?P<verbatim>@'(?:[^']|'')*'|@"(?:[^"]|"")*")
      | (?P<string>'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")
      | (?P<number>\d+(?:\.\d+)?(?![\w.]))
      | (?P<name>[A-Za-z_]\w*)
      | (?P<sign>![A-Za-z_]+~?|==|=~|!=|!~|<=|>=|<>|\.\.|[|()\[\],.=<>;*+\-/%:{}$])""",
    re.VERBOSE,
)
_ESCAPES = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "\\": "\\",
    "'": "'",
    '"': '"',
    "0": "\0",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
}


def tokenize(text: str) -> list[Token]:
    """Return the words of a query, an `end` last. Raises `QueryError` at a character that begins no word."""
    tokens: list[Token] = []
    offset, line, start = 0, 1, 0
    while offset < len(text):
        match = _WORDS.match(text, offset)
        kind = match.lastgroup if match else None
        word = match[0] if match else text[offset]
        at = Token(kind or "sign", word, word, line, offset - start, offset)
        if match is None or kind is None:
            raise unexpected(at)
        offset = match.end()
        if kind == "space":
            if "\n" in word:
                line, start = line + word.count("\n"), match.start() + word.rindex("\n") + 1
            continue
        if kind == "name" and word == "in" and text[offset : offset + 1] == "~":
            at, offset = at._replace(text="in~", value="in~"), offset + 1
        elif kind in ("string", "verbatim"):
            at = at._replace(kind="string", value=_unquoted(at))
        tokens.append(at)
    tokens.append(Token("end", "<EOF>", "", line, len(text) - start, len(text)))
    return tokens


def _unquoted(token: Token) -> str:
    if token.text.startswith("@"):
        return token.text[2:-1].replace(token.text[1] * 2, token.text[1])

    def escaped(match: re.Match[str]) -> str:
        if match[1] in _ESCAPES:
            return _ESCAPES[match[1]]
        if match[1][0] in "ux":
            return chr(int(match[1][1:], 16))
        raise unexpected(token)

    return re.sub(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)", escaped, token.text[1:-1])


def unexpected(token: Token) -> QueryError:
    return QueryError("ParserFailure", "ParserFailure", token)


def refused(what: str, at: Token) -> QueryError:
    """Return the error for a feature that Azure has and the sandbox does not emulate."""
    message = f"The sandbox's Resource Graph does not emulate {what}. {DOCS} lists what it emulates."
    return QueryError("InvalidQueryLanguage", message, at)
