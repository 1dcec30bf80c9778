"""The join: how each layer of each cluster is, from the commit in Git to the Flux inside it, and which is the first that is not well.

Everything here reads a `Reading` and asks nobody. May import `reading`, `columns`, `diagnosis`, `kube`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from fleetlib import diagnosis
from fleetlib.clients.kube import Object, current
from fleetlib.inspect.reading import Item, Items, Reading

OK, PROGRESSING, BROKEN, STOPPED, UNKNOWN, UNREACHABLE = "ok", "progressing", "broken", "stopped", "unknown", "unreachable"


@dataclass(frozen=True)
class State:
    """How one thing is. `reason` and `message` verbatim; `since` is the other side's own time, as text; `target` kind/name."""

    layer: str
    status: str
    reason: str = ""
    message: str = ""
    since: str | None = None
    target: str = ""

    @property
    def well(self) -> bool:
        return self.status == OK

    @property
    def cause(self) -> diagnosis.Cause | None:
        return diagnosis.explain(f"{self.reason}: {self.message}")

    @property
    def next_step(self) -> str:
        """What to do: the mend of a known cause, else where to look."""
        if self.well:
            return ""
        return self.cause.fix if self.cause else fitting(NEXT, self)


def fitting(table: Mapping[tuple[str, str], str], state: State) -> str:
    """The words of a table by (layer, reason or status) that fit best: the reason's, the status', or the layer's for all others."""
    keys = ((state.layer, key) for key in (state.reason, state.status, ""))
    return next((table[key] for key in keys if key in table), "")


NEXT = {
    ("git", ""): "declare it (clusterCount in flux/clusters), or delete it: what Git does not declare nobody looks after",
    ("git", UNKNOWN): "the repository could not be read: see the error above the table",
    ("git", PROGRESSING): "Azure deletes it: wait, then look again",
    ("source", STOPPED): "when commits shall arrive again: take `suspend` out where it was set (in Git, or flux resume source)",
    (
        "kustomization",
        STOPPED,
    ): "when commits shall be applied again: take `suspend` out where it was set (in Git, or flux resume kustomization)",
    (
        "release",
        STOPPED,
    ): "when its changes shall arrive again: take `suspend` out where it was set (in Git, or flux resume helmrelease)",
    ("flux", UNKNOWN): "look at the agent: kubectl -n flux-system get pods; without a node that runs it, nothing is reported",
    ("source", PROGRESSING): "Flux looks at Git every minute: wait, or annotate the source (flux reconcile source git)",
    ("source", ""): "look at the source on the control plane: fleet sources",
    ("kustomization", PROGRESSING): "Flux applies it now: wait, then look again",
    ("kustomization", ""): "look at the kustomization on the control plane: fleet kustomizations",
    ("release", PROGRESSING): "Helm is at work: wait, then look again",
    ("release", ""): "look at the release on the control plane: fleet releases",
    ("aso", PROGRESSING): "ASO and Azure are at work: wait, then look again",
    ("aso", ""): "look at the object on the control plane: kubectl describe, and at ASO's log",
    ("aso", "Missing"): "Flux puts it back when it next looks at the release: flux reconcile helmrelease, to have that now",
    (
        "arm",
        "Missing",
    ): "delete its ManagedCluster object on the control plane, and Flux makes both anew (ASO alone does so at its next "
    "resync); or lower clusterCount in Git, if it shall be gone",
    ("arm", PROGRESSING): "Azure is at work: wait, then look again",
    ("arm", STOPPED): "it was stopped: az aks start, when it is wanted again",
    ("arm", ""): "look at the cluster's activity log in Azure; ASO tries again by itself, az aks update at once",
    ("extension", PROGRESSING): "Azure installs Flux on it: wait, then look again",
    (
        "extension",
        "Missing",
    ): "delete the Extension object on the control plane, and Flux makes both anew (ASO alone does so at its next resync)",
    (
        "extension",
        "",
    ): "look at the extension: az k8s-extension show; if it stays so, delete the Extension object, and Flux makes it anew",
    ("flux", PROGRESSING): "Flux on the cluster applies it: wait, then look again",
    ("flux", STOPPED): "the configuration is suspended: set `suspend: false` where it was suspended",
    ("flux", ""): "look at the configuration: az k8s-configuration flux show; the message names the object",
    (
        "workloads",
        UNREACHABLE,
    ): "is the cluster running, and does your network reach its API? then: fleet kubeconfig, kubectl get nodes",
    ("workloads", ""): "look inside: fleet workloads, then kubectl describe the Pods",
}
"""(layer, reason or status) -> what to do when no known cause fits; "" is for all others."""


