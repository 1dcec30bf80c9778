"""What there is, as each side tells it: Git, the control plane's Kubernetes API, ARM, Resource Graph, and the clusters themselves.

A side is read whole and in a handful of calls, whatever the number of clusters; only the clusters themselves (`inside`) cost a few
calls each. A side that cannot be read is named in `unread` and hides no other. May import `session` and what is below it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from threading import Lock
from typing import Any, TypeVar

from fleetlib import environments
from fleetlib.clients.azure import rest
from fleetlib.clients.kube import Kube, Object, Objects
from fleetlib.clients.session import Session
from fleetlib.environments import Environment
from fleetlib.errors import FleetError
from fleetlib.inspect.columns import natural

Item = dict[str, Any]
Items = list[Item]

WORKERS = 16
"""Threads that ask at the same time: enough to hide the network's delays, few enough for ARM's limits."""

CLUSTER_TIMEOUT = 20.0
"""Seconds a cluster has for each answer before it counts as unreachable."""

KEPT_OPEN = 200
"""Clusters to which a connection is kept for the next reading: a process has a thousand files, on many systems."""

ASKED_AGAIN = 50
"""At most so many clusters are asked about in ARM because the graph, which lags, does not call them good."""

HUB = {
    "ManagedCluster": ("containerservice.azure.com/v1api20240901", "managedclusters"),
    "Extension": ("kubernetesconfiguration.azure.com/v1api20230501", "extensions"),
    "FluxConfiguration": ("kubernetesconfiguration.azure.com/v1api20230501", "fluxconfigurations"),
    "ResourceGroup": ("resources.azure.com/v1api20200601", "resourcegroups"),
}
"""ASO's kinds, in the namespace of the clusters' objects."""

FLUX = {
    "GitRepository": ("source.toolkit.fluxcd.io/v1", "gitrepositories"),
    "OCIRepository": ("source.toolkit.fluxcd.io/v1", "ocirepositories"),
    "HelmRepository": ("source.toolkit.fluxcd.io/v1", "helmrepositories"),
    "Bucket": ("source.toolkit.fluxcd.io/v1", "buckets"),
    "Kustomization": ("kustomize.toolkit.fluxcd.io/v1", "kustomizations"),
    "HelmRelease": ("helm.toolkit.fluxcd.io/v2", "helmreleases"),
}
"""Flux's kinds, in all namespaces."""

INSIDE = {
    **FLUX,
    "Node": ("v1", "nodes"),
    "Pod": ("v1", "pods"),
    "Event": ("v1", "events"),
    "Deployment": ("apps/v1", "deployments"),
    "StatefulSet": ("apps/v1", "statefulsets"),
    "DaemonSet": ("apps/v1", "daemonsets"),
}
"""What a cluster is asked for itself."""


@dataclass(frozen=True)
class Git:
    """The fleet's repository: the commit its branch is at, the environments it declares, by release, and the chart's version in it."""

    head: str
    environments: dict[str, Environment]
    chart: str = ""

    @cached_property
    def clusters(self) -> dict[str, Environment]:
        """The clusters that are declared, with their environments."""
        return {name: environment for environment in self.environments.values() for name in environment.clusters()}


@dataclass(frozen=True)
class Arm:
    """The managed clusters in ARM, by name: the fleet's, and the control plane's own."""

    fleet: dict[str, Item]
    control_plane: dict[str, Item]


@dataclass(frozen=True)
class Graph:
    """Extensions and Flux configurations by cluster, whose names are in lower case, as the graph and ARM differ in that."""

    extensions: dict[str, Items]
    configurations: dict[str, Items]


