"""The compute of the clusters: nodes, the built-in controllers, the kubelets with their programs, and Azure's agents.

`components` runs the components of every cluster: `controllers` (kube-controller-manager and the scheduler), `node` (nodes and
kubelets), `addons` (the add-ons of AKS) and `extension` (microsoft.flux). `images` are the programs that run in Pods; they
use `helm` and `kustomize`. `controller`, `client` and `cluster` are shared by all controllers.
"""

from __future__ import annotations

from azuresandbox.machine.components import run

__all__ = ["run"]
