"""Drift: differences between Git and the control plane, the control plane and Azure, Flux and the clusters.

Only declared fields are compared: defaults that Azure fills in and the decisions of an autoscaler are not drift.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from fleetlib.clients.gitops import Chart
from fleetlib.clients.kube import Kube, Object
from fleetlib.errors import FleetError, RetryableError
from fleetlib.inspect import applied, inside_drift
from fleetlib.inspect.inside_drift import text
from fleetlib.inspect.managers import called
from fleetlib.inspect.reading import Item, Reading, power
from fleetlib.inspect.rows import Row

ASO_KINDS = ("ManagedCluster", "Extension", "FluxConfiguration")
CHART = "charts/podinfocluster"

BY_FLUX = "Flux reverts it within its interval, unless it is suspended; to keep the change, commit it"
BY_ASO = "ASO reverts it when it next reconciles; to keep the change, declare it in Git"
LEFT_ALONE = "ASO does not revert it, as the object's reconcile-policy is skip: revert it in Azure"

Path = tuple[str, ...]
Same = Callable[[Path, Any, Any], bool]


def differences(reading: Reading, deep: bool) -> Iterator[Row]:
    """Yield all differences, in the order of the layers. `deep` also compares the objects inside the clusters."""
    found = [*_git(reading), *_azure(reading), *(_inside(reading) if deep else ())]
    for number, row in enumerate(found, 1):
        yield {"difference": number, **row}


# --- Git against the control plane ------------------------------------------------------------------------------------


def _git(reading: Reading) -> Iterator[Row]:
    if "git" in reading.unread or "hub" in reading.unread:
        return
    nothing: dict[tuple[str, str], Object] = {}
    declared = reading.also("the rendered chart", _rendered, nothing)
    if "the rendered chart" in reading.unread:
        return
    for (kind, name), obj in declared.items():
        actual = reading.named(kind).get(name)
        row = {"cluster": _cluster(obj), "layer": "aso", "object": f"{kind}/{name}"}
        if actual is None:
            yield row | {"kind": "missing", "fix": "Flux creates it within its interval; if it does not, run fleet releases"}
            continue
        for path, wanted, there in compare(obj["spec"], actual["spec"], _exactly):
            by, since = owner(actual, ("spec", *path))
            yield row | _changed(path, wanted, there) | {"by": by, "since": since, "fix": BY_FLUX}
    known = {_cluster(obj) for obj in declared.values()}
    for kind in ASO_KINDS:
        for name, obj in reading.named(kind).items():
            if (kind, name) not in declared and (kind == "ManagedCluster" or _cluster(obj) in known):
                fix = "declare it in Git, or delete the object: ASO then deletes its resource in Azure"
                by, since = owner(obj, ("spec",))
                yield {
                    "cluster": _cluster(obj),
                    "layer": "aso",
                    "object": f"{kind}/{name}",
                    "kind": "orphan",
                    "by": by,
                    "since": since,
                    "fix": fix,
                }


def _rendered(reading: Reading) -> dict[tuple[str, str], Object]:
    """Render the chart for every environment, with Helm's own code, and return ASO's objects by (kind, name)."""
    chart, namespace = Chart(reading.session.repository.folder / CHART), reading.session.parameters.cluster_namespace
    found = [obj for env in reading.git.environments.values() for obj in chart.render(env.release, namespace, env.values)]
    return {(obj["kind"], obj["metadata"]["name"]): obj for obj in found if obj["kind"] in ASO_KINDS}


def _cluster(obj: Object) -> str:
    return str(obj["metadata"]["name"] if obj["kind"] == "ManagedCluster" else obj["spec"]["owner"]["name"])


# --- the control plane against Azure ----------------------------------------------------------------------------------


def _azure(reading: Reading) -> Iterator[Row]:
    if "hub" in reading.unread or "arm" in reading.unread:
        return
    objects = reading.named("ManagedCluster")
    fleet = {name.lower(): item for name, item in reading.arm.fleet.items()}
    for name, obj in objects.items():
        yield from _against(obj, fleet.get(azure_name(obj).lower()), name, "arm", _managed_cluster)
    declared = {azure_name(obj).lower() for obj in objects.values()} | {name.lower() for name in reading.git.clusters}
    group = reading.session.parameters.fleet_group
    for name, item in fleet.items() if "git" not in reading.unread else ():  # without Git, an orphan may be declared
        if name not in declared:
            fix = f"declare it in Git, or delete it: az aks delete -g {group} -n {item['name']}"
            yield {
                "cluster": item["name"],
                "layer": "arm",
                "object": f"managedClusters/{item['name']}",
                "kind": "orphan",
                "fix": fix,
            } | _modified(item)
    if "graph" not in reading.unread:
        for kind, layer, known in (
            ("Extension", "extension", reading.graph.extensions),
            ("FluxConfiguration", "flux", reading.graph.configurations),
        ):
            yield from _in_azure_of(reading, kind, layer, known)


def _in_azure_of(reading: Reading, kind: str, layer: str, known: Mapping[str, list[Item]]) -> Iterator[Row]:
    """Compare the extensions, or the Flux configurations, of the control plane and of Azure in both directions."""
    wanted: dict[tuple[str, str], Object] = {}
    for obj in reading.named(kind).values():
        wanted[_cluster(obj).lower(), azure_name(obj).lower()] = obj
    there = {(cluster, item["name"].lower()): item for cluster, items in known.items() for item in items}
    fleet = {name.lower(): name for name in reading.arm.fleet}
    for (cluster, _), obj in wanted.items():
        if cluster in fleet:
            yield from _against(obj, there.get((cluster, azure_name(obj).lower())), fleet[cluster], layer, _nested)
    for (cluster, name), item in there.items():
        if cluster in fleet and (cluster, name) not in wanted and reading.named("ManagedCluster").get(fleet[cluster]):
            command = "az k8s-extension delete" if layer == "extension" else "az k8s-configuration flux delete"
            place = f"-g {reading.session.parameters.fleet_group} -c {fleet[cluster]} -t managedClusters -n {item['name']}"
            fix = f"declare it in the chart, or delete it: {command} {place}"
            yield {
                "cluster": fleet[cluster],
                "layer": layer,
                "object": f"{kind}/{item['name']}",
                "kind": "orphan",
                "fix": fix,
            } | _modified(item)


def _against(obj: Object, item: Item | None, cluster: str, layer: str, shape: Callable[[Item], Item]) -> Iterator[Row]:
    row: Row = {"cluster": cluster, "layer": layer, "object": f"{obj['kind']}/{obj['metadata']['name']}"}
    if obj["metadata"].get("deletionTimestamp"):
        return
    if item is None:
        yield row | {
            "kind": "missing",
            "fix": "ASO recreates it when it next reconciles; if it does not, look at the object's Ready condition",
        }
        return
    fix = LEFT_ALONE if _skipped(obj) else BY_ASO
    spec = {key: value for key, value in obj["spec"].items() if key not in ("owner", "azureName", "operatorSpec")}
    for path, wanted, there in compare(spec, shape(item), as_azure_sees_it):
        yield row | _changed(path, wanted, there) | _modified(item) | {"fix": fix}
    for name in sorted(_names(shape(item), MEMBERS) - _names(spec, MEMBERS)):
        yield (
            row
            | {"kind": "orphan", "field": name, "actual": name}
            | _modified(item)
            | {"fix": "declare it in the chart, or delete it in Azure"}
        )


MEMBERS = ("agentPoolProfiles", "kustomizations")
"""The properties that list named parts of a resource: parts that are not declared are drift."""


def _names(properties: Mapping[str, Any], members: Iterable[str]) -> set[str]:
    return {
        f"{member}.{item['name'] if isinstance(item, dict) else item}"
        for member in members
        for item in properties.get(member) or ()
    }


def _skipped(obj: Object) -> bool:
    """Return whether the annotation reconcile-policy forbids ASO to write to Azure (`skip`). Source: ASO, annotations."""
    return (obj["metadata"].get("annotations") or {}).get("serviceoperator.azure.com/reconcile-policy") == "skip"


def azure_name(obj: Object) -> str:
    return str(obj["spec"].get("azureName") or obj["metadata"]["name"])


def _managed_cluster(item: Item) -> Item:
    """Return a cluster of ARM in the shape of ASO's spec."""
    return {**item["properties"], **{key: item[key] for key in ("location", "tags", "identity", "sku") if key in item}}


