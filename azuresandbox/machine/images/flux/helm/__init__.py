"""The helm-controller: HelmReleases installed, upgraded, rolled back and uninstalled, from a chart template or a chartRef.

Reasons, messages and the order of decisions are those of fluxcd/helm-controller on Helm v4 (server-side apply), as
far as its CRD has the fields; `texts` has them in one table. A reconciliation without an action writes no status.
"""

from __future__ import annotations

from azuresandbox.machine.images.flux.helm.controller import program

__all__ = ["program"]
