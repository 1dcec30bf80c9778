"""YAML as kustomize and Flux read it: YAML 1.2 scalars (`yes` is a string), no key twice, Go's wording of errors.

May import the package's errors only.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from azuresandbox.machine.kustomize.errors import KustomizeError

Object = dict[str, Any]
Objects = list[Object]


class MalformedYAML(KustomizeError):
    """Text that is not YAML. `str()` is go-yaml's error."""


class DuplicateKey(MalformedYAML):
    """A map that has a key twice."""


_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
    """PyYAML with the scalars of go-yaml v3."""

    yaml_implicit_resolvers: dict[str, Any] = {}


_INT = re.compile(r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)$")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$")

for tag, pattern, first in (
    ("bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    ("null", re.compile(r"(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("int", _INT, "-+0123456789"),
    ("float", _FLOAT, "-+.0123456789"),
    ("merge", re.compile(r"<<$"), "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", pattern, list(first))


def _integer(loader: Any, node: Any) -> int:
    text = str(loader.construct_scalar(node)).replace("_", "")
    sign = -1 if text.startswith("-") else 1
    digits = text.lstrip("+-").lower()
    if digits.startswith(("0b", "0o", "0x")):
        return sign * int(digits, 0)
    return sign * (int(digits, 8) if len(digits) > 1 and digits.startswith("0") else int(digits))


def _number(loader: Any, node: Any) -> float | int:
    text = str(loader.construct_scalar(node)).lower()
    value = float(text.replace(".inf", "inf").replace(".nan", "nan"))
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


def _mapping(loader: Any, node: Any) -> Any:
    seen: dict[Any, int] = {}
    for key, _ in node.value:
        if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
            line, first = key.start_mark.line + 1, seen[key.value]
            raise DuplicateKey(
                f'yaml: unmarshal errors:\n  line {line}: mapping key "{key.value}" already defined at line {first}'
            )
        seen[key.value] = key.start_mark.line + 1
    loader.flatten_mapping(node)
    return {_key(loader, key): loader.construct_object(value, deep=True) for key, value in node.value}


def _key(loader: Any, node: Any) -> str:
    """JSON has string keys only: a number or a boolean keeps its spelling."""
    if isinstance(node, yaml.ScalarNode):
        return str(node.value)
    raise MalformedYAML(f"yaml: line {node.start_mark.line + 1}: invalid map key")


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def parse(text: str | bytes) -> list[Any]:
    """The documents of a YAML stream, JSON-like; empty ones are left out. Raises `MalformedYAML`."""
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        return [document for document in yaml.load_all(text, Loader=_Loader) if document is not None]
    except UnicodeDecodeError as error:
        raise MalformedYAML("yaml: invalid leading UTF-8 octet") from error
    except yaml.MarkedYAMLError as error:
        raise MalformedYAML(_wording(error)) from error
    except yaml.YAMLError as error:
        raise MalformedYAML("yaml: control characters are not allowed") from error


def parse_one(text: str | bytes) -> Any:
    """The first document, or None."""
    return next(iter(parse(text)), None)


def _wording(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    line = mark.line if mark else 0
    if line and isinstance(error, yaml.scanner.ScannerError):
        line += 1
    return f"yaml: line {line}: {error.problem}" if line else f"yaml: {error.problem}"


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Strings that older readers would take for something else are quoted; no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def dump(value: Any) -> str:
    """YAML with sorted keys, as `sigs.k8s.io/yaml` writes it."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=True, default_flow_style=False, width=2**30, allow_unicode=True))
