"""The findings: each fault of the fleet once, with its meaning, commands to look closer, and its fix.

They come from the states of the layers (`layers`), with the verbatim messages of Azure and the clusters, and from the `rules`,
for faults that no status shows. tools/tables_page.py writes the tables in docs/doctor.md from those here and there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from fleetlib.inspect import inside_rows, layers
from fleetlib.inspect.columns import LAYERS
from fleetlib.inspect.finding import Finding, FindingRow
from fleetlib.inspect.layers import BROKEN, PROGRESSING, Cluster, State
from fleetlib.inspect.reading import FLUX, Reading
from fleetlib.inspect.rows import SEVERITY
from fleetlib.inspect.rules import RULES

SHARED = ("source", "kustomization", "release")
"""The layers on the control plane that many clusters depend on: a fault is reported once, for the object."""

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
"""Layer -> minutes that work in progress usually takes, on the cloud's clock. Work that lasts longer is a finding."""


def findings(reading: Reading, deep: bool = False) -> Iterator[FindingRow]:
    """Yield all findings, worst first, then in the order of the layers. `deep` also reads each cluster's workloads."""
    found = [*_of_the_layers(reading, deep), *(item for rule in RULES.values() for item in rule.findings(reading))]
    found.sort(key=lambda item: (SEVERITY[item.status], LAYERS.index(item.layer), item.cluster, item.object))
    for number, item in enumerate(dict.fromkeys(found), 1):
        yield item.row(number)


# --- from the layers --------------------------------------------------------------------------------------------------


def _of_the_layers(reading: Reading, deep: bool) -> Iterator[Finding]:
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
        "the control plane does not exist: commits do not reach the clusters, and changes by hand are not undone",
        "run 01_create_control_plane, then 02 to 04 again",
    ),
    ("arm", "Stopped"): (
        "the control plane is stopped: the clusters keep running, but commits do not reach them and faults are not repaired",
        "start it: az aks start",
    ),
    ("arm", ""): (
        "the control plane's cluster has failed in Azure",
        "look at its activity log in Azure, then run 01_create_control_plane again",
    ),
    ("extension", ""): (
        "Flux does not work on the control plane: commits do not reach the clusters",
        "run 03_bootstrap_flux again",
    ),
}
"""(layer, reason) -> (meaning, fix) of a fault of the control plane's cluster; the reason "" stands for all others."""


def _of_the_control_plane(reading: Reading) -> Iterator[Finding]:
    """Yield the first fault of the control plane's cluster or extension in Azure."""
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
    """Yield the first fault of each cluster's own layers; one finding for all clusters with the same fault."""
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
    """Return whether the fault is the consequence of another object's. An object that does not exist has no fault to report."""
    return layers.waits(state.reason, state.message) and not (state.cause and state.cause.final)


def _flux_objects(reading: Reading) -> Iterator[State]:
    """Yield the state of each Flux object of the control plane that is not ok, including cert-manager's and ASO's releases."""
    for kind in FLUX:
        layer = {"Kustomization": "kustomization", "HelmRelease": "release"}.get(kind, "source")
        for name, obj in reading.named(kind).items():
            state = layers.flux_state(reading, layer, obj, f"{kind}/{name}")
            if not state.well:
                yield state


def _worth_telling(reading: Reading, state: State) -> bool:
    """Return whether the state is a finding: not if it is unread (`unread` says so), nor if it is recent work in progress."""
    if state.reason == "Unread":
        return False
    if state.status != PROGRESSING:
        return True
    usual = timedelta(minutes=USUAL[state.layer]) * reading.session.cloud.pace
    return state.since is not None and reading.at - layers.parsed(state.since) > usual


def _with_azures_word(states: list[State]) -> State:
    """Return a cluster's first state; for a fault of ASO, with Azure's messages of later layers that ASO's does not contain."""
    first = states[0]
    if first.layer != "aso" or first.status != BROKEN:
        return first
    more = [s for s in states[1:] if s.layer != "aso" and s.status == BROKEN and s.message and s.message not in first.message]
    words = [f"Azure ({state.target}): {state.reason}: {state.message}" for state in more if state.reason != "Missing"]
    return replace(first, message="; ".join([first.message, *words])) if words else first


def _finding(reading: Reading, cluster: str, state: State, held: tuple[str, ...]) -> Finding:
    meaning = state.cause.meaning if state.cause else layers.fitting(MEANING, state)
    if state.status == PROGRESSING:
        meaning += f", for longer than the usual {USUAL[state.layer]} minutes"
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
    (
        "git",
        "",
    ): "the cluster exists in Azure or ASO, but Git does not declare it: it is not kept up to date, and it costs money",
    ("git", PROGRESSING): "a cluster that Git no longer declares is still being deleted",
    ("source", ""): "Flux on the control plane cannot fetch this source: commits do not arrive",
    ("source", PROGRESSING): "Flux on the control plane has not yet fetched the newest commit",
    ("source", "stopped"): "this source is suspended: commits do not arrive",
    ("kustomization", ""): "Flux on the control plane cannot apply the commit that it has fetched",
    ("kustomization", PROGRESSING): "Flux on the control plane is still applying the commit",
    ("kustomization", "stopped"): "this kustomization is suspended: commits are fetched, but not applied",
    ("release", ""): "Helm on the control plane cannot install or upgrade this release",
    ("release", PROGRESSING): "Helm on the control plane is still installing or upgrading this release",
    ("release", "stopped"): "this release is suspended: changes of its environment do not reach its clusters",
    ("aso", ""): "Azure Service Operator cannot create or update the object's resource in Azure",
    ("aso", PROGRESSING): "Azure Service Operator is still waiting for Azure",
    ("arm", ""): "the cluster has failed in Azure",
    ("arm", "Missing"): "the cluster was deleted in Azure, although Git and ASO still declare it",
    ("arm", PROGRESSING): "Azure is still working on the cluster",
    ("arm", "stopped"): "the cluster is stopped: it runs no workloads, and its API does not answer",
    ("extension", ""): "Flux does not work on the cluster: the extension microsoft.flux has failed",
    ("extension", "Missing"): "the extension microsoft.flux was deleted in Azure: commits no longer reach the cluster",
    ("extension", PROGRESSING): "Azure is still installing Flux on the cluster",
    ("flux", ""): "Flux on the cluster cannot apply its repository",
    ("flux", PROGRESSING): "Flux on the cluster is still applying its repository",
    ("flux", "stopped"): "the cluster's Flux configuration is suspended: it no longer follows its repository",
    ("flux", "unknown"): "Azure has no report from the cluster's Flux: its agent may not run",
    ("workloads", ""): "a workload that should run on the cluster does not run",
    ("workloads", "unreachable"): "the cluster's API does not answer",
}
"""(layer, reason or status) -> the meaning of a fault without a known cause; "" stands for all others."""

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
"""Layer -> commands to look closer."""


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
