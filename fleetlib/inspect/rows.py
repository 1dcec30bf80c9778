"""The rows of the tables that Git, the control plane and ARM fill: one function for each table, from a `Reading` to rows.

Rows that are read from the clusters themselves are in `inside_rows`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from fleetlib.clients.kube import Object
from fleetlib.inspect import layers
from fleetlib.inspect.columns import STATUS
from fleetlib.inspect.layers import OK, PROGRESSING, STOPPED, Cluster, State, short
from fleetlib.inspect.reading import Item, Items, Reading

Row = dict[str, Any]
"""A row by the columns of its table: `columns.TABLES` defines them, and `frames.build` refuses a row with another column."""

SOURCES = ("GitRepository", "OCIRepository", "HelmRepository", "Bucket")


def state_columns(state: State) -> Row:
    return {"status": state.status, "reason": state.reason or None, "message": state.message or None, "since": state.since}


def cluster_row(reading: Reading, cluster: Cluster) -> Row:
    name, first = cluster.name, cluster.first
    environment = reading.git.clusters.get(name)
    release = reading.named("HelmRelease").get(environment.name) if environment else None
    fleet = reading.named("GitRepository").get(reading.session.parameters.flux_configuration)
    known = "hub" not in reading.unread
    aso = cluster.layer("aso")
    return {
        "cluster": name,
        "environment": reading.environment_of(name),
        "declared": None if "git" in reading.unread else environment is not None,
        "git": reading.git.head[:8] or None,
        "source": short(layers.revision(fleet)) if fleet else None,
        "release": layers.ready(release).get("reason") if release else None,
        "chart": chart_version(release) if release else None,
        "aso": None if not known else "Succeeded" if aso.well else aso.reason.replace("Missing", "missing"),
        **state_columns(first),
        "first_broken_layer": first.layer or None,
        "next_step": first.next_step or None,
        **_azure(reading, name),
    }


def _azure(reading: Reading, name: str) -> Row:
    if "arm" in reading.unread:
        return {}
    item = reading.arm.fleet.get(name)
    if item is None:
        return {"provisioning": "missing", "extension": "missing", "compliance": "missing"}
    properties = item["properties"]
    return {
        "provisioning": properties.get("provisioningState"),
        "power": (properties.get("powerState") or {}).get("code"),
        "version": properties.get("currentKubernetesVersion") or properties.get("kubernetesVersion"),
        "nodes": sum(pool.get("count") or 0 for pool in properties.get("agentPoolProfiles") or []),
        "location": item["location"],
        "created": (item.get("systemData") or {}).get("createdAt"),
        "id": item["id"],
        "portal": portal(reading, item["id"]),
        **_flux(reading, name),
    }


def _flux(reading: Reading, name: str) -> Row:
    if "graph" in reading.unread:
        return {}
    extension = next((e for e in reading.graph.extensions.get(name.lower(), []) if layers.is_flux(e)), None)
    configurations = [c["properties"] for c in reading.graph.configurations.get(name.lower(), [])]
    worst: Item = min(configurations, key=lambda p: p.get("complianceState") == "Compliant", default={})
    return {
        "extension": extension["properties"].get("provisioningState") if extension else "missing",
        "compliance": worst.get("complianceState") or "missing",
        "revision": short(worst.get("sourceSyncedCommitId") or "") or None,
    }


def portal(reading: Reading, identifier: str) -> str | None:
    """Return the URL of the resource in the cloud's portal; `None` if the cloud has none."""
    base = reading.session.cloud.portal
    return f"{base}/#resource{identifier}" if base else None


def chart_version(release: Object) -> str | None:
    """Return the version of the installed chart; `None` before the first installation."""
    history = (release.get("status") or {}).get("history") or [{}]
    return history[0].get("chartVersion")


def environments(reading: Reading) -> Iterator[Row]:
    grouped: dict[str, list[tuple[Cluster, Row]]] = {}
    for cluster in layers.clusters(reading):
        row = cluster_row(reading, cluster)
        grouped.setdefault(row["environment"] or "(none)", []).append((cluster, row))
    for release in sorted({*grouped, *reading.git.environments}):
        yield _environment(reading, release, grouped.get(release, []))


