"""Notebook 04: the fleet's resource group, ASO's right to it, and the kustomization that applies flux/clusters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from fleetlib.change import Check, Step
from fleetlib.clients.azure import flux, groups, roles
from fleetlib.clients.kube import condition
from fleetlib.stages.aso_identity import ROLE, AsoIdentity, assign_role
from fleetlib.stages.bootstrap_flux import BootstrapFlux, kept
from fleetlib.stages.conditions import Conditions, observed
from fleetlib.stages.rollout import KUSTOMIZATION, RESOURCE_GROUP, await_ready, read_settled
from fleetlib.stages.stage import Stage, promise


class PrepareFleet(Stage):
    """Creates the objects that must exist before the first workload cluster."""

    notebook = "04_prepare_fleet"

    def requirements(self) -> Iterable[Check]:
        for check in BootstrapFlux(self.session).promises():
            yield promise(check.promise, check.kept, check.evidence, check.fix or "run 03_bootstrap_flux")

    def steps(self) -> Mapping[str, Callable[[], Step]]:
        return {"group": self._group, "role": self._role, "kustomization": self._kustomization}

    def commands(self) -> Mapping[str, str]:
        p = self.parameters
        return {
            "group": f"az group create -n {p.fleet_group} -l {p.location}",
            "role": assign_role(p.fleet_group),
            "kustomization": (
                f"az k8s-configuration flux kustomization create -g {p.controlplane_group} \\\n"
                f"    -c {p.controlplane_cluster} -t managedClusters -n {p.flux_configuration} -k clusters \\\n"
                "    --path ./flux/clusters --prune true --interval 1m --depends-on controlplane"
            ),
        }

    def _group(self) -> Step:
        return groups.ensure(self.session.azure, self.parameters.fleet_group, self.parameters.location)

    def _principal(self) -> str:
        return str(AsoIdentity(self.session)._known_identity()["properties"]["principalId"])

    def _scope(self) -> str:
        return self.session.azure.group_id(self.parameters.fleet_group)

    def _role(self) -> Step:
        return roles.ensure(self.session.azure, self._scope(), self._principal(), ROLE)

    def _kustomization(self) -> Step:
        p = self.parameters
        clusters = flux.kustomization("./flux/clusters", depends_on=("controlplane",))
        clusters["wait"] = False  # its releases wait for a chart that notebook 05 publishes
        body = flux.desired(p.flux_namespace, p.fleet_repository, p.fleet_branch, {"clusters": clusters})
        return flux.ensure(
            self.session.azure, p.controlplane_group, p.controlplane_cluster, p.flux_configuration, body, self.session.timeout
        )

    @property
    def kustomization(self) -> str:
        return f"{self.parameters.flux_configuration}-clusters"

    def wait(self) -> Conditions:
        """Wait until flux/clusters is applied and ASO has found the group."""
        p, session = self.parameters, self.session
        hub = session.hub
        applied = await_ready(session, hub, KUSTOMIZATION, p.flux_namespace, [self.kustomization], "flux/clusters applied")
        group = await_ready(session, hub, RESOURCE_GROUP, p.cluster_namespace, [p.fleet_group], "ASO sees the fleet's group")
        return Conditions((*observed("kustomization", KUSTOMIZATION, applied), *observed("aso", RESOURCE_GROUP, group)))

    def promises(self) -> Iterable[Check]:
        p, session = self.parameters, self.session
        again = "run 04_prepare_fleet again"
        yield promise(
            "the fleet's resource group exists", groups.get(session.azure, p.fleet_group) is not None, p.fleet_group, again
        )
        found = roles.find(session.azure, self._scope(), self._principal(), ROLE)
        yield promise(f"ASO's identity is {ROLE} of it", found is not None, fix=again)
        yield kept(
            read_settled(session, KUSTOMIZATION, self.kustomization, p.flux_namespace),
            f"kustomization {self.kustomization} is applied",
        )
        group = session.hub.get(*RESOURCE_GROUP, p.fleet_group, p.cluster_namespace)
        yield kept(group, "ASO has the group as the owner of clusters to come")
        policy = (
            ((group or {}).get("metadata") or {})
            .get("annotations", {})
            .get("serviceoperator.azure.com/reconcile-policy", "manage")
        )
        yield promise(
            "ASO only reads it (reconcile-policy skip)",
            policy == "skip",
            policy,
            "set the annotation in flux/clusters, or a prune deletes the group with every cluster in it",
        )
        yield promise("ASO may read it", condition(group)[0] == "True", condition(group)[1] or "Ready", again)
