"""A session: the parameters, the cloud, and the clients for both."""

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
    """The clients of one fleet. Each is created when it is first used."""

    parameters: Parameters
    cloud: Cloud

    @cached_property
    def azure(self) -> Azure:
        """The management clients of the subscription."""
        return Azure(self.cloud, self.parameters.subscription_id)

    @cached_property
    def hub(self) -> Kube:
        """The Kubernetes API of the control-plane cluster. Raises `FinalError` if the cluster does not exist."""
        return managed_clusters.connect(self.azure, self.parameters.controlplane_group, self.parameters.controlplane_cluster)

    def workload_cluster(self, name: str) -> Kube:
        """Connect to the Kubernetes API of a workload cluster. Raises `FinalError` if the cluster does not exist."""
        return managed_clusters.connect(self.azure, self.parameters.fleet_group, name)

    @cached_property
    def repository(self) -> Repository:
        """The fleet's Git repository."""
        return Repository(self.parameters.fleet_repository, self.parameters.fleet_branch, self.cloud)

    @cached_property
    def registry(self) -> ChartRegistry:
        """The registry of the cluster chart."""
        return ChartRegistry(self.parameters.chart_registry, self.cloud)

    @property
    def timeout(self) -> float:
        """The longest wait of one step, in seconds."""
        return self.parameters.timeout_minutes * 60

    @property
    def patience(self) -> float:
        """How long a step waits after an error that only a fix ends, in real seconds: `patience_minutes` on the
        cloud's clock.
        """
        return self.parameters.patience_minutes * 60 * self.cloud.pace

    def __repr__(self) -> str:
        return f"Session({self.cloud.name}, {self.parameters.location})"


def connect(source: Mapping[str, Any] | Parameters) -> Session:
    """Return a session for a notebook's variables (`connect(globals())`) or for parameters.

    Starts the sandbox if the cloud is `sandbox` and it does not run. Raises `ParameterError` before that if a parameter is
    wrong.
    """
    parameters = source if isinstance(source, Parameters) else Parameters.from_namespace(source)
    return Session(parameters, clouds.connect(parameters))
