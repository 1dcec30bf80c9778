"""Where what is declared and what there is differ: Git against the control plane, the control plane against Azure, Flux against the clusters.

Only what is declared counts: a default that Azure filled in is no difference, nor is what an autoscaler decides. May import `reading`,
`layers`, `rows`, `applied`, `inside_drift`, `managers`.
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

BY_FLUX = "Flux puts it back within its interval, unless it is suspended; commit it if it is meant to stay"
BY_ASO = "ASO puts it back when it next reconciles; declare it in Git if it is meant to stay"
LEFT_ALONE = "ASO leaves it alone, as its reconcile-policy is skip: put it back in Azure"

Path = tuple[str, ...]
Same = Callable[[Path, Any, Any], bool]


def differences(reading: Reading, deep: bool) -> Iterator[Row]:
    """All differences, in the order of the layers."""
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
            yield row | {"kind": "missing", "fix": "Flux makes it within its interval: if not, look at fleet releases"}
            continue
        for path, wanted, there in compare(obj["spec"], actual["spec"], _exactly):
            by, since = owner(actual, ("spec", *path))
            yield row | _changed(path, wanted, there) | {"by": by, "since": since, "fix": BY_FLUX}
    known = {_cluster(obj) for obj in declared.values()}
    for kind in ASO_KINDS:
        for name, obj in reading.named(kind).items():
            if (kind, name) not in declared and (kind == "ManagedCluster" or _cluster(obj) in known):
                fix = "declare it in Git, or delete the object: then ASO deletes what it stands for in Azure"
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
    """(kind, name) -> the object that the chart makes, for every environment: rendered once each, by Helm's own code."""
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
    for name, item in fleet.items() if "git" not in reading.unread else ():  # nobody is told to delete what Git may declare
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
    """Extensions, or Flux configurations: both ways."""
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
            "fix": "ASO makes it anew when it next reconciles; if not, look at the object's Ready condition",
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
"""What a resource consists of, each with a name: more of them than are declared are drift, too."""


def _names(properties: Mapping[str, Any], members: Iterable[str]) -> set[str]:
    return {
        f"{member}.{item['name'] if isinstance(item, dict) else item}"
        for member in members
        for item in properties.get(member) or ()
    }


def _skipped(obj: Object) -> bool:
    """Whether ASO is told not to write to Azure. Source: ASO, annotations; `detach-on-delete` still writes."""
    return (obj["metadata"].get("annotations") or {}).get("serviceoperator.azure.com/reconcile-policy") == "skip"


def azure_name(obj: Object) -> str:
    return str(obj["spec"].get("azureName") or obj["metadata"]["name"])


def _managed_cluster(item: Item) -> Item:
    """A cluster in ARM in the shape of ASO's spec."""
    return {**item["properties"], **{key: item[key] for key in ("location", "tags", "identity", "sku") if key in item}}


def _nested(item: Item) -> Item:
    properties: Item = item["properties"]
    return properties


def _modified(item: Item) -> Row:
    data = item.get("systemData") or {}
    return {"by": data.get("lastModifiedBy"), "since": data.get("lastModifiedAt")}


def as_azure_sees_it(path: Path, wanted: Any, there: Any) -> bool:
    """Azure ignores case but in tags, and spaces in regions; a version is as precise as it is asked for."""
    if path[0] == "tags" or not isinstance(wanted, str) or not isinstance(there, str):
        return bool(wanted == there)
    if path[-1] in ("kubernetesVersion", "orchestratorVersion"):
        return there == wanted or there.startswith(f"{wanted}.")
    if path[-1] == "location":
        return wanted.replace(" ", "").lower() == there.replace(" ", "").lower()
    return wanted.lower() == there.lower()


# --- Flux against what is in the clusters -----------------------------------------------------------------------------


def _inside(reading: Reading) -> Iterator[Row]:
    """What Flux applied in the clusters that run, and on the control plane; those that could not be compared are named as unread."""
    unread = reading.unread_for.setdefault("drift", {})
    group = reading.session.parameters.fleet_group
    for name, item in reading.arm.fleet.items():
        if power(item) == "Stopped":
            unread[f"cluster {name}"] = RetryableError(
                f"the cluster {name} is stopped: what is in it could not be compared",
                target=name,
                fix=f"az aks start -g {group} -n {name}, then compare again",
            )
    found: dict[str, Inside | FleetError] = reading.also("what Flux has applied", _applied, {})
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


def _applied(reading: Reading) -> dict[str, Inside | FleetError]:
    """Each cluster's differences, made where it is asked: its objects are not kept."""
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
    """(path, declared, actual) of every declared value that is not as it should be. Lists of named things are compared by name."""
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
    """Empty and absent are the same to every API here."""
    return declared in ("", [], False) and actual in (None, "", [], False)


def _exactly(path: Path, wanted: Any, there: Any) -> bool:
    return bool(wanted == there)


def _changed(path: Path, wanted: Any, there: Any) -> Row:
    return {"kind": "changed", "field": ".".join(path), "declared": text(wanted), "actual": text(there)}


def owner(obj: Object, path: Path) -> tuple[str | None, str | None]:
    """(manager, time) of the last to own the field, or the nearest list or object around it that is owned as a whole."""
    best: tuple[int, str, str] | None = None
    for entry in obj["metadata"].get("managedFields") or []:
        if entry.get("subresource") != "status":
            depth = _depth(entry.get("fieldsV1") or {}, path)
            candidate = (depth, str(entry.get("time") or ""), str(entry.get("manager") or ""))
            if depth and (best is None or candidate > best):
                best = candidate
    return (called(best[2]), best[1] or None) if best else (None, None)


def _depth(fields: Mapping[str, Any], path: Path) -> int:
    """How many steps of the path the set of fields goes along."""
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
