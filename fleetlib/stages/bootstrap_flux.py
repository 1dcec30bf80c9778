"""Notebook 03: Flux on the control plane, pointed at Git; Flux then installs cert-manager and ASO."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from fleetlib.change import Check, Step
from fleetlib.clients.azure import flux
from fleetlib.clients.kube import Object, condition, ready
from fleetlib.diagnosis import fix_for
from fleetlib.stages.aso_identity import AsoIdentity
from fleetlib.stages.conditions import Conditions, observed
from fleetlib.stages.rollout import (
    DEPLOYMENT,
    FLUX_CONFIGURATION,
    GIT_REPOSITORY,
    HELM_RELEASE,
    KUSTOMIZATION,
    MANAGED_CLUSTER,
    RESOURCE_GROUP,
    await_ready,
    read_settled,
)
from fleetlib.stages.stage import Stage, promise

ASO_NAMESPACE = "azureserviceoperator-system"
LABEL = "kustomize.toolkit.fluxcd.io/name"
"""The label by which a kustomization marks the objects that it applied."""


class BootstrapFlux(Stage):
    """Creates the extension and the Flux configuration with its kustomization `controlplane`; waits for the controllers."""

    notebook = "03_bootstrap_flux"

    def requirements(self) -> Iterable[Check]:
        yield from AsoIdentity(self.session).requirements()
        yield from AsoIdentity(self.session).promises()

    def steps(self) -> Mapping[str, Callable[[], Step]]:
        return {"extension": self._extension, "configuration": self._configuration}

    def commands(self) -> Mapping[str, str]:
        p = self.parameters
        return {
            "extension": (
                f"az k8s-extension create -g {p.controlplane_group} -c {p.controlplane_cluster} \\\n"
                "    -t managedClusters --name flux --extension-type microsoft.flux"
            ),
            "configuration": (
                f"az k8s-configuration flux create -g {p.controlplane_group} -c {p.controlplane_cluster} \\\n"
                f"    -t managedClusters -n {p.flux_configuration} --namespace {p.flux_namespace} --scope cluster \\\n"
                f"    -u {p.fleet_repository} --branch {p.fleet_branch} \\\n"
                "    --kustomization name=controlplane path=./flux/controlplane prune=true"
            ),
        }

    def _extension(self) -> Step:
        p = self.parameters
        return flux.ensure_extension(self.session.azure, p.controlplane_group, p.controlplane_cluster, self.session.timeout)

    def _configuration(self) -> Step:
        p = self.parameters
        body = flux.desired(
            p.flux_namespace, p.fleet_repository, p.fleet_branch, {"controlplane": flux.kustomization("./flux/controlplane")}
        )
        return flux.ensure(
            self.session.azure, p.controlplane_group, p.controlplane_cluster, p.flux_configuration, body, self.session.timeout
        )

    @property
    def kustomization(self) -> str:
        return f"{self.parameters.flux_configuration}-controlplane"

    def releases(self) -> list[str]:
        """The HelmReleases that the kustomization applied."""
        found = self.session.hub.list(*HELM_RELEASE, self.parameters.flux_namespace, labels=f"{LABEL}={self.kustomization}")
        return sorted(item["metadata"]["name"] for item in found)

    def wait(self) -> Conditions:
        """Wait until Git is applied, cert-manager and ASO are installed, and ASO's deployment is available."""
        session, namespace = self.session, self.parameters.flux_namespace
        hub, source = session.hub, self.parameters.flux_configuration
        sources = await_ready(session, hub, GIT_REPOSITORY, namespace, [source], "repository fetched")
        await_ready(session, hub, KUSTOMIZATION, namespace, [self.kustomization], "control plane applied", _applied)
        releases = await_ready(session, hub, HELM_RELEASE, namespace, self.releases(), "cert-manager and ASO installed")
        applied = await_ready(session, hub, KUSTOMIZATION, namespace, [self.kustomization], "control plane healthy")
        names = [d["metadata"]["name"] for d in hub.list(*DEPLOYMENT, ASO_NAMESPACE)]
        deployments = await_ready(session, hub, DEPLOYMENT, ASO_NAMESPACE, names, "ASO running", _available)
        return Conditions(
            (
                *observed("source", GIT_REPOSITORY, sources),
                *observed("kustomization", KUSTOMIZATION, applied),
                *observed("release", HELM_RELEASE, releases),
                *observed("aso", DEPLOYMENT, deployments, "Available"),
            )
        )

    def promises(self) -> Iterable[Check]:
        p, hub = self.parameters, self.session.hub
        extension = flux.extension(self.session.azure, p.controlplane_group, p.controlplane_cluster)
        state = extension["properties"]["provisioningState"] if extension else "missing"
        yield promise("the extension microsoft.flux is installed", state == "Succeeded", state, "run 03_bootstrap_flux again")
        yield kept(
            read_settled(self.session, KUSTOMIZATION, self.kustomization, p.flux_namespace),
            f"kustomization {self.kustomization} is applied",
        )
        for name in self.releases():
            yield kept(read_settled(self.session, HELM_RELEASE, name, p.flux_namespace), f"release {name} is installed")
        for deployment in hub.list(*DEPLOYMENT, ASO_NAMESPACE):
            status, reason, message = condition(deployment, "Available")
            name = deployment["metadata"]["name"]
            yield promise(
                f"{name} runs", status == "True", f"{reason}: {message}", fix_for(message, "look at its Pods' events and logs")
            )
        yield from self._kinds()

    def _kinds(self) -> Iterable[Check]:
        """Check the definitions of ASO's kinds: ASO installs only those that its crdPattern names."""
        definitions = {
            item["metadata"]["name"]: item
            for item in self.session.hub.list("apiextensions.k8s.io/v1", "CustomResourceDefinition")
        }
        for (api_version, kind), plural in (
            (RESOURCE_GROUP, "resourcegroups"),
            (MANAGED_CLUSTER, "managedclusters"),
            (FLUX_CONFIGURATION, "fluxconfigurations"),
        ):
            group = api_version.partition("/")[0]
            found = definitions.get(f"{plural}.{group}")
            fix = f"add {group}/* to crdPattern in flux/controlplane, commit, and run 03_bootstrap_flux again"
            yield promise(
                f"ASO manages {kind}",
                condition(found, "Established")[0] == "True",
                group if found else f"no {plural}.{group}",
                fix,
            )


def _available(deployment: Object) -> bool:
    return condition(deployment, "Available")[0] == "True"


def _applied(kustomization: Object) -> bool:
    """Whether the objects are there, healthy or not: a release that fails gives its reason itself."""
    return ready(kustomization) or bool((kustomization.get("status") or {}).get("inventory", {}).get("entries"))


def kept(obj: dict[str, object] | None, text: str) -> Check:
    """The promise that a Flux or ASO object is Ready, with its own words as evidence."""
    if obj is None:
        return promise(text, False, "it does not exist", "is it in Git, under the path that is applied?")
    _, reason, message = condition(obj)
    return promise(text, ready(obj), f"{reason}: {message}" if message else reason, fix_for(f"{reason}: {message}"))
