"""A reading of the fleet from all sides: Git, the control plane's Kubernetes API, ARM, Resource Graph, and the clusters.

A side is read as a whole with a few requests, whatever the number of clusters; only reading the clusters themselves (`inside`)
takes a few requests for each. A side that cannot be read is named in `unread`; the others are not affected.
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
"""Requests sent at the same time: enough to hide the network's latency, few enough for ARM's limits."""

CLUSTER_TIMEOUT = 20.0
"""Seconds for each answer of a cluster; after that it is unreachable."""

KEPT_OPEN = 200
"""The most clusters whose connection is kept for the next reading: many systems limit a process to 1,024 open files."""

ASKED_AGAIN = 50
"""The most clusters that are read from ARM again because Resource Graph, which lags, does not show them as good."""

HUB = {
    "ManagedCluster": ("containerservice.azure.com/v1api20240901", "managedclusters"),
    "Extension": ("kubernetesconfiguration.azure.com/v1api20230501", "extensions"),
    "FluxConfiguration": ("kubernetesconfiguration.azure.com/v1api20230501", "fluxconfigurations"),
    "ResourceGroup": ("resources.azure.com/v1api20200601", "resourcegroups"),
}
"""ASO's kinds -> (API version, plural), in the namespace of the clusters' objects."""

FLUX = {
    "GitRepository": ("source.toolkit.fluxcd.io/v1", "gitrepositories"),
    "OCIRepository": ("source.toolkit.fluxcd.io/v1", "ocirepositories"),
    "HelmRepository": ("source.toolkit.fluxcd.io/v1", "helmrepositories"),
    "Bucket": ("source.toolkit.fluxcd.io/v1", "buckets"),
    "Kustomization": ("kustomize.toolkit.fluxcd.io/v1", "kustomizations"),
    "HelmRelease": ("helm.toolkit.fluxcd.io/v2", "helmreleases"),
}
"""Flux's kinds -> (API version, plural), in all namespaces."""

INSIDE = {
    **FLUX,
    "Node": ("v1", "nodes"),
    "Pod": ("v1", "pods"),
    "Event": ("v1", "events"),
    "Deployment": ("apps/v1", "deployments"),
    "StatefulSet": ("apps/v1", "statefulsets"),
    "DaemonSet": ("apps/v1", "daemonsets"),
}
"""The kinds that `inside` can read from a cluster -> (API version, plural)."""


@dataclass(frozen=True)
class Git:
    """The fleet's repository: the head of its branch, its environments by release, and the version of its cluster chart."""

    head: str
    environments: dict[str, Environment]
    chart: str = ""

    @cached_property
    def clusters(self) -> dict[str, Environment]:
        """Declared cluster -> its environment."""
        return {name: environment for environment in self.environments.values() for name in environment.clusters()}


@dataclass(frozen=True)
class Arm:
    """The managed clusters in ARM by name: of the fleet's group, and of the control plane's group."""

    fleet: dict[str, Item]
    control_plane: dict[str, Item]


@dataclass(frozen=True)
class Graph:
    """Extensions and Flux configurations by the cluster's name in lower case: Resource Graph and ARM differ in its case."""

    extensions: dict[str, Items]
    configurations: dict[str, Items]


class Packed(MutableMapping[str, Objects]):
    """Kind -> objects, stored as compressed JSON and parsed at each access.

    Parsed, the objects take thirty times the memory, too much for a thousand clusters; parsing a cluster's takes a millisecond.
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
    """One cluster's objects by kind, or the `error` if it could not be read."""

    objects: MutableMapping[str, Objects] = field(default_factory=Packed)
    error: str = ""


@dataclass
class Connected:
    """The clients of workload clusters by address, kept between readings so that a kubeconfig is requested once."""

    kubes: dict[str, Kube] = field(default_factory=dict)
    _open: set[str] = field(default_factory=set)

    def keep(self, address: str, kube: Kube) -> None:
        """Keep the client, and its connection unless `KEPT_OPEN` others are open."""
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
    """Import packages and sign in before threads start: Python deadlocks if two threads import packages that import
    each other.
    """
    import kubernetes.client
    import orjson  # noqa: F401

    assert kubernetes.client
    session.azure.cloud.credential, session.azure.subscription_id, session.azure.arm  # noqa: B018


