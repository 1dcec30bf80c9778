"""Charts, loaded and rendered by Helm's own code. Equal bytes are loaded, and equal values rendered, once in the process.

The Helm library (`helm_python`) is imported when the first chart is loaded, because that takes a while.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

Object = dict[str, Any]

_KEPT_CHARTS, _KEPT_RENDERINGS = 16, 32


class ChartError(Exception):
    """Helm could not load or render a chart. The text is Helm's."""


class Chart:
    """One chart archive. Immutable, and shared by all releases of the same bytes."""

    def __init__(self, data: bytes) -> None:
        import helm_python

        try:
            self._chart = helm_python.Chart.load_archive(data)
        except helm_python.HelmError as error:
            raise ChartError(str(error)) from error
        self.digest = hashlib.sha256(data).hexdigest()
        self.metadata: Object = self._chart.metadata
        self._rendered: OrderedDict[str, dict[str, str]] = OrderedDict()

    @property
    def name(self) -> str:
        return str(self.metadata["name"])

    @property
    def crds(self) -> list[Object]:
        """`[{"name", "filename", "data"}]`, of the chart and its subcharts."""
        return list(self._chart.crds or [])

    def stored(self, version: str) -> Object:
        """Return the chart as a release stores it, with the version that was released."""
        return {
            "metadata": {**self.metadata, "version": version},
            "lock": None,
            "templates": [_file(item) for item in self._chart.templates or []],
            "values": self._chart.values or {},
            "schema": _base64(self._chart.schema) if self._chart.schema else None,
            "files": [_file(item) for item in self._chart.files or []],
        }

    def render(self, values: Mapping[str, Any], *, name: str, namespace: str, revision: int, upgrade: bool) -> dict[str, str]:
        """Return template path -> text. Checks the values against the chart's schema. Raises `ChartError`."""
        import helm_python

        key = json.dumps([values, name, namespace, revision, upgrade], sort_keys=True)
        if key not in self._rendered:
            try:
                self._rendered[key] = self._chart.render(
                    dict(values), name=name, namespace=namespace, revision=revision, is_install=not upgrade, is_upgrade=upgrade
                )
            except helm_python.HelmError as error:
                raise ChartError(str(error)) from error
            if len(self._rendered) > _KEPT_RENDERINGS:
                self._rendered.popitem(last=False)
        self._rendered.move_to_end(key)
        return self._rendered[key]


_charts: OrderedDict[str, Chart] = OrderedDict()


def load(data: bytes) -> Chart:
    """Return the chart in a `.tgz`. Raises `ChartError`."""
    digest = hashlib.sha256(data).hexdigest()
    if digest not in _charts:
        _charts[digest] = Chart(data)
        if len(_charts) > _KEPT_CHARTS:
            _charts.popitem(last=False)
    _charts.move_to_end(digest)
    return _charts[digest]


def read_values(text: str) -> Object:
    """Parse a YAML document of values. Raises `ChartError` with Helm's message."""
    import helm_python

    try:
        return dict(helm_python.values_from_yaml(text) or {})
    except helm_python.HelmError as error:
        raise ChartError(str(error)) from error


def set_value(expression: str, *, as_string: bool = False) -> Object:
    """Return the values of a `--set` (or `--set-string`) expression. Raises `ChartError`."""
    import helm_python

    try:
        parse = helm_python.parse_set_string_values if as_string else helm_python.parse_set_string
        return dict(parse(expression))
    except helm_python.HelmError as error:
        raise ChartError(str(error)) from error


def merge_values(base: Mapping[str, Any], top: Mapping[str, Any]) -> Object:
    """Return `base` with `top` over it: maps are merged, all other values are replaced."""
    result = dict(base)
    for key, value in top.items():
        old = result.get(key)
        result[key] = merge_values(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def _file(item: Mapping[str, Any]) -> Object:
    return {"name": item["name"], "data": _base64(item["data"])}


def _base64(data: Any) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode() if isinstance(data, dict) else str(data).encode()
    return base64.b64encode(raw).decode()
