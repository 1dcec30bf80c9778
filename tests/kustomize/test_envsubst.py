"""Variable substitution, with the cases of fluxcd/pkg/envsubst."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azuresandbox.machine.kustomize import KustomizeError, substitute

VARIABLES = {"name": "Hello World", "path": "/usr/local/bin/tool.tar.gz", "empty": "", "n": "abcdef"}


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("plain $name stays", "plain $name stays"),
        ("${name}", "Hello World"),
        ("a${unset}b", "ab"),
        ("$${name}", "${name}"),
        ("100$", "100$"),
        ("${empty:-fallback}", "fallback"),
        ("${unset:=northeurope}", "northeurope"),
        ("${unset=one}", "one"),
        ("${name:-unused}", "Hello World"),
        ("${unset:-${name}!}", "Hello World!"),
        ("${unset:-a-b:c}", "a-b:c"),
        ("${#n}", "6"),
        ("${name^^}", "HELLO WORLD"),
        ("${name,,}", "hello world"),
        ("${name,}", "hello World"),
        ("${n^}", "Abcdef"),
        ("${n:2}", "cdef"),
        ("${n:1:3}", "bcd"),
        ("${n:9}", ""),
        ("${name/o/0}", "Hell0 World"),
        ("${name//o/0}", "Hell0 W0rld"),
        ("${name/#Hello/Bye}", "Bye World"),
        ("${name/%World/Moon}", "Hello Moon"),
        ("${path##*/}", "tool.tar.gz"),
        ("${path#*/}", "usr/local/bin/tool.tar.gz"),
        ("${path%.gz}", "/usr/local/bin/tool.tar"),
        ("${path%%.tar*}", "/usr/local/bin/tool"),
        ("replicas: ${count:=3}\n", "replicas: 3\n"),
    ],
)
def test_each_form(text: str, want: str) -> None:
    assert substitute(text, VARIABLES) == want


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("${name", "missing closing brace"),
        ("${name }", "missing closing brace"),
        ("${}", "unable to parse variable name"),
        ("${-x}", "unable to parse variable name"),
    ],
)
def test_a_malformed_expansion_is_an_error(text: str, problem: str) -> None:
    with pytest.raises(KustomizeError) as failure:
        substitute(text, VARIABLES)
    assert str(failure.value) == f"envsubst error: variable substitution failed: {problem}"


def test_strict_requires_variables_without_a_default() -> None:
    assert substitute("${unset:=x}", {}, strict=True) == "x"
    with pytest.raises(KustomizeError, match=r'variable not set \(strict mode\): "unset"'):
        substitute("${unset}", {}, strict=True)


def test_names_of_variables_are_checked() -> None:
    with pytest.raises(KustomizeError, match="'a-b' var name is invalid"):
        substitute("", {"a-b": "x"})


@settings(deadline=None)
@given(st.text(st.characters(exclude_characters="$")), st.dictionaries(st.from_regex(r"\A[a-z_][a-z0-9_]{0,8}\Z"), st.text()))
def test_text_without_a_dollar_is_not_changed(text: str, variables: dict[str, str]) -> None:
    assert substitute(text, variables) == text
