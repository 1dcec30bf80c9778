"""Notebook 07: more and fewer clusters by a commit, and a new environment as one more release of the same chart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from fleetlib import environments
from fleetlib.change import Check, Step, aligned, table
from fleetlib.clients.azure import managed_clusters
from fleetlib.clients.gitops import Commit
from fleetlib.environments import Environment
from fleetlib.stages.conditions import Conditions
from fleetlib.stages.deploy_workloads import PROD, STAGING, DeployWorkloads
from fleetlib.stages.stage import Missing, Stage, promise


@dataclass(frozen=True, repr=False)
class Impact:
    """The clusters that a change of counts creates and deletes, known before anything is committed."""

    rows: tuple[tuple[str, str, str], ...]

    @property
    def deleted(self) -> list[str]:
        return [name for name, effect, _ in self.rows if effect == "deleted"]

    def __str__(self) -> str:
        return (
            "\n".join(f"{effect}: {name} {note}".rstrip() for name, effect, note in self.rows)
            or "no cluster is created or deleted"
        )

    def __repr__(self) -> str:
        return aligned([(effect, name, note) for name, effect, note in self.rows]) if self.rows else str(self)

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
        declared = cache(self.rollout.environments)  # a plan reads Git once for all steps
        return {
            "scale up": lambda: self._scale(PROD, p.prod_cluster_count_scaled, declared()),
            "add environment": lambda: self._add(declared()),
            "scale down": lambda: self._scale(self.new_release, p.new_environment_cluster_count, declared()),
        }

    def impact(self, release: str, count: int) -> Impact:
        """The clusters that a count would create and delete, and what is lost with them. Reads only."""
        environment = self.rollout.environments().get(release)
        before = environment.clusters() if environment else []
        after = [environments.cluster_name(release, number) for number in range(count)]
        actual = {item["name"]: item for item in managed_clusters.list_in(self.session.azure, self.parameters.fleet_group)}
        gone = [(name, "deleted", _loss(actual.get(name))) for name in before if name not in after]
        new = [(name, "created", "") for name in after if name not in before]
        return Impact((*gone, *new))

    def _scale(self, release: str, count: int, declared: dict[str, Environment]) -> Step:
        environment = declared.get(release)
        if environment is None:
            raise Missing(f"the environment {release}")

        def request(current: Environment) -> Commit:
            files = environments.edit(self.session.repository, environment, {"clusterCount": count})
            return Commit(self.session.repository, files, f"{release}: {current.count} -> {count} clusters")

        def compare(current: Environment) -> list[str]:
            return [] if current.count == count else [f"clusterCount: {current.count} -> {count}"]

        settle = self.rollout.remember
        return Step("declaration in Git", release, lambda: environment, request, compare, settle=settle)

    def _add(self, found: dict[str, Environment]) -> Step:
        count = self.parameters.new_environment_cluster_count + 1

        def request(current: Any) -> Commit:
            files = environments.add(
                self.session.repository, found[STAGING], self.parameters.new_environment, {"clusterCount": count}
            )
            return Commit(self.session.repository, files, f"{self.new_release}: a new environment of {count} clusters")

        settle = self.rollout.remember
        return Step("environment", self.new_release, lambda: found.get(self.new_release), request, settle=settle)

    def commands(self) -> Mapping[str, str]:
        p, file = self.parameters, f"podinfo{self.parameters.new_environment.replace('-', '')}.yaml"
        return {
            "scale up": _commit_command(f"{PROD}: {p.prod_cluster_count_scaled} clusters"),
            "add environment": f"cp podinfostaging.yaml {file}  # then edit names and count, list it in kustomization.yaml\n"
            + _commit_command(f"{self.new_release}: a new environment"),
            "scale down": _commit_command(f"{self.new_release}: {p.new_environment_cluster_count} clusters"),
        }

    def wait(self) -> Conditions:
        """Wait until all layers agree with Git."""
        return self.rollout.wait()

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


def _commit_command(message: str) -> str:
    return f'git add flux/clusters\ngit commit -m "{message}"\ngit push'


def _loss(cluster: dict[str, Any] | None) -> str:
    if cluster is None:
        return "not in Azure"
    pools = cluster["properties"].get("agentPoolProfiles") or []
    nodes = sum(pool.get("count") or 0 for pool in pools)
    return f"{nodes} nodes and all that runs and is stored on them"
