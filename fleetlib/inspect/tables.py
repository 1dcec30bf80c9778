"""The fleet table: one row a workload cluster, joined from a handful of list calls through every layer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fleetlib import environments
from fleetlib.azure import flux, managed_clusters
from fleetlib.kube import Object, condition
from fleetlib.session import Session
from fleetlib.stages.rollout import GIT_REPOSITORY, HELM_RELEASE, KUSTOMIZATION, MANAGED_CLUSTER, OCI_REPOSITORY

if TYPE_CHECKING:
    import pandas

CLUSTER_COLUMNS = [
    "environment",
    "declared",
    "aso",
    "provisioning",
    "compliance",
    "version",
    "nodes",
    "location",
    "revision",
    "message",
]


def clusters(session: Session) -> pandas.DataFrame:
    """One row a workload cluster, by name: declared in Git, known to ASO, in Azure, or several of these.

    Columns: `environment` (release), `declared` (in Git), `aso` (reason of ASO's Ready condition), `provisioning` and
    `compliance` (ARM's states), `version`, `nodes`, `location`, `revision` (short commit its Flux has synced), `message`.
    """
    import pandas

    p = session.parameters
    session.repository.sync()
    declared = {name: env.release for env in environments.read(session.repository).values() for name in env.clusters()}
    objects = {o["metadata"]["name"]: o for o in session.hub.list(*MANAGED_CLUSTER, p.cluster_namespace)}
    actual = {item["name"]: item for item in managed_clusters.list_in(session.azure, p.fleet_group)}
    names = sorted({*declared, *objects, *actual})
    rows = [_row(session, name, declared.get(name), objects.get(name), actual.get(name)) for name in names]
    return pandas.DataFrame(rows, index=pandas.Index(names, name="cluster"), columns=CLUSTER_COLUMNS)


def _row(session: Session, name: str, release: str | None, obj: Object | None, actual: dict[str, Any] | None) -> dict[str, Any]:
    status, reason, message = condition(obj)
    row: dict[str, Any] = {
        "environment": release or name.rpartition("-aks")[0].rpartition("-")[0], "declared": release is not None,
        "aso": "Succeeded" if status == "True" else reason or "missing", "provisioning": "missing", "compliance": "missing", "message": message,
    }  # fmt: skip
    if actual is not None:
        row |= _azure_columns(session, name, actual["properties"]) | {"location": actual["location"]}
    return row


def _azure_columns(session: Session, name: str, properties: dict[str, Any]) -> dict[str, Any]:
    found = flux.list_of(session.azure, session.parameters.fleet_group, name)
    configuration = found[0]["properties"] if found else {}
    return {
        "provisioning": properties["provisioningState"], "compliance": configuration.get("complianceState") or "missing",
        "version": properties.get("currentKubernetesVersion") or properties.get("kubernetesVersion"),
        "nodes": sum(pool.get("count") or 0 for pool in properties.get("agentPoolProfiles") or []),
        "revision": (configuration.get("sourceSyncedCommitId") or "").rpartition(":")[2][:8],
    }  # fmt: skip


def sources(session: Session) -> pandas.DataFrame:
    """The control plane's Git and OCI sources, kustomizations and releases: name, kind, ready, revision, message."""
    import pandas

    rows = []
    for kind in (GIT_REPOSITORY, OCI_REPOSITORY, KUSTOMIZATION, HELM_RELEASE):
        for obj in session.hub.list(*kind, session.parameters.flux_namespace):
            status, reason, message = condition(obj)
            state = obj.get("status") or {}
            revision = (
                state.get("lastAppliedRevision")
                or (state.get("artifact") or {}).get("revision")
                or state.get("lastAttemptedRevision")
            )
            rows.append((obj["metadata"]["name"], kind[1], status == "True", _short(revision or ""), reason, _short(message)))
    frame = pandas.DataFrame(rows, columns=["name", "kind", "ready", "revision", "reason", "message"])
    return frame.set_index("name")


def _short(text: str) -> str:
    """Commit ids and digests by their first eight characters."""
    return re.sub(r"\b([0-9a-f]{8})[0-9a-f]{32,56}\b", r"\1", text)


def environments_table(session: Session) -> pandas.DataFrame:
    """One row an environment: clusters declared, in Azure, compliant."""
    table = clusters(session)
    grouped = table.groupby("environment", observed=True)
    frame = grouped.agg(declared=("declared", "sum"), succeeded=("provisioning", lambda s: int((s == "Succeeded").sum())),
                        compliant=("compliance", lambda s: int((s == "Compliant").sum())), nodes=("nodes", "sum"))  # fmt: skip
    return frame.astype(int)