def _environment(reading: Reading, release: str, members: list[tuple[Cluster, Row]]) -> Row:
    declared = reading.git.environments.get(release)
    obj = reading.named("HelmRelease").get(declared.name) if declared else None
    rows = [row for _, row in members]
    items = [reading.arm.fleet[cluster.name] for cluster, _ in members if cluster.name in reading.arm.fleet]
    worst = min((c.first for c, _ in members), key=lambda state: SEVERITY[state.status], default=State("", OK))
    return {
        "environment": release,
        "declared": declared.count if declared else 0,
        "succeeded": sum(row.get("provisioning") == "Succeeded" for row in rows),
        "compliant": sum(row.get("compliance") == "Compliant" for row in rows),
        "broken": sum(row["status"] != OK for row in rows),
        "nodes": sum(row.get("nodes") or 0 for row in rows),
        "nodes_max": sum(limit(pool) for item in items for pool in pools_of(item)),
        "versions": _joined(row.get("version") for row in rows),
        "locations": _joined(row.get("location") for row in rows),
        "chart": chart_version(obj) if obj else None,
        "file": declared.file if declared else None,
        "release": layers.ready(obj).get("reason") if obj else None,
        **state_columns(worst),
    }


SEVERITY = {name: number for number, name in enumerate(STATUS)}
"""Status -> its rank, worst first."""


def _joined(values: Iterable[Any]) -> str:
    return ", ".join(sorted({str(value) for value in values if value}))


def pools_of(item: Item) -> Items:
    return item["properties"].get("agentPoolProfiles") or []


def limit(pool: Item) -> int:
    """Return the most nodes that a pool may have."""
    return int((pool.get("maxCount") if pool.get("enableAutoScaling") else None) or pool.get("count") or 0)


def pools(reading: Reading) -> Iterator[Row]:
    for name, item in {**reading.arm.control_plane, **reading.arm.fleet}.items():
        for pool in pools_of(item):
            yield {
                "cluster": name,
                "environment": reading.environment_of(name),
                **_pool(pool),
                "id": f"{item['id']}/agentPools/{pool['name']}",
            }


def _pool(pool: Item) -> Row:
    power = (pool.get("powerState") or {}).get("code")
    state = str(pool.get("provisioningState") or "")
    status = STOPPED if power == "Stopped" else layers.ENDED.get(state, PROGRESSING)
    return {
        "pool": pool["name"],
        "mode": pool.get("mode"),
        "vm_size": pool.get("vmSize"),
        "os": pool.get("osSKU"),
        "version": pool.get("currentOrchestratorVersion") or pool.get("orchestratorVersion"),
        "image": pool.get("nodeImageVersion"),
        "count": pool.get("count"),
        "min": pool.get("minCount"),
        "max": pool.get("maxCount"),
        "autoscaling": bool(pool.get("enableAutoScaling")),
        "power": power,
        "provisioning": state or None,
        "status": status,
    }


# --- Flux: on the control plane from its API; in the clusters from Azure's copy of their status, or from each cluster --


def sources(reading: Reading, deep: bool) -> Iterator[Row]:
    yield from _flux_rows(reading, deep, SOURCES, source_row)


def kustomizations(reading: Reading, deep: bool) -> Iterator[Row]:
    yield from _flux_rows(reading, deep, ("Kustomization",), kustomization_row)


def releases(reading: Reading, deep: bool) -> Iterator[Row]:
    yield from _flux_rows(reading, deep, ("HelmRelease",), release_row)


def _flux_rows(
    reading: Reading, deep: bool, kinds: tuple[str, ...], row: Callable[[Reading, str, Object], Row]
) -> Iterator[Row]:
    hub = reading.session.parameters.controlplane_cluster
    for kind in kinds:
        for obj in reading.hub[kind]:
            yield {"cluster": hub, **_place(obj), **row(reading, kind, obj)}
    if deep:
        for name, inside in reading.inside(kinds).items():
            if inside.error:
                yield unreachable(reading, name, inside.error)
                continue
            for kind in kinds:
                for obj in inside.objects[kind]:
                    yield {
                        "cluster": name,
                        "environment": reading.environment_of(name),
                        **_place(obj),
                        **row(reading, kind, obj),
                    }
        return
    names = {name.lower(): name for name in reading.arm.fleet}
    for cluster, items in reading.graph.configurations.items():
        for status in (status for item in items for status in item["properties"].get("statuses") or []):
            if status["kind"] in kinds and cluster in names:
                yield {
                    "cluster": names[cluster],
                    "environment": reading.environment_of(names[cluster]),
                    **_told(reading, status, kinds),
                }


def unreachable(reading: Reading, cluster: str, error: str) -> Row:
    """Return the row of a cluster that could not be read, with its error."""
    return {"cluster": cluster, "environment": reading.environment_of(cluster), "status": "unreachable", "error": error}


def _place(obj: Object) -> Row:
    return {"namespace": obj["metadata"]["namespace"], "name": obj["metadata"]["name"]}


