"""Azure's fluxconfig-agent: creates the Flux objects of flux configurations, and reports their state to Azure.

The names are Azure's: `<configuration>` for the source, `<configuration>-<kustomization>` for Kustomizations. Source: Azure's
pages on GitOps with Flux v2 and the reference of fluxConfigurations. Only the Pod of this program gets the fabric
(`Pod.fabric`).
"""

from __future__ import annotations

import asyncio
import base64
from typing import Any

from azuresandbox import fabric
from azuresandbox.clock import rfc3339
from azuresandbox.fabric import FluxConfigurationGoal, Report
from azuresandbox.machine.client import NoMatch
from azuresandbox.machine.controller import Cache, Controller, Informers, Key
from azuresandbox.machine.durations import go_duration
from azuresandbox.machine.node.program import Pod, image
from azuresandbox.machine.types import Object, Objects
from azuresandbox.store import Store

MANAGER = "fluxconfig-agent"
APPLIER = "flux-applier"
SOURCE, KUSTOMIZE, HELM = "source.toolkit.fluxcd.io/v1", "kustomize.toolkit.fluxcd.io/v1", "helm.toolkit.fluxcd.io/v2"
RBAC = "rbac.authorization.k8s.io/v1"
OWNER = "clusterconfig.azure.com/name", "clusterconfig.azure.com/namespace"
KINDS = (
    (SOURCE, "GitRepository"),
    (SOURCE, "OCIRepository"),
    (SOURCE, "HelmRepository"),
    (SOURCE, "HelmChart"),
    (KUSTOMIZE, "Kustomization"),
    (HELM, "HelmRelease"),
)
PENDING = frozenset(("Progressing", "ProgressingWithRetry", "DependencyNotReady", "Unknown"))
"""Reasons of Ready=False that stand for an unfinished reconciliation."""

STATES = {"Compliant": "Succeeded", "Suspended": "Succeeded", "Non-Compliant": "Failed", "Pending": "Progressing"}


class Refused(Exception):
    """A configuration uses a feature that the sandbox does not have. The text says what to do instead."""


@image("mcr.microsoft.com/azurek8sflux/fluxconfig-controller")
async def controller(pod: Pod) -> None:
    """Idle until the Pod is stopped: the agent does its work."""
    pod.ready(True)
    await asyncio.Event().wait()


@image("mcr.microsoft.com/azurek8sflux/fluxconfig-agent")
async def agent(pod: Pod) -> None:
    """Run the agent until its Pod is stopped."""
    store = pod.fabric
    if store is None:
        raise RuntimeError("this Pod has no link to Azure: the agent runs only where the microsoft.flux extension put it")
    informers = Informers(pod.kube, pod.clock, pod.log)
    try:
        await Agent(pod, store, informers).run()
    finally:
        await informers.stop()


