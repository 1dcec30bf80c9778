"""`Fleet`: the whole fleet in tables, for notebooks and the command line.

`columns.TABLES` has the columns and dtypes of every table, `MAKERS` the function that fills it.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from fleetlib.clients.session import Session, connect
from fleetlib.inspect import costs, doctor, drift, inside_rows, roles, rows, versions
from fleetlib.inspect.columns import TABLES
from fleetlib.inspect.reading import Connected, Reading
from fleetlib.parameters import Parameters, read_file

if TYPE_CHECKING:
    from fleetlib.inspect.frames import View

SIDES = {
    "git": "the fleet's repository",
    "hub": "the control plane",
    "arm": "Azure Resource Manager",
    "graph": "Azure Resource Graph",
}
"""Side of a reading -> its name below a table."""


@contextmanager
def _uncollected() -> Iterator[None]:
    """Turn off the garbage collector's search for cycles in the block: it would take longer than reading, and JSON has no
    cycles.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Fleet:
    """The fleet of one set of parameters, as tables.

    Each method returns a DataFrame (`frames.View`) whose columns, dtypes and meanings are in docs/inspect.md. It reads the
    fleet again each time; the tables of a `snapshot` are of one reading and agree. Sides that could not be read are in
    `.attrs["unread"]` (side -> error) and shown below the table; a method raises `FleetError` only if all its sides cannot be
    read. `.attrs` also has `source`, `read` (the time, UTC) and `budget` (requests that Azure still allows).

    >>> fleet = Fleet.connect("parameters/sandbox.yaml")
    >>> fleet.clusters()[["environment", "provisioning", "compliance"]]
    """

    def __init__(self, session: Session, reading: Reading | None = None) -> None:
        self.session = session
        self._reading = reading
        self._connected = Connected()

    @classmethod
    def connect(cls, source: str | Path | Mapping[str, Any] | Parameters | Session | None = None) -> Self:
        """Return the fleet of a parameters file, a notebook's variables (`globals()`), parameters or a session; `None`: the
        defaults.

        Starts the sandbox if the cloud is `sandbox` and it does not run. Raises `ParameterError` if a parameter is wrong. The
        fleet itself is read when a table is first asked for.
        """
        if isinstance(source, Session):
            return cls(source)
        if isinstance(source, str | Path):
            return cls(connect(Parameters.check(read_file(Path(source)), str(source))))
        return cls(connect({} if source is None else source))

    def snapshot(self) -> Self:
        """Return a fleet whose tables are all of one reading, so that they agree and a second table takes little time.

        >>> now = fleet.snapshot()
        >>> now.clusters(), now.doctor()
        """
        return type(self)(self.session, self._new())

    def _new(self) -> Reading:
        return Reading(self.session, self._connected)

    def clusters(self, *, deep: bool = False) -> View:
        """Return one row for each workload cluster, with the state of each layer and the first broken one.

        `deep` also reads the workloads of each cluster.

        >>> fleet.clusters().query("status != 'ok'")[["first_broken_layer", "reason", "next_step"]]
        """
        return self._table("clusters", "git", "hub", "arm", "graph", deep=deep)

    def environments(self) -> View:
        """Return one row for each environment: clusters declared, provisioned and compliant.

        >>> fleet.environments()[["declared", "compliant"]]
        """
        return self._table("environments", "git", "hub", "arm", "graph")

    def pools(self) -> View:
        """Return one row for each node pool, including the control plane's.

        >>> fleet.pools().groupby("vm_size", observed=True)["count"].sum()
        """
        return self._table("pools", "arm")

    def nodes(self) -> View:
        """Return one row for each node, read from every cluster.

        >>> fleet.nodes().query("status != 'ok'")
        """
        return self._table("nodes", "arm")

    def workloads(self) -> View:
        """Return one row for each Deployment, StatefulSet and DaemonSet, read from every cluster.

        >>> fleet.workloads().xs("podinfo", level="workload")[["desired", "ready"]]
        """
        return self._table("workloads", "arm")

    def sources(self, *, deep: bool = False) -> View:
        """Return one row for each Flux source.

        Those of the clusters come from Azure, with fewer details; `deep` reads them from every cluster.

        >>> fleet.sources().revision
        """
        return self._table("sources", "hub", "arm", "graph", deep=deep)

    def kustomizations(self, *, deep: bool = False) -> View:
        """Return one row for each Flux kustomization.

        Those of the clusters come from Azure, with fewer details; `deep` reads them from every cluster.

        >>> fleet.kustomizations(deep=True).query("status == 'broken'").message
        """
        return self._table("kustomizations", "hub", "arm", "graph", deep=deep)

    def releases(self, *, deep: bool = False) -> View:
        """Return one row for each HelmRelease.

        Those of the clusters come from Azure, with fewer details; `deep` reads them from every cluster.

        >>> fleet.releases()[["chart", "version", "state"]]
        """
        return self._table("releases", "hub", "arm", "graph", deep=deep)

    def extensions(self) -> View:
        """Return one row for each cluster extension.

        >>> fleet.extensions().version.value_counts()
        """
        return self._table("extensions", "arm", "graph")

    def events(self, *, deep: bool = False) -> View:
        """Return one row for each event of the control plane, newest first; with `deep`, of every cluster.

        >>> fleet.events().query("type == 'Warning'").head()
        """
        return self._table("events", "arm", deep=deep)

    def operations(self) -> View:
        """Return one row for each cluster and layer: when its creation or deletion began and ended, and the seconds it took.

        >>> fleet.operations().groupby("layer", observed=True).seconds.describe()
        """
        return self._table("operations", "hub")

    def versions(self, *, deep: bool = False) -> View:
        """Return one row for each cluster and component: the version that runs, the declared and the offered one.

        `deep` reads Flux's versions from every cluster, not from the control plane alone.

        >>> fleet.versions().query("supported == False")[["version", "note"]]
        """
        return self._table("versions", "git", "hub", "arm", "graph", deep=deep)

    def costs(self) -> View:
        """Return one row for each node pool and each control plane, with its estimated costs at list prices in USD.

        >>> fleet.costs().groupby("environment", observed=True)[["month", "month_max"]].sum()
        """
        return self._table("costs", "git", "arm")

    def roles(self) -> View:
        """Return one row for each role assignment on the control plane's and the fleet's group, and for each missing one.

        >>> fleet.roles().query("needed and status != 'ok'")
        """
        return self._table("roles", "arm")

    def doctor(self, *, deep: bool = False) -> View:
        """Return one row for each fault, worst first: its meaning, commands to look closer, and the fix. Empty if all is well.

        `deep` also reads the workloads of each cluster.

        >>> fleet.doctor()[["object", "meaning", "fix"]]
        """
        return self._table("findings", "git", "hub", "arm", "graph", deep=deep)

    def drift(self, *, deep: bool = True) -> View:
        """Return one row for each difference between the declared and the actual fleet, field by field, in both directions.

        `deep` also compares the objects inside the clusters.

        >>> fleet.drift().query("kind == 'orphan'")
        """
        return self._table("drift", "git", "hub", "arm", "graph", deep=deep)

    @_uncollected()
    def _table(self, name: str, *sides: str, **options: Any) -> View:
        from fleetlib.inspect import frames

        reading = self._reading or self._new()
        reading.prepare(*sides)
        if all(side in reading.unread for side in sides):
            raise reading.unread[sides[0]]
        found = list(MAKERS[name](reading, **options))
        return frames.build(
            TABLES[name],
            found,
            source=", ".join(SIDES[side] for side in sides),
            read=reading.at,
            unread={side: str(error) for side, error in {**reading.unread, **reading.unread_for.get(name, {})}.items()},
            budget=dict(reading.budget),
        )

    def __repr__(self) -> str:
        return f"Fleet({self.session.cloud.name}, {self.session.parameters.fleet_group})"


MAKERS: dict[str, Callable[..., Iterable[Mapping[str, Any]]]] = {
    "clusters": inside_rows.clusters,
    "environments": rows.environments,
    "pools": rows.pools,
    "nodes": inside_rows.nodes,
    "workloads": inside_rows.workloads,
    "sources": rows.sources,
    "kustomizations": rows.kustomizations,
    "releases": rows.releases,
    "extensions": rows.extensions,
    "events": inside_rows.events,
    "operations": rows.operations,
    "findings": doctor.findings,
    "drift": drift.differences,
    "versions": versions.versions,
    "costs": costs.costs,
    "roles": roles.roles,
}
"""Table -> the function from a `Reading` to its rows."""
