"""The images that the sandbox has programs for. Importing this package registers all of them in `PROGRAMS`."""

from __future__ import annotations

from azuresandbox.machine.images import aso, certmanager, workloads
from azuresandbox.machine.images.flux import configuration_agent, helm, kustomize, notification, source
from azuresandbox.machine.node.program import PROGRAMS

__all__ = [
    "PROGRAMS",
    "aso",
    "certmanager",
    "configuration_agent",
    "helm",
    "kustomize",
    "notification",
    "source",
    "workloads",
]