def _told(reading: Reading, status: Item, kinds: tuple[str, ...]) -> Row:
    """Return the row of an object inside a cluster, as the Flux configuration in Azure reports it."""
    state = layers.told_state(reading, status)
    row: Row = {
        "namespace": status["namespace"],
        "name": status["name"],
        "status": state.status,
        "reason": state.reason or None,
        "message": state.message or None,
        "since": state.since,
    }
    if kinds == SOURCES:
        row["kind"] = status["kind"]
    if status["kind"] == "HelmRelease":
        row["failures"] = (status.get("helmReleaseProperties") or {}).get("failureCount")
        row["revision"] = (status.get("helmReleaseProperties") or {}).get("lastRevisionApplied")
    return row


def source_row(reading: Reading, kind: str, obj: Object) -> Row:
    spec = obj["spec"]
    ref = spec.get("ref") or {}
    wanted = next(
        (f"{key} {ref[key]}" for key in ("commit", "tag", "semver", "digest", "branch", "name") if ref.get(key)), None
    )
    return {
        "kind": kind,
        "url": spec.get("url") or spec.get("bucketName"),
        "ref": wanted,
        "revision": layers.revision(obj) or None,
        "suspended": bool(spec.get("suspend")),
        "interval": spec.get("interval"),
        **state_columns(layers.flux_state(reading, "source", obj, "")),
    }


def kustomization_row(reading: Reading, _: str, obj: Object) -> Row:
    spec, status = obj["spec"], obj.get("status") or {}
    entries = (status.get("inventory") or {}).get("entries")
    return {
        "source": f"{spec['sourceRef']['kind']}/{spec['sourceRef']['name']}",
        "path": spec.get("path"),
        "depends_on": _dependencies(spec),
        "revision": status.get("lastAppliedRevision"),
        "attempted": status.get("lastAttemptedRevision"),
        "objects": len(entries) if entries is not None else None,
        "suspended": bool(spec.get("suspend")),
        "prune": bool(spec.get("prune")),
        **state_columns(layers.flux_state(reading, "kustomization", obj, "")),
    }


def release_row(reading: Reading, _: str, obj: Object) -> Row:
    spec, status = obj["spec"], obj.get("status") or {}
    last = (status.get("history") or [{}])[0]
    wanted = (spec.get("chart") or {}).get("spec", {}).get("chart") or (spec.get("chartRef") or {}).get("name")
    return {
        "release": f"{last['namespace']}/{last['name']}" if last.get("name") else None,
        "chart": last.get("chartName") or wanted,
        "version": last.get("chartVersion"),
        "revision": last.get("version"),
        "state": last.get("status"),
        "failures": status.get("failures"),
        "suspended": bool(spec.get("suspend")),
        "depends_on": _dependencies(spec),
        **state_columns(layers.flux_state(reading, "release", obj, "")),
    }


def _dependencies(spec: Object) -> str | None:
    return ", ".join(item["name"] for item in spec.get("dependsOn") or []) or None


# --- Azure ------------------------------------------------------------------------------------------------------------


def extensions(reading: Reading) -> Iterator[Row]:
    names = {name.lower(): name for name in (*reading.arm.fleet, *reading.arm.control_plane)}
    for cluster, items in reading.graph.extensions.items():
        for item in items:
            properties = item["properties"]
            name = names.get(cluster, cluster)
            yield {
                "cluster": name,
                "environment": reading.environment_of(name),
                "extension": item["name"],
                "type": properties.get("extensionType"),
                "version": properties.get("currentVersion") or properties.get("version"),
                "pinned": None if properties.get("autoUpgradeMinorVersion") else properties.get("version"),
                "auto_upgrade": properties.get("autoUpgradeMinorVersion"),
                "train": properties.get("releaseTrain"),
                "provisioning": properties.get("provisioningState"),
                **state_columns(layers.arm_state("extension", item, "")),
                "id": item["id"],
            }


def operations(reading: Reading) -> Iterator[Row]:
    """Yield the rows from ASO's objects: from their creation, or the request for their deletion, until they were last Ready."""
    for kind, layer in (("ManagedCluster", "arm"), ("Extension", "extension"), ("FluxConfiguration", "flux")):
        for obj in reading.hub[kind]:
            yield _operation(reading, kind, layer, obj)


def _operation(reading: Reading, kind: str, layer: str, obj: Object) -> Row:
    name = obj["metadata"]["name"] if kind == "ManagedCluster" else obj["spec"]["owner"]["name"]
    state = layers.aso_state(obj, f"{kind}/{obj['metadata']['name']}")
    deleting = obj["metadata"].get("deletionTimestamp")
    started = deleting or obj["metadata"]["creationTimestamp"]
    ended = state.since if state.well else None
    seconds = (layers.parsed(ended) if ended else reading.at) - layers.parsed(started)
    return {
        "cluster": name,
        "layer": layer,
        "environment": reading.environment_of(name),
        "object": state.target,
        "started": started,
        "ended": ended,
        "seconds": seconds.total_seconds(),
        "state": state.reason,
        "status": state.status,
        "message": state.message or None,
    }
