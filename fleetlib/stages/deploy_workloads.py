"""Notebook 06: workload clusters, from a commit to compliant clusters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from fleetlib import environments
from fleetlib.change import Check, Step
from fleetlib.clients.azure import managed_clusters
from fleetlib.clients.gitops import Commit, Repository
from fleetlib.clients.kube import condition, ready
from fleetlib.environments import Environment
from fleetlib.stages.bootstrap_flux import kept
from fleetlib.stages.conditions import Conditions, observed
from fleetlib.stages.publish_chart import PublishChart
from fleetlib.stages.rollout import (
    HELM_RELEASE,
    MANAGED_CLUSTER,
    await_clusters,
    await_gone,
    await_ready,
    compliance,
    follow_commit,
    read_settled,
)
from fleetlib.stages.stage import Stage, promise

STAGING, PROD = "podinfo-staging", "podinfo-prod"

Declared = Callable[[], dict[str, Environment]]
"""Gives the environments that Git declares."""


@dataclass(frozen=True)
class Declaration:
    """The values that an environment's release should have in Git. Keys may be dotted: `flux.repository`."""

    environment: Environment
    values: dict[str, Any]

    def compare(self, current: Any = None) -> list[str]:
        """The values that differ, as lines `vmSize: Standard_D2as_v5 -> Standard_D2as_v6`."""
        pairs = ((key, environments.lookup(self.environment.values, key), value) for key, value in self.values.items())
        return [f"{key}: {actual} -> {wanted}" for key, actual, wanted in pairs if actual != wanted]

    def commit(self, repository: Repository, note: str = "") -> Commit:
        """The commit that sets the values."""
        files = environments.edit(repository, self.environment, self.values)
        return Commit(repository, files, f"{self.environment.release}: {self.values['clusterCount']} clusters{note}")


class DeployWorkloads(Stage):
    """Sets the first counts of staging and production in Git, and follows them through every layer.

    Counts of an environment that has clusters already belong to Git and notebook 07: they are left as they are.
    """

    notebook = "06_deploy_workload_clusters"
    commit = ""

    def requirements(self) -> Iterable[Check]:
        for check in PublishChart(self.session).promises():
            yield promise(check.promise, check.kept, check.evidence, check.fix or "run 05_publish_cluster_chart")

    def environments(self) -> dict[str, Environment]:
        """The environments that Git declares now."""
        self.session.repository.sync()
        return environments.read(self.session.repository)

    def counts(self) -> dict[str, int]:
        """Clusters to start each environment with."""
        return {STAGING: self.parameters.staging_cluster_count, PROD: self.parameters.prod_cluster_count}

    def steps(self) -> Mapping[str, Callable[[], Step]]:
        declared = cache(self.environments)  # a plan reads Git once for all steps
        return {release: partial(self._declare, release, declared) for release in self.counts()}

    def _declare(self, release: str, declared: Declared) -> Step:
        declaration = self.declaration(release, declared)
        return Step(
            "declaration in Git",
            release,
            lambda: declaration.environment,
            lambda current: declaration.commit(self.session.repository),
            declaration.compare,
            settle=self.remember,
        )

    def declaration(self, release: str, declared: Declared | None = None) -> Declaration:
        """An environment and the values that it should have; `declared` gives the environments, by default as they are now."""
        environment = (declared or self.environments)()[release]
        return Declaration(environment, self._values(environment))

    def remember(self, commit: str | None) -> None:
        """Note the commit that `wait` follows; `None` if there was nothing to commit."""
        self.commit = commit or self.commit

    def commands(self) -> Mapping[str, str]:
        return {release: f'git commit -am "{release}: {count} clusters"\ngit push' for release, count in self.counts().items()}

    def _values(self, environment: Environment) -> dict[str, Any]:
        p = self.parameters
        values: dict[str, Any] = {
            "clusterCount": environment.count or self.counts()[environment.release],
            "location": p.location,
            "resourceGroup": p.fleet_group,
            "vmSize": p.cluster_vm_size,
            "nodeCount.max": p.cluster_max_nodes,
            "flux.repository": p.workloads_repository,
        }
        if p.kubernetes_version:
            values["kubernetesVersion"] = p.kubernetes_version
        return values

    def wait(self) -> Conditions:
        """Wait from the commit to compliant clusters, layer by layer."""
        p, session = self.parameters, self.session
        declared = self.environments()
        followed = follow_commit(session, self.commit or session.repository.head(), ["clusters"])
        names = [environment.name for environment in declared.values()]
        releases = await_ready(session, session.hub, HELM_RELEASE, p.flux_namespace, names, "releases installed")
        wanted = [cluster for environment in declared.values() for cluster in environment.clusters()]
        surplus = [
            o["metadata"]["name"]
            for o in session.hub.list(*MANAGED_CLUSTER, p.cluster_namespace)
            if o["metadata"]["name"] not in wanted
        ]
        if surplus:
            await_gone(session, session.hub, MANAGED_CLUSTER, p.cluster_namespace, surplus, "surplus clusters deleted")
        clusters = await_clusters(session, wanted)
        return Conditions((*followed, *observed("release", HELM_RELEASE, releases), *clusters))

    def promises(self) -> Iterable[Check]:
        p, session = self.parameters, self.session
        declared = self.environments()
        actual = {item["name"]: item for item in managed_clusters.list_in(session.azure, p.fleet_group)}
        for release, environment in declared.items():
            yield kept(
                read_settled(session, HELM_RELEASE, environment.name, p.flux_namespace), f"release {release} is installed"
            )
            for name in environment.clusters():
                yield self._cluster_kept(name, actual.get(name))
        wanted = {name for environment in declared.values() for name in environment.clusters()}
        surplus = sorted(set(actual) - wanted)
        yield promise(
            "Azure has no cluster that Git does not declare",
            not surplus,
            ", ".join(surplus) or "none",
            "see notebook 08: drift",
        )

    def _cluster_kept(self, name: str, actual: dict[str, Any] | None) -> Check:
        text = f"{name} is provisioned and compliant"
        if actual is None:
            obj = self.session.hub.get(*MANAGED_CLUSTER, name, self.parameters.cluster_namespace)
            return (
                kept(obj, text)
                if not ready(obj)
                else promise(text, False, "ASO says Ready, ARM has no such cluster", "see notebook 08: drift")
            )
        state = actual["properties"]["provisioningState"]
        if state != "Succeeded":
            return promise(
                text,
                False,
                f"{state}: {condition(self.session.hub.get(*MANAGED_CLUSTER, name, self.parameters.cluster_namespace))[2]}",
            )
        compliant, message = compliance(self.session, name)
        return promise(text, compliant == "Compliant", f"{state}, {compliant} {message}".strip())
