"""What `doctor` looks for besides the layers' own states: what nobody's status says. A rule is a pure function of a `Reading`.

May import `finding`, `layers`, `rows`, `versions`, `roles`, `stages`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from fleetlib.change import Check
from fleetlib.clients.azure import compute
from fleetlib.clients.kube import Object
from fleetlib.inspect import layers, versions
from fleetlib.inspect.finding import Finding
from fleetlib.inspect.layers import BROKEN
from fleetlib.inspect.reading import Item, Reading
from fleetlib.inspect.rows import limit, pools_of


@dataclass(frozen=True)
class Rule:
    """A thing to look for. `why`: what people run into without it; `meaning` and `fix`: of what is found, unless it has its own."""

    title: str
    why: str
    meaning: str
    fix: str
    check: Callable[[Reading], Iterable[Finding]]

    def findings(self, reading: Reading) -> Iterator[Finding]:
        for item in self.check(reading):
            yield replace(item, meaning=item.meaning or self.meaning, fix=item.fix or self.fix)


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
                BROKEN,
                "aso",
                p.controlplane_cluster,
                f"identity {p.aso_identity}",
                "PromiseNotKept",
                f"{check.promise}: {check.evidence}",
                fix=check.fix,
                look=look,
            )


def _fleet_role(reading: Reading) -> Iterator[Finding]:
    from fleetlib.inspect import roles

    p = reading.session.parameters
    for row in roles.roles(reading):
        if row["needed"] and row["status"] == BROKEN:
            group = p.fleet_group if row["scope"].lower() == p.fleet_group.lower() else p.controlplane_group
            yield Finding(
                BROKEN,
                "aso",
                p.controlplane_cluster,
                f"role {row['role']} on {group}",
                "RoleAssignmentMissing",
                row["message"],
                fix=row["message"].partition(": ")[2],
                look=(f"az role assignment list -g {group} -o table",),
            )


def _principal_type(reading: Reading) -> Iterator[Finding]:
    from fleetlib.inspect import roles

    known = reading.also("roles", roles.read, roles.Roles())
    for item in known.assignments:
        properties = item["properties"]
        if properties["principalId"].lower() == known.aso.lower() and properties.get("principalType") != "ServicePrincipal":
            yield Finding(
                "unknown",
                "aso",
                reading.session.parameters.controlplane_cluster,
                f"role assignment {item['name']}",
                "PrincipalType",
                f"principalType is {properties.get('principalType')}",
                look=(f"az role assignment list --assignee {properties['principalId']} --all",),
            )


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
                    "unknown",
                    "arm",
                    location,
                    f"quota {family}",
                    "QuotaTooSmallToGrow",
                    f"{used} of {most} vCPUs are used; the autoscalers' limits and one surge node a pool may take {cores} more",
                    look=(f"az vm list-usage -l {location} -o table",),
                )


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
                "unknown",
                "arm",
                row["cluster"],
                row["component"],
                "VersionNotSupported",
                f"{row['version']}: {row['note']}",
                look=(
                    f"az aks get-upgrades -g {reading.session.parameters.fleet_group} -n {row['cluster']} -o table",
                    "fleet versions",
                ),
            )


def _channel_and_pin(reading: Reading) -> Iterator[Finding]:
    p = reading.session.parameters
    sides = ((p.controlplane_group, "notebook 01", reading.arm.control_plane), (p.fleet_group, "ASO", reading.arm.fleet))
    for group, who, name, item in ((group, who, *pair) for group, who, items in sides for pair in items.items()):
        channel = (item["properties"].get("autoUpgradeProfile") or {}).get("upgradeChannel")
        pinned = versions.wanted(reading, name)
        if pinned and _fights(str(channel or "none"), pinned):
            yield Finding(
                "unknown",
                "arm",
                name,
                f"ManagedCluster/{name}",
                "AutoUpgradeAndPin",
                f"upgradeChannel is {channel}, kubernetesVersion is pinned to {pinned}",
                f"Azure upgrades the cluster, then {who} asks for the pinned version again, which Azure refuses: a downgrade is not possible.",
                look=(f"az aks show -g {group} -n {name} --query autoUpgradeProfile",),
            )


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
            "unknown",
            "arm",
            reading.session.parameters.controlplane_cluster,
            "subscription",
            "WritesNearlyUsedUp",
            f"{left} writes are left of this caller's budget",
            f"Azure answers 429 when it is used up. ASO writes each of its {count} objects again at every resync.",
            look=("az rest --method get --url /subscriptions?api-version=2022-12-01 --debug 2>&1 | grep ratelimit",),
        )


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
                "unknown",
                "aso",
                reading.session.parameters.controlplane_cluster,
                f"CustomResourceDefinition/{name}",
                "StoredVersions",
                f"status.storedVersions has {', '.join(older)} besides {storage}",
                look=(f"KUBECONFIG=$(fleet kubeconfig --hub) kubectl get crd {name} -o jsonpath='{{.status.storedVersions}}'",),
            )


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
                "unknown",
                "extension",
                name,
                f"{name}/flux",
                "NewerThanTheOthers",
                f"microsoft.flux is {version} here, {', '.join(sorted(well))} where Flux is well",
                look=("fleet versions", "fleet extensions"),
            )


HANDS_OFF = {
    "serviceoperator.azure.com/reconcile-policy": ("skip", "ASO neither writes nor deletes its resource in Azure"),
    "kustomize.toolkit.fluxcd.io/reconcile": ("disabled", "Flux does not bring what Git says of it"),
}
"""Annotation -> the value with which its controller leaves an object alone, and what follows."""

LEFT_TO = {
    "Kustomization": "kustomization",
    "HelmRelease": "release",
    "ManagedCluster": "aso",
    "Extension": "aso",
    "FluxConfiguration": "aso",
}
"""Kinds that nobody leaves alone on purpose -> their layer. The fleet's ResourceGroup is left alone by the runbook itself."""


