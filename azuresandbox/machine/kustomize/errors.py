"""What goes wrong in a build. Imports nothing."""

from __future__ import annotations


class KustomizeError(Exception):
    """A build failed. The text is worded as kustomize words it."""


class Unsupported(KustomizeError):
    """kustomize can do this; the sandbox's own build refuses it, by name."""

    def __init__(self, what: str, instead: str) -> None:
        super().__init__(f"the sandbox does not support {what}: {instead}")
