"""Notebook 05: the cluster chart, checked and published, and seen by the control plane."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from fleetlib.change import Check, Step
from fleetlib.clients.gitops import Chart, publish
from fleetlib.stages.bootstrap_flux import kept
from fleetlib.stages.conditions import Conditions, observed
from fleetlib.stages.prepare_fleet import PrepareFleet
from fleetlib.stages.rollout import OCI_REPOSITORY, applied, await_ready, read_settled, reconcile_now
from fleetlib.stages.stage import Stage, promise

CHART = "podinfocluster"
SOURCE = "aso-cluster-charts"


class PublishChart(Stage):
    """Packages the chart's folder in Git and pushes it as the artifact that HelmReleases refer to."""

    notebook = "05_publish_cluster_chart"

    def requirements(self) -> Iterable[Check]:
        for check in PrepareFleet(self.session).promises():
            yield promise(check.promise, check.kept, check.evidence, check.fix or "run 04_prepare_fleet")

    @cached_property
    def chart(self) -> Chart:
        """The chart as it is on the branch that Flux follows."""
        self.session.repository.sync()
        return Chart(self.session.repository.folder / "charts" / CHART)

    def example(self, count: int = 2) -> list[dict[str, Any]]:
        """The objects of a release of `count` clusters; nothing is created."""
        return self.chart.render(
            "example",
            self.parameters.cluster_namespace,
            {"clusterCount": count, "flux": {"kustomizationPath": "./apps/staging"}},
        )

    @cached_property
    def archive(self) -> Path:
        return self.chart.package(Path(tempfile.mkdtemp(prefix="fleet-chart-")))

    def commands(self) -> Mapping[str, str]:
        version = self.chart.metadata["version"]
        return {"publish": f"helm package charts/{CHART}\nhelm push {CHART}-{version}.tgz {self.parameters.chart_registry}"}

    def steps(self) -> Mapping[str, Callable[[], Step]]:
        return {"publish": lambda: publish(self.session.registry, self.chart, self.archive)}

    def wait(self) -> Conditions:
        """Wait until the control plane has fetched the version."""
        p, hub = self.parameters, self.session.hub
        reconcile_now(hub, OCI_REPOSITORY, SOURCE, p.flux_namespace)
        version = self.chart.metadata["version"]
        title = "chart fetched by Flux"
        found = await_ready(self.session, hub, OCI_REPOSITORY, p.flux_namespace, [SOURCE], title, applied(version))
        return Conditions(observed("source", OCI_REPOSITORY, found))

    def promises(self) -> Iterable[Check]:
        metadata = self.chart.metadata
        digest = self.session.registry.digest(metadata["name"], metadata["version"])
        where = f"{self.parameters.chart_registry}/{metadata['name']}:{metadata['version']}"
        yield promise("the registry has the chart", digest is not None, where, "run 05_publish_cluster_chart again")
        source = read_settled(self.session, OCI_REPOSITORY, SOURCE, self.parameters.flux_namespace)
        yield kept(source, f"the control plane has fetched it ({SOURCE})")