class Packed(MutableMapping[str, Objects]):
    """Kind -> objects, kept as compressed JSON and parsed each time they are looked at.

    Parsed, the objects of a cluster take thirty times the memory, which a thousand clusters do not leave; parsing takes a millisecond.
    """

    def __init__(self) -> None:
        self._json: dict[str, bytes] = {}

    def __setitem__(self, kind: str, objects: Objects) -> None:
        import orjson

        self._json[kind] = zlib.compress(orjson.dumps(objects), level=1)

    def __getitem__(self, kind: str) -> Objects:
        import orjson

        found: Objects = orjson.loads(zlib.decompress(self._json[kind]))
        return found

    def __delitem__(self, kind: str) -> None:
        del self._json[kind]

    def __contains__(self, kind: object) -> bool:
        return kind in self._json

    def __iter__(self) -> Iterator[str]:
        return iter(self._json)

    def __len__(self) -> int:
        return len(self._json)


@dataclass
class Inside:
    """What one cluster says of itself: kind -> objects; or why it says nothing."""

    objects: MutableMapping[str, Objects] = field(default_factory=Packed)
    error: str = ""


@dataclass
class Connected:
    """The workload clusters that earlier readings have connected to, by address: their kubeconfigs need not be asked for again."""

    kubes: dict[str, Kube] = field(default_factory=dict)
    _open: set[str] = field(default_factory=set)

    def keep(self, address: str, kube: Kube) -> None:
        """For the next time; its connection, too, unless `KEPT_OPEN` others are."""
        self.kubes[address] = kube
        if address in self._open or len(self._open) < KEPT_OPEN:
            self._open.add(address)
        else:
            kube.disconnect()

    def forget(self, address: str) -> None:
        del self.kubes[address]
        self._open.discard(address)


T = TypeVar("T")


def _sign_in(session: Session) -> None:
    """What all threads need, made by one: Python deadlocks when two of them import packages that import each other."""
    import kubernetes.client
    import orjson  # noqa: F401

    assert kubernetes.client
    session.azure.cloud.credential, session.azure.subscription_id, session.azure.arm  # noqa: B018


