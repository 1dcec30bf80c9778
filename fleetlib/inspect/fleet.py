"""`Fleet`: the whole fleet as one operator sees it, in tables. What people hold in a notebook.

Every table's columns and dtypes are in `columns.TABLES`; who fills it is in `MAKERS`. May import `session`, `inspect.*`.
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


@contextmanager
def _uncollected() -> Iterator[None]:
    """No searches for cycles meanwhile: what is read is trees, freed by counting, and the searches would take longer than reading."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Fleet:
    """The fleet of one set of parameters. Each call reads anew; the tables of a `snapshot` are of one reading, and agree.

    What could not be read is in a table's `.attrs["unread"]`, and shown below it; a call raises only if nothing could be read.

    >>> fleet = Fleet.connect("parameters/sandbox.yaml")
    >>> fleet.clusters()[["environment", "provisioning", "compliance"]]
    """

    def __init__(self, session: Session, reading: Reading | None = None) -> None:
        self.session = session
        self._reading = reading
        self._connected = Connected()

    @classmethod
    def connect(cls, source: str | Path | Mapping[str, Any] | Parameters | Session | None = None) -> Self:
        """From a parameters file, a notebook's variables (`globals()`), parameters, a session, or nothing (the defaults).

        Raises `ParameterError` for wrong parameters; reads nothing else yet.
        """
        if isinstance(source, Session):
            return cls(source)
        if isinstance(source, str | Path):
            return cls(connect(Parameters.check(read_file(Path(source)), str(source))))
        return cls(connect({} if source is None else source))

    def snapshot(self) -> Self:
        """The fleet as it is now: every table of it is of the same reading, so that asking for a second one costs little.

        >>> now = fleet.snapshot()
        >>> now.clusters(), now.doctor()
        """
        return type(self)(self.session, self._new())

    def _new(self) -> Reading:
        return Reading(self.session, self._connected)

    def clusters(self, *, deep: bool = False) -> View:
        """One row a workload cluster, through every layer, with the first broken one. `deep` also asks each cluster.

        >>> fleet.clusters().query("status != 'ok'")[["first_broken_layer", "reason", "next_step"]]
        """
        return self._table("clusters", "git", "hub", "arm", "graph", deep=deep)

    def environments(self) -> View:
        """One row an environment.

        >>> fleet.environments()[["declared", "compliant"]]
        """
        return self._table("environments", "git", "hub", "arm", "graph")

    def pools(self) -> View:
        """One row a node pool, the control plane's too.

        >>> fleet.pools().groupby("vm_size", observed=True)["count"].sum()
        """
        return self._table("pools", "arm")

    def nodes(self) -> View:
        """One row a node; asks every cluster.

        >>> fleet.nodes().query("status != 'ok'")
        """
        return self._table("nodes", "arm")

    def workloads(self) -> View:
        """One row a Deployment, StatefulSet or DaemonSet; asks every cluster.

        >>> fleet.workloads().xs("podinfo", level="workload")[["desired", "ready"]]
        """
        return self._table("workloads", "arm")

    def sources(self, *, deep: bool = False) -> View:
        """One row a Flux source of the control plane; `deep`: of every cluster.

        >>> fleet.sources().revision
        """
        return self._table("sources", "hub", "arm", "graph", deep=deep)

    def kustomizations(self, *, deep: bool = False) -> View:
        """One row a Flux kustomization of the control plane; `deep`: of every cluster.

        >>> fleet.kustomizations(deep=True).query("status == 'broken'").message
        """
        return self._table("kustomizations", "hub", "arm", "graph", deep=deep)

    def releases(self, *, deep: bool = False) -> View:
        """One row a HelmRelease of the control plane; `deep`: of every cluster.

        >>> fleet.releases()[["chart", "version", "state"]]
        """
        return self._table("releases", "hub", "arm", "graph", deep=deep)

    def extensions(self) -> View:
        """One row a cluster extension.

        >>> fleet.extensions().version.value_counts()
        """
        return self._table("extensions", "arm", "graph")

    def events(self, *, deep: bool = False) -> View:
        """One row an event of the control plane, newest first; `deep`: of every cluster.

        >>> fleet.events().query("type == 'Warning'").head()
        """
        return self._table("events", "arm", deep=deep)

    def operations(self) -> View:
        """One row a cluster and layer: when its creation began and ended.

        >>> fleet.operations().groupby("layer", observed=True).seconds.describe()
        """
        return self._table("operations", "hub")

    def versions(self, *, deep: bool = False) -> View:
        """What runs in which version, and what is offered. `deep` asks every cluster for its Flux, not the control plane alone.

        >>> fleet.versions().query("supported == False")[["version", "note"]]
        """
        return self._table("versions", "git", "hub", "arm", "graph", deep=deep)

    def costs(self) -> View:
        """One row a node pool and one a control plane, with what it costs at list prices: an estimate.

        >>> fleet.costs().groupby("environment", observed=True)[["month", "month_max"]].sum()
        """
        return self._table("costs", "git", "arm")

    def roles(self) -> View:
        """One row a role assignment on the control plane's and the fleet's group, and one for each needed that is missing.

        >>> fleet.roles().query("needed and status != 'ok'")
        """
        return self._table("roles", "arm")

    def doctor(self, *, deep: bool = False) -> View:
        """What is wrong, worst first, each thing once: its meaning, commands to look closer, and the fix. Empty: all is well.

        `deep`: also what does not run inside the clusters, each of which is asked.

        >>> fleet.doctor()[["object", "meaning", "fix"]]
        """
        return self._table("findings", "git", "hub", "arm", "graph", deep=deep)

    def drift(self, *, deep: bool = True) -> View:
        """Where what is declared and what there is differ, field by field, in both directions. `deep`: also inside the clusters.

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


MAKERS: dict[str, Callable[..., Iterable[rows.Row]]] = {
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
