"""Generated patches, applies and selectors, the same ones for both servers. Each version of Hypothesis generates its own."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conformance.comparing import Pair
from tests.conformance.definitions import WIDGETS, deployment, widget
from tests.conformance.talk import APPLY, MERGE, PATCH, STRATEGIC, Talk

Object = dict[str, Any]

generated = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)

words = st.sampled_from(["a", "b", "c"])
scalars = st.one_of(words, st.integers(0, 3), st.booleans(), st.none())


def some(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[Object]:
    """Return a strategy for objects with some of these members."""
    return st.fixed_dictionaries({}, optional=members)


parts = st.lists(some(name=words, amount=st.integers(0, 3), unit=words), max_size=3)
spec = some(
    size=st.one_of(st.integers(0, 5), words),
    colour=st.sampled_from(["green", "red", "pink", None]),
    flag=scalars,
    set=st.lists(words, max_size=3),
    plain=st.lists(st.integers(0, 2), max_size=3),
    parts=parts,
    labels=st.one_of(st.none(), st.dictionaries(words, st.one_of(words, st.none()), max_size=3)),
    atom=some(a=words, b=words),
    nested=some(deep=st.one_of(words, st.none()), other=words),
    free=st.dictionaries(words, scalars, max_size=2),
    nothing=scalars,
)
metadata = some(
    labels=st.one_of(st.none(), st.dictionaries(words, st.one_of(words, st.none()), max_size=2)),
    annotations=st.dictionaries(words, st.one_of(words, st.none()), max_size=2),
)
pointers = st.sampled_from(
    [
        "/spec/size",
        "/spec/colour",
        "/spec/parts/0",
        "/spec/parts/-",
        "/spec/parts/1/name",
        "/spec/set/0",
        "/spec/set/-",
        "/spec/labels/a",
        "/spec/labels",
        "/metadata/labels",
        "/metadata/labels/a",
        "/spec/nested/deep",
        "/spec/free/x~1y",
        "/spec/none/such",
        "",
        "/spec/plain/9",
    ]
)
operations = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {"op": st.sampled_from(["add", "replace", "test"]), "path": pointers, "value": st.one_of(scalars, spec)}
        ),
        st.fixed_dictionaries({"op": st.just("remove"), "path": pointers}),
        st.fixed_dictionaries({"op": st.sampled_from(["copy", "move"]), "from": pointers, "path": pointers}),
    ),
    max_size=3,
)

containers = st.lists(
    some(
        name=words,
        image=words,
        args=st.lists(words, max_size=2),
        env=st.lists(some(name=words, value=words), max_size=2),
        ports=st.lists(some(containerPort=st.integers(1, 3), name=words), max_size=2),
    ),
    max_size=2,
)
pods = some(
    containers=containers,
    nodeSelector=st.dictionaries(words, st.one_of(words, st.none()), max_size=2),
    hostname=words,
    tolerations=st.lists(some(key=words), max_size=2),
)
deployments = some(
    metadata=metadata,
    spec=some(
        replicas=st.integers(0, 3),
        paused=st.booleans(),
        template=some(metadata=some(annotations=st.dictionaries(words, words, max_size=2)), spec=pods),
    ),
)

START = widget("x", parts=[{"name": "a"}, {"name": "b"}], set=["a", "b"], labels={"a": "b"}, plain=[1], nested={"other": "x"})


def agree(pair: Pair, conversation: Any) -> None:
    found = pair.hold(conversation, "generated")
    assert not found, "\n".join(map(str, found))


def fresh(talk: Talk, resource: str, document: Object | None) -> str:
    """Create the object `x` again and return its path."""
    path = talk.at(resource, "x")
    talk.quietly("DELETE", path)
    if document is not None:
        talk.quietly("POST", talk.at(resource), document)
    return path


@generated
@given(patches=st.lists(some(spec=spec, metadata=metadata), min_size=1, max_size=3))
def test_merge_patches(pair: Pair, patches: list[Object]) -> None:
    def conversation(talk: Talk) -> None:
        path = fresh(talk, WIDGETS, START)
        for patch in patches:
            talk("PATCH", path, patch, content_type=MERGE)

    agree(pair, conversation)


@generated
@given(patches=st.lists(operations, min_size=1, max_size=3))
def test_json_patches(pair: Pair, patches: list[list[Object]]) -> None:
    def conversation(talk: Talk) -> None:
        path = fresh(talk, WIDGETS, START)
        for patch in patches:
            talk("PATCH", path, patch, content_type=PATCH)

    agree(pair, conversation)


@generated
@given(patches=st.lists(deployments, min_size=1, max_size=3))
def test_strategic_merge_patches(pair: Pair, patches: list[Object]) -> None:
    def conversation(talk: Talk) -> None:
        path = fresh(talk, "apps/v1/deployments", deployment("x"))
        for patch in patches:
            talk("PATCH", path, patch, content_type=STRATEGIC)

    agree(pair, conversation)


def applied(documents: st.SearchStrategy[Object]) -> st.SearchStrategy[list[tuple[Object, str, bool]]]:
    return st.lists(st.tuples(documents, st.sampled_from(["one", "two"]), st.booleans()), min_size=1, max_size=4)


def without_empty_maps(document: Object) -> Object:
    """Drop empty labels and annotations; `test_empty_maps` has those."""
    kept = {name: value for name, value in document.get("metadata", {}).items() if value != {}}
    return {**document, "metadata": kept}


def whole(value: Any) -> Any:
    """Applies without nulls; `test_applied_null` has those."""
    if isinstance(value, dict):
        return {name: whole(member) for name, member in value.items() if member is not None}
    return [whole(item) for item in value] if isinstance(value, list) else value


@generated
@given(steps=applied(some(spec=spec, metadata=metadata).map(whole).map(without_empty_maps)))
def test_applied_widgets(pair: Pair, steps: list[tuple[Object, str, bool]]) -> None:
    about = {name: START[name] for name in ("apiVersion", "kind")}

    def conversation(talk: Talk) -> None:
        path = fresh(talk, WIDGETS, None)
        talk("PATCH", path, START, content_type=APPLY, fieldManager="one")
        for document, manager, force in steps:
            query = {"fieldManager": manager, **({"force": "true"} if force else {})}
            named = {**about, **document, "metadata": {**document.get("metadata", {}), "name": "x"}}
            talk("PATCH", path, named, content_type=APPLY, query=query)

    agree(pair, conversation)


_SYMBOLS = st.sampled_from(
    ["a", "b", "app", "=", "==", "!=", "!", " in ", " notin ", "(", ")", ",", " ", ">", "<", "1", "a/b", "-", "x.y"]
)


@generated
@given(selectors=st.lists(st.lists(_SYMBOLS, max_size=7).map("".join), min_size=4, max_size=8))
def test_selectors(pair: Pair, selectors: list[str]) -> None:
    def conversation(talk: Talk) -> None:
        talk.quietly("POST", talk.at(WIDGETS), {**widget("s"), "metadata": {"name": "s", "labels": {"app": "1", "a": "b"}}})
        for selector in selectors:
            talk("GET", talk.at(WIDGETS), labelSelector=selector, fieldSelector="metadata.name=s")
            talk("GET", talk.at(WIDGETS), fieldSelector=selector, labelSelector="app=1")

    agree(pair, conversation)