class Agent:
    """Reconciles the flux configurations of one cluster."""

    def __init__(self, pod: Pod, store: Store, informers: Informers) -> None:
        self.pod, self.store, self.kube = pod, store, pod.kube
        self.controller = Controller(MANAGER, informers, pod.clock, pod.log, workers=2)
        self.caches: dict[str, Cache] = {kind: self.controller.watch(version, kind, self._concerned) for version, kind in KINDS}

    def _concerned(self, obj: Object) -> list[Key]:
        """Return the keys of all configurations: any Flux object can be one that a configuration has applied indirectly."""
        names = [goal.name for goal in fabric.goals(self.store, "flux", self.pod.cluster_id)]
        return [Key("FluxConfiguration", "", name) for name in names]

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            group.create_task(self.controller.run(self.reconcile, wait_for=self.caches.values()))
            self.pod.ready(True)

    async def _follow(self) -> None:
        async for goal in fabric.watch_goals(self.store, "flux", self.pod.cluster_id):
            self.controller.queue.add(Key("FluxConfiguration", "", goal.name))

    async def reconcile(self, key: Key) -> float | None:
        goal = fabric.get_goal(self.store, "flux", self.pod.cluster_id, key.name)
        if not isinstance(goal, FluxConfigurationGoal):
            return None
        if goal.deleted:
            if not await self._remove(goal):
                return 10
            self._say(goal, Report(goal.revision, "Deleted"))
            return None
        try:
            wanted = objects(goal)
        except Refused as error:
            self._say(goal, Report(goal.revision, "Failed", {"code": "InvalidConfiguration", "message": str(error)}))
            return None
        for obj in wanted:
            await self._apply(obj)
        await self._drop_others(goal, wanted)
        self._report(goal)
        return None

    def _say(self, goal: FluxConfigurationGoal, report: Report) -> None:
        fabric.put_report(self.store, goal, report)

    async def _apply(self, obj: Object) -> None:
        """Apply an object, unless the cache or the API shows that it is as wanted."""
        cache = self.caches.get(obj["kind"])
        metadata = obj["metadata"]
        current = cache.get(metadata["name"], metadata.get("namespace", "")) if cache is not None else None
        if current is not None and _contains(current, obj):
            return
        if current is None and cache is None:
            found = await self.kube.find(obj["apiVersion"], obj["kind"], metadata["name"], metadata.get("namespace", ""))
            if found is not None and _contains(found, obj):
                return
        try:
            await self.kube.apply(obj, MANAGER, force=True)
        except NoMatch:
            self.kube.forget_mappings()
            raise

    def _mine(self, goal: FluxConfigurationGoal) -> Objects:
        """Return the Flux objects that were created for this configuration."""
        namespace = goal.properties["namespace"]
        owner = (_name(goal), namespace)
        return [
            obj
            for cache in self.caches.values()
            for obj in cache.list(namespace)
            if tuple((obj["metadata"].get("labels") or {}).get(label) for label in OWNER) == owner
        ]

    async def _drop_others(self, goal: FluxConfigurationGoal, wanted: Objects) -> None:
        keep = {(obj["kind"], obj["metadata"]["name"]) for obj in wanted}
        for obj in self._mine(goal):
            if (obj["kind"], obj["metadata"]["name"]) not in keep:
                await self._delete(obj)

    async def _delete(self, obj: Object) -> None:
        if "deletionTimestamp" not in obj["metadata"]:
            await self.kube.delete(obj["apiVersion"], obj["kind"], obj["metadata"]["name"], obj["metadata"]["namespace"])

    async def _remove(self, goal: FluxConfigurationGoal) -> bool:
        """Delete Kustomizations, dependents first, then the source and its Secret. Returns whether all are deleted."""
        mine = self._mine(goal)
        kustomizations = [obj for obj in mine if obj["kind"] == "Kustomization"]
        needed = {item["name"] for obj in kustomizations for item in obj["spec"].get("dependsOn") or ()}
        for obj in kustomizations:
            if obj["metadata"]["name"] not in needed:
                await self._delete(obj)
        if kustomizations:
            return False
        for obj in mine:
            await self._delete(obj)
        if mine:
            return False
        await self.kube.delete("v1", "Secret", _secret_name(goal), goal.properties["namespace"])
        return True

    # --- the report --------------------------------------------------------------------------------------------------

    def _report(self, goal: FluxConfigurationGoal) -> None:
        source = self.caches[goal.properties["sourceKind"]].get(_name(goal), goal.properties["namespace"])
        found = self._listed(goal)
        statuses = [_status(obj) for obj in found]
        state = _combined(goal, statuses)
        artifact = ((source or {}).get("status") or {}).get("artifact") or {}
        details: dict[str, Any] = {
            "complianceState": state,
            "statuses": statuses,
            "sourceSyncedCommitId": artifact.get("revision", ""),
            "sourceUpdatedAt": artifact.get("lastUpdateTime"),
            "errorMessage": _first_error(found) if state == "Non-Compliant" else "",
        }
        before = fabric.get_report(self.store, "flux", self.pod.cluster_id, goal.name)
        old = dict(before.details) if before is not None else {}
        updated = old.pop("statusUpdatedAt", None)
        details["statusUpdatedAt"] = updated if updated and old == details else rfc3339(self.pod.clock.now())
        details = {name: details[name] for name in (*[n for n in details if n != "statusUpdatedAt"], "statusUpdatedAt")}
        failed = state == "Non-Compliant"
        error = fabric.Failure(code="NonCompliant", message=details["errorMessage"]) if failed else None
        self._say(goal, Report(goal.revision, STATES[state], error, details))

    def _listed(self, goal: FluxConfigurationGoal) -> Objects:
        """Return the objects of the configuration and those that its Kustomizations applied, by kind, namespace and name."""
        namespace = goal.properties["namespace"]
        found = self._mine(goal)
        names = {(obj["metadata"]["name"], namespace) for obj in found if obj["kind"] == "Kustomization"}
        known = {obj["metadata"]["uid"] for obj in found}
        for cache in self.caches.values():
            for obj in cache.list():
                if obj["metadata"]["uid"] not in known and _applier(obj) in names:
                    found.append(obj)
        return sorted(
            found, key=lambda obj: (str(obj["kind"]), str(obj["metadata"]["namespace"]), str(obj["metadata"]["name"]))
        )


