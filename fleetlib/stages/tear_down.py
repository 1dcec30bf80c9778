"""Notebook 99: delete everything in an order that works, and prove that nothing is left.

Clusters go first, by Git and ASO while these still work; then the configuration, the extension and the groups. Deleting the
control plane first would leave clusters that no controller manages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fleetlib import environments
from fleetlib.change import Check, Step
from fleetlib.clients.azure import flux, groups, managed_clusters
from fleetlib.clients.gitops import Commit
from fleetlib.errors import FleetError
from fleetlib.stages.deploy_workloads import DeployWorkloads
from fleetlib.stages.rollout import HELM_RELEASE, MANAGED_CLUSTER, await_gone, await_ready, follow_commit
from fleetlib.stages.stage import Stage, promise


class TearDown(Stage):
    """Environments to zero, then configuration, extension, groups."""

    notebook = "99_tear_down"

    def __init__(self, session: Any) -> None:
        super().__init__(session)
        self.rollout = DeployWorkloads(session)

    def steps(self) -> Mapping[str, Callable[[], Step]]:
        return {
            "clusters": self._clusters,
            "configuration": self._configuration,
            "extension": self._extension,
            "fleet group": self._fleet_group,
            "control plane": self._controlplane_group,
        }

    def commands(self) -> Mapping[str, str]:
        p = self.parameters
        cluster = f"-g {p.controlplane_group} -c {p.controlplane_cluster} -t managedClusters"
        return {
            "clusters": 'git commit -am "tear down: no clusters"\ngit push',
            "configuration": f"az k8s-configuration flux delete {cluster} \\\n    -n {p.flux_configuration} --yes",
            "extension": f"az k8s-extension delete {cluster} \\\n    -n flux --yes",
            "fleet group": f"az group delete -n {p.fleet_group} --yes",
            "control plane": f"az group delete -n {p.controlplane_group} --yes",
        }

    def inventory(self) -> dict[str, list[str]]:
        """The resources to be deleted: resource group -> `type/name`. Reads only."""
        azure, p = self.session.azure, self.parameters
        present = [group for group in (p.fleet_group, p.controlplane_group) if groups.get(azure, group)]
        return {group: sorted(f"{r['type']}/{r['name']}" for r in groups.contents(azure, group)) for group in present}

    def _hub_works(self) -> bool:
        p = self.parameters
        return flux.get(self.session.azure, p.controlplane_group, p.controlplane_cluster, p.flux_configuration) is not None

    def _clusters(self) -> Step:
        """Set all environments to zero by a commit; ASO then deletes the clusters in Azure."""
        working = self._hub_works()
        declared = self.rollout.environments() if working else {}
        living = {name: env for name, env in declared.items() if env.count}

        def request(current: Any) -> Commit:
            files = {
                k: v
                for env in living.values()
                for k, v in environments.edit(self.session.repository, env, {"clusterCount": 0}).items()
            }
            return Commit(self.session.repository, files, "tear down: no clusters")

        def settle(commit: str | None) -> None:
            self._await_zero(commit or self.session.repository.head(), declared)

        title, target = "declaration in Git", "all environments"
        return Step(title, target, lambda: living or None, request, absent=True, settle=settle)

    def _await_zero(self, commit: str, declared: dict[str, Any]) -> None:
        p, session = self.parameters, self.session
        follow_commit(session, commit, ["clusters"])
        await_ready(
            session, session.hub, HELM_RELEASE, p.flux_namespace, [e.name for e in declared.values()], "releases emptied"
        )
        names = [o["metadata"]["name"] for o in session.hub.list(*MANAGED_CLUSTER, p.cluster_namespace)]
        await_gone(session, session.hub, MANAGED_CLUSTER, p.cluster_namespace, names, "clusters deleted")

    def _configuration(self) -> Step:
        p = self.parameters
        return flux.delete(
            self.session.azure, p.controlplane_group, p.controlplane_cluster, p.flux_configuration, self.session.timeout
        )

    def _extension(self) -> Step:
        p = self.parameters
        return flux.delete_extension(self.session.azure, p.controlplane_group, p.controlplane_cluster, self.session.timeout)

    def _fleet_group(self) -> Step:
        return groups.delete(self.session.azure, self.parameters.fleet_group, self.session.timeout)

    def _controlplane_group(self) -> Step:
        return groups.delete(self.session.azure, self.parameters.controlplane_group, self.session.timeout)

    def promises(self) -> Iterable[Check]:
        azure, p = self.session.azure, self.parameters
        for group in (p.fleet_group, p.controlplane_group):
            yield promise(f"the resource group {group} is gone", groups.get(azure, group) is None, fix="run 99_tear_down again")
        left = [c["name"] for group in (p.fleet_group, p.controlplane_group) for c in _clusters_of(azure, group)]
        yield promise("no cluster is left", not left, ", ".join(left) or "none", "run 99_tear_down again")
        managed = [
            g["name"]
            for g in groups.list_all(azure)
            if (g.get("managedBy") or "").lower().startswith(azure.group_id("").lower())
        ]
        yield promise(
            "no node resource group is left behind", not managed, ", ".join(managed) or "none", "delete the groups named here"
        )


def _clusters_of(azure: Any, group: str) -> list[dict[str, Any]]:
    try:
        return managed_clusters.list_in(azure, group)
    except FleetError:
        return []
