"""Run a parsed query over rows: each operator turns a table into the next, as Kusto defines it.

Columns have Kusto's types (string, dynamic, bool, long), because Kusto refuses some operations by type: sorting or grouping by
a dynamic value, a condition that is not a bool. Source: the Kusto reference (null values, string operators, names of columns).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from azuresandbox import trees
from azuresandbox.arm.resourcegraph import syntax
from azuresandbox.arm.resourcegraph.lexer import QueryError, Token
from azuresandbox.arm.resourcegraph.syntax import Expression, Item, Key

STRING, DYNAMIC, BOOL, LONG = "string", "dynamic", "bool", "long"


class Json:
    """A dynamic value as it is stored: JSON, parsed only by a query that reads its members."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class Row:
    """One row: column -> value. A value of type dynamic is a tree or `Json`; each `Json` is parsed at most once a query."""

    __slots__ = ("_parsed", "cells")

    def __init__(self, cells: dict[str, Any], origin: Row | None = None) -> None:
        self.cells = cells
        self._parsed: dict[Json, Any] = origin._parsed if origin else {}

    def tree(self, column: str) -> Any:
        """Return the value of a dynamic column, parsed."""
        value = self.cells[column]
        if type(value) is not Json:
            return value
        if value not in self._parsed:
            self._parsed[value] = trees.parse(value.data)
        return self._parsed[value]


Read = Callable[[Row], Any]


@dataclass
class Table:
    """Columns with their types, in order, and the rows. `limited`: a `take` has cut it, which ends paging."""

    columns: dict[str, str]
    rows: Iterable[Row]
    limited: bool = False


@dataclass(frozen=True)
class _Value:
    """A compiled expression: its Kusto type, how to read it from a row, and the name that it gives a column."""

    type: str
    read: Read
    name: str = ""


def run(operators: Iterable[syntax.Operator], table: Table) -> Table:
    """Return the table after all operators of a query. Raises `QueryError` before any row is read."""
    for operator in operators:
        table = _OPERATORS[type(operator)](table, operator)
    return table


def data(row: Row, columns: Iterable[str]) -> dict[str, Any]:
    """Return a row as the answer shows it. Dynamic values that the query did not parse stay JSON."""
    cells = row.cells
    return {name: trees.Raw(cell.data) if type(cell := cells[name]) is Json else cell for name in columns}


# --- operators -------------------------------------------------------------------------------------------------------------


def _where(table: Table, operator: syntax.Where) -> Table:
    condition = _compile(operator.condition, table.columns, "where")
    if condition.type != BOOL:
        raise _semantic(f"'where' operator: condition is of type '{condition.type}', expected 'bool'.", operator.condition.at)
    return Table(table.columns, (row for row in table.rows if condition.read(row)), table.limited)


def _project(table: Table, operator: syntax.Project) -> Table:
    values = _named(operator.items, table.columns, "project")
    columns = {name: value.type for name, value in values.items()}
    readers = [(name, value.read) for name, value in values.items()]
    return Table(columns, (Row({name: read(row) for name, read in readers}, row) for row in table.rows), table.limited)


def _project_away(table: Table, operator: syntax.ProjectAway) -> Table:
    away = set()
    for token in operator.columns:
        _check_column(token.text, table.columns, "project-away", token)
        away.add(token.text)
    columns = {name: kind for name, kind in table.columns.items() if name not in away}
    return Table(columns, table.rows, table.limited)


def _extend(table: Table, operator: syntax.Extend) -> Table:
    """Add columns. Each expression reads the columns as they were before this `extend`, as in Kusto."""
    values = _named(operator.items, table.columns, "extend")
    columns = table.columns | {name: value.type for name, value in values.items()}
    readers = [(name, value.read) for name, value in values.items()]
    rows = (Row({**row.cells, **{name: read(row) for name, read in readers}}, row) for row in table.rows)
    return Table(columns, rows, table.limited)


def _order(table: Table, operator: syntax.Order) -> Table:
    keys = [(_sortable(key, table.columns), key) for key in operator.keys]

    def rows() -> Iterable[Row]:
        found = list(table.rows)
        for value, key in reversed(keys):
            found = _sorted(found, value.read, key)
        yield from found

    return Table(table.columns, rows(), table.limited)


def _sorted(rows: list[Row], read: Read, key: Key) -> list[Row]:
    """Return the rows sorted by one key.

    Nulls come first in ascending and last in descending order, unless the query says so.
    """
    pairs = [(read(row), row) for row in rows]
    nulls = [row for value, row in pairs if value is None]
    values = sorted((pair for pair in pairs if pair[0] is not None), key=lambda pair: pair[0], reverse=key.descending)
    first = not key.descending if key.nulls_first is None else key.nulls_first
    return [*nulls, *(row for _, row in values)] if first else [*(row for _, row in values), *nulls]


