"""Field managers: those of Flux, of controllers and of users' tools, and the fields that a controller may own without drift.

A manager's name is chosen by the client: `fieldManager`, else the program in its User-Agent up to the first slash. It proves
nothing. Known tools are reported by their name, every other manager that is not in these tables as an unknown program.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Path = tuple[str, ...]
"""Steps from an object's root, as `managed_fields.shown` returns them. In a pattern, `*` is any one step; a pattern includes
the fields below it."""

APPLIERS = frozenset({"kustomize-controller", "helm-controller", "fluxconfig-agent", "fleetlib"})
"""The managers that write the declared state: Flux's controllers, Azure's agent, and this runbook's stages."""

REPLICAS: tuple[Path, ...] = (("spec", "replicas"),)

CONTROLLERS: Mapping[tuple[str, str], tuple[Path, ...]] = {
    # HorizontalPodAutoscalers write the subresource scale under this name, `kubectl scale` under its own.
    # Source: kubernetes, SSA, "Transferring ownership".
    ("kube-controller-manager", "scale"): REPLICAS,
    # KEDA scales to and from zero by the same subresource, and labels the ScaledObjects. Source: kedacore/keda, executor.
    ("keda", "scale"): REPLICAS,
    ("keda", ""): (("metadata", "labels", "scaledobject.keda.sh/name"),),
    # The built-in controllers write these annotations and fields. Source: kubernetes, pkg/controller.
    ("kube-controller-manager", ""): (
        ("metadata", "annotations", "deployment.kubernetes.io/revision"),
        ("metadata", "annotations", "pv.kubernetes.io/bind-completed"),
        ("metadata", "annotations", "pv.kubernetes.io/bound-by-controller"),
        ("metadata", "annotations", "volume.kubernetes.io/storage-provisioner"),
        ("metadata", "annotations", "volume.beta.kubernetes.io/storage-provisioner"),
        ("metadata", "annotations", "volume.kubernetes.io/selected-node"),
        ("spec", "volumeName"),
        ("data", "token"),
        ("data", "namespace"),
        ("data", "ca.crt"),  # the three are of a service account's token
        ("metadata", "annotations", "kubernetes.io/service-account.uid"),
    ),
    ("kube-scheduler", ""): (("metadata", "annotations", "volume.kubernetes.io/selected-node"),),
    ("clusterrole-aggregation-controller", ""): (("rules",),),
    # cert-manager's CA injector, under the name of its Deployment and of its program.
    **{
        (name, ""): (
            ("webhooks", "*", "clientConfig", "caBundle"),
            ("spec", "conversion"),
            ("spec", "caBundle"),
        )
        for name in ("cert-manager-cainjector", "cainjector")
    },
    # AKS excludes its own namespaces from webhooks. Source: Azure/AKS#1771, #4002.
    ("admissionsenforcer", ""): (("webhooks", "*", "namespaceSelector"), ("webhooks", "*", "objectSelector")),
    # ASO writes the values that Azure chooses into its objects' specs; these objects are compared with Azure.
    ("azureserviceoperator", ""): (("spec",), ("metadata",)),
}
"""(controller, subresource) -> the fields that it may own. Other fields that it owns are reported as drift, under its name."""

TOOLS = ("kubectl", "helm", "flux", "flux-client-side-apply", "k9s", "Mozilla")
"""The managers of users' tools; also `kubectl-<command>`, such as kubectl-edit. Mozilla is a browser: the portal. With the
manager `flux-client-side-apply`, Flux keeps a change made by kubectl. Source: fluxcd.io, FAQ."""

UNDONE = "kubectl"
"""The prefix of managers whose fields Flux's kustomize-controller takes over, removing those that Git does not declare. It
keeps the undeclared fields of other managers. Source: fluxcd/kustomize-controller#982, fluxcd/pkg ssa."""

BOOKKEEPING = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        "deployment.kubernetes.io/revision",
        "reconcile.fluxcd.io/requestedAt",
        "reconcile.fluxcd.io/forceAt",
        "reconcile.fluxcd.io/resetAt",
    }
)
"""Annotations that tools write for controllers or for themselves: they are not part of the declared state."""


def applies(entry: Mapping[str, Any]) -> bool:
    """Return whether an entry of managedFields is of a manager that writes the declared state."""
    return entry.get("manager") in APPLIERS


def may_own(entry: Mapping[str, Any], path: Path) -> bool:
    """Return whether the entry's manager is a controller that may own the field."""
    patterns = CONTROLLERS.get((str(entry.get("manager")), str(entry.get("subresource") or "")), ())
    return any(_matches(pattern, path) for pattern in patterns)


def _matches(pattern: Path, path: Path) -> bool:
    return len(path) >= len(pattern) and all(step in ("*", there) for step, there in zip(pattern, path, strict=False))


def is_tool(manager: str) -> bool:
    """Return whether the manager is a user's tool."""
    return manager in TOOLS or manager.startswith("kubectl-")


def called(manager: str) -> str:
    """Return the manager's name as a row shows it: known managers by their name, others as `unknown program NAME`."""
    known = is_tool(manager) or manager in APPLIERS or manager in _names(CONTROLLERS)
    return manager if known else f"unknown program {manager or '(without a name)'}"


def _names(controllers: Iterable[tuple[str, str]]) -> set[str]:
    return {name for name, _ in controllers}
