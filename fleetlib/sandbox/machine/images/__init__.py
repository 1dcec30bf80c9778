"""The images that the sandbox has programs for. `load()` imports every module that registers one.

May import the modules of this folder.
"""

from __future__ import annotations

import importlib

MODULES = (
    "workloads", "fluxconfig_agent", "aso", "certmanager", "flux_source", "flux_kustomize", "flux_helm", "flux_notification",
)  # fmt: skip


def load() -> None:
    """Register all programs; doing so twice changes nothing."""
    for name in MODULES:
        importlib.import_module(f"fleetlib.sandbox.machine.images.{name}")
