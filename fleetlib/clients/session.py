"""What a notebook holds: the parameters, the cloud, and the clients made from them. May import `azure`, `kube`, `gitops`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fleetlib.clients import cloud as clouds
from fleetlib.clients.azure import managed_clusters
from fleetlib.clients.azure.clients import Azure
from fleetlib.clients.cloud import Cloud
from fleetlib.clients.gitops import ChartRegistry, Repository
from fleetlib.clients.kube import Kube
from fleetlib.parameters import Parameters


@dataclass
class Session:
    """The fleet as one operator reaches it. Clients are made when first used."""

    parameters: Parameters
    cloud: Cloud

    @cached_property
    def azure(self) -> Azure:
        return Azure(self.cloud, self.parameters.subscription_id)

    @cached_property
    def hub(self) -> Kube:
        """The control-plane cluster's Kubernetes API."""
        return managed_clusters.connect(self.azure, self.parameters.controlplane_group, self.parameters.controlplane_cluster)

    def workload_cluster(self, name: str) -> Kube:
        return managed_clusters.connect(self.azure, self.parameters.fleet_group, name)

    @cached_property
    def repository(self) -> Repository:
        return Repository(self.parameters.fleet_repository, self.parameters.fleet_branch, self.cloud)

    @cached_property
    def registry(self) -> ChartRegistry:
        return ChartRegistry(self.parameters.chart_registry, self.cloud)

    @property
    def timeout(self) -> float:
        """The longest wait of one step, in seconds."""
        return self.parameters.timeout_minutes * 60

    @property
    def patience(self) -> float:
        """How long an error that waiting does not mend may stand, in seconds here: `patience_minutes` of the cloud's own time."""
        return self.parameters.patience_minutes * 60 * self.cloud.pace

    def __repr__(self) -> str:
        return f"Session({self.cloud.name}, {self.parameters.location})"


def connect(source: Mapping[str, Any] | Parameters) -> Session:
    """A session from a notebook's variables (`connect(globals())`) or from parameters. Raises `ParameterError` first of all."""
    parameters = source if isinstance(source, Parameters) else Parameters.from_namespace(source)
    return Session(parameters, clouds.connect(parameters))