def _sortable(key: Key, columns: dict[str, str]) -> _Value:
    value = _compile(key.value, columns, "order")
    if value.type == DYNAMIC:
        raise _semantic(
            "'order' operator: key can't be of dynamic type. Use an explicit cast, such as tostring().", key.value.at
        )
    return value


def _take(table: Table, operator: syntax.Take) -> Table:
    return Table(table.columns, islice(table.rows, operator.count), True)


def _top(table: Table, operator: syntax.Top) -> Table:
    ordered = _order(table, syntax.Order((operator.key,)))
    return Table(ordered.columns, islice(ordered.rows, operator.count), table.limited)


def _count(table: Table, operator: syntax.Count) -> Table:
    def rows() -> Iterable[Row]:
        yield Row({"Count": sum(1 for _ in table.rows)})

    return Table({"Count": LONG}, rows())


def _summarize(table: Table, operator: syntax.Summarize) -> Table:
    keys = _named(operator.by, table.columns, "summarize")
    for (name, value), item in zip(keys.items(), operator.by, strict=True):
        if value.type == DYNAMIC:
            message = (
                f"Summarize group key ('{name}') is of a 'dynamic' type. Please use an explicit cast (for example, 'summarize "
                "... "
                f"by tostring({name})') as grouping by a 'dynamic' type is not supported."
            )
            raise _semantic(message, item.value.at)
    counts = [_free(name, keys) for name in operator.counts]
    readers = [value.read for value in keys.values()]

    def rows() -> Iterable[Row]:
        groups: dict[tuple[Any, ...], int] = {} if keys else {(): 0}
        for row in table.rows:
            key = tuple(read(row) for read in readers)
            groups[key] = groups.get(key, 0) + 1
        for key, number in groups.items():
            yield Row({**dict(zip(keys, key, strict=True)), **dict.fromkeys(counts, number)})

    return Table({name: value.type for name, value in keys.items()} | dict.fromkeys(counts, LONG), rows())


_OPERATORS: dict[type[Any], Callable[[Table, Any], Table]] = {
    syntax.Where: _where,
    syntax.Project: _project,
    syntax.ProjectAway: _project_away,
    syntax.Extend: _extend,
    syntax.Order: _order,
    syntax.Take: _take,
    syntax.Top: _top,
    syntax.Count: _count,
    syntax.Summarize: _summarize,
}


def _named(items: Iterable[Item], columns: dict[str, str], operator: str) -> dict[str, _Value]:
    """Return compiled items by their columns' names. Unnamed ones are Column1, Column2; a name that is taken gets a number."""
    found: dict[str, _Value] = {}
    unnamed = 0
    for item in items:
        value = _compile(item.value, columns, operator)
        name = item.name or value.name
        if not name:
            unnamed += 1
            name = f"Column{unnamed}"
        found[_free(name, found)] = value
    return found


def _free(name: str, taken: Iterable[str]) -> str:
    number, found = 0, name
    while found in taken:
        number += 1
        found = f"{name}{number}"
    return found


# --- expressions -----------------------------------------------------------------------------------------------------------


def _compile(expression: Expression, columns: dict[str, str], operator: str) -> _Value:
    match expression:
        case syntax.Literal(value):
            return _Value(_type_of(value), lambda row: value)
        case syntax.Path():
            return _path(expression, columns, operator)
        case syntax.Call():
            return _call(expression, columns, operator)
        case syntax.Among():
            return _among(expression, columns, operator)
        case syntax.Logical():
            return _logical(expression, columns, operator)
    left, right = _compile(expression.left, columns, operator), _compile(expression.right, columns, operator)
    return _Value(BOOL, _comparison(expression.operator, left, right))


def _type_of(value: Any) -> str:
    return BOOL if isinstance(value, bool) else STRING if isinstance(value, str) else LONG


def _path(path: syntax.Path, columns: dict[str, str], operator: str) -> _Value:
    column, *way = path.parts
    assert isinstance(column, str)
    _check_column(column, columns, operator, path.at)
    if not way:
        return _Value(columns[column], lambda row: row.cells[column], column)
    if columns[column] != DYNAMIC:
        raise _semantic(f"'{operator}' operator: column '{column}' is of type '{columns[column]}' and has no members.", path.at)
    return _Value(DYNAMIC, partial(_walk, column, tuple(way)), "_".join(map(str, path.parts)))


def _walk(column: str, way: tuple[str | int, ...], row: Row) -> Any:
    """Return the value at the end of a path, `None` if there is no such path. Names are compared with regard to case."""
    value = row.tree(column)
    for step in way:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        else:
            value = value[step] if isinstance(value, list) and step < len(value) else None
    return value