def _applier(obj: Object) -> tuple[str, str] | None:
    """Return (name, namespace) of the Kustomization that applied an object, or `None`."""
    labels = obj["metadata"].get("labels") or {}
    name = labels.get("kustomize.toolkit.fluxcd.io/name")
    return (name, labels.get("kustomize.toolkit.fluxcd.io/namespace", "")) if name else None


def _contains(actual: Any, wanted: Any) -> bool:
    """Return whether `actual` has all members of `wanted`."""
    if isinstance(wanted, dict):
        return isinstance(actual, dict) and all(
            key in actual and _contains(actual[key], value) for key, value in wanted.items()
        )
    return bool(actual == wanted)


def compliance(obj: Object) -> str:
    """Return the complianceState of a Flux object, from its Ready condition."""
    if (obj.get("spec") or {}).get("suspend"):
        return "Suspended"
    status = obj.get("status") or {}
    ready = next((item for item in status.get("conditions") or () if item["type"] == "Ready"), None)
    if ready is None or ready["status"] == "Unknown":
        return "Pending"
    if ready.get("observedGeneration", 0) < obj["metadata"].get("generation", 0) and "observedGeneration" in ready:
        return "Pending"
    if ready["status"] == "True":
        return "Compliant"
    return "Pending" if ready["reason"] in PENDING else "Non-Compliant"


def _status(obj: Object) -> Object:
    """Return an ObjectStatusDefinition of Azure's API."""
    applier = _applier(obj)
    found: Object = {
        "name": obj["metadata"]["name"],
        "namespace": obj["metadata"]["namespace"],
        "kind": obj["kind"],
        "complianceState": compliance(obj),
        "appliedBy": {"name": applier[0], "namespace": applier[1]} if applier else None,
        "statusConditions": [
            {key: item[key] for key in ("lastTransitionTime", "message", "reason", "status", "type") if key in item}
            for item in (obj.get("status") or {}).get("conditions") or ()
        ],
        "helmReleaseProperties": None,
    }
    if obj["kind"] == "HelmRelease":
        found["helmReleaseProperties"] = _release(obj)
    return found


def _release(obj: Object) -> Object:
    status = obj.get("status") or {}
    namespace, _, name = str(status.get("helmChart") or "").rpartition("/")
    history = status.get("history") or [{}]
    return {
        "lastRevisionApplied": history[0].get("version", 0),
        "helmChartRef": {"name": name, "namespace": namespace} if name else None,
        "failureCount": status.get("failures", 0),
        "installFailureCount": status.get("installFailures", 0),
        "upgradeFailureCount": status.get("upgradeFailures", 0),
    }


def _combined(goal: FluxConfigurationGoal, statuses: Objects) -> str:
    if goal.properties.get("suspend"):
        return "Suspended"
    states = {item["complianceState"] for item in statuses}
    for state in ("Non-Compliant", "Pending"):
        if state in states:
            return state
    return "Compliant" if statuses else "Pending"


def _first_error(found: Objects) -> str:
    for obj in found:
        if compliance(obj) == "Non-Compliant":
            ready = next(item for item in obj["status"]["conditions"] if item["type"] == "Ready")
            return f"{obj['kind']} {obj['metadata']['namespace']}/{obj['metadata']['name']}: {ready['message']}"
    return ""


# --- the objects of a configuration ----------------------------------------------------------------------------------


def _name(goal: FluxConfigurationGoal) -> str:
    """Return the configuration's name, in lower case."""
    return goal.resource_id.rpartition("/")[2].lower() or goal.name


def _secret_name(goal: FluxConfigurationGoal) -> str:
    return f"{_name(goal)}-auth"


def objects(goal: FluxConfigurationGoal) -> Objects:
    """Return the objects of a configuration, in the order in which they are applied. Raises `Refused`."""
    properties, namespace = goal.properties, goal.properties["namespace"]
    found = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}, *_applier_objects(goal)]
    source, secret = _source(goal)
    if secret is not None:
        found.append(secret)
    found.append(source)
    found += [_kustomization(goal, key, item) for key, item in (properties.get("kustomizations") or {}).items()]
    return found


def _applier_objects(goal: FluxConfigurationGoal) -> Objects:
    """Return the service account to apply with, bound to the administrator of the cluster or of one namespace."""
    namespace, whole = goal.properties["namespace"], goal.properties.get("scope") == "cluster"
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": APPLIER, "namespace": namespace}}
    binding: Object = {
        "apiVersion": RBAC,
        "kind": "ClusterRoleBinding" if whole else "RoleBinding",
        "metadata": {"name": f"{APPLIER}-{namespace}" if whole else APPLIER},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "cluster-admin" if whole else "admin",
        },
        "subjects": [{"kind": "ServiceAccount", "name": APPLIER, "namespace": namespace}],
    }
    if not whole:
        binding["metadata"]["namespace"] = namespace
    return [account, binding]


