"""What is wrong with the fleet, each thing once, in words: what it means, how to look closer, what mends it.

Two sources: the join (`layers`), whose states are the other sides' own words, and the `rules` for what nobody's status says.
docs/doctor.md is made from the tables here and there. May import `layers`, `rows`, `inside_rows`, `rules`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from fleetlib.inspect import inside_rows, layers
from fleetlib.inspect.columns import LAYERS
from fleetlib.inspect.finding import Finding
from fleetlib.inspect.layers import BROKEN, PROGRESSING, Cluster, State
from fleetlib.inspect.reading import FLUX, Reading
from fleetlib.inspect.rows import SEVERITY, Row
from fleetlib.inspect.rules import RULES

SHARED = ("source", "kustomization", "release")
"""The layers on the control plane that many clusters hang on: their faults are told once, for the object."""

USUAL = {
    "git": 30,
    "source": 5,
    "kustomization": 10,
    "release": 10,
    "aso": 30,
    "arm": 30,
    "extension": 20,
    "flux": 20,
    "workloads": 10,
}
"""Minutes that work in progress usually takes, in the cloud's own time; what lasts longer is a finding."""


def findings(reading: Reading, deep: bool = False) -> Iterator[Row]:
    """All findings, worst first; within one status in the order in which a change travels. `deep`: each cluster's workloads, too."""
    found = [*_of_the_join(reading, deep), *(item for rule in RULES.values() for item in rule.findings(reading))]
    found.sort(key=lambda item: (SEVERITY[item.status], LAYERS.index(item.layer), item.cluster, item.object))
    for number, item in enumerate(dict.fromkeys(found), 1):
        yield item.row(number)


# --- from the join ----------------------------------------------------------------------------------------------------


def _of_the_join(reading: Reading, deep: bool) -> Iterator[Finding]:
    hub = reading.session.parameters.controlplane_cluster
    clusters = [cluster for cluster, _ in inside_rows.with_workloads(reading)] if deep else layers.clusters(reading)
    held: dict[tuple[str, str], list[str]] = {}
    for cluster in clusters:
        first = cluster.first
        if first.layer in SHARED:
            held.setdefault((first.layer, first.target), []).append(cluster.name)
    shared = {(s.layer, s.target): s for c in clusters for s in c.states if s.layer in SHARED and not s.well}
    states = [*shared.values(), *(s for s in _flux_objects(reading) if (s.layer, s.target) not in shared)]
    causes = [state for state in states if not _waits(state)] or states
    for state in causes:
        if _worth_telling(reading, state):
            names = tuple(held.get((state.layer, state.target), ()))
            yield _finding(reading, hub, state, names)
    yield from _of_the_control_plane(reading)
    yield from _of_the_clusters(reading, clusters)


CONTROL_PLANE = {
    ("arm", "Missing"): (
        "there is no control plane: nothing keeps the fleet as Git says",
        "run 01_create_control_plane, then 02 to 04 again",
    ),
    ("arm", "Stopped"): (
        "the control plane is stopped: the clusters go on, but no commit reaches them and nobody mends them",
        "start it: az aks start",
    ),
    ("arm", ""): (
        "the control plane is not as it should be in Azure",
        "look at its activity log in Azure, then run 01_create_control_plane again",
    ),
    ("extension", ""): ("the control plane has no working Flux: commits do not arrive", "run 03_bootstrap_flux again"),
}
"""(layer, reason) -> what a fault of the control plane's own cluster means, and its mend; a reason of "" is for all others."""


