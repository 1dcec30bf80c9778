"""Patches and field managers against the real libraries, on generated objects of built-in kinds.

Known differences, which the cases avoid:

| Case | Real | Here |
|---|---|---|
| An apply of an empty map that was filled by another apply or by its own last one | a conflict, or null | no conflict |
| An apply drops a map with an empty list that has no manager | the map is removed | the map stays, with the list |
| A map whose members are all removed | null, which Go's types omit | an empty map, or no map |
| A built-in object is created or updated: `.` of a Go struct by value (`f:spec`) | no `.` | `.`, as in custom resources |
"""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from azuresandbox.kubernetes.model import builtin, fieldmanager, patch
from tests.kubernetes_pure.real import ask, needs_real

pytestmark = needs_real

Object = dict[str, Any]
KINDS = {"Deployment": "apps/v1", "Service": "v1", "ConfigMap": "v1", "Pod": "v1"}
PAST = "2020-01-01T00:00:00Z"
NOW = "2030-01-01T00:00:00Z"

bounded = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

words = st.sampled_from(["a", "b", "c"])
labels = st.dictionaries(words, words, max_size=3)


def some(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[Object]:
    """Return a strategy for objects with some of these members."""
    return st.fixed_dictionaries({}, optional=members)


def keyed(key: str, names: st.SearchStrategy[Any], **members: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Object]]:
    return st.lists(st.fixed_dictionaries({key: names}, optional=members), max_size=3, unique_by=lambda item: item[key])


ports = keyed("containerPort", st.integers(1, 3), name=words, protocol=st.just("TCP"))
environment = keyed("name", words, value=words, valueFrom=some(fieldRef=some(fieldPath=words)))
containers = keyed(
    "name",
    words,
    image=words,
    ports=ports,
    env=environment,
    args=st.lists(words, max_size=3),
    resources=some(limits=st.dictionaries(words, words, max_size=2)),
)
pod = some(
    containers=containers,
    nodeSelector=labels,
    volumes=keyed("name", words, emptyDir=some(medium=words)),
    hostname=words,
    tolerations=st.lists(some(key=words), max_size=2),
    imagePullSecrets=keyed("name", words),
)
metadata = some(labels=labels, annotations=labels, finalizers=st.lists(words, max_size=3, unique=True)).map(
    lambda found: {"name": "x", **found}
)
specs: dict[str, st.SearchStrategy[Object]] = {
    "Pod": some(spec=pod, status=some(phase=words, conditions=keyed("type", words, status=words))),
    "Deployment": some(
        spec=some(
            replicas=st.integers(0, 2),
            selector=some(matchLabels=labels),
            strategy=some(type=words),
            template=some(metadata=some(labels=labels), spec=pod),
        ),
        status=some(replicas=st.integers(0, 2), conditions=keyed("type", words, status=words)),
    ),
    "Service": some(
        spec=some(
            selector=labels,
            type=words,
            ports=keyed("port", st.integers(1, 3), name=words, protocol=st.just("TCP")),
            externalIPs=st.lists(words, max_size=2, unique=True),
        )
    ),
    "ConfigMap": some(data=labels, binaryData=labels, immutable=st.booleans()),
}


def objects(kind: str) -> st.SearchStrategy[Object]:
    return st.builds(
        lambda meta, body: {"apiVersion": KINDS[kind], "kind": kind, "metadata": meta, **body}, metadata, specs[kind]
    )


def bare(value: Any) -> Any:
    """Return the value without nulls and empty maps: the library returns null for an emptied map, which Go's types omit."""
    if isinstance(value, dict):
        kept = {name: bare(member) for name, member in value.items()}
        return {name: member for name, member in kept.items() if member not in (None, {}, [])}
    return [bare(item) for item in value] if isinstance(value, list) else value


def without_nulls(value: Any) -> Any:
    return patch.merge_patch(None, value)


def timeless(obj: Object) -> Object:
    """Return the object with each entry's time replaced by old or new, since the library reads its own clock."""
    entries = copy.deepcopy(obj["metadata"].get("managedFields", []))
    for entry in entries:
        if "time" in entry:
            entry["time"] = "old" if entry["time"] == PAST else "new"
    entries.sort(key=lambda entry: (entry["operation"], entry["manager"], entry.get("subresource", "")))
    others = {name: member for name, member in obj["metadata"].items() if name != "managedFields"}
    return {**bare({**obj, "metadata": others}), "managedFields": entries}


def aged(obj: Object) -> Object:
    result: Object = without_nulls(obj)
    for entry in result["metadata"].get("managedFields", []):
        entry["time"] = PAST
    return result


steps = st.tuples(
    st.sampled_from(["apply", "apply", "update"]),
    st.sampled_from(["one", "two"]),
    st.booleans(),
    st.sampled_from(["", "status"]),
)


