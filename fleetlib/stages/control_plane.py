"""Notebook 01: the resource group and the AKS cluster of the control plane, with OIDC issuer and workload identity."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fleetlib.change import Check, Step
from fleetlib.clients.azure import groups, managed_clusters
from fleetlib.clients.kube import condition
from fleetlib.stages.stage import Stage, promise


class ControlPlane(Stage):
    """Creates the cluster that manages all others."""

    notebook = "01_create_control_plane"

    def requirements(self) -> Iterable[Check]:
        subscription = self.session.azure.subscription
        yield promise("the credential sees the subscription", True, subscription.display_name)

    def steps(self) -> Mapping[str, Callable[[], Step]]:
        return {"group": self._group, "cluster": self._cluster}

    def _group(self) -> Step:
        return groups.ensure(self.session.azure, self.parameters.controlplane_group, self.parameters.location)

    def _cluster(self) -> Step:
        p = self.parameters
        body = managed_clusters.desired(
            p.controlplane_cluster, p.location, p.kubernetes_version, p.controlplane_vm_size, p.controlplane_node_count
        )
        return managed_clusters.ensure(
            self.session.azure, p.controlplane_group, p.controlplane_cluster, body, self.session.timeout
        )

    def commands(self) -> Mapping[str, str]:
        p = self.parameters
        return {
            "group": f"az group create -n {p.controlplane_group} -l {p.location}",
            "cluster": (
                f"az aks create -g {p.controlplane_group} -n {p.controlplane_cluster} \\\n"
                f"    --node-count {p.controlplane_node_count} --node-vm-size {p.controlplane_vm_size} \\\n"
                "    --enable-oidc-issuer --enable-workload-identity --generate-ssh-keys"
            ),
        }

    def cluster(self) -> dict[str, Any] | None:
        """The cluster as ARM describes it; `None` if there is no such cluster."""
        return managed_clusters.get(
            self.session.azure, self.parameters.controlplane_group, self.parameters.controlplane_cluster
        )

    def promises(self) -> Iterable[Check]:
        cluster = self.cluster()
        if cluster is None:
            yield promise("the cluster exists", False, fix="run 01_create_control_plane again")
            return
        state = cluster["properties"]["provisioningState"]
        yield promise(
            "ARM says the cluster is provisioned", state == "Succeeded", state, "wait, or run 01_create_control_plane again"
        )
        issuer = managed_clusters.issuer(cluster)
        again = "run 01_create_control_plane again: it turns the feature on"
        yield promise("the OIDC issuer is on", bool(issuer), issuer or "oidcIssuerProfile has no issuerURL", again)
        on = managed_clusters.workload_identity(cluster)
        yield promise("workload identity is on", on, str(on).lower(), again)
        if issuer:
            yield self._published(issuer)
        nodes = self.session.hub.list("v1", "Node")
        ready = [node for node in nodes if condition(node)[0] == "True"]
        yield promise(
            "the API server answers and all nodes are Ready",
            bool(nodes) and ready == nodes,
            f"{len(ready)} of {len(nodes)} nodes",
        )

    def _published(self, issuer: str) -> Check:
        """Fetch the discovery document, as Entra will."""
        document = self.session.cloud.fetch_json(issuer.rstrip("/") + "/.well-known/openid-configuration")
        return promise(
            "the issuer publishes its keys",
            document.get("issuer") == issuer and "jwks_uri" in document,
            str(document.get("jwks_uri")),
        )
