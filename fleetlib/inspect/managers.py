"""Who writes to the objects of a cluster: field managers by name, and what each may own without that being drift.

A manager's name is what the client says it is: `fieldManager`, else the program in its User-Agent up to the first slash. It proves
nothing, so nobody is called a person for it: tools that people work with are named as they name themselves, all else that is not in the
table is an unknown program. Imports nothing of the project's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Path = tuple[str, ...]
"""Steps from an object's root, as `managed_fields` shows them. In a pattern, `*` is any one step, and what is below belongs to it."""

APPLIERS = frozenset({"kustomize-controller", "helm-controller", "fluxconfig-agent", "fleetlib"})
"""Who writes what is declared: Flux's controllers, Azure's agent that makes Flux's objects, and this runbook's stages."""

REPLICAS: tuple[Path, ...] = (("spec", "replicas"),)

CONTROLLERS: Mapping[tuple[str, str], tuple[Path, ...]] = {
    # (name, subresource) -> what it may own
    # HorizontalPodAutoscalers and kubectl's own scale share the subresource; the name tells them apart. Source: kubernetes, SSA, "Transferring ownership".
    ("kube-controller-manager", "scale"): REPLICAS,
    # KEDA scales to and from zero itself, by the same subresource, and marks what it has seen. Source: kedacore/keda, executor.
    ("keda", "scale"): REPLICAS,
    ("keda", ""): (("metadata", "labels", "scaledobject.keda.sh/name"),),
    # The built-in controllers write to specs where the API gives them a field. Source: kubernetes, pkg/controller.
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
        ("data", "ca.crt"),  # of a service account's token
        ("metadata", "annotations", "kubernetes.io/service-account.uid"),
    ),
    ("kube-scheduler", ""): (("metadata", "annotations", "volume.kubernetes.io/selected-node"),),
    ("clusterrole-aggregation-controller", ""): (("rules",),),
    # cert-manager's injector, under the names of its releases and of its program.
    **{
        (name, ""): (
            ("webhooks", "*", "clientConfig", "caBundle"),
            ("spec", "conversion"),
            ("spec", "caBundle"),
        )
        for name in ("cert-manager-cainjector", "cainjector")
    },
    # AKS keeps webhooks away from its own namespaces. Source: Azure/AKS#1771, #4002.
    ("admissionsenforcer", ""): (("webhooks", "*", "namespaceSelector"), ("webhooks", "*", "objectSelector")),
    # ASO fills in what Azure decides; its own objects are compared with Azure.
    ("azureserviceoperator", ""): (("spec",), ("metadata",)),
}
"""Programs that are no hands, each with the fields that are theirs. Anything else they own is told under their name."""

TOOLS = ("kubectl", "helm", "flux", "flux-client-side-apply", "k9s", "Mozilla")
"""Tools that somebody works with, named as they name themselves; kubectl also by command, such as kubectl-edit. Mozilla is a browser: the portal.
`flux-client-side-apply` is the name under which Flux leaves a change by kubectl alone. Source: fluxcd.io, FAQ."""

UNDONE = "kubectl"
"""Flux's kustomize-controller takes over what managers whose names begin so own, and with it removes what Git does not declare; what others
own besides Git's fields it leaves. Source: fluxcd/kustomize-controller#982, fluxcd/pkg ssa."""

BOOKKEEPING = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        "deployment.kubernetes.io/revision",
        "reconcile.fluxcd.io/requestedAt",
        "reconcile.fluxcd.io/forceAt",
        "reconcile.fluxcd.io/resetAt",
    }
)
"""Annotations by which tools talk to controllers or to themselves: they say nothing of what is declared."""


def applies(entry: Mapping[str, Any]) -> bool:
    """Whether an entry of managedFields is of somebody who writes what is declared."""
    return entry.get("manager") in APPLIERS


def may_own(entry: Mapping[str, Any], path: Path) -> bool:
    """Whether the field is the controller's own."""
    patterns = CONTROLLERS.get((str(entry.get("manager")), str(entry.get("subresource") or "")), ())
    return any(_matches(pattern, path) for pattern in patterns)


def _matches(pattern: Path, path: Path) -> bool:
    return len(path) >= len(pattern) and all(step in ("*", there) for step, there in zip(pattern, path, strict=False))


def is_tool(manager: str) -> bool:
    """Whether the name is that of a tool that somebody works with."""
    return manager in TOOLS or manager.startswith("kubectl-")


def called(manager: str) -> str:
    """How a row names a manager: tools and what is in the tables by their names, all else `unknown program NAME`."""
    known = is_tool(manager) or manager in APPLIERS or manager in _names(CONTROLLERS)
    return manager if known else f"unknown program {manager or '(without a name)'}"


def _names(controllers: Iterable[tuple[str, str]]) -> set[str]:
    return {name for name, _ in controllers}