def _of_the_control_plane(reading: Reading) -> Iterator[Finding]:
    """Its cluster and its extension in Azure: the first that is not well."""
    hub = reading.session.parameters.controlplane_cluster
    states = [] if "arm" in reading.unread else [layers.arm_state("arm", reading.arm.control_plane.get(hub), hub)]
    if "graph" not in reading.unread:
        known = (e for e in reading.graph.extensions.get(hub.lower(), []) if layers.is_flux(e))
        states.append(layers.arm_state("extension", next(known, None), f"{hub}/flux"))
    first = next((state for state in states if not state.well), None)
    if first and _worth_telling(reading, first):
        meaning, fix = CONTROL_PLANE.get((first.layer, first.reason)) or CONTROL_PLANE[(first.layer, "")]
        yield replace(_finding(reading, hub, first, ()), meaning=_sentence(meaning), fix=fix)


def _of_the_clusters(reading: Reading, clusters: list[Cluster]) -> Iterator[Finding]:
    """The first fault of each cluster's own; clusters with the same fault are one finding."""
    alike: dict[tuple[str, ...], list[tuple[str, State]]] = {}
    for cluster in clusters:
        own = [state for state in cluster.states if state.layer not in SHARED and not state.well]
        if own and _worth_telling(reading, own[0]):
            state = _with_azures_word(own)
            fault = (state.layer, state.status, state.reason, state.message.replace(cluster.name, "*"))
            alike.setdefault(fault, []).append((cluster.name, state))
    for (name, state), *others in alike.values():
        yield replace(_finding(reading, name, state, ()), same=tuple(other for other, _ in others))


def _waits(state: State) -> bool:
    """Whether the state is the consequence of another object's; one that does not exist has no state to be told."""
    return layers.waits(state.reason, state.message) and not (state.cause and state.cause.final)


def _flux_objects(reading: Reading) -> Iterator[State]:
    """Every Flux object of the control plane that is not well, cert-manager's and ASO's releases among them."""
    for kind in FLUX:
        layer = {"Kustomization": "kustomization", "HelmRelease": "release"}.get(kind, "source")
        for name, obj in reading.named(kind).items():
            state = layers.flux_state(reading, layer, obj, f"{kind}/{name}")
            if not state.well:
                yield state


def _worth_telling(reading: Reading, state: State) -> bool:
    """Work in progress is a finding only when it lasts; what could not be read is said elsewhere."""
    if state.reason == "Unread":
        return False
    if state.status != PROGRESSING:
        return True
    usual = timedelta(minutes=USUAL[state.layer]) * reading.session.cloud.pace
    return state.since is not None and reading.at - layers.parsed(state.since) > usual


def _with_azures_word(states: list[State]) -> State:
    """The first state of a cluster, with what Azure says of a later one where ASO's condition does not carry it."""
    first = states[0]
    if first.layer != "aso" or first.status != BROKEN:
        return first
    more = [s for s in states[1:] if s.layer != "aso" and s.status == BROKEN and s.message and s.message not in first.message]
    words = [f"Azure ({state.target}): {state.reason}: {state.message}" for state in more if state.reason != "Missing"]
    return replace(first, message="; ".join([first.message, *words])) if words else first


