"""The images that the sandbox has programs for. `load()` imports every module that registers one.

May import the modules of this folder.
"""

from __future__ import annotations

import importlib

MODULES = (
    "workloads",
    "flux.configuration_agent",
    "aso",
    "certmanager",
    "flux.source",
    "flux.kustomize",
    "flux.helm",
    "flux.notification",
)


def load() -> None:
    """Register all programs; doing so twice changes nothing."""
    for name in MODULES:
        importlib.import_module(f"azuresandbox.machine.images.{name}")
