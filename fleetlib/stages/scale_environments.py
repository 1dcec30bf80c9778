"""Notebook 07: more and fewer clusters by a commit, and a new environment as one more release of the same chart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fleetlib import environments
from fleetlib.change import Check, Step, table
from fleetlib.clients.azure import managed_clusters
from fleetlib.environments import Environment
from fleetlib.stages.deploy_workloads import PROD, STAGING, DeployWorkloads
from fleetlib.stages.stage import Missing, Stage, promise


@dataclass(frozen=True)
class Impact:
    """What a change of counts does to real clusters, known before anything is committed."""

    rows: tuple[tuple[str, str, str], ...]

    @property
    def deleted(self) -> list[str]:
        return [name for name, effect, _ in self.rows if effect == "deleted"]

    def __str__(self) -> str:
        return (
            "\n".join(f"{effect}: {name} {note}".rstrip() for name, effect, note in self.rows)
            or "no cluster is created or deleted"
        )

    def _repr_html_(self) -> str:
        return table(("cluster", "effect", "note"), self.rows) if self.rows else "<p>No cluster is created or deleted.</p>"


class ScaleEnvironments(Stage):
    """Three steps, each a commit: production up, a new environment with one cluster too many, that one down again."""

    notebook = "07_scale_environments"

    def __init__(self, session: Any) -> None:
        super().__init__(session)
        self.rollout = DeployWorkloads(session)

    @property
    def new_release(self) -> str:
        return f"podinfo-{self.parameters.new_environment}"

    def requirements(self) -> Iterable[Check]:
        for check in self.rollout.promises():
            yield promise(check.promise, check.kept, check.evidence, check.fix or "run 06_deploy_workload_clusters")

    def steps(self) -> Mapping[str, Callable[[], Step]]:
        p = self.parameters
        return {
            "scale up": lambda: self._scale(PROD, p.prod_cluster_count_scaled),
            "add environment": self._add,
            "scale down": lambda: self._scale(self.new_release, p.new_environment_cluster_count),
        }

    def impact(self, release: str, count: int) -> Impact:
        """Which clusters a count would create and delete, and what goes with those. Reads only."""
        environment = self.rollout.environments().get(release)
        before = environment.clusters() if environment else []
        after = [environments.cluster_name(release, number) for number in range(count)]
        actual = {item["name"]: item for item in managed_clusters.list_in(self.session.azure, self.parameters.fleet_group)}
        gone = [(name, "deleted", _loss(actual.get(name))) for name in before if name not in after]
        new = [(name, "created", "") for name in after if name not in before]
        return Impact((*gone, *new))

    def _scale(self, release: str, count: int) -> Step:
        environment = self.rollout.environments().get(release)
        if environment is None:
            raise Missing(f"the environment {release}")

        def write(current: Environment) -> None:
            self._commit(
                environments.edit(self.session.repository, environment, {"clusterCount": count}),
                f"{release}: {current.count} -> {count} clusters",
            )

        def compare(current: Environment) -> list[str]:
            return [] if current.count == count else [f"clusterCount: {current.count} -> {count}"]

        return Step("declaration in Git", release, lambda: environment, write, compare)

    def _add(self) -> Step:
        found = self.rollout.environments()
        count = self.parameters.new_environment_cluster_count + 1

        def write(current: Any) -> None:
            files = environments.add(
                self.session.repository, found[STAGING], self.parameters.new_environment, {"clusterCount": count}
            )
            self._commit(files, f"{self.new_release}: a new environment of {count} clusters")

        return Step("environment", self.new_release, lambda: found.get(self.new_release), write)

    def _commit(self, files: dict[str, str | None], message: str) -> None:
        self.rollout.commit = self.session.repository.commit(files, message) or self.rollout.commit

    def wait(self) -> None:
        """Until all layers say what Git says."""
        self.rollout.wait()

    def promises(self) -> Iterable[Check]:
        p = self.parameters
        found = self.rollout.environments()
        wanted = {PROD: p.prod_cluster_count_scaled, self.new_release: p.new_environment_cluster_count}
        for release, count in wanted.items():
            actual = found[release].count if release in found else 0
            yield promise(
                f"Git declares {count} clusters of {release}", actual == count, str(actual), "run 07_scale_environments again"
            )
        yield from self.rollout.promises()


def _loss(cluster: dict[str, Any] | None) -> str:
    if cluster is None:
        return "not in Azure"
    pools = cluster["properties"].get("agentPoolProfiles") or []
    nodes = sum(pool.get("count") or 0 for pool in pools)
    return f"{nodes} nodes and all that runs and is stored on them"
