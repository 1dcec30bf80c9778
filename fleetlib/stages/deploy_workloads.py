"""Notebook 06: workload clusters, from a commit to compliant clusters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from fleetlib import environments
from fleetlib.change import Check, Step
from fleetlib.clients.azure import managed_clusters
from fleetlib.clients.kube import condition, ready
from fleetlib.environments import Environment
from fleetlib.stages.bootstrap_flux import kept
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
        """What Git declares now."""
        self.session.repository.sync()
        return environments.read(self.session.repository)

    def counts(self) -> dict[str, int]:
        """Clusters to start each environment with."""
        return {STAGING: self.parameters.staging_cluster_count, PROD: self.parameters.prod_cluster_count}

    def steps(self) -> Mapping[str, Callable[[], Step]]:
        return {release: partial(self._declare, release) for release in self.counts()}

    def _declare(self, release: str) -> Step:
        environment = self.environments()[release]
        values = self._values(environment)

        def write(current: Any) -> None:
            files = environments.edit(self.session.repository, environment, values)
            self.commit = self.session.repository.commit(files, f"{release}: {values['clusterCount']} clusters") or self.commit

        return Step("declaration in Git", release, lambda: environment, write, lambda env: _differences(env, values))

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

    def diff(self) -> str:
        """What the commits would change, as a unified diff."""
        found = self.environments()
        files = {
            k: v
            for r in self.counts()
            for k, v in environments.edit(self.session.repository, found[r], self._values(found[r])).items()
        }
        return self.session.repository.diff(files)

    def wait(self) -> None:
        """From the commit to compliant clusters, layer by layer."""
        p, session = self.parameters, self.session
        declared = self.environments()
        follow_commit(session, self.commit or session.repository.head(), ["clusters"])
        names = [environment.name for environment in declared.values()]
        await_ready(session, session.hub, HELM_RELEASE, p.flux_namespace, names, "releases installed")
        wanted = [cluster for environment in declared.values() for cluster in environment.clusters()]
        surplus = [
            o["metadata"]["name"]
            for o in session.hub.list(*MANAGED_CLUSTER, p.cluster_namespace)
            if o["metadata"]["name"] not in wanted
        ]
        if surplus:
            await_gone(session, session.hub, MANAGED_CLUSTER, p.cluster_namespace, surplus, "surplus clusters deleted")
        await_clusters(session, wanted)

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


def _differences(environment: Environment, values: dict[str, Any]) -> list[str]:
    pairs = ((key, environments._lookup(environment.values, key), value) for key, value in values.items())
    return [f"{key}: {actual} -> {wanted}" for key, actual, wanted in pairs if actual != wanted]
