"""The kustomize-controller: Kustomizations built from a source's artifact and applied, with their inventory.

Reasons, messages and events are those of fluxcd/kustomize-controller; `texts` has them in one table. One difference is
deliberate: a reconciliation that changes no object does not write to the API, where Flux renews conditions and event at each
interval.
"""

from __future__ import annotations

from azuresandbox.machine.images.flux.kustomize.controller import program

__all__ = ["program"]
