"""What is wrong with the fleet, each thing once, in words: what it means, how to look closer, what mends it.

Two sources: the join (`layers`), whose states are the other sides' own words, and `RULES` for what nobody's status says. A rule
is a pure function of a `Reading`. May import `layers`, `rows`, `versions`, `roles`, `stages`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any

from fleetlib.azure import compute
from fleetlib.change import Check
from fleetlib.inspect import layers, versions
from fleetlib.inspect.columns import LAYERS
from fleetlib.inspect.layers import BROKEN, PROGRESSING, Cluster, State
from fleetlib.inspect.reading import FLUX, Item, Reading
from fleetlib.inspect.rows import SEVERITY, Row, limit, pools_of
from fleetlib.kube import Object

SHARED = ("source", "kustomization", "release")
"""The layers on the control plane that many clusters hang on: their faults are told once, for the object."""

USUAL = {
    "git": 30, "source": 5, "kustomization": 10, "release": 10, "aso": 30, "arm": 30, "extension": 20, "flux": 20, "workloads": 10,
}  # fmt: skip
"""Minutes that work in progress usually takes, in the cloud's own time; what lasts longer is a finding."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. `cluster` is where to look, `held` the clusters it holds back, `same` others with the same fault."""

    status: str
    layer: str
    cluster: str
    object: str
    reason: str
    message: str
    meaning: str
    fix: str
    since: str | None = None
    look: tuple[str, ...] = ()
    held: tuple[str, ...] = field(default=(), compare=False)
    same: tuple[str, ...] = field(default=(), compare=False)

    def row(self, number: int) -> Row:
        more = f" It holds back {_several(self.held)}." if self.held else ""
        more += f" The same on {_several(self.same)}." if self.same else ""
        return {
            "finding": number, "status": self.status, "layer": self.layer, "cluster": self.cluster, "object": self.object,
            "reason": self.reason or None, "message": self.message or None, "since": self.since, "meaning": self.meaning + more,
            "look": "\n".join(self.look) or None, "fix": self.fix,
        }  # fmt: skip


def findings(reading: Reading) -> Iterator[Row]:
    """All findings, worst first; within one status in the order in which a change travels."""
    found = [*_of_the_join(reading), *(item for rule in RULES.values() for item in rule.check(reading))]
    found.sort(key=lambda item: (SEVERITY[item.status], LAYERS.index(item.layer), item.cluster, item.object))
    for number, item in enumerate(dict.fromkeys(found), 1):
        yield item.row(number)


# --- from the join ----------------------------------------------------------------------------------------------------


def _of_the_join(reading: Reading) -> Iterator[Finding]:
    hub = reading.session.parameters.controlplane_cluster
    clusters = layers.clusters(reading)
    held: dict[tuple[str, str], list[str]] = {}
    for cluster in clusters:
        first = cluster.first
        if first.layer in SHARED:
            held.setdefault((first.layer, first.target), []).append(cluster.name)
    shared = {(s.layer, s.target): s for c in clusters for s in c.states if s.layer in SHARED and not s.well}
    states = [*shared.values(), *(s for s in _flux_objects(reading) if (s.layer, s.target) not in shared)]
    causes = [state for state in states if not layers.waits(state.reason, state.message)] or states
    for state in causes:
        if _worth_telling(reading, state):
            names = tuple(held.get((state.layer, state.target), ()))
            yield _finding(reading, hub, state, names)
    yield from _of_the_clusters(reading, clusters)


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
    meaning = state.cause.meaning if state.cause else MEANING.get((state.layer, state.status)) or MEANING[(state.layer, "")]
    if state.status == PROGRESSING:
        meaning += f": for longer than the usual {USUAL[state.layer]} minutes"
    return Finding(
        state.status, state.layer, cluster, state.target, state.reason, state.message, _sentence(meaning), state.next_step, state.since,
        tuple(_commands(reading, cluster, state)), held,
    )  # fmt: skip


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _several(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


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
    ("arm", PROGRESSING): "Azure is still at work on the cluster",
    ("arm", "stopped"): "the cluster is stopped: nothing runs on it, and nothing reaches it",
    ("extension", ""): "the cluster has no working Flux: the extension microsoft.flux is missing or failed",
    ("extension", PROGRESSING): "Azure is still installing Flux on the cluster",
    ("flux", ""): "Flux on the cluster cannot apply what its repository says",
    ("flux", PROGRESSING): "Flux on the cluster is still applying its repository",
    ("flux", "stopped"): "the cluster's Flux configuration is suspended: it no longer follows its repository",
    ("flux", "unknown"): "Azure has not heard from the cluster's Flux: its agent may not run",
    ("workloads", ""): "what should run on the cluster does not run",
    ("workloads", "unreachable"): "the cluster's API does not answer",
}
"""(layer, status) -> what it means when no known cause fits; a status of "" is for all others."""

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
            hub="KUBECONFIG=$(fleet kubeconfig --hub)", workload=f"KUBECONFIG=$(fleet kubeconfig {cluster})", cluster=cluster, group=group,
            kind=kind.lower() or "managedcluster", name=name or cluster, flux=p.flux_namespace, namespace=p.cluster_namespace,
        )  # fmt: skip


