"""The query language by itself: any text is read correctly or refused with a place in the text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azuresandbox import trees
from azuresandbox.arm.resourcegraph import evaluate, lexer, parser, syntax
from azuresandbox.arm.resourcegraph.evaluate import DYNAMIC, STRING, Json, Row, Table
from azuresandbox.arm.resourcegraph.lexer import QueryError

texts = st.text(max_size=20)
names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
words = st.sampled_from(
    [
        "resources",
        "|",
        "where",
        "project",
        "extend",
        "order by",
        "take",
        "top",
        "summarize",
        "count()",
        "by",
        "==",
        "=~",
        "!in~",
        "has",
        "(",
        ")",
        ",",
        "'a'",
        '"b"',
        "1",
        "2.5",
        "name",
        "properties.x",
        "['y']",
        "and",
        "or",
        "not(",
        "tostring(",
        "asc",
        "nulls",
        "-",
        "project-away",
        "join",
        "//",
        "\n",
        "@'z'",
        "[0]",
        "=",
        ";",
        "true",
    ]
)


def quoted(text: str) -> str:
    """Return a Kusto literal of any text."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return (
        "'"
        + "".join(char if " " <= char <= "~" else "".join(f"\\u{unit:04x}" for unit in _units(char)) for char in escaped)
        + "'"
    )


def _units(char: str) -> list[int]:
    data = char.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(data[at : at + 2]) for at in range(0, len(data), 2)]


def rows(query: str, *documents: dict[str, Any]) -> list[dict[str, Any]]:
    """Run a query over rows with the columns a (string) and p (dynamic), and return its rows."""
    table = Table(
        {"a": STRING, "p": DYNAMIC}, (Row({"a": d.get("a", ""), "p": Json(trees.dump(d.get("p")))}) for d in documents)
    )
    found = evaluate.run(parser.parse(query).operators, table)
    return [trees.parse(trees.dump(evaluate.data(row, found.columns))) for row in found.rows]


@given(st.one_of(st.text(max_size=60), st.lists(words, max_size=14).map(" ".join)))
def test_any_text_is_read_or_refused_with_its_place(text: str) -> None:
    try:
        parsed = parser.parse(text)
    except QueryError as error:
        assert error.at is not None
        lines = text.split("\n")
        assert 1 <= error.at.line <= len(lines)
        assert 0 <= error.at.column <= len(lines[error.at.line - 1])
        if error.at.kind != "end":
            assert lines[error.at.line - 1][error.at.column :].startswith(error.at.text.split("\n")[0])
    else:
        assert parsed.table is not None or parsed.operators


@given(st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=20))
def test_a_string_literal_is_the_text_it_quotes(text: str) -> None:
    (operator,) = parser.parse(f"r | where a == {quoted(text)}").operators
    assert isinstance(operator, syntax.Where) and isinstance(operator.condition, syntax.Binary)
    assert isinstance(operator.condition.right, syntax.Literal) and operator.condition.right.value == text
    verbatim = "@'" + text.replace("'", "''") + "'"
    assert lexer.tokenize(verbatim)[0].value == text


OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "==": lambda one, other: one == other,
    "=~": lambda one, other: one.lower() == other.lower(),
    "contains": lambda one, other: other.lower() in one.lower(),
    "startswith": lambda one, other: one.lower().startswith(other.lower()),
    "endswith": lambda one, other: one.lower().endswith(other.lower()),
}
OPPOSITES = {"==": "!=", "=~": "!~", "contains": "!contains", "startswith": "!startswith", "endswith": "!endswith"}
letters = st.text("aAbB-. ", max_size=6)


@given(st.sampled_from(sorted(OPERATORS)), letters, letters, letters)
def test_comparisons_of_strings_and_of_dynamic_values(operator: str, one: str, other: str, deep: str) -> None:
    document = {"a": one, "p": {"d e": [deep]}}
    for column, value in (("a", one), ("p['d e'][0]", deep), ("tostring(p['d e'][0])", deep)):
        expected = OPERATORS[operator](value, other)
        assert bool(rows(f"r | where {column} {operator} {quoted(other)}", document)) is expected
        assert bool(rows(f"r | where not({column} {operator} {quoted(other)})", document)) is not expected
        assert bool(rows(f"r | where {column} {OPPOSITES[operator]} {quoted(other)}", document)) is not expected


