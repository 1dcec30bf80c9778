"""The same conversation with both servers, and the differences between their answers.

A conversation is a function of a `Talk`. `@on_both` turns it into a test that runs it on both servers and compares every
answer. Known differences are listed in `known.py`; a known difference that is no longer there fails the test too.
"""

from __future__ import annotations

import fnmatch
import functools
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conformance import known
from tests.conformance.servers import Server
from tests.conformance.talk import Exchange, Names, Talk


@dataclass(frozen=True)
class Difference:
    """One difference. `where`: the exchange's number and request, and the path in its answer."""

    where: str
    real: Any
    sandbox: Any

    def __str__(self) -> str:
        return f"{self.where}\n    real:    {_short(self.real)}\n    sandbox: {_short(self.sandbox)}"


ABSENT = "<absent>"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 1500 else text[:1500] + "..."


@dataclass(frozen=True)
class Pair:
    """Both servers, ready for requests."""

    real: Server
    sandbox: Server

    def hold(self, conversation: Callable[[Talk], None], namespace: str) -> list[Difference]:
        """Run the conversation on both servers. Returns the differences between their answers."""
        heard = []
        for server in (self.real, self.sandbox):
            talk = Talk(server, namespace)
            _prepare(talk)
            try:
                conversation(talk)
            finally:
                talk.close()
            heard.append(talk.exchanges)
        return list(compare(*heard))


def _prepare(talk: Talk) -> None:
    """Create the namespace, and the account that a controller creates: the real API server runs without controllers here."""
    talk.quietly("POST", "/api/v1/namespaces", {"metadata": {"name": talk.namespace}})
    talk.quietly("POST", talk.at("serviceaccounts"), {"metadata": {"name": "default"}})
    talk.quietly("DELETE", talk.at("configmaps", "kube-root-ca.crt"))


def compare(real: list[Exchange], ours: list[Exchange]) -> Iterator[Difference]:
    """Yield the differences of two recordings, after naming the values that may differ."""
    names = (Names(real), Names(ours))
    for number, (left, right) in enumerate(zip(real, ours, strict=True), 1):
        where = f"{number} {names[0].name(left.request, 'message')}"
        sides = [
            {"status": side.status, "headers": side.headers, "body": names[which].name(side.body)}
            for which, side in enumerate((left, right))
        ]
        yield from _differ(f"{where} $", sides[0], sides[1])


def _differ(where: str, left: Any, right: Any) -> Iterator[Difference]:
    if isinstance(left, dict) and isinstance(right, dict):
        for key in [*left, *(key for key in right if key not in left)]:
            yield from _differ(f"{where}.{key}", left.get(key, ABSENT), right.get(key, ABSENT))
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for position, (one, other) in enumerate(zip(left, right, strict=True)):
            yield from _differ(f"{where}[{position}]", one, other)
    elif left != right or type(left) is not type(right):
        yield Difference(where, left, right)


def judge(test: str, found: list[Difference]) -> None:
    """Fail the test for a difference that is not known, and for a known one that is no longer there."""
    expected = [pattern for name, pattern, _ in known.DIFFERENCES if name == test]
    seen: set[str] = set()
    unknown = []
    for difference in found:
        matching = [pattern for pattern in expected if fnmatch.fnmatchcase(_plain(difference.where), _plain(pattern))]
        seen.update(matching)
        if not matching:
            unknown.append(difference)
    lines = [str(difference) for difference in unknown]
    lines += [f"no longer differs, take it out of known.py: {pattern}" for pattern in expected if pattern not in seen]
    if lines:
        pytest.fail(f"{len(lines)} differences\n" + "\n".join(lines), pytrace=False)


def _plain(text: str) -> str:
    """Return text without fnmatch's special characters, except `*`."""
    return text.replace("[", "(").replace("]", ")").replace("?", "¿")


def on_both(conversation: Callable[..., None]) -> Callable[..., None]:
    """Return a test that runs the conversation on both servers. Its parameters besides `talk` are pytest's."""
    signature = inspect.signature(conversation)
    more = [parameter for name, parameter in signature.parameters.items() if name != "talk"]

    @functools.wraps(conversation)
    def test(pair: Pair, request: pytest.FixtureRequest, **arguments: Any) -> None:
        name = request.node.name.removeprefix("test_")
        namespace = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60].strip("-")
        judge(name, pair.hold(functools.partial(conversation, **arguments), namespace))

    fixed = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in ("pair", "request")]
    vars(test)["__signature__"] = inspect.Signature([*fixed, *more])
    return test