@dataclass(frozen=True)
class Cluster:
    """One workload cluster: its layers in the order in which a change travels."""

    name: str
    states: tuple[State, ...]

    @property
    def first(self) -> State:
        """The first layer that is not well; else a state that says all is."""
        return next((state for state in self.states if not state.well), State("", OK))

    def layer(self, name: str) -> State:
        """The worst state of a layer."""
        found = [state for state in self.states if state.layer == name]
        return next((state for state in found if not state.well), found[0] if found else State(name, UNKNOWN))


def clusters(reading: Reading) -> list[Cluster]:
    """Every cluster that Git, ASO or Azure knows, by name. Joined once a reading: several tables and rules ask."""
    nothing: list[Cluster] = []
    return reading.also("the join", _clusters, nothing)


def _clusters(reading: Reading) -> list[Cluster]:
    shared = _Shared(reading)
    return [Cluster(name, tuple(_states(reading, shared, name))) for name in reading.clusters()]


class _Shared:
    """What all clusters of the fleet, or of one environment, hang on: judged once."""

    def __init__(self, reading: Reading) -> None:
        p = reading.session.parameters
        self.by_owner = {kind: _by_owner(reading, kind) for kind in ("Extension", "FluxConfiguration")}
        self.objects = reading.named("ManagedCluster")
        self.releases = reading.named("HelmRelease")
        self.source = tuple(self._sources(reading, p.flux_configuration))
        self.kustomization = self._kustomization(reading, f"{p.flux_configuration}-clusters")

    def _sources(self, reading: Reading, name: str) -> Iterator[State]:
        if "hub" in reading.unread:
            yield _unread("source", reading, "hub")
            return
        repository = reading.named("GitRepository").get(name)
        state = flux_state(reading, "source", repository, f"GitRepository/{name}")
        behind = state.well and reading.git.head and reading.git.head not in revision(repository)
        yield (
            State(
                "source",
                PROGRESSING,
                "Behind",
                f"the control plane has {short(revision(repository))}, Git {reading.git.head[:8]}",
                state.since,
                state.target,
            )
            if behind
            else state
        )
        for chart, obj in reading.named("OCIRepository").items():
            yield flux_state(reading, "source", obj, f"OCIRepository/{chart}")

    def _kustomization(self, reading: Reading, name: str) -> State:
        if "hub" in reading.unread:
            return _unread("kustomization", reading, "hub")
        obj = reading.named("Kustomization").get(name)
        state, have = flux_state(reading, "kustomization", obj, f"Kustomization/{name}"), revision(obj)
        wanted = revision(reading.named("GitRepository").get(reading.session.parameters.flux_configuration))
        if state.well and wanted and have != wanted:
            message = f"it has applied {short(have)}, the source has {short(wanted)}"
            return State("kustomization", PROGRESSING, "Behind", message, state.since, state.target)
        return state


def _states(reading: Reading, shared: _Shared, name: str) -> Iterator[State]:
    yield _git(reading, shared, name)
    environment = reading.git.clusters.get(name)
    if environment is not None:
        yield from shared.source
        yield shared.kustomization
        if "hub" not in reading.unread:
            yield flux_state(reading, "release", shared.releases.get(environment.name), f"HelmRelease/{environment.name}")
    yield from _aso(reading, shared, name)
    yield _arm(reading, name)
    yield from _inside_azure(reading, name)


def _git(reading: Reading, shared: _Shared, name: str) -> State:
    if "git" in reading.unread:
        return _unread("git", reading, "git")
    if name in reading.git.clusters:
        return State("git", OK)
    if ((shared.objects.get(name) or {}).get("metadata") or {}).get("deletionTimestamp") or _provisioning(
        reading, name
    ) == "Deleting":
        return State("git", PROGRESSING, "Deleting", "Git no longer declares it, and it is being deleted", target=name)
    return State("git", BROKEN, "NotDeclared", "no environment in Git declares it", target=name)


def _aso(reading: Reading, shared: _Shared, name: str) -> Iterator[State]:
    if "hub" in reading.unread:
        yield _unread("aso", reading, "hub")
        return
    yield aso_state(shared.objects.get(name), f"ManagedCluster/{name}")
    if name in reading.git.clusters:
        for kind, found in shared.by_owner.items():
            objects = found.get(name)
            if not objects:
                yield aso_state(None, f"{kind} of {name}")
            for obj in objects or ():
                yield aso_state(obj, f"{kind}/{obj['metadata']['name']}")