def _nested(item: Item) -> Item:
    properties: Item = item["properties"]
    return properties


def _modified(item: Item) -> Row:
    data = item.get("systemData") or {}
    return {"by": data.get("lastModifiedBy"), "since": data.get("lastModifiedAt")}


def as_azure_sees_it(path: Path, wanted: Any, there: Any) -> bool:
    """Return whether two values are equal for Azure.

    Azure ignores case, except in tags, and spaces in regions. `1.35` means any patch of 1.35.
    """
    if path[0] == "tags" or not isinstance(wanted, str) or not isinstance(there, str):
        return bool(wanted == there)
    if path[-1] in ("kubernetesVersion", "orchestratorVersion"):
        return there == wanted or there.startswith(f"{wanted}.")
    if path[-1] == "location":
        return wanted.replace(" ", "").lower() == there.replace(" ", "").lower()
    return wanted.lower() == there.lower()


# --- Flux against the clusters ----------------------------------------------------------------------------------------


def _inside(reading: Reading) -> Iterator[Row]:
    """Compare the objects that Flux has applied in the running clusters and on the control plane.

    Clusters that cannot be compared are named in `unread_for`.
    """
    unread = reading.unread_for.setdefault("drift", {})
    group = reading.session.parameters.fleet_group
    for name, item in reading.arm.fleet.items():
        if power(item) == "Stopped":
            unread[f"cluster {name}"] = RetryableError(
                f"the cluster {name} is stopped: its objects could not be compared",
                target=name,
                fix=f"az aks start -g {group} -n {name}, then compare again",
            )
    found: dict[str, Inside | FleetError] = reading.also("the objects that Flux has applied", _applied, {})
    for name, told in found.items():
        if isinstance(told, FleetError):
            unread[f"cluster {name}"] = RetryableError(
                f"the cluster {name} could not be compared",
                target=name,
                said=" ".join(filter(None, (told.what, told.said))),
                fix=told.fix,
            )
        else:
            rows, more = told
            unread.update({f"cluster {name}: {what}": error for what, error in more.items()})
            yield from rows


