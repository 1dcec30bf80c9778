"""The compute of the clusters: nodes, the built-in controllers, the kubelets with their programs, and Azure's agents."""

from __future__ import annotations

from azuresandbox.machine.fleet import run

__all__ = ["run"]
