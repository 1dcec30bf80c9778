"""The properties that a request's body may have: the schemas of the public models, as data.

`tools/arm_models.py` writes `data/models.json` from the installed azure-mgmt packages: importing those takes seconds and tens
of megabytes, reading the file takes milliseconds.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

Schema = dict[str, str]
"""Property -> its type: `string int number bool any`, a model's key, or `[]type` (list) and `{}type` (map)."""

SCALARS: dict[str, tuple[type, ...]] = {"string": (str,), "int": (int,), "number": (int, float), "bool": (bool,)}


@dataclass(frozen=True)
class Mismatch:
    """The first place where a body departs from its model. `problem`: `unknown` (no such member) or `type`.

    `path`: dotted, from the body's root (`properties.agentPoolProfiles[0].vmsize`); `model`: the model's own name.
    """

    problem: str
    path: str
    member: str
    model: str
    expected: str = ""
    value: Any = None


def properties_of(model: str) -> Schema:
    """Return the properties of a model, by key (`containerservice.ManagedCluster`). Raises `KeyError`."""
    return _load()[model]


def first_mismatch(model: str, body: Any) -> Mismatch | None:
    """Return the first departure of `body` from `model`, in document order; `None` if it fits."""
    return _check(model, body, "", "", "")


def _check(expected: str, value: Any, path: str, member: str, owner: str) -> Mismatch | None:
    if value is None or expected == "any":
        return None
    if expected.startswith("[]"):
        return _each(expected, value, path, member, owner, list)
    if expected.startswith("{}"):
        return _each(expected, value, path, member, owner, dict)
    if expected in SCALARS:
        fits = isinstance(value, SCALARS[expected]) and (expected == "bool" or not isinstance(value, bool))
        return None if fits else Mismatch("type", path=path, member=member, model=owner, expected=expected, value=value)
    if not isinstance(value, dict):
        return Mismatch("type", path=path, member=member, model=owner, expected=_short(expected), value=value)
    return _members(expected, value, path)


def _each(expected: str, value: Any, path: str, member: str, owner: str, kind: type[Any]) -> Mismatch | None:
    if not isinstance(value, kind):
        return Mismatch(
            "type", path=path, member=member, model=owner, expected=expected[:2] + _short(expected[2:]), value=value
        )
    steps: list[tuple[str, Any]] = (
        [(f"{path}.{key}", value[key]) for key in value]
        if kind is dict
        else [(f"{path}[{at}]", item) for at, item in enumerate(value)]
    )
    return next(filter(None, (_check(expected[2:], item, where, member, owner) for where, item in steps)), None)


def _members(model: str, value: dict[str, Any], path: str) -> Mismatch | None:
    schema = properties_of(model)
    by_lower = {name.lower(): name for name in schema}
    for name, item in value.items():
        where = f"{path}.{name}" if path else name
        known = by_lower.get(name.lower())
        if known is None:
            return Mismatch("unknown", path=where, member=name, model=_short(model), value=item)
        found = _check(schema[known], item, where, name, _short(model))
        if found is not None:
            return found
    return None


def normalized(model: str, body: Any) -> Any:
    """Return the body with its members named as in the model: ARM reads names without regard to case."""
    if model.startswith(("[]", "{}")):
        if isinstance(body, list):
            return [normalized(model[2:], item) for item in body]
        if isinstance(body, dict):
            return {key: normalized(model[2:], item) for key, item in body.items()}
        return body
    if model in SCALARS or model == "any" or not isinstance(body, dict):
        return body
    schema = properties_of(model)
    by_lower = {name.lower(): name for name in schema}
    names = {str(name): by_lower.get(str(name).lower(), str(name)) for name in body}
    return {names[name]: normalized(schema.get(names[name], "any"), item) for name, item in body.items()}


def without_nulls(document: Any) -> Any:
    """Return the document without the keys whose value is null."""
    if isinstance(document, dict):
        return {key: without_nulls(value) for key, value in document.items() if value is not None}
    return [without_nulls(item) for item in document] if isinstance(document, list) else document


def _short(model: str) -> str:
    return model.rpartition(".")[2]


@cache
def _load() -> dict[str, Schema]:
    text = (Path(__file__).parent / "data" / "models.json").read_text()
    loaded: dict[str, Schema] = json.loads(text)
    return loaded
