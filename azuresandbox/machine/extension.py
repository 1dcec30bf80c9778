"""The extension agent: installs in a cluster what `microsoft.flux` installs, and reports whether it runs.

Flux's controllers enforce multi-tenancy as Azure's do: no references across namespaces, and `flux-applier` where no service
account is named. Uninstalling the extension keeps the custom resource definitions, as Helm does with a chart's `crds` folder.
Source: Azure's pages on GitOps with Flux v2 and on the versions of the extension.
"""

from __future__ import annotations

import asyncio
from typing import Any

from azuresandbox import fabric
from azuresandbox.fabric import ExtensionGoal, Report
from azuresandbox.machine.client import ApiError
from azuresandbox.machine.cluster import APPS, CORE, Cluster
from azuresandbox.machine.images.flux.crds import flux_crds
from azuresandbox.machine.objects import condition
from azuresandbox.machine.types import Object, Objects

NAMESPACE = "flux-system"
MANAGER = "extension-manager"
RBAC = "rbac.authorization.k8s.io/v1"
FLUX_IMAGES = "mcr.microsoft.com/oss/v2/fluxcd"
AGENT_IMAGE = "mcr.microsoft.com/azurek8sflux/fluxconfig-agent"
CONTROLLER_IMAGE = "mcr.microsoft.com/azurek8sflux/fluxconfig-controller"

FLUX_2_6 = {
    "source-controller": "v1.6.2",
    "kustomize-controller": "v1.6.1",
    "helm-controller": "v1.3.0",
    "notification-controller": "v1.6.0",
    "image-reflector-controller": "v0.35.2",
    "image-automation-controller": "v0.41.2",
}
FLUX_2_5 = {
    "source-controller": "v1.5.0",
    "kustomize-controller": "v1.5.1",
    "helm-controller": "v1.2.0",
    "notification-controller": "v1.5.0",
    "image-reflector-controller": "v0.34.0",
    "image-automation-controller": "v0.40.0",
}
VERSIONS = {"1.17.3": FLUX_2_5, "1.18.2": FLUX_2_6, "1.19.5": FLUX_2_6}
"""Version of microsoft.flux -> controller -> version of its image."""

DEFAULTS = {
    "source-controller": True,
    "kustomize-controller": True,
    "helm-controller": True,
    "notification-controller": True,
    "image-reflector-controller": False,
    "image-automation-controller": False,
}
"""Controller -> whether it is installed where `<controller>.enabled` is not set."""

AGENTS = ("fluxconfig-agent", "fluxconfig-controller")
_READ, _WRITE = ["get", "list", "watch"], ["create", "update", "patch", "delete"]
CRD_CONTROLLER: Objects = [
    *(
        {"apiGroups": [f"{name}.toolkit.fluxcd.io"], "resources": ["*"], "verbs": ["*"]}
        for name in ("source", "kustomize", "helm", "notification", "image")
    ),
    {"apiGroups": [""], "resources": ["namespaces", "secrets", "configmaps", "serviceaccounts"], "verbs": _READ},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": [*_READ, *_WRITE]},
    {"apiGroups": [""], "resources": ["configmaps/status"], "verbs": ["get", "update", "patch"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": [*_READ, *_WRITE]},
    {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]},
]
"""The rules that all of Flux's controllers have. Source: fluxcd/flux2 v2.6 `manifests/rbac/controller.yaml`."""


class Refused(Exception):
    """The goal cannot be reached. `str()` is the reason."""


async def run_extension_agent(cluster: Cluster) -> None:
    """Follow the extension goals of this cluster until cancelled. Each has a task of its own."""
    tasks: dict[str, asyncio.Task[None]] = {}
    try:
        async for goal in fabric.watch_goals(cluster.sandbox.store, "extension", cluster.id):
            assert isinstance(goal, ExtensionGoal)
            old = tasks.pop(goal.name, None)
            if old is not None:
                old.cancel()
                await asyncio.gather(old, return_exceptions=True)
            if fabric.get_goal(cluster.sandbox.store, "extension", cluster.id, goal.name) is not None:
                tasks[goal.name] = asyncio.create_task(_pursue(cluster, goal))
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)


async def _pursue(cluster: Cluster, goal: ExtensionGoal) -> None:
    while True:
        try:
            report = await _reach(cluster, goal)
            break
        except Refused as error:
            report = Report(goal.revision, "Failed", {"code": "ExtensionOperationFailed", "message": str(error)})
            break
        except ApiError as error:
            cluster.log(f"extension agent: {goal.name}: {error}")
            await cluster.clock.wait(5)
    fabric.put_report(cluster.sandbox.store, goal, report)


async def _reach(cluster: Cluster, goal: ExtensionGoal) -> Report:
    if goal.deleted:
        await _uninstall(cluster, goal)
        return Report(goal.revision, "Deleted")
    if goal.extension_type.lower() != "microsoft.flux":
        raise Refused(f"the sandbox has no extension of type {goal.extension_type}: it has microsoft.flux")
    wanted = objects(goal)
    for obj in wanted:
        await _apply(cluster, obj)
    names = [obj["metadata"]["name"] for obj in wanted if obj["kind"] == "Deployment"]
    for gone in [name for name in DEFAULTS if name not in names]:
        await cluster.manager.delete(APPS, "Deployment", gone, NAMESPACE)
    await _ready(cluster, names)
    return Report(goal.revision, "Succeeded", details={"version": goal.version})


async def _apply(cluster: Cluster, obj: Object) -> None:
    """Apply server-side: the API server writes only differences."""
    await cluster.manager.apply(obj, MANAGER, force=True)