def _metadata(goal: FluxConfigurationGoal, name: str) -> Object:
    namespace = goal.properties["namespace"]
    return {"name": name, "namespace": namespace, "labels": dict(zip(OWNER, (_name(goal), namespace), strict=True))}


def _source(goal: FluxConfigurationGoal) -> tuple[Object, Object | None]:
    kind = goal.properties["sourceKind"]
    if kind not in ("GitRepository", "OCIRepository"):
        raise Refused(f"the sandbox has no sources of kind {kind}: use GitRepository or OCIRepository")
    given = goal.properties["gitRepository" if kind == "GitRepository" else "ociRepository"]
    spec: Object = {
        "interval": go_duration(given.get("syncIntervalInSeconds", 600)),
        "timeout": go_duration(given.get("timeoutInSeconds", 600)),
        "url": given["url"],
        "ref": {key: value for key, value in (given.get("repositoryRef") or {}).items() if value},
    }
    if goal.properties.get("suspend"):
        spec["suspend"] = True
    if kind == "OCIRepository":
        _oci(given, spec)
    secret = _secret(goal, given)
    if given.get("localAuthRef"):
        spec["secretRef"] = {"name": given["localAuthRef"]}
    elif secret is not None:
        spec["secretRef"] = {"name": _secret_name(goal)}
    return {"apiVersion": SOURCE, "kind": kind, "metadata": _metadata(goal, _name(goal)), "spec": spec}, secret


def _oci(given: Object, spec: Object) -> None:
    if given.get("insecure"):
        spec["insecure"] = True
    if given.get("useWorkloadIdentity"):
        spec["provider"] = "azure"
    if given.get("serviceAccountName"):
        spec["serviceAccountName"] = given["serviceAccountName"]
    selector = given.get("layerSelector")
    if selector:
        spec["layerSelector"] = {key: selector[key] for key in ("mediaType", "operation") if selector.get(key)}


def _secret(goal: FluxConfigurationGoal, given: Object) -> Object | None:
    """Return the Secret with the configuration's credentials, or `None`. Its protected settings are base64 already."""
    data: dict[str, str] = {}
    if given.get("httpsUser"):
        data["username"] = _base64(given["httpsUser"])
    for setting, key in (("httpsKey", "password"), ("sshPrivateKey", "identity")):
        if goal.secrets.get(setting):
            data[key] = goal.secrets[setting]
    if given.get("httpsCACert"):
        data["ca.crt"] = given["httpsCACert"]
    if given.get("sshKnownHosts"):
        data["known_hosts"] = given["sshKnownHosts"]
    if not data:
        return None
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(goal, _secret_name(goal)),
        "type": "Opaque",
        "data": data,
    }


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _kustomization(goal: FluxConfigurationGoal, key: str, item: Object) -> Object:
    spec: Object = {
        "interval": go_duration(item.get("syncIntervalInSeconds") or 600),
        "timeout": go_duration(item.get("timeoutInSeconds") or 600),
        "path": item.get("path") or "./",
        "prune": bool(item.get("prune")),
        "force": bool(item.get("force")),
        "wait": bool(item.get("wait", True)),
        "serviceAccountName": APPLIER,
        "sourceRef": {"kind": goal.properties["sourceKind"], "name": _name(goal), "namespace": goal.properties["namespace"]},
    }
    if item.get("retryIntervalInSeconds"):
        spec["retryInterval"] = go_duration(item["retryIntervalInSeconds"])
    if item.get("dependsOn"):
        spec["dependsOn"] = [{"name": f"{_name(goal)}-{other}"} for other in item["dependsOn"]]
    build = item.get("postBuild") or {}
    if build:
        spec["postBuild"] = _post_build(build)
    if goal.properties.get("suspend"):
        spec["suspend"] = True
    return {"apiVersion": KUSTOMIZE, "kind": "Kustomization", "metadata": _metadata(goal, f"{_name(goal)}-{key}"), "spec": spec}


def _post_build(build: Object) -> Object:
    found: Object = {}
    if build.get("substitute"):
        found["substitute"] = build["substitute"]
    if build.get("substituteFrom"):
        found["substituteFrom"] = [
            {name: item[name] for name in ("kind", "name", "optional") if item.get(name) is not None}
            for item in build["substituteFrom"]
        ]
    return found
