"""The state of each layer of each cluster, from the commit in Git to Flux inside the cluster, and the first layer that is not
ok.

Everything is computed from a `Reading`; this module sends no requests.
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
    """The state of one object.

    `reason` and `message` are verbatim, `since` is the other side's time (ISO 8601), `target` kind/name.
    """

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
        """The cause of the message; `None` if it is not known."""
        return diagnosis.explain(f"{self.reason}: {self.message}")

    @property
    def next_step(self) -> str:
        """The fix of the known cause, else of the layer; "" if the state is ok."""
        if self.well:
            return ""
        return self.cause.fix if self.cause else fitting(NEXT, self)


def fitting(table: Mapping[tuple[str, str], str], state: State) -> str:
    """Look a text up by (layer, reason), (layer, status) or (layer, ""), in this order; "" if the table has no such key."""
    keys = ((state.layer, key) for key in (state.reason, state.status, ""))
    return next((table[key] for key in keys if key in table), "")


NEXT = {
    ("git", ""): "declare the cluster (clusterCount in flux/clusters), or delete it",
    ("git", UNKNOWN): "fix the error that is reported for the repository, then look again",
    ("git", PROGRESSING): "wait until Azure has deleted it, then look again",
    ("source", STOPPED): "to let commits arrive again, remove `suspend` where it was set (in Git, or flux resume source)",
    ("source", PROGRESSING): "wait: Flux checks Git every minute; to fetch now, run flux reconcile source git",
    ("source", ""): "look at the source on the control plane: fleet sources",
    ("kustomization", STOPPED): (
        "to apply commits again, remove `suspend` where it was set (in Git, or flux resume kustomization)"
    ),
    ("kustomization", PROGRESSING): "wait until Flux has applied it, then look again",
    ("kustomization", ""): "look at the kustomization on the control plane: fleet kustomizations",
    ("release", STOPPED): "to apply its changes again, remove `suspend` where it was set (in Git, or flux resume helmrelease)",
    ("release", PROGRESSING): "wait until Helm is done, then look again",
    ("release", ""): "look at the release on the control plane: fleet releases",
    ("aso", PROGRESSING): "wait until ASO and Azure are done, then look again",
    ("aso", ""): "look at the object on the control plane (kubectl describe), and at ASO's log",
    ("aso", "Missing"): "wait: Flux recreates it when it next reconciles the release; to do so now, flux reconcile helmrelease",
    ("arm", "Missing"): (
        "delete its ManagedCluster object on the control plane: Flux then recreates both (ASO alone does so at its next "
        "resync); or lower clusterCount in Git to remove the cluster"
    ),
    ("arm", PROGRESSING): "wait until Azure is done, then look again",
    ("arm", STOPPED): "to use it again, start it: az aks start",
    ("arm", ""): "look at the cluster's activity log in Azure; ASO tries again later, az aks update tries now",
    ("extension", PROGRESSING): "wait until Azure has installed Flux, then look again",
    ("extension", "Missing"): (
        "delete the Extension object on the control plane: Flux then recreates both (ASO alone does so at its next resync)"
    ),
    ("extension", ""): (
        "look at the extension (az k8s-extension show); if it does not recover, delete the Extension object: Flux recreates it"
    ),
    (
        "flux",
        UNKNOWN,
    ): "look at the agent's Pods (kubectl -n flux-system get pods): without a running agent, nothing is reported",
    ("flux", PROGRESSING): "wait until Flux on the cluster has applied it, then look again",
    ("flux", STOPPED): "to apply commits again, set `suspend: false` where the configuration was suspended",
    ("flux", ""): "look at the configuration (az k8s-configuration flux show): the message names the object",
    ("workloads", UNREACHABLE): (
        "check that the cluster is running (fleet clusters) and that your network reaches its API "
        "(fleet kubeconfig, kubectl get nodes)"
    ),
    ("workloads", ""): "look at the workloads (fleet workloads) and their Pods (kubectl describe)",
}
"""(layer, reason or status) -> the next step for a fault without a known cause; "" stands for all others."""


@dataclass(frozen=True)
class Cluster:
    """One workload cluster with the states of its layers, in the order in which a change travels."""

    name: str
    states: tuple[State, ...]

    @property
    def first(self) -> State:
        """The first state that is not ok; if all are, a state without a layer."""
        return next((state for state in self.states if not state.well), State("", OK))

    def layer(self, name: str) -> State:
        """Return the first state of a layer that is not ok, else its first state; `unknown` if the layer was not read."""
        found = [state for state in self.states if state.layer == name]
        return next((state for state in found if not state.well), found[0] if found else State(name, UNKNOWN))


def clusters(reading: Reading) -> list[Cluster]:
    """Return every cluster that Git, ASO or Azure has, sorted by name. Computed once for each reading."""
    nothing: list[Cluster] = []
    return reading.also("the clusters' layers", _clusters, nothing)


def _clusters(reading: Reading) -> list[Cluster]:
    shared = _Shared(reading)
    return [Cluster(name, tuple(_states(reading, shared, name))) for name in reading.clusters()]


class _Shared:
    """The states on which all clusters, or all of one environment, depend: computed once."""

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
    """Return the object's Ready condition; empty if it does not have one."""
    conditions = (obj.get("status") or {}).get("conditions") or []
    return next((condition for condition in conditions if condition["type"] == "Ready"), {})


