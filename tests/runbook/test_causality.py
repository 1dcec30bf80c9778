"""One fault at a time: the sandbox shows the real system's error where the real system shows it, and the stage's message names
the cause and the notebook that fixes it.

Each test starts from a sandbox on which the earlier stages have run, breaks one thing through a public interface (ARM, kubectl,
git, a registry), and runs the stage that depends on it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from azuresandbox import lifecycle
from fleetlib.clients.azure import flux, groups, identities, managed_clusters, roles
from fleetlib.clients.gitops import set_value
from fleetlib.clients.kube import condition, secret
from fleetlib.errors import FleetError
from fleetlib.stages.aso_identity import ROLE, SUBJECT
from fleetlib.stages.rollout import (
    EXTENSION,
    FLUX_CONFIGURATION,
    HELM_RELEASE,
    KUSTOMIZATION,
    MANAGED_CLUSTER,
    OCI_REPOSITORY,
    RESOURCE_GROUP,
    await_gone,
    await_ready,
    follow_commit,
)
from fleetlib.stages.tear_down import TearDown

pytestmark = pytest.mark.xdist_group("runbook")

Start = Callable[[str], Any]


def fails(work: Callable[[], Any], *words: str) -> str:
    """Return the text of the `FleetError` that `work` raises, in which all `words` (regular expressions) match."""
    with pytest.raises(FleetError) as error:
        work()
    text = str(error.value)
    missing = [word for word in words if not re.search(word, text)]
    assert not missing, f"{missing} not in:\n{text}"
    return text


def run(fleet: Any, number: str) -> Callable[[], Any]:
    """Return a function that runs the stage without its preflight, as if the fault had occurred just after it."""

    def work() -> None:
        stage = fleet.stage(number)
        stage.apply_all()
        if hasattr(stage, "wait"):
            stage.wait()
        stage.verify()

    return work


def commit(fleet: Any, files: dict[str, str | None], message: str) -> str:
    fleet.session.repository.sync()
    return str(fleet.session.repository.commit(files, message))


def edited(fleet: Any, path: str, old: str, new: str) -> dict[str, str | None]:
    fleet.session.repository.sync()
    text = fleet.session.repository.read(path)
    assert old in text, f"{path} has no {old!r}"
    return {path: text.replace(old, new)}


# --- identity ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("feature", "words"),
    [
        ({"oidcIssuerProfile": {"enabled": False}, "securityProfile": {"workloadIdentity": {"enabled": False}}}, "OIDC issuer"),
        ({"securityProfile": {"workloadIdentity": {"enabled": False}}}, "workload identity"),
    ],
    ids=["oidc-issuer-off", "workload-identity-off"],
)
def test_a_feature_of_the_cluster_is_off(fleet: Start, feature: dict[str, Any], words: str) -> None:
    current = fleet("00")
    p, azure = current.session.parameters, current.session.azure
    groups.ensure(azure, p.controlplane_group, p.location).apply()
    body = managed_clusters.desired(p.controlplane_cluster, p.location, "", p.controlplane_vm_size, 1)
    body["properties"] |= feature
    managed_clusters.ensure(azure, p.controlplane_group, p.controlplane_cluster, body, 60).apply()
    fails(current.stage("01").verify, words, "01_create_control_plane")
    plan = current.stage("01").plan()
    assert plan, "the stage's plan must turn it on again"
    current.run("01")


@pytest.mark.parametrize(
    ("issuer", "subject", "audience", "code"),
    [
        ("https://127.0.0.1:1/oidc/other/", SUBJECT, identities.AUDIENCE, "AADSTS700211"),
        (None, "system:serviceaccount:default:default", identities.AUDIENCE, "AADSTS700213"),
        (None, SUBJECT, "api://somebody-else", "AADSTS700212"),
    ],
    ids=["issuer", "subject", "audience"],
)
def test_the_federated_credential_is_wrong(fleet: Start, issuer: str | None, subject: str, audience: str, code: str) -> None:
    from azure.mgmt.msi.models import FederatedIdentityCredential

    current = fleet("03")
    p, azure = current.session.parameters, current.session.azure
    right = managed_clusters.issuer(current.stage("02").cluster())
    body = FederatedIdentityCredential(issuer=issuer or right, subject=subject, audiences=[audience])
    azure.identities.federated_identity_credentials.create_or_update(
        p.controlplane_group, p.aso_identity, p.aso_federated_credential, body
    )
    restart_aso(current)
    fails(run(current, "04"), code, "02_create_aso_identity")
    status, _, message = condition(current.session.hub.get(*RESOURCE_GROUP, p.fleet_group, p.cluster_namespace))
    assert status == "False"
    assert code in message
    fails(current.stage("02").verify, "the cluster's tokens say")
    current.run("02")
    current.run("04")


def restart_aso(fleet: Any) -> None:
    """Restart ASO, so that it requests new tokens."""
    hub = fleet.session.hub
    for pod in hub.list("v1", "Pod", "azureserviceoperator-system"):
        hub.delete("v1", "Pod", pod["metadata"]["name"], "azureserviceoperator-system")


@pytest.mark.parametrize("scope", ["missing", "on the wrong group"])
def test_the_role_on_the_fleets_group_is(fleet: Start, scope: str) -> None:
    current = fleet("03")
    p, azure = current.session.parameters, current.session.azure
    stage = current.stage("04")
    stage.apply("group")
    if scope == "on the wrong group":
        groups.ensure(azure, "another-rg", p.location).apply()
        roles.ensure(azure, azure.group_id("another-rg"), stage._principal(), ROLE).apply()
    stage.apply("kustomization")
    fails(stage.wait, "AuthorizationFailed", "does not have authorization to perform action", "04_prepare_fleet")
    fails(stage.verify, "AuthorizationFailed")


@pytest.mark.parametrize("where", ["missing", "in the wrong namespace", "malformed"])
def test_the_secret_is(fleet: Start, where: str) -> None:
    current = fleet("02")
    p, hub = current.session.parameters, current.session.hub
    found = hub.get("v1", "Secret", p.aso_secret, p.flux_namespace)
    hub.delete("v1", "Secret", p.aso_secret, p.flux_namespace)
    if where == "in the wrong namespace":
        values = base64.b64decode(found["data"]["values.yaml"]).decode()
        hub.apply(secret(p.aso_secret, "default", {"values.yaml": values}))
    if where == "malformed":
        hub.apply(secret(p.aso_secret, p.flux_namespace, {"values.yaml": "azureClientID: [unclosed"}))
    fails(current.stage("03").preflight, "Secret", "02_create_aso_identity")
    fails(run(current, "03"), "02_create_aso_identity")
    _, reason, message = condition(hub.get(*HELM_RELEASE, "aso2", p.flux_namespace))
    assert reason in ("ValuesError", "ArtifactFailed", "DependencyNotReady"), (reason, message)
    assert p.aso_secret in message or "YAML" in message or "yaml" in message


# --- the control plane's own releases ---------------------------------------------------------------------------------------


def test_cert_manager_is_missing(fleet: Start) -> None:
    current = fleet("02")
    commit(
        current, edited(current, "flux/controlplane/kustomization.yaml", "  - cert-manager.yaml\n", ""), "without cert-manager"
    )
    fails(run(current, "03"), "cert-manager")
    _, reason, message = condition(current.session.hub.get(*HELM_RELEASE, "aso2", current.session.parameters.flux_namespace))
    assert reason == "DependencyNotReady"
    assert "cert-manager" in message


def test_crd_pattern_lacks_a_group(fleet: Start) -> None:
    current = fleet("02")
    files = edited(current, "flux/controlplane/aso.yaml", ";kubernetesconfiguration.azure.com/*", "")
    commit(current, files, "without kubernetesconfiguration")
    fails(run(current, "03"), "ASO manages FluxConfiguration", "add kubernetesconfiguration.azure.com/\\* to crdPattern")


def test_the_branch_does_not_exist(fleet: Start) -> None:
    current = fleet("02").again(fleet_branch="no-such-branch")
    fails(run(current, "03"), "no such branch|no-such-branch", "couldn't find remote ref|reference not found")


# --- the fleet -----------------------------------------------------------------------------------------------------------


def test_the_fleets_group_is_missing_in_azure(fleet: Start) -> None:
    current = fleet("03")
    current.stage("04").apply("kustomization")
    fails(current.stage("04").wait, "does not exist in Azure|AuthorizationFailed|could not be found", "04_prepare_fleet")


def test_the_resource_group_object_is_missing(fleet: Start) -> None:
    current = fleet("05")
    p, hub = current.session.parameters, current.session.hub
    commit(current, edited(current, "flux/clusters/kustomization.yaml", "  - group.yaml\n", ""), "without the group")
    hub.delete(*RESOURCE_GROUP, p.fleet_group, p.cluster_namespace)
    stage = current.stage("06")
    stage.apply_all()
    fails(stage.verify, "podinfo-staging")
    follow_commit(current.session, current.session.repository.head(), ["clusters"])
    await_ready(
        current.session,
        hub,
        MANAGED_CLUSTER,
        p.cluster_namespace,
        ["podinfo-staging-0-aks"],
        "waits",
        lambda obj: condition(obj)[1] == "WaitingForOwner",
    )
    fails(stage.verify, "WaitingForOwner", "group.yaml|04_prepare_fleet|flux/clusters")


def test_the_chart_is_not_published(fleet: Start) -> None:
    current = fleet("04")
    fails(current.stage("06").preflight, "registry has the chart|chart", "05_publish_cluster_chart")
    hub, p = current.session.hub, current.session.parameters
    await_ready(
        current.session,
        hub,
        OCI_REPOSITORY,
        p.flux_namespace,
        ["aso-cluster-charts"],
        "fails",
        lambda obj: condition(obj)[0] == "False",
    )
    _, reason, message = condition(hub.get(*OCI_REPOSITORY, "aso-cluster-charts", p.flux_namespace))
    assert reason == "OCIArtifactPullFailed"
    assert re.search("MANIFEST_UNKNOWN|NAME_UNKNOWN", message)


def test_the_tag_is_wrong(fleet: Start) -> None:
    current = fleet("04")
    commit(current, edited(current, "flux/clusters/charts.yaml", "tag: 0.1.0", "tag: 9.9.9"), "a tag that was not pushed")
    stage = current.stage("05")
    stage.apply_all()
    follow_commit(current.session, current.session.repository.head(), ["clusters"])
    fails(stage.wait, "MANIFEST_UNKNOWN|manifest unknown", "05_publish_cluster_chart")


def test_the_layer_has_another_media_type(fleet: Start) -> None:
    current = fleet("04")
    files = edited(current, "flux/clusters/charts.yaml", "helm.chart.content.v1.tar+gzip", "something.else.v1.tar+gzip")
    commit(current, files, "a media type no layer has")
    stage = current.stage("05")
    stage.apply_all()
    follow_commit(current.session, current.session.repository.head(), ["clusters"])
    fails(stage.wait, "failed to find layer with media type", "05_publish_cluster_chart")


def _chart_without(current: Any, kind: str) -> dict[str, str | None]:
    """Return the files of chart version 0.1.1 without the template of a kind."""
    current.session.repository.sync()
    path = "charts/podinfocluster/templates/clusters.yaml"
    parts = re.split(r"(?m)^---\n", current.session.repository.read(path))
    kept = [part for part in parts if f"\nkind: {kind}\n" not in part]
    assert len(kept) == len(parts) - 1
    chart = set_value(current.session.repository.read("charts/podinfocluster/Chart.yaml"), ("version",), "0.1.1")
    tag = edited(current, "flux/clusters/charts.yaml", "tag: 0.1.0", "tag: 0.1.1")
    return {path: "---\n".join(kept), "charts/podinfocluster/Chart.yaml": chart, **tag}


def test_the_extension_is_missing(fleet: Start) -> None:
    current = fleet("05")
    commit(current, _chart_without(current, "Extension"), "no extension")
    follow_commit(current.session, current.session.repository.head(), ["clusters"])
    stage = current.stage("05")
    stage.apply_all()
    stage.wait()
    deploy = current.stage("06")
    deploy.apply_all()
    text = fails(deploy.wait, "microsoft.flux")
    assert "05_publish_cluster_chart" in text or "Extension" in text


def test_two_configurations_with_one_name_collide(fleet: Start) -> None:
    current = fleet("06")
    hub, p = current.session.hub, current.session.parameters
    first = hub.list(*FLUX_CONFIGURATION, p.cluster_namespace)[0]
    second = {
        "apiVersion": FLUX_CONFIGURATION[0],
        "kind": "FluxConfiguration",
        "metadata": {"name": "the-same-in-azure", "namespace": p.cluster_namespace},
        "spec": {**first["spec"], "gitRepository": {**first["spec"]["gitRepository"], "repositoryRef": {"branch": "other"}}},
    }
    hub.apply(second)
    await_ready(current.session, hub, FLUX_CONFIGURATION, p.cluster_namespace, ["the-same-in-azure"], "applied")
    cluster = first["spec"]["owner"]["name"]
    stored = flux.list_of(current.session.azure, p.fleet_group, cluster)
    assert [item["name"] for item in stored] == [first["spec"].get("azureName", first["metadata"]["name"])]
    assert stored[0]["properties"]["gitRepository"]["repositoryRef"]["branch"] == "other"


def test_the_kustomization_path_does_not_exist(fleet: Start) -> None:
    current = fleet("05")
    commit(
        current,
        edited(current, "flux/clusters/podinfostaging.yaml", "./apps/staging", "./apps/nowhere"),
        "a path that is not there",
    )
    fails(run(current, "06"), "kustomization path not found", "kustomizationPath")


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"cluster_vm_size": "Standard_D96as_v99"}, "VM size|SkuNotAvailable"),
        ({"kubernetes_version": "1.19"}, "K8sVersionNotSupported"),
    ],
    ids=["vm-size", "version"],
)
def test_the_region_lacks(fleet: Start, parameters: dict[str, Any], code: str) -> None:
    current = fleet("05").again(**parameters)
    fails(current.stage("00").verify, "available|offered")
    fails(run(current, "06"), code, "00_check_prerequisites")
    _, reason, message = condition(
        current.session.hub.get(*MANAGED_CLUSTER, "podinfo-staging-0-aks", current.session.parameters.cluster_namespace)
    )
    assert re.search(code, f"{reason}: {message}")


def test_the_quota_is_too_small(fleet: Start) -> None:
    current = fleet("05")
    arm = {"name": "vcpu-quota", "times": -1}
    lifecycle.ask(current.home / "sandbox", "POST", "/sandbox/faults", arm)
    fails(run(current, "06"), "[Qq]uota", "00_check_prerequisites")


def test_a_property_that_the_kind_does_not_have(fleet: Start) -> None:
    current = fleet("05")
    files = edited(
        current, "charts/podinfocluster/templates/clusters.yaml", "      osSKU: AzureLinux\n", "      osSku: AzureLinux\n"
    )
    chart = set_value(current.session.repository.read("charts/podinfocluster/Chart.yaml"), ("version",), "0.1.1")
    files |= {
        "charts/podinfocluster/Chart.yaml": chart,
        **edited(current, "flux/clusters/charts.yaml", "tag: 0.1.0", "tag: 0.1.1"),
    }
    commit(current, files, "a typo")
    follow_commit(current.session, current.session.repository.head(), ["clusters"])
    stage = current.stage("05")
    stage.apply_all()
    stage.wait()
    fails(run(current, "06"), "field not declared in schema", "osSku")


def test_unknown_kinds_are_named(fleet: Start) -> None:
    current = fleet("04")
    text = yaml.safe_dump(
        {"apiVersion": "nosuch.azure.com/v1", "kind": "Unicorn", "metadata": {"name": "x", "namespace": "clusters"}}
    )
    files = {
        "flux/clusters/unicorn.yaml": text,
        **edited(current, "flux/clusters/kustomization.yaml", "  - group.yaml\n", "  - group.yaml\n  - unicorn.yaml\n"),
    }
    sha = commit(current, files, "a kind that does not exist")
    fails(lambda: follow_commit(current.session, sha, ["clusters"]), "no matches for kind|Unicorn")
    _, _, message = condition(current.session.hub.get(*KUSTOMIZATION, "cluster-config-clusters", "cluster-config"))
    assert 'no matches for kind "Unicorn" in version "nosuch.azure.com/v1"' in message


def test_an_extension_without_its_cluster_reports_that_it_waits(fleet: Start) -> None:
    current = fleet("06")
    hub, p = current.session.hub, current.session.parameters
    orphan = {
        "apiVersion": EXTENSION[0],
        "kind": "Extension",
        "metadata": {"name": "orphan", "namespace": p.cluster_namespace},
        "spec": {
            "owner": {"group": "containerservice.azure.com", "kind": "ManagedCluster", "name": "nobody"},
            "extensionType": "microsoft.flux",
        },
    }
    hub.apply(orphan)
    await_ready(
        current.session,
        hub,
        EXTENSION,
        p.cluster_namespace,
        ["orphan"],
        "waits",
        lambda obj: condition(obj)[1] == "WaitingForOwner",
    )


def test_a_lock_in_azure_keeps_the_cluster_and_its_object(fleet: Start) -> None:
    """The fix is to remove the lock, not the finalizer; ASO then deletes both."""
    current = fleet("06")
    hub, p = current.session.hub, current.session.parameters
    state, name = current.home / "sandbox", "podinfo-prod-0-aks"
    lock = {"name": "finalizer-stuck", "target": f"*/managedClusters/{name}", "times": -1}
    lifecycle.ask(state, "POST", "/sandbox/faults", lock)
    stage = TearDown(current.session)
    fails(
        lambda: stage.apply("clusters"),
        "a lock in Azure",
        "ScopeLocked",
        "following scope\\(s\\) are locked",
        "az lock delete",
        "99_tear_down",
    )
    stuck = hub.get(*MANAGED_CLUSTER, name, p.cluster_namespace)
    assert stuck["metadata"]["deletionTimestamp"] and stuck["metadata"]["finalizers"]
    assert managed_clusters.get(current.session.azure, p.fleet_group, name) is not None
    lifecycle.ask(state, "DELETE", "/sandbox/faults", {"name": "finalizer-stuck"})
    await_gone(current.session, hub, MANAGED_CLUSTER, p.cluster_namespace, [name], "the object goes")
    assert managed_clusters.get(current.session.azure, p.fleet_group, name) is None