# --- rules: what nobody's status says -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """A thing to look for. `why`: what people run into without it."""

    title: str
    why: str
    check: Callable[[Reading], Iterable[Finding]]


def _trust(reading: Reading) -> Iterator[Finding]:
    """ASO's identity, role, federated credential and Secret, as notebook 02 promises them."""
    from fleetlib.stages.aso_identity import AsoIdentity

    def read(_: Reading) -> list[Check]:
        return list(AsoIdentity(reading.session).promises())

    none: list[Check] = []

    p = reading.session.parameters
    look = (
        f"az identity federated-credential list -g {p.controlplane_group} --identity-name {p.aso_identity}",
        f"az aks show -g {p.controlplane_group} -n {p.controlplane_cluster} --query oidcIssuerProfile",
    )
    for check in reading.also("ASO's identity", read, none):
        if not check.kept:
            yield Finding(
                BROKEN, "aso", p.controlplane_cluster, f"identity {p.aso_identity}", "PromiseNotKept", f"{check.promise}: {check.evidence}",
                "ASO cannot sign in to Azure, or may not do there what it should.", check.fix or "run 02_create_aso_identity again",
                look=look,
            )  # fmt: skip


def _fleet_role(reading: Reading) -> Iterator[Finding]:
    from fleetlib.inspect import roles

    p = reading.session.parameters
    for row in roles.roles(reading):
        if row["needed"] and row["status"] == BROKEN:
            group = p.fleet_group if row["scope"].lower() == p.fleet_group.lower() else p.controlplane_group
            yield Finding(
                BROKEN, "aso", p.controlplane_cluster, f"role {row['role']} on {group}", "RoleAssignmentMissing", row["message"],
                "ASO may not create or change anything in this group.", row["message"].partition(": ")[2],
                look=(f"az role assignment list -g {group} -o table",),
            )  # fmt: skip


def _principal_type(reading: Reading) -> Iterator[Finding]:
    from fleetlib.inspect import roles

    known = reading.also("roles", roles.read, roles.Roles())
    for item in known.assignments:
        properties = item["properties"]
        if properties["principalId"].lower() == known.aso.lower() and properties.get("principalType") != "ServicePrincipal":
            yield Finding(
                "unknown", "aso", reading.session.parameters.controlplane_cluster, f"role assignment {item['name']}", "PrincipalType",
                f"principalType is {properties.get('principalType')}",
                "The assignment was written without its principal's type: under a condition on role assignments Azure refuses such a one.",
                "delete it and run the notebook that gives it again: fleetlib always sends ServicePrincipal",
                look=(f"az role assignment list --assignee {properties['principalId']} --all",),
            )  # fmt: skip


_NO_REGION: tuple[dict[str, Any], dict[str, tuple[int, int]]] = ({}, {})


def _region(location: str, reading: Reading) -> tuple[dict[str, Any], dict[str, tuple[int, int]]]:
    azure = reading.session.azure
    return compute.sizes(azure, location), compute.usages(azure, location)