def _arm(reading: Reading, name: str) -> State:
    if "arm" in reading.unread:
        return _unread("arm", reading, "arm")
    item = reading.arm.fleet.get(name)
    return arm_state("arm", item, name)


def _inside_azure(reading: Reading, name: str) -> Iterator[State]:
    if "graph" in reading.unread:
        yield _unread("extension", reading, "graph")
        return
    extensions: list[Item | None] = [e for e in reading.graph.extensions.get(name.lower(), []) if is_flux(e)]
    for extension in extensions or [None]:
        yield arm_state("extension", extension, f"{name}/flux")
    configurations: list[Item | None] = [*reading.graph.configurations.get(name.lower(), [])]
    for configuration in configurations or [None]:
        yield compliance_state(reading, configuration, name)


def is_flux(extension: Item) -> bool:
    return str(extension["properties"].get("extensionType", "")).lower() == "microsoft.flux"


def _provisioning(reading: Reading, name: str) -> str:
    return str((reading.arm.fleet.get(name) or {"properties": {}})["properties"].get("provisioningState") or "")


def _unread(layer: str, reading: Reading, side: str) -> State:
    error = reading.unread[side]
    return State(layer, UNKNOWN, "Unread", " ".join(part for part in (error.what, error.said) if part), target=side)


def _by_owner(reading: Reading, kind: str) -> dict[str, list[Object]]:
    found: dict[str, list[Object]] = {}
    for obj in reading.hub[kind]:
        found.setdefault(obj["spec"]["owner"]["name"], []).append(obj)
    return found


# --- one object -------------------------------------------------------------------------------------------------------


def ready(obj: Object) -> dict[str, Any]:
    """The object's Ready condition, or an empty one."""
    conditions = (obj.get("status") or {}).get("conditions") or []
    return next((condition for condition in conditions if condition["type"] == "Ready"), {})


def flux_state(reading: Reading, layer: str, obj: Object | None, target: str) -> State:
    """A Flux object on its own. Source: Flux's API conventions: Ready False is an error, Unknown work in progress.

    What only waits for another object is work in progress for a while (`WAIT`), as after every restart of the controllers.
    """
    if obj is None:
        return State(layer, BROKEN, "Missing", f"the control plane has no {target.replace('/', ' ')}", target=target)
    if obj["spec"].get("suspend"):
        return State(layer, STOPPED, "Suspended", "it is suspended: Flux does nothing about it", target=target)
    found = ready(obj)
    reason, message, since = found.get("reason", ""), found.get("message", ""), found.get("lastTransitionTime")
    if found.get("status") == "True" and current(obj):
        return State(layer, OK, reason, message, since, target)
    if found.get("status") == "False":
        return _for_a_while(reading, State(layer, BROKEN, reason, message, since, target))
    return State(layer, PROGRESSING, reason or "Pending", message, since, target)


WAIT = timedelta(minutes=2)
"""In the cloud's own time: four rounds of the controllers, which look at a dependency again every 30 seconds (--requeue-dependency)."""


def waits(reason: str, message: str) -> bool:
    """Whether a Flux object is not ready because of another one. Source: kustomize-controller 1.6, helm-controller 1.3."""
    return reason in ("DependencyNotReady", "SourceNotReady") or (
        reason == "ArtifactFailed" and "artifact not found" in message.lower()
    )


def _for_a_while(reading: Reading, state: State) -> State:
    final = state.cause is not None and state.cause.final
    if state.status != BROKEN or final or state.since is None or not waits(state.reason, state.message):
        return state
    lasted = reading.at - parsed(state.since)
    return replace(state, status=PROGRESSING) if lasted < WAIT * reading.session.cloud.pace else state


def parsed(text: str) -> datetime:
    """A Kubernetes or ARM time."""
    return datetime.fromisoformat(text)


def aso_state(obj: Object | None, target: str) -> State:
    """An object of ASO's. Its Ready condition has a severity: Info while it works, Warning and Error when it does not."""
    if obj is None:
        return State("aso", BROKEN, "Missing", f"the control plane has no {target}", target=target)
    found = ready(obj)
    reason, message, since = found.get("reason", ""), found.get("message", ""), found.get("lastTransitionTime")
    if obj["metadata"].get("deletionTimestamp"):
        return State("aso", PROGRESSING, reason or "Deleting", message, obj["metadata"]["deletionTimestamp"], target)
    if found.get("status") == "True" and current(obj):
        return State("aso", OK, reason, message, since, target)
    bad = found.get("status") == "False" and found.get("severity") in ("Warning", "Error")
    return State("aso", BROKEN if bad else PROGRESSING, reason or "Pending", message, since, target)


