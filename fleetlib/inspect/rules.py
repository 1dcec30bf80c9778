"""The rules of `doctor`: faults that no layer's status shows. A rule's check is a function of a `Reading`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

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
    """A kind of fault.

    `title` is the fault, `why` its consequence. A finding without a `meaning` or `fix` gets the rule's.
    """

    title: str
    why: str
    meaning: str
    fix: str
    check: Callable[[Reading], Iterable[Finding]]

    def findings(self, reading: Reading) -> Iterator[Finding]:
        """Yield the faults of this kind."""
        for item in self.check(reading):
            yield replace(item, meaning=item.meaning or self.meaning, fix=item.fix or self.fix)


def _trust(reading: Reading) -> Iterator[Finding]:
    """Check the promises of notebook 02: ASO's identity, role, federated credential and Secret."""
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


Region = tuple[dict[str, compute.Size], dict[str, tuple[int, int]]]
"""(VM sizes, quotas) of a region; see `compute.sizes` and `compute.usages`."""

_NO_REGION: Region = ({}, {})


def _region(location: str, reading: Reading) -> Region:
    azure = reading.session.azure
    return compute.sizes(azure, location), compute.usages(azure, location)


def _quota(reading: Reading) -> Iterator[Finding]:
    """Check that the quotas, of each VM family and of the region, allow the autoscalers' limits and an upgrade's
    surge nodes.
    """
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
                    f"{used} of {most} vCPUs are used; the autoscalers' limits and one surge node a pool need {cores} more",
                    look=(f"az vm list-usage -l {location} -o table",),
                )


def _growth(items: Iterable[Item]) -> dict[str, int]:
    """Return VM size -> nodes that the pools may still add: up to their limits, and one surge node for each pool."""
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
                f"Azure upgrades the cluster, then {who} requests the pinned version; Azure refuses: it cannot downgrade.",
                look=(f"az aks show -g {group} -n {name} --query autoUpgradeProfile",),
            )


def _fights(channel: str, pinned: str) -> bool:
    """Return whether the channel upgrades beyond the pin: `patch` keeps the minor version, `node-image` Kubernetes' version.

    Source: AKS, automatic upgrades.
    """
    return channel in ("rapid", "stable") or (channel == "patch" and pinned.count(".") > 1)


WRITES_LEFT = 20
"""With fewer writes left in ARM's budget, ASO and the runbook will soon be throttled."""


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
            f"Azure refuses writes (429) when the budget is used up. ASO writes each of its {count} objects at every resync.",
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
    """Find clusters where Flux fails and its extension is newer than on the clusters where Flux works."""
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
                f"microsoft.flux is {version} here, {', '.join(sorted(well))} where Flux works",
                look=("fleet versions", "fleet extensions"),
            )


HANDS_OFF = {
    "serviceoperator.azure.com/reconcile-policy": ("skip", "ASO neither writes nor deletes its resource in Azure"),
    "kustomize.toolkit.fluxcd.io/reconcile": ("disabled", "Flux does not apply its changes in Git"),
}
"""Annotation -> (the value with which a controller ignores the object, the consequence)."""

LEFT_TO = {
    "Kustomization": "kustomization",
    "HelmRelease": "release",
    "ManagedCluster": "aso",
    "Extension": "aso",
    "FluxConfiguration": "aso",
}
"""The checked kinds -> their layer. The fleet's ResourceGroup is not checked: the runbook itself sets its annotation."""


def _left_alone(reading: Reading) -> Iterator[Finding]:
    """Find objects with an annotation that makes their controller ignore them: they are Ready, but commits do not
    reach them.
    """
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
                    f"An annotation makes the controller ignore this object: {follows}.",
                    look=(
                        f"KUBECONFIG=$(fleet kubeconfig --hub) kubectl -n {space} get {kind.lower()} {name} -o yaml",
                        "fleet drift --shallow",
                    ),
                )


RULES = {
    "identity": Rule(
        "ASO's identity, its role, federated credential or Secret is wrong",
        "Entra refuses tokens whose issuer, subject or audience differ: AADSTS70021, 700211, 700213",
        "ASO cannot sign in to Azure, or lacks a role there.",
        "run 02_create_aso_identity again",
        _trust,
    ),
    "role": Rule(
        "A role that ASO needs is missing",
        "Azure refuses ASO's first change: AuthorizationFailed",
        "ASO may not create or change resources in this group.",
        "run 02_create_aso_identity (the control plane's group) or 04_prepare_fleet (the fleet's) again",
        _fleet_role,
    ),
    "principal-type": Rule(
        "A role assignment does not have the principalType ServicePrincipal",
        "Azure refuses it (403) where a condition on role assignments requires the type",
        "The assignment was written without principalType; a condition on role assignments would refuse it.",
        "delete it and run notebook 02 or 04, which assigned it, again: fleetlib always sends ServicePrincipal",
        _principal_type,
    ),
    "quota": Rule(
        "A quota is too small for the autoscalers' limits and an upgrade's surge nodes",
        "Azure refuses nodes under load or during an upgrade",
        "When the load rises or the clusters are upgraded, Azure will refuse nodes (ErrCode_InsufficientVCPUQuota).",
        "request more quota, or lower nodeCount.max",
        _quota,
    ),
    "version": Rule(
        "The region no longer offers a Kubernetes version, or only with long-term support",
        "Azure refuses new nodes and clusters of this version",
        "The version still runs, but Azure may refuse new nodes and clusters of it, and no longer supports it.",
        "set kubernetesVersion in the environment's release, one minor version at a time, and commit",
        _unsupported,
    ),
    "channel-and-pin": Rule(
        "A cluster has both auto-upgrade and a pinned version",
        "Azure refuses each later change by ASO, or by notebook 01: it cannot downgrade",
        "Azure upgrades the cluster, then ASO requests the pinned version again, which Azure refuses: it cannot downgrade.",
        "turn off auto-upgrade (az aks update --auto-upgrade-channel none), or leave kubernetesVersion empty",
        _channel_and_pin,
    ),
    "budget": Rule(
        "ARM's budget of writes is nearly used up",
        "Azure throttles ASO (429)",
        "Azure refuses writes (429) when the budget is used up.",
        "lengthen ASO's resync (azureSyncPeriod in its Helm values), or spread the fleet over subscriptions",
        _budget,
    ),
    "stored-versions": Rule(
        "A custom resource definition of ASO has more stored versions than its storage version",
        "the API server refuses an upgrade of ASO that drops such a version",
        "Objects may still be stored in a version that a later ASO drops; the API server then refuses ASO's new definition.",
        "before the next upgrade of ASO, run asoctl clean crds (it migrates the objects); upgrade one minor version at a time",
        _stored_versions,
    ),
    "extension-upgraded": Rule(
        "Flux fails where its extension is newer",
        "an automatic upgrade by Azure breaks Flux",
        "Azure has upgraded the extension on this cluster, and Flux fails here: the upgrade may be the cause.",
        "pin the extension (autoUpgradeMinorVersion: false and a version in the chart), and upgrade a canary environment first",
        _extension_upgraded,
    ),
    "left-alone": Rule(
        "An annotation makes ASO or Flux ignore an object",
        "the object is Ready, but commits no longer reach it",
        "An annotation makes the controller ignore this object.",
        "remove the annotation, in Git or by kubectl annotate ... NAME-; fleet drift shows the differences",
        _left_alone,
    ),
}
"""Name -> rule."""