def _quota(reading: Reading) -> Iterator[Finding]:
    """Whether the autoscalers can reach their limits, and an upgrade can surge: by VM family, and for the region."""
    items = {**reading.arm.control_plane, **reading.arm.fleet}
    for location in sorted({item["location"] for item in items.values()}):
        read = partial(_region, location)
        sizes, usages = reading.also(f"quota of {location}", read, _NO_REGION)
        growth = _growth(item for item in items.values() if item["location"] == location)
        for family, cores, used, most in compute.quotas(growth, sizes, usages):
            if most and used + cores > most:
                yield Finding(
                    "unknown", "arm", location, f"quota {family}", "QuotaTooSmallToGrow",
                    f"{used} of {most} vCPUs are used; the autoscalers' limits and one surge node a pool may take {cores} more",
                    "When the load rises or the clusters are upgraded, nodes will be refused (ErrCode_InsufficientVCPUQuota).",
                    "ask for more quota, or lower nodeCount.max", look=(f"az vm list-usage -l {location} -o table",),
                )  # fmt: skip


def _growth(items: Iterable[Item]) -> dict[str, int]:
    """Nodes by VM size that the pools may still take: up to their limits, and one of surge each."""
    found: dict[str, int] = {}
    for pool in (pool for item in items for pool in pools_of(item)):
        size = str(pool.get("vmSize"))
        found[size] = found.get(size, 0) + limit(pool) - int(pool.get("count") or 0) + 1
    return found


def _unsupported(reading: Reading) -> Iterator[Finding]:
    for row in versions.versions(reading, deep=False):
        if row.get("supported") is False:
            yield Finding(
                "unknown", "arm", row["cluster"], row["component"], "VersionNotSupported", f"{row['version']}: {row['note']}",
                "It still runs, but new nodes and clusters of this version may be refused, and Azure no longer supports it.",
                "set kubernetesVersion in the environment's release, one minor version at a time, and commit",
                look=(f"az aks get-upgrades -g {reading.session.parameters.fleet_group} -n {row['cluster']} -o table", "fleet versions"),
            )  # fmt: skip


def _channel_and_pin(reading: Reading) -> Iterator[Finding]:
    for name, item in reading.arm.fleet.items():
        channel = (item["properties"].get("autoUpgradeProfile") or {}).get("upgradeChannel")
        environment = reading.git.clusters.get(name)
        pinned = environment.values.get("kubernetesVersion") if environment else None
        if pinned and _fights(str(channel or "none"), str(pinned)):
            yield Finding(
                "unknown", "arm", name, f"ManagedCluster/{name}", "AutoUpgradeAndPin",
                f"upgradeChannel is {channel}, kubernetesVersion is pinned to {pinned}",
                "Azure upgrades the cluster, then ASO asks for the pinned version again, which Azure refuses: a downgrade is not possible.",
                "have one of the two: `az aks update --auto-upgrade-channel none`, or an empty kubernetesVersion",
                look=(f"az aks show -g {reading.session.parameters.fleet_group} -n {name} --query autoUpgradeProfile",),
            )  # fmt: skip


def _fights(channel: str, pinned: str) -> bool:
    """Whether a channel leaves the pin: node-image keeps Kubernetes' version, patch its minor. Source: AKS, automatic upgrades."""
    return channel in ("rapid", "stable") or (channel == "patch" and pinned.count(".") > 1)


WRITES_LEFT = 20
"""Of ARM's budget of writes: with fewer left, ASO and the runbook are about to be throttled."""


def _budget(reading: Reading) -> Iterator[Finding]:
    left = reading.budget.get("writes")
    if left is not None and left < WRITES_LEFT:
        count = sum(len(reading.hub[kind]) for kind in ("ManagedCluster", "Extension", "FluxConfiguration"))
        yield Finding(
            "unknown", "arm", reading.session.parameters.controlplane_cluster, "subscription", "WritesNearlyUsedUp",
            f"{left} writes are left of this caller's budget",
            f"Azure answers 429 when it is used up. ASO writes each of its {count} objects again at every resync.",
            "lengthen ASO's resync (azureSyncPeriod in its Helm values), or spread the fleet over subscriptions",
            look=("az rest --method get --url /subscriptions?api-version=2022-12-01 --debug 2>&1 | grep ratelimit",),
        )  # fmt: skip


