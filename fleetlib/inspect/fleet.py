"""`Fleet`: the whole fleet as one operator sees it, in tables. What people hold in a notebook.

Every table's columns and dtypes are in `columns.TABLES`. May import `session`, `inspect.*`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from fleetlib.errors import FinalError
from fleetlib.parameters import Parameters, read_file
from fleetlib.session import Session, connect

if TYPE_CHECKING:
    from fleetlib.inspect.frames import View


class Fleet:
    """The fleet of one set of parameters. Each call reads anew, but for a `snapshot`, which reads everything once.

    >>> fleet = Fleet.connect("parameters/sandbox.yaml")
    >>> fleet.clusters()[["environment", "provisioning", "compliance"]]
    """

    def __init__(self, session: Session) -> None:
        self.session = session

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

    def clusters(self, *, deep: bool = False) -> View:
        """One row a workload cluster, through every layer, with the first broken one. `deep` also asks each cluster.

        >>> fleet.clusters().query("status != 'ok'")[["first_broken_layer", "reason", "next_step"]]
        """
        return self._table("clusters")

    def environments(self) -> View:
        """One row an environment.

        >>> fleet.environments()[["declared", "compliant"]]
        """
        return self._table("environments")

    def pools(self) -> View:
        """One row a node pool, the control plane's too.

        >>> fleet.pools().groupby("vm_size", observed=True)["count"].sum()
        """
        return self._table("pools")

    def nodes(self) -> View:
        """One row a node; asks every cluster.

        >>> fleet.nodes().query("status != 'ok'")
        """
        return self._table("nodes")

    def workloads(self) -> View:
        """One row a Deployment, StatefulSet or DaemonSet; asks every cluster.

        >>> fleet.workloads().xs("podinfo", level="workload")[["desired", "ready"]]
        """
        return self._table("workloads")

    def sources(self, *, deep: bool = False) -> View:
        """One row a Flux source of the control plane; `deep`: of every cluster.

        >>> fleet.sources().revision
        """
        return self._table("sources")

    def kustomizations(self, *, deep: bool = False) -> View:
        """One row a Flux kustomization of the control plane; `deep`: of every cluster.

        >>> fleet.kustomizations(deep=True).query("status == 'broken'").message
        """
        return self._table("kustomizations")

    def releases(self, *, deep: bool = False) -> View:
        """One row a HelmRelease of the control plane; `deep`: of every cluster.

        >>> fleet.releases()[["chart", "version", "state"]]
        """
        return self._table("releases")

    def extensions(self) -> View:
        """One row a cluster extension.

        >>> fleet.extensions().version.value_counts()
        """
        return self._table("extensions")

    def roles(self) -> View:
        """One row a role assignment on the control plane's and the fleet's group.

        >>> fleet.roles()[fleet.roles().needed]
        """
        return self._table("roles")

    def events(self, *, deep: bool = False) -> View:
        """One row an event of the control plane, newest first; `deep`: of every cluster.

        >>> fleet.events().query("type == 'Warning'").head()
        """
        return self._table("events")

    def operations(self) -> View:
        """One row a cluster and layer: when its creation began and ended.

        >>> fleet.operations().groupby("layer", observed=True).seconds.describe()
        """
        return self._table("operations")

    def versions(self) -> View:
        """One row a cluster and component: what runs, and what is offered.

        >>> fleet.versions().query("behind")
        """
        return self._table("versions")

    def costs(self) -> View:
        """One row a cluster and pool: an estimate from the package's price table.

        >>> fleet.costs().groupby("environment", observed=True).month.sum()
        """
        return self._table("costs")

    def doctor(self) -> View:
        """The findings, worst first, each with its meaning, commands to look closer, and the fix. Empty: all is well.

        >>> fleet.doctor()[["cluster", "layer", "meaning", "fix"]]
        """
        return self._table("findings")

    def drift(self, *, deep: bool = True) -> View:
        """Where declared and actual differ, field by field, in both directions. Empty: none.

        >>> fleet.drift().query("kind == 'orphan'")
        """
        return self._table("drift")

    def _table(self, name: str) -> View:
        raise FinalError(f"the table {name} is not filled yet", fix="use fleetlib.inspect.tables meanwhile")

    def __repr__(self) -> str:
        return f"Fleet({self.session.cloud.name}, {self.session.parameters.fleet_group})"
