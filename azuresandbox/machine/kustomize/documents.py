"""YAML as kustomize and Flux read it: YAML 1.2 scalars (`yes` is a string), no duplicate keys, Go's wording of errors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import yaml

from azuresandbox.machine.kustomize.errors import KustomizeError


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
    """Return a key as a string, as JSON has it: a number or a boolean keeps its spelling."""
    if isinstance(node, yaml.ScalarNode):
        return str(node.value)
    raise MalformedYAML(f"yaml: line {node.start_mark.line + 1}: invalid map key")


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def parse(text: str | bytes) -> list[Any]:
    """Return the documents of a YAML stream as JSON trees, without empty ones. Raises `MalformedYAML`."""
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
    """Return the first document, or `None`. Raises `MalformedYAML`."""
    return next(iter(parse(text)), None)


def _wording(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    line = mark.line if mark else 0
    if line and isinstance(error, yaml.scanner.ScannerError):
        line += 1
    return f"yaml: line {line}: {error.problem}" if line else f"yaml: {error.problem}"


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Quotes strings that a YAML 1.1 reader would take for another type; writes no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def dump(value: Any) -> str:
    """Return YAML with sorted keys, as `sigs.k8s.io/yaml` writes it."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=True, default_flow_style=False, width=2**30, allow_unicode=True))


def flattened(documents: Iterable[Any]) -> Iterable[Any]:
    """Yield the documents; of a List its items."""
    for document in documents:
        items = document.get("items") if isinstance(document, dict) else None
        if isinstance(items, list) and str(document.get("kind", "")).endswith("List"):
            yield from flattened(items)
        else:
            yield document


def problem(obj: Any) -> str:
    """Return why `obj` is not a Kubernetes object, or ""."""
    if not isinstance(obj, dict):
        return "not an object: " + json.dumps(obj)[:80]
    metadata = obj.get("metadata") if isinstance(obj.get("metadata"), dict) else {}
    name, namespace = (str((metadata or {}).get(part) or "") for part in ("name", "namespace"))
    described = f"{{{{{obj.get('apiVersion', '')} {obj.get('kind', '')}}} {{{{{name} {namespace}}} map[] map[]}}}}"
    if not obj.get("kind"):
        return f"missing kind in object {described}"
    return "" if name else f"missing metadata.name in object {described}"