def _stored_versions(reading: Reading) -> Iterator[Finding]:
    def read(_: Reading) -> list[Object]:
        return reading.session.hub.items("apiextensions.k8s.io/v1", "customresourcedefinitions")

    none: list[Object] = []
    for definition in reading.also("custom resource definitions", read, none):
        group, name = definition["spec"]["group"], definition["metadata"]["name"]
        if not group.endswith(".azure.com"):
            continue
        storage = next((version["name"] for version in definition["spec"]["versions"] if version.get("storage")), "")
        older = [version for version in (definition.get("status") or {}).get("storedVersions") or [] if version != storage]
        if older:
            yield Finding(
                "unknown", "aso", reading.session.parameters.controlplane_cluster, f"CustomResourceDefinition/{name}", "StoredVersions",
                f"status.storedVersions has {', '.join(older)} besides {storage}",
                "Objects may still be stored in a version that a later ASO drops: the API server then refuses ASO's new definition.",
                "before the next upgrade of ASO run asoctl clean crds, which migrates them; then upgrade one minor version at a time",
                look=(f"KUBECONFIG=$(fleet kubeconfig --hub) kubectl get crd {name} -o jsonpath='{{.status.storedVersions}}'",),
            )  # fmt: skip


def _extension_upgraded(reading: Reading) -> Iterator[Finding]:
    """A Flux that fails where its extension is newer than on the clusters that are well."""
    well: set[str] = set()
    ill: dict[str, str] = {}
    for cluster in layers.clusters(reading):
        extension = next((e for e in reading.graph.extensions.get(cluster.name.lower(), []) if layers.is_flux(e)), None)
        version = str(extension["properties"].get("currentVersion") or "") if extension else ""
        if cluster.first.well:
            well.add(version)
        elif version and cluster.first.layer in ("extension", "flux") and cluster.first.status == BROKEN:
            ill[cluster.name] = version
    for name, version in ill.items():
        if well and versions.number(version) > max(map(versions.number, well)):
            yield Finding(
                "unknown", "extension", name, f"{name}/flux", "NewerThanTheOthers",
                f"microsoft.flux is {version} here, {', '.join(sorted(well))} where Flux is well",
                "Azure has upgraded the extension here, and Flux fails since: the upgrade may be the cause.",
                "pin it (autoUpgradeMinorVersion: false and a version in the chart), and let a canary environment go first",
                look=("fleet versions", "fleet extensions"),
            )  # fmt: skip


RULES = {
    "identity": Rule("ASO's identity and the trust in its service account", "Entra refuses tokens whose issuer, subject or audience differ: AADSTS70021, 700211, 700213", _trust),
    "role": Rule("A role that ASO needs is missing", "AuthorizationFailed at the first change", _fleet_role),
    "principal-type": Rule("A role assignment without its principal's type", "403 where assignments are under a condition", _principal_type),
    "quota": Rule("Quota too small for the autoscalers' limits and an upgrade's surge", "nodes are refused when they are needed most", _quota),
    "version": Rule("A Kubernetes version that the region no longer offers, or with long-term support only", "nodes and new clusters are refused", _unsupported),
    "channel-and-pin": Rule("Auto-upgrade together with a pinned version", "ASO and Azure fight over the version", _channel_and_pin),
    "budget": Rule("ARM's budget of writes nearly used up", "ASO is throttled: 429", _budget),
    "stored-versions": Rule("A definition of ASO's with stored versions besides the one it stores in", "an upgrade of ASO that drops such a version is stuck: the API server refuses it", _stored_versions),
    "extension-upgraded": Rule("Flux fails where its extension is newer", "an upgrade by Azure broke the agent", _extension_upgraded),
}  # fmt: skip
"""Name -> what is looked for besides the states."""
