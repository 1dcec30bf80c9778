"""From the text of a query to its tree: recursive descent, without knowledge of tables and rows.

Features that Azure understands and the sandbox does not are refused by name, with their place in the text. Source:
"Understanding the Azure Resource Graph query language" and the Kusto reference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from azuresandbox.arm.resourcegraph.lexer import QueryError, Token, refused, tokenize, unexpected
from azuresandbox.arm.resourcegraph.syntax import (
    Among,
    Binary,
    Call,
    Count,
    Expression,
    Extend,
    Item,
    Key,
    Literal,
    Logical,
    Operator,
    Order,
    Path,
    Project,
    ProjectAway,
    Query,
    Summarize,
    Take,
    Top,
    Where,
)

COMPARISONS = frozenset(
    {
        "==",
        "!=",
        "=~",
        "!~",
        "contains",
        "!contains",
        "has",
        "!has",
        "startswith",
        "!startswith",
        "endswith",
        "!endswith",
    }
)
MEMBERSHIP = frozenset({"in", "!in", "in~", "!in~"})
FUNCTIONS = {"tostring": 1, "tolower": 1, "isempty": 1, "isnotempty": 1, "isnull": 1, "isnotnull": 1, "not": 1}
"""Function -> how many arguments it takes."""

_REFUSED_OPERATORS = """
as distinct evaluate extend-valid fork getschema graph-match invoke join let lookup make-series mv-apply mv-expand mvexpand
parse parse-where partition print project-keep project-rename project-reorder range render sample sample-distinct scan search
serialize summarize-by top-hitters top-nested union
"""
REFUSED_OPERATORS = frozenset(_REFUSED_OPERATORS.split())
"""Operators that Kusto has and the sandbox does not emulate."""

_REFUSED_COMPARISONS = """
< > <= >= <> between !between contains_cs !contains_cs has_cs !has_cs has_any has_all hasprefix !hasprefix hasprefix_cs
hassuffix !hassuffix hassuffix_cs startswith_cs !startswith_cs endswith_cs !endswith_cs matches + - * / %
"""
REFUSED_COMPARISONS = frozenset(_REFUSED_COMPARISONS.split())


def parse(text: str) -> Query:
    """Return the tree of a query. Raises `QueryError`."""
    return _Parser(tokenize(text)).query()


DEPTH = 100
"""How deep brackets may nest. Deeper ones are refused, because they could exhaust the stack."""


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0
        self._operators: dict[str, Callable[[], Operator]] = {
            "where": lambda: Where(self._expression()),
            "filter": lambda: Where(self._expression()),
            "project": lambda: Project(self._items()),
            "project-away": self._project_away,
            "extend": lambda: Extend(self._items()),
            "order": self._order,
            "sort": self._order,
            "take": lambda: Take(self._count()),
            "limit": lambda: Take(self._count()),
            "top": self._top,
            "count": Count,
            "summarize": self._summarize,
        }

    # words

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._next
        self._at += token.kind != "end"
        return token

    def _accept(self, *texts: str) -> bool:
        if self._next.kind in ("name", "sign") and self._next.text in texts:
            self._at += 1
            return True
        return False

    def _expect(self, *texts: str) -> None:
        if not self._accept(*texts):
            self._fail()

    def _fail(self) -> NoReturn:
        raise unexpected(self._next)

    # the query

    def query(self) -> Query:
        table = None
        operators: list[Operator] = []
        if self._starts_with_table():
            table = self._take()
        else:
            operators.append(self._operator())
        while self._accept("|"):
            operators.append(self._operator())
        if self._accept(";") and self._next.kind != "end":
            raise refused("more than one statement", self._next)
        if self._next.kind != "end":
            self._fail()
        return Query(table, tuple(operators))

    def _starts_with_table(self) -> bool:
        if self._next.kind != "name":
            self._fail()
        if self._next.text in REFUSED_OPERATORS:
            raise refused(f"'{self._next.text}'", self._next)
        follower = self._tokens[self._at + 1]
        return self._next.text not in self._operators or follower.text == "|"

    def _operator(self) -> Operator:
        start = self._next
        if start.kind != "name":
            self._fail()
        name = self._operator_name()
        if name in REFUSED_OPERATORS:
            raise refused(f"the operator '{name}'", start)
        if name not in self._operators:
            raise unexpected(start)
        return self._operators[name]()

    def _operator_name(self) -> str:
        """Return the name of an operator; `project-away` is three words without space between them."""
        first = self._take()
        name, end = first.text, first.offset + len(first.text)
        while self._next.text == "-" and self._next.offset == end and self._tokens[self._at + 1].kind == "name":
            self._take()
            word = self._take()
            name, end = f"{name}-{word.text}", word.offset + len(word.text)
        return name

    # operators

    def _items(self) -> tuple[Item, ...]:
        found = [self._item()]
        while self._accept(","):
            found.append(self._item())
        return tuple(found)

    def _item(self) -> Item:
        name = ""
        if self._next.kind == "name" and self._tokens[self._at + 1].text == "=":
            name = self._take().text
            self._take()
        elif self._next.text == "[" and self._tokens[self._at + 1].kind == "string" and self._tokens[self._at + 3].text == "=":
            self._take()
            name = self._take().value
            self._expect("]")
            self._take()
        return Item(name, self._expression())

    def _project_away(self) -> ProjectAway:
        found = [self._column()]
        while self._accept(","):
            found.append(self._column())
        return ProjectAway(tuple(found))

    def _column(self) -> Token:
        if self._next.text == "*" or (self._next.kind == "name" and self._tokens[self._at + 1].text == "*"):
            raise refused("patterns of column names", self._next)
        if self._next.kind != "name":
            self._fail()
        return self._take()

    def _count(self) -> int:
        if self._next.kind != "number" or "." in self._next.text:
            self._fail()
        return int(self._take().text)

    def _order(self) -> Order:
        self._expect("by")
        keys = [self._key()]
        while self._accept(","):
            keys.append(self._key())
        return Order(tuple(keys))

    def _key(self) -> Key:
        value, descending, nulls = self._expression(), True, None
        if self._accept("asc"):
            descending = False
        else:
            self._accept("desc")
        if self._accept("nulls"):
            nulls = self._next.text == "first"
            self._expect("first", "last")
        return Key(value, descending, nulls)

    def _top(self) -> Top:
        count = self._count()
        self._expect("by")
        return Top(count, self._key())

    def _summarize(self) -> Summarize:
        counts: list[str] = []
        by: tuple[Item, ...] = ()
        if self._next.text != "by":
            counts.append(self._aggregate())
            while self._accept(","):
                counts.append(self._aggregate())
        if self._accept("by"):
            by = self._items()
        return Summarize(tuple(counts), by)

    def _aggregate(self) -> str:
        name = "count_"
        if self._next.kind == "name" and self._tokens[self._at + 1].text == "=":
            name = self._take().text
            self._take()
        if self._next.kind != "name" or self._tokens[self._at + 1].text != "(":
            self._fail()
        if self._next.text != "count":
            raise refused(f"the aggregation '{self._next.text}()'", self._next)
        self._take()
        self._expect("(")
        self._expect(")")
        return name

    # expressions

    def _expression(self) -> Expression:
        self._depth += 1
        if self._depth > DEPTH:
            raise refused(f"expressions nested deeper than {DEPTH}", self._next)
        found = self._chain("or", self._conjunction)
        self._depth -= 1
        return found

    def _conjunction(self) -> Expression:
        return self._chain("and", self._comparison)

    def _chain(self, operator: str, part: Callable[[], Expression]) -> Expression:
        operands, at = [part()], self._next
        while self._accept(operator):
            operands.append(part())
        return Logical(operator, tuple(operands), at) if len(operands) > 1 else operands[0]

    def _comparison(self) -> Expression:
        left = self._primary()
        at = self._next
        if at.kind not in ("name", "sign"):
            return left
        if at.text in COMPARISONS:
            self._take()
            return Binary(at.text, left, self._primary(), at)
        if at.text in MEMBERSHIP:
            self._take()
            return Among(at.text, left, self._values(), at)
        if at.text in REFUSED_COMPARISONS:
            raise refused(f"the operator '{at.text}'", at)
        return left

    def _values(self) -> tuple[Expression, ...]:
        self._expect("(")
        found = [self._primary()]
        while self._accept(","):
            found.append(self._primary())
        self._expect(")")
        return tuple(found)

    def _primary(self) -> Expression:
        token = self._next
        if self._accept("("):
            inside = self._expression()
            self._expect(")")
            return inside
        if token.kind == "string":
            return Literal(self._take().value, token)
        if token.kind == "number":
            self._take()
            return Literal(float(token.text) if "." in token.text else int(token.text), token)
        if token.kind == "name" and token.text in ("true", "false"):
            self._take()
            return Literal(token.text == "true", token)
        if token.kind == "name" and self._tokens[self._at + 1].text == "(":
            return self._call()
        if token.text in ("$", "-", "*"):
            raise refused(f"'{token.text}' in an expression", token)
        return self._path()

    def _call(self) -> Call:
        token = self._take()
        if token.text not in FUNCTIONS:
            raise refused(f"the function '{token.text}()'", token)
        self._expect("(")
        arguments = [self._expression()]
        while self._accept(","):
            arguments.append(self._expression())
        self._expect(")")
        if len(arguments) != FUNCTIONS[token.text]:
            message = f"{token.text}(): function expects {FUNCTIONS[token.text]} argument(s)."
            raise QueryError("InvalidQuery", message, token)
        return Call(token.text, tuple(arguments), token)

    def _path(self) -> Path:
        token = self._next
        parts: list[str | int] = []
        if token.kind == "name":
            parts.append(self._take().text)
        elif token.text == "[" and self._tokens[self._at + 1].kind == "string":
            parts.append(self._bracket())
        else:
            self._fail()
        while self._next.text in (".", "["):
            if self._next.text == "[":
                parts.append(self._bracket())
                continue
            self._take()
            if self._next.text == "[":
                parts.append(self._bracket())
            elif self._next.kind == "name":
                parts.append(self._take().text)
            else:
                self._fail()
        return Path(tuple(parts), token)

    def _bracket(self) -> str | int:
        self._expect("[")
        token = self._take()
        if token.kind not in ("string", "number") or (token.kind == "number" and "." in token.text):
            raise unexpected(token)
        self._expect("]")
        return int(token.text) if token.kind == "number" else token.value