def _finding(reading: Reading, cluster: str, state: State, held: tuple[str, ...]) -> Finding:
    meaning = state.cause.meaning if state.cause else layers.fitting(MEANING, state)
    if state.status == PROGRESSING:
        meaning += f": for longer than the usual {USUAL[state.layer]} minutes"
    return Finding(
        state.status,
        state.layer,
        cluster,
        state.target,
        state.reason,
        state.message,
        _sentence(meaning),
        state.next_step,
        state.since,
        tuple(_commands(reading, cluster, state)),
        held,
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


MEANING = {
    ("git", ""): "Azure or ASO has a cluster that Git does not declare: nothing keeps it as it should be, and it costs money",
    ("git", PROGRESSING): "a cluster that Git no longer declares is still being deleted",
    ("source", ""): "Flux on the control plane cannot fetch what it should apply: commits do not arrive",
    ("source", PROGRESSING): "Flux on the control plane has not fetched the newest commit",
    ("source", "stopped"): "this source is suspended: commits do not arrive",
    ("kustomization", ""): "Flux on the control plane cannot apply what it has fetched",
    ("kustomization", PROGRESSING): "Flux on the control plane is still applying",
    ("kustomization", "stopped"): "this kustomization is suspended: commits are fetched, but not applied",
    ("release", ""): "Helm on the control plane cannot install or upgrade this release",
    ("release", PROGRESSING): "Helm on the control plane is still at work on this release",
    ("release", "stopped"): "this release is suspended: changes of its environment do not reach its clusters",
    ("aso", ""): "Azure Service Operator cannot make Azure be as the object says",
    ("aso", PROGRESSING): "Azure Service Operator is still waiting for Azure",
    ("arm", ""): "the cluster is not as it should be in Azure itself",
    ("arm", "Missing"): "somebody has deleted the cluster in Azure itself: Git and ASO still have it",
    ("arm", PROGRESSING): "Azure is still at work on the cluster",
    ("arm", "stopped"): "the cluster is stopped: nothing runs on it, and nothing reaches it",
    ("extension", ""): "the cluster has no working Flux: the extension microsoft.flux has failed",
    (
        "extension",
        "Missing",
    ): "somebody has deleted the extension microsoft.flux in Azure itself: nothing is brought to the cluster any more",
    ("extension", PROGRESSING): "Azure is still installing Flux on the cluster",
    ("flux", ""): "Flux on the cluster cannot apply what its repository says",
    ("flux", PROGRESSING): "Flux on the cluster is still applying its repository",
    ("flux", "stopped"): "the cluster's Flux configuration is suspended: it no longer follows its repository",
    ("flux", "unknown"): "Azure has not heard from the cluster's Flux: its agent may not run",
    ("workloads", ""): "what should run on the cluster does not run",
    ("workloads", "unreachable"): "the cluster's API does not answer",
}
"""(layer, reason or status) -> what it means when no known cause fits; "" is for all others."""

LOOK = {
    "git": ("az aks show -g {group} -n {cluster}", "git -C <the fleet's repository> log -3 -- flux/clusters"),
    "source": ("{hub} kubectl -n {flux} describe {kind} {name}",),
    "kustomization": ("{hub} kubectl -n {flux} describe {kind} {name}",),
    "release": ("{hub} kubectl -n {flux} describe {kind} {name}", "fleet releases"),
    "aso": (
        "{hub} kubectl -n {namespace} describe {kind} {name}",
        "{hub} kubectl -n azureserviceoperator-system logs deploy/azureserviceoperator-controller-manager --tail 50",
    ),
    "arm": (
        "az aks show -g {group} -n {cluster}",
        "az monitor activity-log list -g {group} --offset 1d --status Failed",
    ),
    "extension": (
        "az k8s-extension show -g {group} -c {cluster} -t managedClusters -n flux",
        "{workload} kubectl -n flux-system get pods",
    ),
    "flux": (
        "az k8s-configuration flux show -g {group} -c {cluster} -t managedClusters -n {name}",
        "{workload} kubectl get kustomizations,helmreleases -A",
    ),
    "workloads": ("{workload} kubectl get pods -A", "{workload} kubectl get events -A --sort-by=.lastTimestamp"),
}
"""Layer -> commands that look closer."""


def _commands(reading: Reading, cluster: str, state: State) -> Iterator[str]:
    p = reading.session.parameters
    kind, _, name = state.target.rpartition("/")
    group = p.controlplane_group if cluster == p.controlplane_cluster else p.fleet_group
    for line in LOOK[state.layer]:
        yield line.format(
            hub="KUBECONFIG=$(fleet kubeconfig --hub)",
            workload=f"KUBECONFIG=$(fleet kubeconfig {cluster})",
            cluster=cluster,
            group=group,
            kind=kind.lower() or "managedcluster",
            name=name or cluster,
            flux=p.flux_namespace,
            namespace=p.cluster_namespace,
        )