def flux_state(reading: Reading, layer: str, obj: Object | None, target: str) -> State:
    """Return the state of a Flux object. Ready False is an error, Unknown is work in progress. Source: Flux's API conventions.

    An object that waits for another one is in progress for the time `WAIT`, as after every restart of the controllers.
    """
    if obj is None:
        return State(layer, BROKEN, "Missing", f"the control plane has no {target.replace('/', ' ')}", target=target)
    if obj["spec"].get("suspend"):
        return State(layer, STOPPED, "Suspended", "the object is suspended: Flux does not reconcile it", target=target)
    found = ready(obj)
    reason, message, since = found.get("reason", ""), found.get("message", ""), found.get("lastTransitionTime")
    if found.get("status") == "True" and current(obj):
        return State(layer, OK, reason, message, since, target)
    if found.get("status") == "False":
        return _for_a_while(reading, State(layer, BROKEN, reason, message, since, target))
    return State(layer, PROGRESSING, reason or "Pending", message, since, target)


WAIT = timedelta(minutes=2)
"""Four rounds of the controllers, which check a dependency every 30 seconds (--requeue-dependency), on the cloud's clock."""


def waits(reason: str, message: str) -> bool:
    """Return whether a Flux object is not ready because of another one.

    Source: kustomize-controller 1.6, helm-controller 1.3.
    """
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
    """Parse a time of Kubernetes or ARM."""
    return datetime.fromisoformat(text)


def aso_state(obj: Object | None, target: str) -> State:
    """Return the state of an object of ASO.

    A Ready condition of severity Info is work in progress, Warning and Error are faults.
    """
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
"""ARM's final provisioning states; all others are work in progress."""


def arm_state(layer: str, item: Item | None, target: str) -> State:
    """Return the state of a resource in ARM, by its provisioning state and, if it has one, its power state."""
    if item is None:
        return State(
            layer, BROKEN, "Missing", f"Azure has no such {'cluster' if layer == 'arm' else 'extension'}", target=target
        )
    properties = item["properties"]
    state = str(properties.get("provisioningState") or "Unknown")
    power = (properties.get("powerState") or {}).get("code")
    if state == "Succeeded" and power == "Stopped":
        return State(layer, STOPPED, "Stopped", "the cluster is stopped: it has no nodes and no API", target=target)
    status = ENDED.get(state, PROGRESSING)
    return State(layer, status, state, "" if status == OK else arm_message(properties), target=target)


def arm_message(properties: Item) -> str:
    """Return the errors in a resource's properties, verbatim; "" for clusters, which do not keep them."""
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
    """Return the state of a Flux configuration, by its compliance; the message is of its first object that is not compliant."""
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
    """Return the state of an object inside a cluster, as the Flux configuration in Azure reports it."""
    condition: Item = next((c for c in status.get("statusConditions") or [] if c.get("type") == "Ready"), {})
    found = COMPLIANCE.get(str(status.get("complianceState") or "Unknown"), UNKNOWN)
    reason, message = condition.get("reason") or "", condition.get("message") or ""
    return _for_a_while(reading, State("flux", found, reason, message, condition.get("lastTransitionTime")))


def failing(statuses: Items) -> Item:
    """Return the Ready condition of the first non-compliant object, preferably one that does not wait for another; empty if
    all are compliant.
    """
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
    """Return the revision that a Flux object has fetched or applied, verbatim; "" before the first."""
    status = (obj or {}).get("status") or {}
    return str(status.get("lastAppliedRevision") or (status.get("artifact") or {}).get("revision") or "")


def short(text: str) -> str:
    """Return the first eight characters of a revision's commit or digest, without branch and algorithm."""
    tail = text.rpartition(":")[2] if ":" in text else text.rpartition("@")[2] or text
    return tail[:8]
