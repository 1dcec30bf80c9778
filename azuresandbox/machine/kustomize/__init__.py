"""`kustomize build` in process, for the supported fields; others are refused by name.

`build` is kustomize; `with_overlay` is Flux's preparation of a build, `substitute` its substitution afterwards.
"""

from __future__ import annotations

from azuresandbox.machine.kustomize.build import build
from azuresandbox.machine.kustomize.envsubst import substitute
from azuresandbox.machine.kustomize.errors import KustomizeError, Unsupported
from azuresandbox.machine.kustomize.overlay import with_overlay

__all__ = ["KustomizeError", "Unsupported", "build", "substitute", "with_overlay"]
