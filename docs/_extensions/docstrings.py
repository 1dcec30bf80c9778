"""Hands docstrings to autodoc as reStructuredText.

The docstrings of this project are sentences with `code` in single backticks and examples after `>>>`. All other characters are
literal.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

_CODE = re.compile(r"(`+[^`]+`+)")


def plain(line: str) -> str:
    """A line of a docstring with its markup escaped and its code as literals."""
    parts = _CODE.split(line)
    return "".join(f"``{part.strip('`').strip()}``" if _CODE.fullmatch(part) else _escaped(part) for part in parts)


def _escaped(text: str) -> str:
    return re.sub(r"([\\*|_])", r"\\\1", text)


def convert(lines: list[str]) -> list[str]:
    """All lines; examples, up to the next empty line, stay as they are."""
    converted, example = [], False
    for line in lines:
        example = line.lstrip().startswith(">>>") or (example and bool(line.strip()))
        converted.append(line if example else plain(line))
    return converted


def _process(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    lines[:] = convert(lines)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", _process)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