Inside = tuple[list[Row], dict[str, FleetError]]
"""(differences, errors by what could not be read) of one cluster."""


def _applied(reading: Reading) -> dict[str, Inside | FleetError]:
    """Compare each cluster where it is read, so that its objects need not be kept."""
    hub = reading.session.parameters.controlplane_cluster
    releases = [environment.release for environment in reading.git.environments.values()]

    def ask(name: str, kube: Kube) -> Inside:
        configurations = reading.graph.configurations.get(name.lower()) or ()
        made = [key for item in configurations for key in applied.of_configuration(item["name"], item["properties"])]
        more: dict[str, Any] = {"without": ASO_KINDS, "releases_without": releases} if name == hub else {}
        found = applied.read(kube, made, **more)
        return list(inside_drift.differences(name, found)), found.unread

    return reading.each(ask, hub=True)


# --- comparing --------------------------------------------------------------------------------------------------------


def compare(declared: Any, actual: Any, same: Same, path: Path = ()) -> Iterator[tuple[Path, Any, Any]]:
    """Yield (path, declared, actual) for every declared value that differs.

    Lists of objects with a `name` are compared by it.
    """
    if isinstance(declared, dict):
        there = actual if isinstance(actual, dict) else {}
        for key, value in declared.items():
            yield from compare(value, there.get(key), same, (*path, str(key)))
    elif _named(declared):
        found = {item["name"]: item for item in actual or [] if isinstance(item, dict) and "name" in item}
        for item in declared:
            yield from compare(item, found.get(item["name"]), same, (*path, str(item["name"])))
    elif declared is not None and not same(path, declared, actual) and not _nothing(declared, actual):
        yield path, declared, actual


def _named(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) and "name" in item for item in value)


def _nothing(declared: Any, actual: Any) -> bool:
    """Return whether both are empty or absent, which are equal for Azure and Kubernetes."""
    return declared in ("", [], False) and actual in (None, "", [], False)


def _exactly(path: Path, wanted: Any, there: Any) -> bool:
    return bool(wanted == there)


def _changed(path: Path, wanted: Any, there: Any) -> Row:
    return {"kind": "changed", "field": ".".join(path), "declared": text(wanted), "actual": text(there)}


def owner(obj: Object, path: Path) -> tuple[str | None, str | None]:
    """Return (manager, time) of the field's last owner, or of the nearest owned field around it; (`None`, `None`)
    without one.
    """
    best: tuple[int, str, str] | None = None
    for entry in obj["metadata"].get("managedFields") or []:
        if entry.get("subresource") != "status":
            depth = _depth(entry.get("fieldsV1") or {}, path)
            candidate = (depth, str(entry.get("time") or ""), str(entry.get("manager") or ""))
            if depth and (best is None or candidate > best):
                best = candidate
    return (called(best[2]), best[1] or None) if best else (None, None)


def _depth(fields: Mapping[str, Any], path: Path) -> int:
    """Return the number of steps of the path that the set of fields has."""
    for number, step in enumerate(path):
        following = fields.get(f"f:{step}")
        if following is None:
            following = next(
                (fields[key] for key in fields if key.startswith("k:") and json.loads(key[2:]).get("name") == step), None
            )
        if following is None:
            return number
        fields = following
    return len(path)
