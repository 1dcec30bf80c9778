"""Imports whose cost is out of all proportion to what they give, made cheap. May import nothing of the project."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_iri_grammars() -> Iterator[None]:
    """A block in which jsonschema is imported without its check of the format "iri".

    Jupyter brings `rfc3987_syntax`, which compiles 38 grammars (about a second) when it is imported. jsonschema takes it if it is
    there, and papermill and oras import jsonschema; neither a notebook nor a manifest has an IRI in its schema.
    """
    name = "rfc3987_syntax"
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # what the import system reads as "not installed"
    try:
        yield
    finally:
        del sys.modules[name]
