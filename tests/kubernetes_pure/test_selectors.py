"""Selectors match and refuse like the real parsers; the messages below are their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azuresandbox.kubernetes.model import selectors
from tests.kubernetes_pure.real import ask, needs_real

bounded = settings(max_examples=400, deadline=None)


@pytest.mark.parametrize(
    ("text", "labels", "matches"),
    [
        ("", {}, True),
        ("a=b", {"a": "b"}, True),
        ("a==b,c!=d", {"a": "b"}, True),
        ("c!=d", {"c": "d"}, False),
        ("a in (x, y)", {"a": "y"}, True),
        ("a in (x,)", {"a": ""}, True),
        ("a notin (x)", {}, True),
        ("a notin (x)", {"a": "x"}, False),
        ("a", {"a": ""}, True),
        ("!a", {"a": ""}, False),
        ("n > 4, n < 6", {"n": "5"}, True),
        ("n > 5", {"n": "5"}, False),
        ("in in (in)", {"in": "in"}, True),
    ],
)
def test_label_selectors_select(text: str, labels: dict[str, str], matches: bool) -> None:
    assert selectors.parse_label_selector(text).matches(labels) is matches


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a in x", "unable to parse requirement: found 'x' expected: '('"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a,", "found '', expected: identifier after ','"),
        ("=a", "found '=', expected: !, identifier, or 'end of string'"),
        ("a=b=c", "found '=', expected: ',' or 'end of string'"),
        ("/a", 'unable to parse requirement: <nil>: Invalid value: "/a": prefix part must be non-empty'),
    ],
)
def test_label_selectors_are_refused(text: str, message: str) -> None:
    with pytest.raises(selectors.SelectorError) as refused:
        selectors.parse_label_selector(text)
    assert str(refused.value) == message


def test_a_missing_selector_matches_no_labels_and_an_empty_one_all() -> None:
    assert not selectors.label_selector(None).matches({"a": "b"})
    assert selectors.label_selector({}).matches({"a": "b"})


def test_fields_are_unescaped_in_values_only() -> None:
    found = selectors.parse_field_selector(r"metadata.name=a\,b,status.phase!=x")
    assert [(r.field, r.operator, r.value) for r in found.requirements] == [
        ("metadata.name", "=", "a,b"),
        ("status.phase", "!=", "x"),
    ]
    assert found.matches({"metadata.name": "a,b", "status.phase": "y"})
    with pytest.raises(selectors.SelectorError, match="invalid selector: 'a'; can't understand 'a'"):
        selectors.parse_field_selector("a")


def outcome(of: Callable[[], Any]) -> dict[str, Any]:
    try:
        return {"result": of()}
    except selectors.SelectorError as error:
        return {"error": str(error)}


held = st.dictionaries(st.sampled_from(["a", "b", "in"]), st.sampled_from(["x", "1", ""]), max_size=3)
pieces = [
    "a",
    "b",
    "a.b/c",
    "x",
    "in",
    "notin",
    "!",
    "=",
    "==",
    "!=",
    "(",
    ")",
    ",",
    " ",
    "<",
    ">",
    "1",
    "A",
    "-a",
    "/",
    '"',
    "é",
]


@needs_real
@bounded
@given(st.lists(st.sampled_from(pieces), max_size=9).map("".join), held)
def test_label_selectors_against_the_real_parser(text: str, labels: dict[str, str]) -> None:
    assert outcome(lambda: selectors.parse_label_selector(text).matches(labels)) == ask("labels", doc=text, live=labels)


@needs_real
@bounded
@given(st.lists(st.sampled_from(["a", "b.c", "=", "==", "!=", ",", "\\", "!", " "]), max_size=8).map("".join))
def test_field_selectors_against_the_real_parser(text: str) -> None:
    def triples() -> list[list[str]]:
        return [[r.field, r.operator, r.value] for r in selectors.parse_field_selector(text).requirements]

    assert outcome(triples) == ask("fields", doc=text)


keys = st.sampled_from(["a", "b", "", "a/", "/x", "a b"])
values = st.sampled_from(["x", "1", "", "-", "a b"])
expressions = st.fixed_dictionaries(
    {"key": keys, "operator": st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist", "Gt"])},
    optional={"values": st.lists(values, max_size=2)},
)


@needs_real
@bounded
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "matchLabels": st.dictionaries(keys, values, max_size=1),
            "matchExpressions": st.lists(expressions, max_size=2),
        },
    ),
    held,
)
def test_selector_objects_against_the_real_conversion(selector: dict[str, Any], labels: dict[str, str]) -> None:
    assert outcome(lambda: selectors.label_selector(selector).matches(labels)) == ask("labels", doc=selector, live=labels)