ENDED = {"Succeeded": OK, "Failed": BROKEN, "Canceled": BROKEN}
"""ARM's provisioning states that last; all others are work in progress."""


def arm_state(layer: str, item: Item | None, target: str) -> State:
    """A resource in ARM, by its provisioning state and, if it has one, its power state."""
    if item is None:
        return State(
            layer, BROKEN, "Missing", f"Azure has no such {'cluster' if layer == 'arm' else 'extension'}", target=target
        )
    properties = item["properties"]
    state = str(properties.get("provisioningState") or "Unknown")
    power = (properties.get("powerState") or {}).get("code")
    if state == "Succeeded" and power == "Stopped":
        return State(layer, STOPPED, "Stopped", "the cluster is stopped: no nodes, no API", target=target)
    status = ENDED.get(state, PROGRESSING)
    return State(layer, status, state, "" if status == OK else arm_message(properties), target=target)


def arm_message(properties: Item) -> str:
    """What a resource says of its own failure, verbatim: extensions and some others keep it; clusters do not."""
    error = properties.get("errorInfo") or (properties.get("status") or {}).get("provisioningError") or {}
    lines = [f"{error.get('code')}: {error.get('message')}"] if error.get("message") else []
    lines += [str(s.get("message")) for s in properties.get("statuses") or [] if s.get("level") == "Error" and s.get("message")]
    return "; ".join(lines)


COMPLIANCE = {
    "Compliant": OK,
    "Non-Compliant": BROKEN,
    "Pending": PROGRESSING,
    "Suspended": STOPPED,
    "Unknown": UNKNOWN,
}
"""ARM's compliance states of a Flux configuration. Source: Microsoft.KubernetesConfiguration/fluxConfigurations."""


def compliance_state(reading: Reading, item: Item | None, cluster: str) -> State:
    """A Flux configuration, by its compliance; the message is of the first object in it that is not well."""
    if item is None:
        return State("flux", BROKEN, "Missing", "the cluster has no Flux configuration", target=cluster)
    properties, target = item["properties"], f"{cluster}/{item['name']}"
    if properties.get("provisioningState") == "Failed":
        return State("flux", BROKEN, "Failed", str(properties.get("errorMessage") or ""), target=target)
    state = str(properties.get("complianceState") or "Unknown")
    status = COMPLIANCE.get(state, UNKNOWN)
    worst = {} if status == OK else failing(properties.get("statuses") or [])
    message = worst.get("message") or str(properties.get("errorMessage") or "")
    since = worst.get("lastTransitionTime") or _latest(properties.get("statuses") or [])
    return _for_a_while(reading, State("flux", status, worst.get("reason") or state, message, since, target))


def told_state(reading: Reading, status: Item) -> State:
    """An object inside a cluster, as a Flux configuration in Azure tells it."""
    condition: Item = next((c for c in status.get("statusConditions") or [] if c.get("type") == "Ready"), {})
    found = COMPLIANCE.get(str(status.get("complianceState") or "Unknown"), UNKNOWN)
    reason, message = condition.get("reason") or "", condition.get("message") or ""
    return _for_a_while(reading, State("flux", found, reason, message, condition.get("lastTransitionTime")))


def failing(statuses: Items) -> Item:
    """The Ready condition of the first object that is not compliant because of itself, not because of one it waits for."""
    found = [
        condition
        for status in statuses
        if status.get("complianceState") == "Non-Compliant"
        for condition in status.get("statusConditions") or []
        if condition.get("type") == "Ready" and condition.get("status") != "True"
    ]
    return next((c for c in found if not waits(c.get("reason") or "", c.get("message") or "")), found[0] if found else {})


def _latest(statuses: Items) -> str | None:
    times = [c.get("lastTransitionTime") or "" for s in statuses for c in s.get("statusConditions") or []]
    return max(times, default="") or None


def revision(obj: Object | None) -> str:
    """What a Flux object has fetched or applied, verbatim."""
    status = (obj or {}).get("status") or {}
    return str(status.get("lastAppliedRevision") or (status.get("artifact") or {}).get("revision") or "")


def short(text: str) -> str:
    """A revision's commit or digest by its first eight characters, without branch and algorithm."""
    tail = text.rpartition(":")[2] if ":" in text else text.rpartition("@")[2] or text
    return tail[:8]