@given(st.lists(letters, min_size=1, max_size=4), letters)
def test_membership_is_equality_with_one_of_them(wanted: list[str], value: str) -> None:
    listed = ", ".join(map(quoted, wanted))
    assert bool(rows(f"r | where a in ({listed})", {"a": value})) is (value in wanted)
    assert bool(rows(f"r | where a !in~ ({listed})", {"a": value})) is (value.lower() not in [one.lower() for one in wanted])
    assert bool(rows(f"r | where p.x in~ ({listed}, a)", {"a": value, "p": {"x": value.upper()}}))


@given(st.lists(st.tuples(letters, st.integers(0, 3)), max_size=8))
def test_sorting_grouping_and_cutting(pairs: list[tuple[str, int]]) -> None:
    documents = [{"a": a, "p": {"n": n}} for a, n in pairs]
    ordered = rows("r | order by a asc, tostring(p.n) desc | project a, n = p.n", *documents)
    expected = sorted(sorted(pairs, key=lambda pair: -pair[1]), key=lambda pair: pair[0])
    assert [(row["a"], row["n"]) for row in ordered] == expected
    counted = rows("r | summarize c = count() by a", *documents)
    assert {row["a"]: row["c"] for row in counted} == {a: sum(1 for one, _ in pairs if one == a) for a, _ in pairs}
    assert rows("r | count", *documents) == [{"Count": len(pairs)}]
    assert rows("r | take 2", *documents) == rows("r", *documents)[:2]
    assert rows("r | top 2 by a asc", *documents) == rows("r | sort by a asc | limit 2", *documents)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("s", "s"),
        (True, "true"),
        (3, "3"),
        (2.5, "2.5"),
        ({"a": [1, None]}, '{"a":[1,null]}'),
        ([], "[]"),
    ],
)
def test_tostring(value: Any, text: str) -> None:
    assert rows("r | project tostring(p.v), e = isempty(p.v), n = isnull(p.v)", {"p": {"v": value}}) == [
        {"p_v": text, "e": text == "", "n": value is None}
    ]
    assert rows("r | project t = tostring(p)", {"p": value}) == [{"t": text}], "the column as it is kept"


def test_a_dynamic_value_is_compared_as_text_only_with_a_string() -> None:
    document = {"p": {"yes": True, "one": 1, "none": None}}
    for condition, found in {
        "p.yes == 'true'": True,
        "p.yes == true": True,
        "p.yes == 1": False,
        "p.one == 1": True,
        "p.one == '1'": True,
        "p.one == 1.0": True,
        "p.none == ''": False,
        "p.none != ''": True,
        "p.none == p.none": False,
        "p.one == p['one']": True,
        "p.none =~ ''": False,
    }.items():
        assert bool(rows(f"r | where {condition}", document)) is found, condition


def test_has_finds_whole_terms() -> None:
    for term, found in {
        "aks": True,
        "AKS": True,
        "ak": False,
        "rg/aks": True,
        "x y": False,
        "prod-1": True,
        "prod": True,
    }.items():
        assert bool(rows(f"r | where a has {quoted(term)}", {"a": "/rg/aks-prod-1/"})) is found, term


def test_deep_brackets_are_refused_instead_of_exhausting_the_stack() -> None:
    for text in ("(" * 5000, "not(" * 5000):
        with pytest.raises(QueryError, match="nested deeper"):
            parser.parse(f"r | where {text}a == 'b'")
    assert parser.parse("r | where " + "(" * 50 + "a == 'b'" + ")" * 50).operators


def test_a_long_chain_of_conditions_runs() -> None:
    chain = " or ".join(f"a == '{number}'" for number in range(5000))
    assert rows(f"r | where {chain}", {"a": "4999"}, {"a": "5000"}) == [{"a": "4999", "p": None}]