class Reading:
    """One reading of the fleet. Each side is read once, when first needed, so that the tables of one reading agree.

    `at` is the time of the reading. `unread` has the error of each side that could not be read; such a side is empty.
    """

    def __init__(self, session: Session, connected: Connected | None = None) -> None:
        self.session = session
        self._connected = connected or Connected()
        self.at = datetime.now(UTC)
        self.unread: dict[str, FleetError] = {}
        self.unread_for: dict[str, dict[str, FleetError]] = {}
        """Errors of one table only: table -> (what could not be read -> error)."""
        self._parts: dict[str, Any] = {}
        self._locks = {side: Lock() for side in SIDES}
        self._also = Lock()
        self._inside: dict[str, Inside] = {}
        self._named: dict[str, dict[str, Object]] = {}

    def prepare(self, *sides: str) -> None:
        """Read these sides (`git`, `hub`, `arm`, `graph`) at the same time."""
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
        """Call `read` once for this reading and return its result; if it fails, name it in `unread` and return `empty`."""
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
        """Kind (of `HUB` and `FLUX`) -> objects of the control plane."""
        return self._part("hub", {kind: [] for kind in (*HUB, *FLUX)})

    @property
    def arm(self) -> Arm:
        return self._part("arm", Arm({}, {}))

    @property
    def graph(self) -> Graph:
        return self._part("graph", Graph({}, {}))

    @property
    def budget(self) -> dict[str, int]:
        """The requests that Azure still allows this caller, by budget: reads, writes, graph."""
        known = self.session.azure.budget
        return {name: known[name] for name in rest.BUDGET if name in known}

    def environment_of(self, cluster: str) -> str | None:
        """Return a cluster's release: from Git, else from its ASO object's label, else from its tag in Azure; else `None`."""
        declared = self.git.clusters.get(cluster)
        if declared is not None:
            return declared.release
        obj = self.named("ManagedCluster").get(cluster)
        label = ((obj or {}).get("metadata", {}).get("labels") or {}).get("fleet/environment")
        return label or ((self.arm.fleet.get(cluster) or {}).get("tags") or {}).get("environment")

    def named(self, kind: str) -> dict[str, Object]:
        """Return the control plane's objects of a kind by name: ASO's in the clusters' namespace, Flux's in Flux's
        namespace.
        """
        if kind not in self._named:
            p = self.session.parameters
            space = p.cluster_namespace if kind in HUB else p.flux_namespace
            self._named[kind] = {o["metadata"]["name"]: o for o in self.hub[kind] if o["metadata"]["namespace"] == space}
        return self._named[kind]

    def clusters(self) -> list[str]:
        """Return the names of all workload clusters that Git, ASO or Azure has."""
        return sorted({*self.git.clusters, *self.named("ManagedCluster"), *self.arm.fleet}, key=natural)

    def inside(
        self, kinds: Collection[str], *, fleet: bool = True, hub: bool = False, only: Collection[str] | None = None
    ) -> dict[str, Inside]:
        """Read these kinds from each running cluster in parallel. Each result has its own error.

        `hub` includes the control plane, `fleet` the workload clusters; `only` restricts both to these names.
        """
        names = [name for name in self._asked_names(fleet, hub) if only is None or name in only]
        with ThreadPoolExecutor(WORKERS) as pool:
            found = pool.map(lambda name: self._ask(name, kinds), names)
        return dict(zip(names, found, strict=True))

    def _asked_names(self, fleet: bool, hub: bool) -> list[str]:
        names = [self.session.parameters.controlplane_cluster] if hub else []
        return names + [name for name, item in self.arm.fleet.items() if fleet and power(item) != "Stopped"]

    def each(self, ask: Callable[[str, Kube], T], *, hub: bool = False) -> dict[str, T | FleetError]:
        """Call `ask(name, kube)` for each running cluster in parallel, and return its result, or the error, by the cluster's
        name.

        For tables that read more than `inside` should keep: only the results are kept.
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
        """Call `ask` with the kept client of the cluster, or with a new one."""
        if cluster == self.session.parameters.controlplane_cluster:
            return ask(self.session.hub)
        address = str(self.arm.fleet[cluster]["properties"].get("fqdn"))  # a recreated cluster has another one
        kube = self._connected.kubes.get(address)
        if kube is not None:
            try:
                return self._asked(address, kube, ask)
            except FleetError:  # its credentials may have been rotated: try again with new ones
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
    """Return the extension with ARM's names: Resource Graph writes `ProvisioningState`, ARM `provisioningState`."""
    return {**extension, "properties": {name[:1].lower() + name[1:]: value for name, value in extension["properties"].items()}}


def _by_cluster(rows: Iterable[Item]) -> dict[str, Items]:
    found: dict[str, Items] = {}
    for row in rows:
        found.setdefault(cluster_of(row["id"]), []).append(row)
    return found


def cluster_of(identifier: str) -> str:
    """Return the managed cluster in a resource id, in lower case."""
    return identifier.lower().rpartition("/managedclusters/")[2].partition("/")[0]


def _ask_again(reading: Reading, graph: Graph) -> None:
    """Read from ARM the clusters that Resource Graph does not show as good: it lags and would show faults that are fixed."""
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
    """Return `Running` or `Stopped`; "" for a cluster that has no power state yet."""
    return str((item["properties"].get("powerState") or {}).get("code") or "")


SIDES: dict[str, Callable[[Reading], Any]] = {"git": _git, "hub": _hub, "arm": _arm, "graph": _graph}