class Reading:
    """One reading of the fleet. Each side is read when first asked for, then kept: the tables of one reading agree."""

    def __init__(self, session: Session, connected: Connected | None = None) -> None:
        self.session = session
        self._connected = connected or Connected()
        self.at = datetime.now(UTC)
        self.unread: dict[str, FleetError] = {}
        self.unread_for: dict[str, dict[str, FleetError]] = {}
        """What one table alone could not read, by the table's name."""
        self._parts: dict[str, Any] = {}
        self._locks = {side: Lock() for side in SIDES}
        self._also = Lock()
        self._inside: dict[str, Inside] = {}
        self._named: dict[str, dict[str, Object]] = {}

    def prepare(self, *sides: str) -> None:
        """Read several sides (`git`, `hub`, `arm`, `graph`) at the same time."""
        _sign_in(self.session)
        with ThreadPoolExecutor(len(SIDES)) as pool:
            list(pool.map(self._read, sides))

    def _read(self, side: str) -> None:
        with self._locks[side]:
            if side in self._parts or side in self.unread:
                return
            try:
                self._parts[side] = SIDES[side](self)
            except FleetError as error:
                self.unread[side] = error

    def _part(self, side: str, empty: T) -> T:
        self._read(side)
        return self._parts.get(side, empty)

    def also(self, name: str, read: Callable[[Reading], T], empty: T) -> T:
        """One thing more than the sides, read when first asked for; `empty`, and named in `unread`, if it cannot be."""
        with self._also:
            if name not in self._parts and name not in self.unread:
                try:
                    self._parts[name] = read(self)
                except FleetError as error:
                    self.unread[name] = error
        return self._parts.get(name, empty)

    @property
    def git(self) -> Git:
        return self._part("git", Git("", {}))

    @property
    def hub(self) -> dict[str, Objects]:
        """Kind -> objects of the control plane (`HUB`, `FLUX`)."""
        return self._part("hub", {kind: [] for kind in (*HUB, *FLUX)})

    @property
    def arm(self) -> Arm:
        return self._part("arm", Arm({}, {}))

    @property
    def graph(self) -> Graph:
        return self._part("graph", Graph({}, {}))

    @property
    def budget(self) -> dict[str, int]:
        """Requests that ARM has left for this caller: reads, writes, graph."""
        known = self.session.azure.budget
        return {name: known[name] for name in rest.BUDGET if name in known}

    def environment_of(self, cluster: str) -> str | None:
        """The release a cluster belongs to: as Git says, else its ASO object's label, else its tag in Azure."""
        declared = self.git.clusters.get(cluster)
        if declared is not None:
            return declared.release
        obj = self.named("ManagedCluster").get(cluster)
        label = ((obj or {}).get("metadata", {}).get("labels") or {}).get("fleet/environment")
        return label or ((self.arm.fleet.get(cluster) or {}).get("tags") or {}).get("environment")

    def named(self, kind: str) -> dict[str, Object]:
        """The control plane's objects of a kind by name: those in the clusters' and in Flux's namespace."""
        if kind not in self._named:
            p = self.session.parameters
            space = p.cluster_namespace if kind in HUB else p.flux_namespace
            self._named[kind] = {o["metadata"]["name"]: o for o in self.hub[kind] if o["metadata"]["namespace"] == space}
        return self._named[kind]

    def clusters(self) -> list[str]:
        """All workload clusters that Git, ASO or Azure knows."""
        return sorted({*self.git.clusters, *self.named("ManagedCluster"), *self.arm.fleet}, key=natural)

    def inside(
        self, kinds: Collection[str], *, fleet: bool = True, hub: bool = False, only: Collection[str] | None = None
    ) -> dict[str, Inside]:
        """What each cluster that runs says of itself, asked at the same time, each with its own time limit and its own error.

        `only`: of the clusters with these names.
        """
        names = [name for name in self._asked_names(fleet, hub) if only is None or name in only]
        with ThreadPoolExecutor(WORKERS) as pool:
            found = pool.map(lambda name: self._ask(name, kinds), names)
        return dict(zip(names, found, strict=True))

    def _asked_names(self, fleet: bool, hub: bool) -> list[str]:
        names = [self.session.parameters.controlplane_cluster] if hub else []
        return names + [name for name, item in self.arm.fleet.items() if fleet and power(item) != "Stopped"]

    def each(self, ask: Callable[[str, Kube], T], *, hub: bool = False) -> dict[str, T | FleetError]:
        """What `ask(name, kube)` makes of each cluster that runs, all asked at the same time; or why one could not be asked.

        For views that need more than `inside` keeps: what `ask` does not return is not kept.
        """
        names = self._asked_names(True, hub)

        def attempt(name: str) -> T | FleetError:
            try:
                return self._with(name, lambda kube: ask(name, kube))
            except FleetError as error:
                return error

        with ThreadPoolExecutor(WORKERS) as pool:
            return dict(zip(names, pool.map(attempt, names), strict=True))

    def _ask(self, cluster: str, kinds: Collection[str]) -> Inside:
        known = self._inside.setdefault(cluster, Inside())
        missing = [kind for kind in kinds if kind not in known.objects]
        if known.error or not missing:
            return known
        try:
            known.objects.update(self._items(cluster, missing))
        except FleetError as error:
            known.error = " ".join(part for part in (error.what, error.said) if part)
        return known

    def _items(self, cluster: str, kinds: Collection[str]) -> dict[str, Objects]:
        return self._with(cluster, lambda kube: _all(kube, kinds))

    def _with(self, cluster: str, ask: Callable[[Kube], T]) -> T:
        """Ask one cluster, by the connection there is, or a new one."""
        if cluster == self.session.parameters.controlplane_cluster:
            return ask(self.session.hub)
        address = str(self.arm.fleet[cluster]["properties"].get("fqdn"))  # another one when it was made anew under its name
        kube = self._connected.kubes.get(address)
        if kube is not None:
            try:
                return self._asked(address, kube, ask)
            except FleetError:  # its credentials may have been rotated: what Azure gives now decides
                self._connected.forget(address)
        return self._asked(address, self.session.workload_cluster(cluster), ask)

    def _asked(self, address: str, kube: Kube, ask: Callable[[Kube], T]) -> T:
        found = ask(kube)
        self._connected.keep(address, kube)
        return found


