"""The errors of a build."""

from __future__ import annotations


class KustomizeError(Exception):
    """A build has failed. `str()` is kustomize's message."""


class Unsupported(KustomizeError):
    """The kustomization has a field that kustomize supports and the sandbox does not."""

    def __init__(self, what: str, instead: str) -> None:
        super().__init__(f"the sandbox does not support {what}: {instead}")