def _left_alone(reading: Reading) -> Iterator[Finding]:
    """Objects whose controller has been told to leave them alone: they are Ready, and nothing that is committed reaches them."""
    p = reading.session.parameters
    objects = ((kind, *pair) for kind in LEFT_TO for pair in reading.named(kind).items())
    for kind, name, obj in objects:
        marks = obj["metadata"].get("annotations") or {}
        for mark, (value, follows) in HANDS_OFF.items():
            if str(marks.get(mark, "")).lower() == value:
                space = p.cluster_namespace if LEFT_TO[kind] == "aso" else p.flux_namespace
                yield Finding(
                    "stopped",
                    LEFT_TO[kind],
                    p.controlplane_cluster,
                    f"{kind}/{name}",
                    "LeftAlone",
                    f"{mark}: {value}",
                    f"The object says that it is to be left alone: {follows}.",
                    look=(
                        f"KUBECONFIG=$(fleet kubeconfig --hub) kubectl -n {space} get {kind.lower()} {name} -o yaml",
                        "fleet drift --shallow",
                    ),
                )


RULES = {
    "identity": Rule(
        "ASO's identity and the trust in its service account",
        "Entra refuses tokens whose issuer, subject or audience differ: AADSTS70021, 700211, 700213",
        "ASO cannot sign in to Azure, or may not do there what it should.",
        "run 02_create_aso_identity again",
        _trust,
    ),
    "role": Rule(
        "A role that ASO needs is missing",
        "AuthorizationFailed at the first change",
        "ASO may not create or change anything in this group.",
        "run 02_create_aso_identity (the control plane's group) or 04_prepare_fleet (the fleet's) again",
        _fleet_role,
    ),
    "principal-type": Rule(
        "A role assignment without its principal's type",
        "403 where assignments are under a condition",
        "The assignment was written without its principal's type: under a condition on role assignments Azure refuses such a one.",
        "delete it and run the notebook that gives it again: fleetlib always sends ServicePrincipal",
        _principal_type,
    ),
    "quota": Rule(
        "Quota too small for the autoscalers' limits and an upgrade's surge",
        "nodes are refused when they are needed most",
        "When the load rises or the clusters are upgraded, nodes will be refused (ErrCode_InsufficientVCPUQuota).",
        "ask for more quota, or lower nodeCount.max",
        _quota,
    ),
    "version": Rule(
        "A Kubernetes version that the region no longer offers, or with long-term support only",
        "nodes and new clusters are refused",
        "It still runs, but new nodes and clusters of this version may be refused, and Azure no longer supports it.",
        "set kubernetesVersion in the environment's release, one minor version at a time, and commit",
        _unsupported,
    ),
    "channel-and-pin": Rule(
        "Auto-upgrade together with a pinned version, on the control plane too",
        "ASO, or notebook 01, and Azure fight over the version",
        "Azure upgrades the cluster, then ASO asks for the pinned version again, which Azure refuses: a downgrade is not possible.",
        "have one of the two: `az aks update --auto-upgrade-channel none`, or an empty kubernetesVersion",
        _channel_and_pin,
    ),
    "budget": Rule(
        "ARM's budget of writes nearly used up",
        "ASO is throttled: 429",
        "Azure answers 429 when it is used up.",
        "lengthen ASO's resync (azureSyncPeriod in its Helm values), or spread the fleet over subscriptions",
        _budget,
    ),
    "stored-versions": Rule(
        "A definition of ASO's with stored versions besides the one it stores in",
        "an upgrade of ASO that drops such a version is stuck: the API server refuses it",
        "Objects may still be stored in a version that a later ASO drops: the API server then refuses ASO's new definition.",
        "before the next upgrade of ASO run asoctl clean crds, which migrates them; then upgrade one minor version at a time",
        _stored_versions,
    ),
    "extension-upgraded": Rule(
        "Flux fails where its extension is newer",
        "an upgrade by Azure broke the agent",
        "Azure has upgraded the extension here, and Flux fails since: the upgrade may be the cause.",
        "pin it (autoUpgradeMinorVersion: false and a version in the chart), and let a canary environment go first",
        _extension_upgraded,
    ),
    "left-alone": Rule(
        "An object that tells ASO or Flux to leave it alone",
        "it is Ready, and no commit reaches it any more",
        "The object says that it is to be left alone.",
        "take the annotation off (kubectl annotate ... NAME-), in Git if it is declared there; `fleet drift` shows what has changed meanwhile",
        _left_alone,
    ),
}
"""Name -> what is looked for besides the states."""