def _all(kube: Kube, kinds: Collection[str]) -> dict[str, Objects]:
    return {kind: kube.items(*INSIDE[kind], timeout=CLUSTER_TIMEOUT) for kind in kinds}


def _git(reading: Reading) -> Git:
    repository = reading.session.repository
    head = repository.sync()
    return Git(head, environments.read(repository), environments.chart_version(repository))


def _hub(reading: Reading) -> dict[str, Objects]:
    kube, namespace = reading.session.hub, reading.session.parameters.cluster_namespace
    kinds = {**HUB, **FLUX}
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda kind: kube.items(*kinds[kind], namespace if kind in HUB else None), kinds)
        return dict(zip(kinds, found, strict=True))


def _arm(reading: Reading) -> Arm:
    azure, p = reading.session.azure, reading.session.parameters

    def clusters(group: str) -> dict[str, Item]:
        path = f"{azure.group_id(group)}/providers/Microsoft.ContainerService/managedClusters"
        return {item["name"]: item for item in rest.items(azure, path, rest.CONTAINER_SERVICE)}

    return Arm(clusters(p.fleet_group), clusters(p.controlplane_group))


CONFIGURATION = "microsoft.kubernetesconfiguration"
QUERY = (
    "kubernetesconfigurationresources | where type in~ ('{provider}/extensions', '{provider}/fluxconfigurations') "
    "and resourceGroup in~ ({groups}) | project id, name, type, properties"
)


def _graph(reading: Reading) -> Graph:
    azure, p = reading.session.azure, reading.session.parameters
    groups = ", ".join(f"'{group}'" for group in (p.fleet_group, p.controlplane_group))
    rows = rest.graph(azure, QUERY.format(provider=CONFIGURATION, groups=groups))
    found = Graph(
        _by_cluster(_in_arms_case(row) for row in rows if row["type"].endswith("/extensions")),
        _by_cluster(row for row in rows if row["type"].endswith("/fluxconfigurations")),
    )
    _ask_again(reading, found)
    return found


def _in_arms_case(extension: Item) -> Item:
    """The graph spells the properties of extensions as `ProvisioningState`, ARM as `provisioningState`."""
    return {**extension, "properties": {name[:1].lower() + name[1:]: value for name, value in extension["properties"].items()}}


def _by_cluster(rows: Iterable[Item]) -> dict[str, Items]:
    found: dict[str, Items] = {}
    for row in rows:
        found.setdefault(cluster_of(row["id"]), []).append(row)
    return found


def cluster_of(identifier: str) -> str:
    """The managed cluster in a resource id, in lower case."""
    return identifier.lower().rpartition("/managedclusters/")[2].partition("/")[0]


def _ask_again(reading: Reading, graph: Graph) -> None:
    """The graph lags. What it does not call good is asked of ARM itself, so that no mended fault is reported."""
    azure, p = reading.session.azure, reading.session.parameters
    doubtful = [name.lower() for name in reading.arm.fleet if not _good(graph, name.lower())][:ASKED_AGAIN]

    def ask(name: str) -> None:
        base = f"{azure.group_id(p.fleet_group)}/providers/Microsoft.ContainerService/managedClusters/{name}/providers"
        for kind, known in (("extensions", graph.extensions), ("fluxConfigurations", graph.configurations)):
            known[name] = rest.items(azure, f"{base}/Microsoft.KubernetesConfiguration/{kind}", rest.KUBERNETES_CONFIGURATION)

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(ask, doubtful))


def _good(graph: Graph, cluster: str) -> bool:
    extensions, configurations = graph.extensions.get(cluster), graph.configurations.get(cluster)
    return bool(extensions and configurations) and (
        all(item["properties"].get("provisioningState") == "Succeeded" for item in extensions or ())
        and all(item["properties"].get("complianceState") == "Compliant" for item in configurations or ())
    )


def power(item: Item) -> str:
    """Running, Stopped, or nothing for a cluster that is not yet either."""
    return str((item["properties"].get("powerState") or {}).get("code") or "")


SIDES: dict[str, Callable[[Reading], Any]] = {"git": _git, "hub": _hub, "arm": _arm, "graph": _graph}