@bounded
@given(st.data())
def test_field_managers(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(list(KINDS)))
    group, _, version = KINDS[kind].rpartition("/")
    schema = builtin.schema_for(group, version, kind)
    assert schema is not None
    live: Object | None = None
    for _ in range(data.draw(st.integers(1, 4))):
        op, manager, force, subresource = data.draw(steps)
        doc = bare(data.draw(objects(kind)))
        expected = ask(
            op, apiVersion=KINDS[kind], kind=kind, live=live, doc=doc, manager=manager, subresource=subresource, force=force
        )
        if "panic" in expected.get("error", ""):
            return
        try:
            if op == "apply":
                found = fieldmanager.apply(copy.deepcopy(live), doc, manager, force, schema, NOW, subresource)
            else:
                found = fieldmanager.update(copy.deepcopy(live), doc, manager, schema, NOW, subresource)
        except fieldmanager.ApplyConflict as conflict:
            wanted = [(cause["message"], cause["field"]) for cause in expected.get("causes", [])]
            assert sorted(conflict.causes) == sorted(wanted), expected
            continue
        assert "error" not in expected, expected
        assert timeless(found) == timeless(expected["result"])
        live = aged(expected["result"])


def _changes(live: Object, wanted: Object) -> st.SearchStrategy[Object]:
    """Return a strategy for patches: objects of the kind with some nulls."""

    def nulled(value: Any) -> st.SearchStrategy[Any]:
        if not isinstance(value, dict):
            return st.just(value)
        return st.fixed_dictionaries(
            {name: st.one_of(nulled(member), nulled(member), st.none()) for name, member in value.items()}
        )

    return nulled({name: member for name, member in wanted.items() if name not in ("apiVersion", "kind")})


@bounded
@given(st.data())
def test_strategic_merge_patch(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(list(KINDS)))
    group, _, version = KINDS[kind].rpartition("/")
    schema = builtin.schema_for(group, version, kind)
    assert schema is not None
    live, wanted = data.draw(objects(kind)), data.draw(objects(kind))
    change = data.draw(_changes(live, wanted))
    _direct(change, data)
    expected = ask("strategic", apiVersion=KINDS[kind], kind=kind, live=live, doc=change)
    try:
        found = patch.strategic_merge_patch(live, change, schema)
    except patch.PatchError as error:
        assert expected.get("error") == error.message
        return
    assert "error" not in expected, expected
    assert found == expected["result"]


def _direct(value: Any, data: st.DataObject) -> None:
    """Add directives, in place, to some of the maps and keyed lists of a patch."""
    if isinstance(value, list):
        for item in value:
            _direct(item, data)
            if isinstance(item, dict) and data.draw(st.integers(0, 5)) == 0:
                item["$patch"] = data.draw(st.sampled_from(["delete", "replace"]))
        return
    if not isinstance(value, dict):
        return
    for member in list(value.values()):
        _direct(member, data)
    for name in list(value):
        if isinstance(value[name], list) and data.draw(st.integers(0, 4)) == 0:
            if name == "finalizers":
                value[f"$deleteFromPrimitiveList/{name}"] = value.pop(name)
            elif name in _MERGE_KEYS:
                key = _MERGE_KEYS[name]
                value[f"$setElementOrder/{name}"] = [{key: item[key]} for item in value[name]]
    choice = data.draw(st.integers(0, 30))
    if choice == 0:
        value["$patch"] = data.draw(st.sampled_from(["delete", "replace"]))
    elif choice == 1 and "type" in value:
        value["$retainKeys"] = [name for name in value if value[name] is not None]


_MERGE_KEYS = {
    "containers": "name",
    "env": "name",
    "volumes": "name",
    "imagePullSecrets": "name",
    "conditions": "type",
}

documents = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
maps = st.dictionaries(words, documents, max_size=3)


@bounded
@given(maps, maps)
def test_merge_patch(live: Object, change: Object) -> None:
    assert patch.merge_patch(live, change) == ask("merge", live=live, doc=change)["result"]


paths = st.lists(st.sampled_from(["a", "b", "c", "0", "1", "2", "-"]), min_size=1, max_size=3).map(
    lambda parts: "/" + "/".join(parts)
)
operations = st.one_of(
    st.fixed_dictionaries({"op": st.sampled_from(["add", "replace", "test"]), "path": paths, "value": documents}),
    st.fixed_dictionaries({"op": st.just("remove"), "path": paths}),
    st.fixed_dictionaries({"op": st.sampled_from(["move", "copy"]), "path": paths, "from": paths}),
)


@bounded
@given(maps, st.lists(operations, min_size=1, max_size=3))
def test_json_patch(live: Object, ops: list[Object]) -> None:
    expected = ask("json", live=live, doc=ops)
    if "panic" in expected.get("error", ""):
        return
    try:
        found = patch.json_patch(live, ops)
    except patch.PatchError:
        assert "error" in expected, expected
        return
    assert found == expected.get("result"), expected
