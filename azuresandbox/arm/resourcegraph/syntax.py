"""The tree of a query in the part of the Kusto query language that the sandbox's Resource Graph understands."""

from __future__ import annotations

from dataclasses import dataclass

from azuresandbox.arm.resourcegraph.lexer import Token


@dataclass(frozen=True)
class Literal:
    value: str | int | float | bool
    at: Token


@dataclass(frozen=True)
class Path:
    """A column and the path into it: `properties.a['b'][0]` is ("properties", "a", "b", 0)."""

    parts: tuple[str | int, ...]
    at: Token


@dataclass(frozen=True)
class Call:
    function: str
    arguments: tuple[Expression, ...]
    at: Token


@dataclass(frozen=True)
class Logical:
    """`operator`: or, and. A chain of them is one, however long."""

    operator: str
    operands: tuple[Expression, ...]
    at: Token


@dataclass(frozen=True)
class Binary:
    """`operator`: one of `parser.COMPARISONS`."""

    operator: str
    left: Expression
    right: Expression
    at: Token


@dataclass(frozen=True)
class Among:
    """`left in (...)`; `operator`: in, !in, in~, !in~."""

    operator: str
    left: Expression
    values: tuple[Expression, ...]
    at: Token


Expression = Literal | Path | Call | Logical | Binary | Among


@dataclass(frozen=True)
class Item:
    """An expression with the name of its column, "" if the query does not name it."""

    name: str
    value: Expression


@dataclass(frozen=True)
class Key:
    """A key to sort by. `nulls_first` is `None` where the query does not say."""

    value: Expression
    descending: bool = True
    nulls_first: bool | None = None


@dataclass(frozen=True)
class Where:
    condition: Expression


@dataclass(frozen=True)
class Project:
    items: tuple[Item, ...]


@dataclass(frozen=True)
class ProjectAway:
    columns: tuple[Token, ...]


@dataclass(frozen=True)
class Extend:
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Order:
    keys: tuple[Key, ...]


@dataclass(frozen=True)
class Take:
    count: int


@dataclass(frozen=True)
class Top:
    count: int
    key: Key


@dataclass(frozen=True)
class Count:
    pass


@dataclass(frozen=True)
class Summarize:
    """`counts`: the names of the `count()` columns; `by`: the group's key."""

    counts: tuple[str, ...]
    by: tuple[Item, ...]


Operator = Where | Project | ProjectAway | Extend | Order | Take | Top | Count | Summarize


@dataclass(frozen=True)
class Query:
    """`table` is `None` where the query starts with an operator: Resource Graph then takes `resources`."""

    table: Token | None
    operators: tuple[Operator, ...]
