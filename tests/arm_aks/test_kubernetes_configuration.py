"""Extensions and flux configurations of a cluster through the unmodified SDKs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.mgmt.kubernetesconfiguration.fluxconfigurations import KubernetesConfigurationFluxConfigurationsMgmtClient

from azuresandbox import fabric
from tests.arm_aks.azure_world import GROUP, Azure, cluster_body

AT = (GROUP, "Microsoft.ContainerService", "managedClusters", "aks")
COMMIT = "main@sha1:4f1bdad4d0a54b939a5e3d52c51464f67e474fcf"


def cluster(azure: Azure) -> None:
    azure.clusters.begin_create_or_update(GROUP, "aks", cluster_body()).result()


def install(azure: Azure, **properties: Any) -> Any:
    body = {"properties": {"extensionType": "microsoft.flux", **properties}}
    return azure.extensions.begin_create(*AT, "flux", body).result()


def configuration(**properties: Any) -> dict[str, Any]:
    kustomizations = {
        "infra": {"path": "./infrastructure", "prune": True, "wait": True},
        "apps": {"path": "./apps/staging", "dependsOn": ["infra"], "prune": True},
    }
    return {
        "properties": {
            "namespace": "cluster-config",
            "sourceKind": "GitRepository",
            "kustomizations": kustomizations,
            "gitRepository": {"url": "https://example.org/fleet.git", "repositoryRef": {"branch": "main"}},
            **properties,
        }
    }


def write(azure: Azure, name: str = "cluster-config", **properties: Any) -> Any:
    return azure.flux.begin_create_or_update(*AT, name, configuration(**properties)).result()


def refused(azure: Azure, name: str = "cluster-config", **properties: Any) -> HttpResponseError:
    with pytest.raises(HttpResponseError) as caught:
        write(azure, name, **properties)
    return caught.value


def test_flux_is_installed_in_the_cluster(azure: Azure) -> None:
    cluster(azure)
    extension = install(azure, configurationSettings={"helm-controller.enabled": "true"}).properties
    assert (extension.provisioning_state, extension.current_version, extension.release_train) == (
        "Succeeded",
        "1.19.5",
        "Stable",
    )
    assert extension.scope.cluster.release_namespace == "flux-system" and extension.auto_upgrade_minor_version
    goal = azure.plane.last("extension")
    assert (goal.extension_type, goal.version, goal.settings) == (
        "microsoft.flux",
        "1.19.5",
        {"helm-controller.enabled": "true"},
    )
    assert [one.name for one in azure.extensions.list(*AT)] == ["flux"]
    azure.extensions.begin_delete(*AT, "flux").result()
    with pytest.raises(ResourceNotFoundError):
        azure.extensions.get(*AT, "flux")
    assert not fabric.goals(azure.sandbox.store, "extension")


def test_a_pinned_extension(azure: Azure) -> None:
    cluster(azure)
    assert install(azure, autoUpgradeMinorVersion=False, version="1.18.2").properties.current_version == "1.18.2"
    updated = azure.extensions.begin_update(*AT, "flux", {"properties": {"version": "1.19.5"}}).result().properties
    assert (updated.version, updated.current_version, azure.plane.last("extension").version) == ("1.19.5", "1.19.5", "1.19.5")


@pytest.mark.parametrize(
    ("properties", "code", "words"),
    [
        ({"extensionType": "microsoft.dapr"}, "NotImplemented", "the extension type microsoft.dapr"),
        ({"extensionType": "microsoft.fluxx"}, "ExtensionTypeNotFound", "microsoft.fluxx"),
        ({"autoUpgradeMinorVersion": False, "version": "0.1"}, "ExtensionVersionNotFound", "Available versions"),
        ({"scope": {"namespace": {"targetNamespace": "x"}}}, "ExtensionOperationFailed", "scope 'cluster'"),
    ],
)
def test_extensions_that_are_refused(azure: Azure, properties: dict[str, Any], code: str, words: str) -> None:
    cluster(azure)
    with pytest.raises(HttpResponseError) as caught:
        install(azure, **properties)
    assert (caught.value.error.code, words in str(caught.value)) == (code, True), str(caught.value)


def test_a_failed_installation_shows_helms_message_and_can_be_repeated(azure: Azure) -> None:
    cluster(azure)
    azure.sandbox.faults.arm("extension-failed")
    with pytest.raises(HttpResponseError, match="release flux failed, and has been uninstalled due to atomic being set"):
        install(azure)
    failed = azure.extensions.get(*AT, "flux").properties
    assert (failed.provisioning_state, failed.error_info.code) == ("Failed", "ExtensionOperationFailed")
    azure.plane.failing["extension"] = "Deployment is not ready: flux-system/fluxconfig-agent"
    with pytest.raises(HttpResponseError, match="flux-system/fluxconfig-agent"):
        install(azure)
    azure.plane.failing.clear()
    assert install(azure).properties.error_info is None


def test_extensions_need_a_running_cluster(azure: Azure) -> None:
    with pytest.raises(ResourceNotFoundError, match="managedClusters/aks"):
        install(azure)
    cluster(azure)
    azure.clusters.begin_stop(GROUP, "aks").result()
    with pytest.raises(HttpResponseError, match="stopped"):
        install(azure)
    azure.clusters.begin_start(GROUP, "aks").result()
    azure.plane.silent.add("cluster")
    azure.raw("PUT", azure.cluster_id("young") + "?api-version=2025-08-01", json.dumps(cluster_body()).encode())
    with pytest.raises(HttpResponseError) as caught:
        azure.extensions.begin_create(*AT[:3], "young", "flux", {"properties": {"extensionType": "microsoft.flux"}})
    assert caught.value.status_code == 409


def test_a_configuration_shows_its_defaults_and_the_agents_report(azure: Azure) -> None:
    cluster(azure)
    install(azure)
    azure.plane.details = {
        "complianceState": "Compliant",
        "sourceSyncedCommitId": COMMIT,
        "statuses": [
            {
                "kind": "GitRepository",
                "name": "cluster-config",
                "namespace": "cluster-config",
                "complianceState": "Compliant",
                "statusConditions": [{"type": "Ready", "status": "True", "reason": "Succeeded", "message": "stored artifact"}],
            }
        ],
    }
    found = write(azure).properties
    assert (found.provisioning_state, found.compliance_state, found.source_synced_commit_id) == (
        "Succeeded",
        "Compliant",
        COMMIT,
    )
    assert (found.scope, found.git_repository.sync_interval_in_seconds, found.suspend) == ("cluster", 600, False)
    apps = found.kustomizations["apps"]
    assert (apps.name, apps.depends_on, apps.wait, apps.timeout_in_seconds) == ("apps", ["infra"], True, 600)
    assert found.statuses[0].status_conditions[0].reason == "Succeeded"
    goal = azure.plane.last("flux")
    assert goal.properties["kustomizations"]["infra"]["path"] == "./infrastructure" and "statuses" not in goal.properties


def test_compliance_follows_the_agent_after_the_operation(azure: Azure) -> None:
    cluster(azure)
    install(azure)
    azure.plane.failing["flux"] = "kustomization path not found: ./apps/nowhere"
    found = write(azure).properties
    assert (found.provisioning_state, found.compliance_state) == ("Succeeded", "Non-Compliant")
    assert found.error_message == "kustomization path not found: ./apps/nowhere"
    azure.plane.failing.clear()
    azure.plane.report(azure.plane.last("flux"))
    assert azure.flux.get(*AT, "cluster-config").properties.compliance_state == "Compliant"


def test_with_wait_for_reconciliation_a_failure_fails_the_operation(azure: Azure) -> None:
    cluster(azure)
    install(azure)
    azure.plane.failing["flux"] = "kustomization path not found"
    assert "kustomization path not found" in str(refused(azure, waitForReconciliation=True))
    assert azure.flux.get(*AT, "cluster-config").properties.provisioning_state == "Failed"


def test_without_the_extension_a_configuration_fails_and_says_why(azure: Azure) -> None:
    cluster(azure)
    error = refused(azure)
    assert "the extension 'microsoft.flux' is not installed in the cluster" in str(error)
    assert azure.flux.get(*AT, "cluster-config").properties.provisioning_state == "Failed"
    assert not [goal for goal in azure.plane.goals if goal.KIND == "flux"]
    install(azure)
    assert write(azure).properties.provisioning_state == "Succeeded"


def test_a_configuration_written_while_flux_is_being_installed_waits_for_it(azure: Azure) -> None:
    cluster(azure)
    azure.plane.silent.add("extension")
    azure.extensions.begin_create(*AT, "flux", {"properties": {"extensionType": "microsoft.flux"}}, polling=False)
    azure.flux.begin_create_or_update(*AT, "cluster-config", configuration(), polling=False)
    azure.advance(300)
    assert azure.flux.get(*AT, "cluster-config").properties.provisioning_state == "Creating"
    azure.plane.report(azure.plane.last("extension"))
    azure.advance(120)
    assert azure.flux.get(*AT, "cluster-config").properties.provisioning_state == "Succeeded"


def test_a_kustomization_is_added_by_patch_and_removed_by_null(azure: Azure) -> None:
    cluster(azure)
    install(azure)
    write(azure)
    patch = {
        "properties": {"kustomizations": {"clusters": {"path": "./flux/clusters", "prune": True, "syncIntervalInSeconds": 60}}}
    }
    azure.flux.begin_update(*AT, "cluster-config", patch).result()
    goal = azure.plane.last("flux")
    assert sorted(goal.properties["kustomizations"]) == ["apps", "clusters", "infra"]
    assert goal.properties["kustomizations"]["clusters"]["syncIntervalInSeconds"] == 60
    azure.flux.begin_update(*AT, "cluster-config", {"properties": {"kustomizations": {"clusters": None}}}).result()
    assert sorted(azure.plane.last("flux").properties["kustomizations"]) == ["apps", "infra"]


def test_one_name_is_one_configuration(azure: Azure) -> None:
    cluster(azure)
    install(azure)
    write(azure)
    write(azure, suspend=True)
    assert [one.name for one in azure.flux.list(*AT)] == ["cluster-config"]
    assert azure.plane.last("flux").properties["suspend"] is True


CONFIGURATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "no source": ({"gitRepository": None}, "Invalid source kind match. Config with specified source kind 'GitRepository'"),
    "no kustomization": ({"kustomizations": {}}, "At least one kustomization"),
    "unknown dependency": ({"kustomizations": {"apps": {"dependsOn": ["infra"]}}}, "depends on 'infra', which does not exist"),
    "circle": ({"kustomizations": {"a": {"dependsOn": ["b"]}, "b": {"dependsOn": ["a"]}}}, "Circular dependency: a -> b -> a"),
    "namespace": ({"namespace": "Not_A_Namespace"}, "Invalid namespace"),
    "url": ({"gitRepository": {"url": "ftp://x", "repositoryRef": {"branch": "main"}}}, "Invalid url"),
    "no reference": ({"gitRepository": {"url": "https://x/y", "repositoryRef": {}}}, "Invalid repositoryRef"),
    "bucket": ({"sourceKind": "Bucket", "bucket": {"url": "https://x", "bucketName": "y"}}, "whose source is a Bucket"),
}


@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_configurations_that_are_refused(azure: Azure, case: str) -> None:
    cluster(azure)
    install(azure)
    properties, words = CONFIGURATIONS[case]
    error = refused(azure, **properties)
    assert (error.status_code in (400, 501), words in str(error)) == (True, True), str(error)


def test_two_configurations_must_not_make_the_same_kustomization(azure: Azure) -> None:
    cluster(azure)
    install(azure)
    write(azure, "fleet", kustomizations={"eu-apps": {"path": "./a"}})
    error = refused(azure, "fleet-eu", kustomizations={"apps": {"path": "./b"}})
    assert (
        "The kustomization 'fleet-eu-apps' in namespace 'cluster-config' belongs to the configuration 'fleet' already"
        in str(error)
    )
    assert "cannot be changed" in str(refused(azure, "fleet", namespace="elsewhere"))


def test_protected_settings_reach_only_the_agent(azure: Azure) -> None:
    cluster(azure)
    install(azure)
    found = write(azure, configurationProtectedSettings={"httpsKey": "c2VjcmV0"})
    assert found.properties.configuration_protected_settings == {"httpsKey": ""}
    assert azure.plane.last("flux").secrets == {"httpsKey": "c2VjcmV0"}
    azure.flux.begin_update(*AT, "cluster-config", {"properties": {"suspend": True}}).result()
    assert azure.plane.last("flux").secrets == {"httpsKey": "c2VjcmV0"}
    assert (
        "c2VjcmV0"
        not in azure.raw(
            "GET",
            f"{azure.cluster_id('aks')}/providers/Microsoft.KubernetesConfiguration/fluxConfigurations/cluster-config?api-version=2025-04-01",
        ).text
    )


def test_deleting_waits_for_the_agent_and_a_deleted_cluster_drops_all(azure: Azure) -> None:
    cluster(azure)
    install(azure)
    write(azure)
    azure.flux.begin_delete(*AT, "cluster-config").result()
    assert azure.plane.last("flux").deleted and not fabric.goals(azure.sandbox.store, "flux")
    write(azure)
    azure.clusters.begin_delete(GROUP, "aks").result()
    assert not fabric.goals(azure.sandbox.store, "flux") and not fabric.goals(azure.sandbox.store, "extension")
    with pytest.raises(ResourceNotFoundError):
        azure.flux.get(*AT, "cluster-config")


def test_an_agent_that_does_not_answer_ends_the_operation_and_force_deletes(azure: Azure) -> None:
    cluster(azure)
    install(azure)
    azure.plane.silent.add("flux")
    assert "Timed out waiting for the agent" in str(refused(azure))
    with pytest.raises(HttpResponseError, match="Timed out waiting for the cluster to remove"):
        azure.flux.begin_delete(*AT, "cluster-config").result()
    azure.flux.begin_delete(*AT, "cluster-config", force_delete=True).result()
    with pytest.raises(ResourceNotFoundError):
        azure.flux.get(*AT, "cluster-config")


def test_an_extension_is_deleted_after_its_configuration(azure: Azure) -> None:
    cluster(azure)
    install(azure)
    write(azure)
    azure.plane.silent.add("flux")
    azure.flux.begin_delete(*AT, "cluster-config", polling=False)
    azure.extensions.begin_delete(*AT, "flux", polling=False)
    azure.advance(300)
    assert azure.extensions.get(*AT, "flux").properties.provisioning_state == "Deleting"
    assert not any(goal.KIND == "extension" and goal.deleted for goal in azure.plane.goals)
    azure.plane.report(azure.plane.last("flux"))
    azure.advance(120)
    with pytest.raises(ResourceNotFoundError):
        azure.extensions.get(*AT, "flux")


def test_a_configuration_without_an_agent_is_deleted_at_once(azure: Azure) -> None:
    cluster(azure)
    install(azure)
    write(azure)
    azure.extensions.begin_delete(*AT, "flux").result()
    azure.plane.silent.add("flux")
    azure.flux.begin_delete(*AT, "cluster-config").result()
    assert not fabric.goals(azure.sandbox.store, "flux")


def test_the_state_of_an_operation_is_read_below_its_resource(azure: Azure) -> None:
    cluster(azure)
    install(azure)
    path = f"{azure.cluster_id('aks')}/providers/Microsoft.KubernetesConfiguration/fluxConfigurations/cluster-config"
    answer = azure.raw("PUT", f"{path}?api-version=2025-04-01", json.dumps(configuration()).encode())
    operation = answer.headers["azure-asyncoperation"].partition("?")[0].rpartition("/")[2]
    azure.advance(120)
    status = azure.client(KubernetesConfigurationFluxConfigurationsMgmtClient).flux_config_operation_status
    assert status.get(*AT, "cluster-config", operation).status == "Succeeded"
    with pytest.raises(ResourceNotFoundError):
        status.get(*AT, "cluster-config", "00000000-0000-0000-0000-000000000000")