def _call(call: syntax.Call, columns: dict[str, str], operator: str) -> _Value:
    value = _compile(call.arguments[0], columns, operator)
    read = value.read
    if call.function == "not":
        if value.type != BOOL:
            raise _semantic(f"not(): argument is of type '{value.type}', expected 'bool'.", call.at)
        return _Value(BOOL, lambda row: not read(row))
    if call.function == "tostring":
        return _Value(STRING, lambda row: text_of(read(row)), value.name)
    kind, work = _FUNCTIONS[call.function]
    return _Value(kind, lambda row: work(read(row)))


def _is_null(value: Any) -> bool:
    return value is None or (type(value) is Json and value.data == b"null")


_FUNCTIONS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "tolower": (STRING, lambda value: text_of(value).lower()),
    "isempty": (BOOL, lambda value: text_of(value) == ""),
    "isnotempty": (BOOL, lambda value: text_of(value) != ""),
    "isnull": (BOOL, _is_null),
    "isnotnull": (BOOL, lambda value: not _is_null(value)),
}


def text_of(value: Any) -> str:
    """Return the value of `tostring()`: null is the empty string, a tree its JSON."""
    if isinstance(value, str):
        return value
    if _is_null(value):
        return ""
    if type(value) is Json:
        parsed = trees.parse(value.data)
        return parsed if isinstance(parsed, str) else value.data.decode()
    return str(trees.dump(value).decode())


def _logical(expression: syntax.Logical, columns: dict[str, str], operator: str) -> _Value:
    values = [_compile(operand, columns, operator) for operand in expression.operands]
    for value in values:
        if value.type != BOOL:
            raise _semantic(f"'{expression.operator}': operand is of type '{value.type}', expected 'bool'.", expression.at)
    readers, enough = [value.read for value in values], all if expression.operator == "and" else any
    return _Value(BOOL, lambda row: enough(read(row) for read in readers))


def _among(expression: syntax.Among, columns: dict[str, str], operator: str) -> _Value:
    equal = "=~" if expression.operator.endswith("~") else "=="
    left = _compile(expression.left, columns, operator)
    wanted = [v.value for v in expression.values if isinstance(v, syntax.Literal) and isinstance(v.value, str)]
    if len(wanted) == len(expression.values):
        fold = _folded if equal == "=~" else _same
        known, read = frozenset(map(fold, wanted)), left.read

        def found(row: Row) -> bool:
            value = read(row)
            return not _is_null(value) and fold(text_of(value)) in known

    else:
        tests = [_comparison(equal, left, _compile(value, columns, operator)) for value in expression.values]

        def found(row: Row) -> bool:
            return any(test(row) for test in tests)

    return _Value(BOOL, (lambda row: not found(row)) if expression.operator.startswith("!") else found)


def _same(text: str) -> str:
    return text


def _folded(text: str) -> str:
    return text.lower()


def _comparison(operator: str, left: _Value, right: _Value) -> Read:
    negated = operator.startswith("!")
    test = _TESTS[operator.removeprefix("!")] if operator not in ("!=", "!~") else _TESTS[{"!=": "==", "!~": "=~"}[operator]]
    a, b = left.read, right.read
    if negated:
        return lambda row: not test(a(row), b(row))
    return lambda row: test(a(row), b(row))


def _equal(one: Any, other: Any) -> bool:
    """Return whether two values are equal. A dynamic value is compared with a string as its text; a null equals no value."""
    if isinstance(one, str) and isinstance(other, str):
        return one == other
    if _is_null(one) or _is_null(other):
        return False
    if isinstance(one, str) or isinstance(other, str):
        return text_of(one) == text_of(other)
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _equal_folded(one: Any, other: Any) -> bool:
    return not _is_null(one) and not _is_null(other) and text_of(one).lower() == text_of(other).lower()


def _has(text: Any, term: Any) -> bool:
    """Return whether a whole term of letters and digits occurs in the text."""
    wanted = re.escape(text_of(term).lower())
    return re.search(rf"(?<![^\W_]){wanted}(?![^\W_])", text_of(text).lower()) is not None


_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "==": _equal,
    "=~": _equal_folded,
    "contains": lambda text, part: text_of(part).lower() in text_of(text).lower(),
    "has": _has,
    "startswith": lambda text, part: text_of(text).lower().startswith(text_of(part).lower()),
    "endswith": lambda text, part: text_of(text).lower().endswith(text_of(part).lower()),
}


def _check_column(name: str, columns: dict[str, str], operator: str, at: Token) -> None:
    if name not in columns:
        raise _semantic(f"'{operator}' operator: Failed to resolve column or scalar expression named '{name}'", at)


def _semantic(message: str, at: Token) -> QueryError:
    """Return Kusto's error. The code that Resource Graph gives it is not known for certain."""
    return QueryError("InvalidQuery", message, at)
