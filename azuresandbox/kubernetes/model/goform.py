"""Objects of built-in kinds in the form that Go's types write: zero values, omitted members, canonical quantities.

kube-apiserver decodes into Go types, stores protobuf and encodes again. So a member without `omitempty` is always present,
an empty one with it never is, and an empty list without it becomes null. The generated schemas of the built-in kinds say
which members those are (`x-zero` and `x-omits`, see `tools/generate_builtin_schemas.py`).
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any

from azuresandbox import trees
from azuresandbox.kubernetes.model.schema import Schema
from azuresandbox.kubernetes.model.schema_nodes import Fields, Node

_EMPTY: tuple[Any, ...] = ("", 0, False, [], {})


def form(obj: dict[str, Any], schema: Schema) -> None:
    """Rewrite the object in the form of its Go type, in place. Values of a wrong type are not changed."""
    _form(obj, schema.root)


def zero(api_version: str, kind: str, schema: Schema) -> dict[str, Any]:
    """Return a new object of the kind as Go writes it, with its zero values."""
    obj = {"apiVersion": api_version, "kind": kind}
    _form(obj, schema.root)
    return obj


def _form(value: Any, node: Node | None) -> None:
    if node is None:
        return
    if isinstance(value, dict):
        if node.additional is not None and not node.fields.declared():
            for name, member in value.items():
                if member is None and node.additional.type == "string":
                    member = ""
                value[name] = _scalar(member, node.additional)
                _form(member, node.additional)
            return
        zeros, omitted = _rules(node.fields)
        for name in list(value):
            child = node.fields[name]
            if child is None:
                continue
            member = value[name] = _scalar(value[name], child)
            if isinstance(member, dict | list):
                _form(member, child)
            if name in omitted and member in _EMPTY or member is None and name not in zeros:
                del value[name]
            elif name in zeros and (member is None or member == [] and zeros[name] is None):
                value[name] = trees.copy(zeros[name])
        for name, empty in zeros.items():
            if name not in value:
                value[name] = trees.copy(empty)
    elif isinstance(value, list):
        for at, item in enumerate(value):
            value[at] = _scalar(item, node.items) if node.items is not None else item
            _form(item, node.items)


def _rules(fields: Fields) -> tuple[dict[str, Any], frozenset[str]]:
    """Return member -> its zero value where Go always writes it, and the members that Go omits when they are empty."""
    found = _RULES.get(id(fields))
    if found is None:
        declared = fields.declared()
        zeros = {name: raw["x-zero"] for name, raw in declared.items() if "x-zero" in raw}
        found = zeros, frozenset(name for name, raw in declared.items() if raw.get("x-omits")), fields
        _RULES[id(fields)] = found
    return found[0], found[1]


_RULES: dict[int, tuple[dict[str, Any], frozenset[str], Fields]] = {}
"""id(fields) -> its rules. The fields are kept in the value, so that no other object gets their id."""


def _scalar(value: Any, node: Node) -> Any:
    if node.raw.get("x-quantity") and isinstance(value, str | int | float) and not isinstance(value, bool):
        return quantity(str(value))
    return value


# --- quantities ------------------------------------------------------------------------------------------------------

_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(m|u|n|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?\d+)?")
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}


@cache
def quantity(text: str) -> str:
    """Return a quantity in its canonical form: no fraction, the largest suffix of its family. Other text is returned as it is.

    Source: apimachinery `api/resource`, `Quantity.CanonicalizeBytes`.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return text
    try:
        number = Decimal(match[1])
    except InvalidOperation:
        return text
    suffix = match[2] or ""
    if suffix in _BINARY:
        value = number * 1024 ** _BINARY[suffix]
        if abs(value) >= 1024 and value == int(value):
            return _binary(int(value))
    elif suffix in _DECIMAL:
        value = number * Decimal(10) ** _DECIMAL[suffix]
    else:
        return _exponent(number * Decimal(10) ** int(suffix[1:]))
    return _decimal(value)


def _binary(value: int) -> str:
    suffix = ""
    for name in _BINARY:
        if value % 1024:
            break
        value, suffix = value // 1024, name
    return f"{value}{suffix}"


def _decimal(value: Decimal) -> str:
    nano = int(value.scaleb(9).to_integral_value(rounding="ROUND_UP"))
    if nano == 0:
        return "0"
    for name, power in reversed(_DECIMAL.items()):
        step = 10 ** (power + 9)
        if nano % step == 0:
            return f"{nano // step}{name}"
    return f"{nano}n"


def _exponent(value: Decimal) -> str:
    nano = int(value.scaleb(9).to_integral_value(rounding="ROUND_UP"))
    if nano == 0:
        return "0"
    for power in (18, 15, 12, 9, 6, 3, 0, -3, -6, -9):
        step = 10 ** (power + 9)
        if nano % step == 0:
            return f"{nano // step}" + (f"e{power}" if power else "")
    return f"{nano}e-9"