async def _ready(cluster: Cluster, names: list[str]) -> None:
    """Wait until all Deployments are rolled out. Raises `Refused` when one exceeds its deadline."""
    cache = cluster.cache(APPS, "Deployment")
    with cache.changes() as changed:
        while True:
            changed.clear()
            found = [obj for name in names if (obj := cache.get(name, NAMESPACE)) is not None]
            for obj in found:
                progress = condition(obj, "Progressing")
                if progress is not None and progress["status"] == "False":
                    raise Refused(f"Deployment is not ready: {NAMESPACE}/{obj['metadata']['name']}: {progress['message']}")
            if len(found) == len(names) and all(_available(obj) for obj in found):
                return
            await changed.wait()


def _available(obj: Object) -> bool:
    status, wanted = obj.get("status") or {}, obj["spec"].get("replicas", 1)
    current = status.get("observedGeneration", 0) >= obj["metadata"]["generation"]
    return current and all(status.get(name, 0) == wanted for name in ("replicas", "updatedReplicas", "availableReplicas"))


async def _uninstall(cluster: Cluster, goal: ExtensionGoal) -> None:
    for obj in reversed(objects(goal)):
        if obj["kind"] not in ("CustomResourceDefinition", "Namespace"):
            await cluster.manager.delete(
                obj["apiVersion"], obj["kind"], obj["metadata"]["name"], obj["metadata"].get("namespace", "")
            )


# --- the installed objects -------------------------------------------------------------------------------------------


def objects(goal: ExtensionGoal) -> Objects:
    """Return all objects of the extension, in the order in which they are applied. Raises `Refused`."""
    versions = VERSIONS.get(goal.version)
    if versions is None:
        raise Refused(f"microsoft.flux has no version {goal.version}: the sandbox knows {', '.join(VERSIONS)}")
    enabled = [name for name, default in DEFAULTS.items() if _setting(goal, f"{name}.enabled", default)]
    found: Objects = [
        {
            "apiVersion": CORE,
            "kind": "Namespace",
            "metadata": {"name": NAMESPACE, "labels": {"app.kubernetes.io/part-of": "flux"}},
        }
    ]
    found += flux_crds()
    for name in (*DEFAULTS, *AGENTS):
        found.append({"apiVersion": CORE, "kind": "ServiceAccount", "metadata": _named(name)})
    found += _rights()
    found.append(_service("source-controller"))
    found.append(_service("notification-controller"))
    found += [_controller(goal, name, versions[name]) for name in enabled]
    found.append(_deployment("fluxconfig-agent", f"{AGENT_IMAGE}:{goal.version}", []))
    found.append(_deployment("fluxconfig-controller", f"{CONTROLLER_IMAGE}:{goal.version}", []))
    return found


def _rights() -> Objects:
    """Return the roles of Flux's own installation (fluxcd/flux2 `manifests/rbac`), and cluster-admin for Azure's agents.

    All controllers may change Flux's kinds. The two that apply objects are cluster-admin; for tenants they impersonate.
    """
    return [
        {
            "apiVersion": RBAC,
            "kind": "ClusterRole",
            "metadata": {"name": f"crd-controller-{NAMESPACE}"},
            "rules": CRD_CONTROLLER,
        },
        _binding("crd-controller", f"crd-controller-{NAMESPACE}", tuple(DEFAULTS)),
        _binding("cluster-reconciler", "cluster-admin", ("kustomize-controller", "helm-controller", *AGENTS)),
    ]


def _binding(name: str, role: str, accounts: tuple[str, ...]) -> Object:
    return {
        "apiVersion": RBAC,
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"{name}-{NAMESPACE}"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE} for account in accounts],
    }


def _setting(goal: ExtensionGoal, name: str, default: bool) -> bool:
    return str(goal.settings.get(name, default)).lower() == "true"


def _named(name: str) -> Object:
    return {
        "name": name,
        "namespace": NAMESPACE,
        "labels": {"app.kubernetes.io/part-of": "flux", "app.kubernetes.io/component": name},
    }


def _service(name: str) -> Object:
    port = {"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http"}
    return {
        "apiVersion": CORE,
        "kind": "Service",
        "metadata": _named(name),
        "spec": {"type": "ClusterIP", "selector": {"app": name}, "ports": [port]},
    }


def _controller(goal: ExtensionGoal, name: str, version: str) -> Object:
    arguments = ["--watch-all-namespaces=true", "--log-level=info", "--log-encoding=json", "--enable-leader-election"]
    if _setting(goal, "multiTenancy.enforce", True):
        if name != "source-controller":
            arguments.append("--no-cross-namespace-refs=true")
        if name in ("kustomize-controller", "helm-controller"):
            arguments.append("--default-service-account=flux-applier")
        if name == "kustomize-controller":
            arguments.append("--no-remote-bases=true")
    for setting, value in sorted(goal.settings.items()):
        if setting in (f"{name}.concurrent", f"{name}.requeue-dependency", f"{name}.feature-gates"):
            arguments.append(f"--{setting.rpartition('.')[2]}={value}")
    return _deployment(name, f"{FLUX_IMAGES}/{name}:{version}", arguments)


def _deployment(name: str, image: str, arguments: list[str]) -> Object:
    container: dict[str, Any] = {
        "name": "manager",
        "image": image,
        "args": arguments,
        "ports": [{"containerPort": 9090, "name": "http", "protocol": "TCP"}],
        "env": [
            {"name": "RUNTIME_NAMESPACE", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}}
        ],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}},
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
    }
    metadata, labels = _named(name), {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"serviceAccountName": name, "containers": [container]}}
    return {
        "apiVersion": APPS,
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    }
