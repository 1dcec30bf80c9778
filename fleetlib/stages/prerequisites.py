"""Notebook 00: check tools, rights, region and quota before anything is created. Registers providers; creates nothing."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from fleetlib.change import Check, Step
from fleetlib.clients.azure import compute, managed_clusters, providers, roles
from fleetlib.stages.stage import Stage, promise

NEEDED_ACTIONS = (
    "Microsoft.Resources/subscriptions/resourceGroups/write",
    "Microsoft.ContainerService/managedClusters/write",
    "Microsoft.ManagedIdentity/userAssignedIdentities/write",
    "Microsoft.Authorization/roleAssignments/write",
    "Microsoft.KubernetesConfiguration/fluxConfigurations/write",
)


class Prerequisites(Stage):
    """Checks tools, credential, rights, providers, region, versions, sizes and quota for the planned fleet."""

    notebook = "00_check_prerequisites"

    def steps(self) -> Mapping[str, Callable[[], Step]]:
        return {name: partial(providers.ensure, self.session.azure, name, self.session.timeout) for name in providers.NEEDED}

    def commands(self) -> Mapping[str, str]:
        return {name: f"az provider register --namespace {name} --wait" for name in providers.NEEDED}

    def promises(self) -> Iterable[Check]:
        yield self.git()
        yield self.signed_in()
        yield self.rights()
        yield from self.registered()
        yield self.region()
        yield self.version()
        yield from self.sizes()
        yield from self.quota()

    def git(self) -> Check:
        found = shutil.which("git")
        if found is None:
            return promise("git is installed", False, "not on the PATH", "install git: the fleet is declared in a repository")
        version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout.strip()
        return promise("git is installed", True, version)

    def signed_in(self) -> Check:
        subscription = self.session.azure.subscription
        return promise(
            "the credential sees one subscription",
            True,
            f"{subscription.display_name} ({getattr(subscription.state, 'value', subscription.state)})",
        )

    def rights(self) -> Check:
        """Compare the caller's roles with the actions that the stages need."""
        lacking = roles.lacking(self.session.azure, NEEDED_ACTIONS)
        fix = "ask for Owner, or Contributor with Role Based Access Control Administrator, on the subscription"
        return promise(
            "the caller may create all that the stages create",
            not lacking,
            ", ".join(lacking) or f"{len(NEEDED_ACTIONS)} actions allowed",
            fix,
        )

    def registered(self) -> Iterable[Check]:
        for name in providers.NEEDED:
            state = providers.get(self.session.azure, name)["registrationState"]
            yield promise(
                f"{name} is registered", state == "Registered", state, "run 00_check_prerequisites: it registers the provider"
            )

    def region(self) -> Check:
        location = self.parameters.location
        offered = providers.locations(self.session.azure, "Microsoft.ContainerService", "managedClusters")
        near = ", ".join(sorted(offered)[:8])
        return promise(
            f"AKS is offered in {location}",
            location in offered,
            f"{len(offered)} regions",
            f"set location to one of {near}, ...",
        )

    def versions(self) -> list[dict[str, Any]]:
        """The Kubernetes versions that the region offers, newest first."""
        found = managed_clusters.versions(self.session.azure, self.parameters.location)
        return sorted(found, key=lambda item: [int(part) for part in item["version"].split(".")], reverse=True)

    def version(self) -> Check:
        wanted, offered = self.parameters.kubernetes_version, self.versions()
        plain = [item["version"] for item in offered if not item.get("isPreview") and _standard_support(item)]
        if not wanted:
            default = next((item["version"] for item in offered if item.get("isDefault")), "none")
            return promise("the region has a default Kubernetes version", default != "none", default)
        minor = ".".join(wanted.split(".")[:2])
        patches = {patch for item in offered for patch in (item.get("patchVersions") or {})}
        kept = minor in plain and (wanted == minor or wanted in patches)
        return promise(
            f"Kubernetes {wanted} is offered with standard support",
            kept,
            ", ".join(plain),
            "set kubernetes_version to one of these, or leave it empty",
        )

    def sizes(self) -> Iterable[Check]:
        offered = compute.sizes(self.session.azure, self.parameters.location)
        for name in dict.fromkeys((self.parameters.controlplane_vm_size, self.parameters.cluster_vm_size)):
            size = offered.get(name.lower())
            kept = bool(size and size["available"])
            evidence = f"{size['vcpus']} vCPUs, {size['family']}" if size else "unknown in the region"
            yield promise(
                f"{name} is available in {self.parameters.location}", kept, evidence, "choose a size the region offers"
            )

    def largest(self) -> dict[str, int]:
        """Nodes by VM size: every cluster at its largest, and one node of surge each during upgrades."""
        p = self.parameters
        clusters = (
            p.staging_cluster_count
            + max(p.prod_cluster_count, p.prod_cluster_count_scaled)
            + p.new_environment_cluster_count
            + 1
        )
        nodes = {p.controlplane_vm_size: p.controlplane_node_count + 1}
        nodes[p.cluster_vm_size] = nodes.get(p.cluster_vm_size, 0) + clusters * (p.cluster_max_nodes + 1)
        return nodes

    def quotas(self) -> list[compute.Quota]:
        """The demand of the fleet at its largest on each quota."""
        azure, location = self.session.azure, self.parameters.location
        return list(compute.quotas(self.largest(), compute.sizes(azure, location), compute.usages(azure, location)))

    def demand(self) -> dict[str, int]:
        """VM family -> vCPUs wanted at most."""
        return {name: wanted for name, wanted, *_ in self.quotas() if name != "cores"}

    def quota(self) -> Iterable[Check]:
        """Family and regional quota for the fleet at its largest; a fleet that exists already counts as used."""
        for name, wanted, _, limit in self.quotas():
            label = "the region's vCPUs" if name == "cores" else name
            fix = f"ask for a quota of {wanted} vCPUs, or lower the counts, cluster_max_nodes or the VM size"
            yield promise(f"{label} suffice for the fleet at its largest", wanted <= limit, f"{wanted} wanted of {limit}", fix)


def _standard_support(version: dict[str, Any]) -> bool:
    plans = (version.get("capabilities") or {}).get("supportPlan") or ["KubernetesOfficial"]
    return "KubernetesOfficial" in plans
