"""Cheaper imports of packages that load more than fleetlib needs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_iri_grammars() -> Iterator[None]:
    """Import jsonschema in this block without its check of the format "iri", which costs a second.

    jsonschema imports `rfc3987_syntax` where it is installed (Jupyter depends on it), and that compiles 38 grammars. papermill
    and oras import jsonschema; the schemas of notebooks and manifests have no IRI.
    """
    name = "rfc3987_syntax"
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # None: "not installed" to the import system
    try:
        yield
    finally:
        del sys.modules[name]
