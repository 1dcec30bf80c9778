"""AKS clusters through the unmodified SDK: creation to deletion, defaults, refusals."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import yaml
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from azuresandbox import directory, fabric
from azuresandbox.arm import records
from tests.arm_aks.azure_world import BASE, GROUP, Azure, cluster_body

NAME = "podinfo-prod-0-aks"


def create(azure: Azure, name: str = NAME, **properties: Any) -> dict[str, Any]:
    found: dict[str, Any] = azure.clusters.begin_create_or_update(GROUP, name, cluster_body(**properties)).result().as_dict()
    return found


def refusal(azure: Azure, body: dict[str, Any], name: str = NAME) -> HttpResponseError:
    with pytest.raises(HttpResponseError) as caught:
        azure.clusters.begin_create_or_update(GROUP, name, body).result()
    return caught.value


def test_a_created_cluster_becomes_a_goal_and_succeeds(azure: Azure) -> None:
    cluster = create(azure)
    properties = cluster["properties"]
    assert (properties["provisioningState"], cluster["location"]) == ("Succeeded", "eastus2")
    assert properties["currentKubernetesVersion"] == "1.35.8"
    assert properties["nodeResourceGroup"] == f"MC_{GROUP}_{NAME}_eastus2"
    assert properties["identityProfile"]["kubeletidentity"]["resourceId"].endswith(f"/userAssignedIdentities/{NAME}-agentpool")
    (pool,) = properties["agentPoolProfiles"]
    assert (pool["provisioningState"], pool["count"], pool["vmSize"]) == ("Succeeded", 1, "standard_d2as_v6")
    goal = azure.plane.last("cluster")
    assert goal.pools[0]["vm_size"] == "Standard_D2as_v6" and goal.version == "1.35.8"
    assert goal.oidc_issuer == properties["oidcIssuerProfile"]["issuerURL"]


def test_a_put_answers_creating_with_an_operation_to_poll(azure: Azure) -> None:
    azure.plane.silent.add("cluster")
    answer = azure.raw("PUT", azure.cluster_id(NAME) + "?api-version=2024-09-01", json.dumps(cluster_body()).encode())
    assert (answer.status, answer.json()["properties"]["provisioningState"]) == (201, "Creating")
    assert answer.json()["properties"]["agentPoolProfiles"][0]["provisioningState"] == "Creating"
    operation = answer.headers["azure-asyncoperation"].removeprefix(BASE)
    assert azure.raw("GET", operation).json()["status"] == "InProgress"
    azure.advance(240 + 60)
    assert azure.raw("GET", operation).json()["status"] == "InProgress"  # the data plane has not reported yet
    azure.plane.report(azure.plane.last("cluster"))
    azure.advance(1)
    assert azure.raw("GET", operation).json()["status"] == "Succeeded"


def test_the_cluster_has_an_identity_in_the_directory_and_a_group_for_its_nodes(azure: Azure) -> None:
    cluster = create(azure)
    principal = directory.by_object_id(azure.sandbox.store, cluster["identity"]["principalId"])
    assert principal is not None and principal.resource_id.endswith(NAME)
    group = records.get(
        azure.sandbox.store,
        f"{azure.cluster_id(NAME).partition('/resourceGroups')[0]}/resourceGroups/MC_{GROUP}_{NAME}_eastus2",
    )
    assert group is not None and group.document["managedBy"] == azure.cluster_id(NAME)


def test_deleting_removes_goals_group_pools_and_identities(azure: Azure) -> None:
    cluster = create(azure)
    azure.clusters.begin_delete(GROUP, NAME).result()
    with pytest.raises(ResourceNotFoundError):
        azure.clusters.get(GROUP, NAME)
    assert not fabric.goals(azure.sandbox.store, "cluster")
    assert directory.by_object_id(azure.sandbox.store, cluster["identity"]["principalId"]) is None
    assert "mc_" not in " ".join(record.key for record in azure.sandbox.store.list("arm", "/subscriptions").records)
    assert any(goal.deleted for goal in azure.plane.goals)


def test_a_failed_cluster_is_fixed_by_a_second_put(azure: Azure) -> None:
    azure.plane.failing["cluster"] = "the API server did not start"
    error = refusal(azure, cluster_body())
    assert "the API server did not start" in str(error)
    failed = azure.clusters.get(GROUP, NAME).properties
    assert (failed.provisioning_state, failed.agent_pool_profiles[0].provisioning_state) == ("Failed", "Failed")
    azure.plane.failing.clear()
    assert create(azure)["properties"]["provisioningState"] == "Succeeded"


def test_kubeconfigs_are_named_as_aks_names_them(azure: Azure) -> None:
    uid = create(azure)["properties"]["resourceUID"]
    for call, suffix, user in (
        (azure.clusters.list_cluster_admin_credentials, "-admin", "clusterAdmin"),
        (azure.clusters.list_cluster_user_credentials, "", "clusterUser"),
    ):
        (result,) = call(GROUP, NAME).kubeconfigs
        config = yaml.safe_load(bytes(result.value))
        assert result.name == user and config["current-context"] == NAME + suffix
        assert config["clusters"][0]["cluster"]["server"] == f"{BASE}/clusters/{uid}"
        assert config["users"][0]["name"] == f"{user}_{GROUP}_{NAME}"
        role = "admin" if suffix else "user"
        assert base64.b64decode(config["users"][0]["user"]["client-certificate-data"]).decode() == f"CERT {role}"


def test_without_local_accounts_there_are_no_kubeconfigs(azure: Azure) -> None:
    create(azure, disableLocalAccounts=True)
    with pytest.raises(HttpResponseError, match="set to disable local accounts"):
        azure.clusters.list_cluster_admin_credentials(GROUP, NAME)


def test_stopping_frees_the_nodes_and_starting_brings_them_back(azure: Azure) -> None:
    create(azure)
    azure.clusters.begin_stop(GROUP, NAME).result()
    stopped = azure.clusters.get(GROUP, NAME).properties
    assert (stopped.power_state.code, stopped.agent_pool_profiles[0].power_state.code) == ("Stopped", "Stopped")
    assert azure.plane.last("cluster").power == "Stopped"
    assert "Power State(Stopped), updating cannot be performed" in str(refusal(azure, cluster_body()))
    azure.clusters.begin_start(GROUP, NAME).result()
    assert azure.clusters.get(GROUP, NAME).properties.power_state.code == "Running"


def test_a_busy_cluster_answers_with_aks_sentence(azure: Azure) -> None:
    azure.plane.silent.add("cluster")
    azure.raw("PUT", azure.cluster_id(NAME) + "?api-version=2025-08-01", json.dumps(cluster_body()).encode())
    error = refusal(azure, cluster_body())
    assert (error.status_code, error.error.code) == (409, "OperationNotAllowed")
    assert "Another operation (Creating) is in progress, please wait for it to finish" in str(error)


def test_a_put_keeps_properties_that_it_does_not_name(azure: Azure) -> None:
    before = create(azure)["properties"]
    after = create(azure)["properties"]
    same = ("resourceUID", "fqdn", "networkProfile", "identityProfile", "oidcIssuerProfile", "nodeResourceGroup")
    assert {key: after[key] for key in same} == {key: before[key] for key in same}
    assert len(directory.principals(azure.sandbox.store)) == 2  # the cluster's and the kubelet's, the same as before


def test_the_document_of_a_get_can_be_put_back(azure: Azure) -> None:
    document = create(azure)
    again = azure.clusters.begin_create_or_update(GROUP, NAME, document).result().as_dict()
    assert again["properties"]["provisioningState"] == "Succeeded"


def test_tags_are_patched(azure: Azure) -> None:
    create(azure)
    tagged = azure.clusters.begin_update_tags(GROUP, NAME, {"tags": {"ring": "1"}}).result()
    assert tagged.tags == {"ring": "1"} and tagged.properties.agent_pool_profiles[0].name == "system"


def test_lists_by_group_and_subscription_show_pools(azure: Azure) -> None:
    create(azure)
    create(azure, "podinfo-prod-1-aks", dnsPrefix="podinfo-prod-1")
    for found in (azure.clusters.list_by_resource_group(GROUP), azure.clusters.list()):
        assert [(one.name, len(one.properties.agent_pool_profiles)) for one in found] == [
            ("podinfo-prod-0-aks", 1),
            ("podinfo-prod-1-aks", 1),
        ]


def test_the_issuer_is_on_by_default_from_1_34_and_cannot_be_disabled_later(azure: Azure) -> None:
    create(azure, oidcIssuerProfile={"enabled": False})
    assert azure.plane.last("cluster").oidc_issuer == ""
    create(azure, oidcIssuerProfile={"enabled": True}, securityProfile={"workloadIdentity": {"enabled": True}})
    goal = azure.plane.last("cluster")
    assert goal.oidc_issuer.startswith(BASE + "/oidc/") and goal.workload_identity
    error = refusal(
        azure, cluster_body(oidcIssuerProfile={"enabled": False}, securityProfile={"workloadIdentity": {"enabled": False}})
    )
    assert "OIDC issuer feature cannot be disabled" in str(error)


POOL = cluster_body()["properties"]["agentPoolProfiles"][0]
REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "bad dns prefix": ({"dnsPrefix": "-x"}, "InvalidParameter", "dnsPrefix is invalid"),
    "no dns prefix": ({"dnsPrefix": None}, "InvalidParameter", "dnsPrefix is missing"),
    "no pools": ({"agentPoolProfiles": []}, "InvalidParameter", "agentPoolProfiles is missing"),
    "no system pool": (
        {"agentPoolProfiles": [{**POOL, "mode": "User"}]},
        "MustDefineAtLeastOneSystemPool",
        "at least one system pool",
    ),
    "bad pool name": (
        {"agentPoolProfiles": [{**POOL, "name": "node-pool"}]},
        "InvalidParameter",
        "agentPoolProfile.name is invalid",
    ),
    "min over max": (
        {"agentPoolProfiles": [{**POOL, "minCount": 4}]},
        "InvalidParameter",
        "agentPoolProfile.maxCount is invalid",
    ),
    "system pool of none": (
        {"agentPoolProfiles": [{**POOL, "minCount": 0}]},
        "InvalidParameter",
        "agentPoolProfile.minCount is invalid",
    ),
    "unknown version": (
        {"kubernetesVersion": "1.28.5"},
        "K8sVersionNotSupported",
        "Version 1.28.5 is not supported in this region",
    ),
    "LTS only": (
        {"kubernetesVersion": "1.33"},
        "K8sVersionNotSupported",
        "on version 1.33.12, which is only available for Long-Term",
    ),
    "unknown size": ({"agentPoolProfiles": [{**POOL, "vmSize": "Standard_D2as_v9"}]}, "VMSizeNotSupported", "Standard_D2as_v9"),
    "tiny system pool": (
        {"agentPoolProfiles": [{**POOL, "vmSize": "Standard_DS1_v2"}]},
        "SystemPoolSkuTooLow",
        "Standard_DS1_v2",
    ),
    "pool ahead": (
        {"agentPoolProfiles": [{**POOL, "orchestratorVersion": "1.36.4"}]},
        "NodePoolMcVersionIncompatible",
        "bigger than",
    ),
    "identity without issuer": (
        {"oidcIssuerProfile": {"enabled": False}, "securityProfile": {"workloadIdentity": {"enabled": True}}},
        "InvalidParameter",
        "OIDC issuer is enabled",
    ),
    "Windows": ({"agentPoolProfiles": [{**POOL, "osType": "Windows", "name": "win"}]}, "NotImplemented", "Windows nodes"),
    "private": ({"apiServerAccessProfile": {"enablePrivateCluster": True}}, "NotImplemented", "private clusters"),
    "add-on": ({"addonProfiles": {"azurepolicy": {"enabled": True}}}, "NotImplemented", "the add-on azurepolicy"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_cluster_that_aks_would_refuse_is_refused_in_its_words(azure: Azure, case: str) -> None:
    properties, code, words = REFUSED[case]
    error = refusal(azure, cluster_body(**properties))
    assert (error.error.code, words in str(error)) == (code, True), str(error)
    assert not azure.plane.goals and not directory.principals(azure.sandbox.store)


def test_missing_sizes_and_regions_are_refused(azure: Azure) -> None:
    error = refusal(azure, {**cluster_body(), "location": "westus"})
    assert error.error.code == "VMSizeNotSupported" and "in location 'westus'" in str(error)
    restricted = cluster_body(agentPoolProfiles=[{**POOL, "vmSize": "Standard_DS2_v2"}])
    error = refusal(azure, {**restricted, "location": "eastus"})
    assert "The VM size of Standard_DS2_v2 is not allowed in your subscription in location 'eastus'" in str(error)
    assert refusal(azure, {**cluster_body(), "location": "atlantis"}).error.code == "LocationNotAvailableForResourceType"


def test_unknown_properties_are_refused_by_name(azure: Azure) -> None:
    error = refusal(azure, cluster_body(agentPoolProfiles=[{**POOL, "vmSise": "x"}]))
    assert (error.error.code, error.error.message) == (
        "UnmarshalError",
        'UnmarshalEntity encountered error: json: unknown field "vmSise".',
    )
    error = refusal(azure, cluster_body(agentPoolProfiles=[{**POOL, "maxCount": "3"}]))
    assert "json: cannot unmarshal string into Go struct field" in str(error)


def test_immutable_properties_are_refused(azure: Azure) -> None:
    create(azure)
    error = refusal(azure, cluster_body(dnsPrefix="other"))
    assert (error.error.code, error.error.target) == ("PropertyChangeNotAllowed", "dnsPrefix")
    bigger = cluster_body(agentPoolProfiles=[{**POOL, "vmSize": "Standard_D4as_v6"}])
    assert refusal(azure, bigger).error.target == "agentPoolProfile.vmSize"
    assert refusal(azure, {**cluster_body(), "location": "westus2"}).error.code == "InvalidResourceLocation"


def test_faults_strike_where_aks_fails(azure: Azure) -> None:
    azure.sandbox.faults.arm("version-unsupported", "*podinfo*")
    assert refusal(azure, cluster_body()).error.code == "K8sVersionNotSupported"
    azure.sandbox.faults.arm("operation-not-allowed")
    assert refusal(azure, cluster_body()).status_code == 409
    azure.sandbox.faults.arm("lro-failed", detail="no capacity")
    assert "no capacity" in str(refusal(azure, cluster_body()))
    assert azure.pools.get(GROUP, NAME, "system").properties.provisioning_state == "Failed"
    create(azure)
    azure.sandbox.faults.arm("cluster-deleted-out-of-band", f"*/{NAME}")
    with pytest.raises(ResourceNotFoundError):
        azure.clusters.get(GROUP, NAME)
    assert not fabric.goals(azure.sandbox.store, "cluster")
    assert not list(azure.clusters.list())


def test_premium_clusters_may_run_long_term_versions(azure: Azure) -> None:
    body = cluster_body(kubernetesVersion="1.33", supportPlan="AKSLongTermSupport")
    cluster = azure.clusters.begin_create_or_update(GROUP, NAME, {**body, "sku": {"name": "Base", "tier": "Premium"}}).result()
    assert cluster.properties.current_kubernetes_version == "1.33.12"


def test_an_operation_can_be_aborted_and_the_cluster_updated_afterwards(azure: Azure) -> None:
    azure.plane.silent.add("cluster")
    answer = azure.raw("PUT", azure.cluster_id(NAME) + "?api-version=2025-08-01", json.dumps(cluster_body()).encode())
    azure.clusters.begin_abort_latest_operation(GROUP, NAME).result()
    canceled = azure.clusters.get(GROUP, NAME).properties
    assert (canceled.provisioning_state, canceled.agent_pool_profiles[0].provisioning_state) == ("Canceled", "Canceled")
    assert azure.raw("GET", answer.headers["azure-asyncoperation"].removeprefix(BASE)).json()["status"] == "Canceled"
    with pytest.raises(HttpResponseError, match="no operation in progress"):
        azure.clusters.begin_abort_latest_operation(GROUP, NAME)
    azure.plane.silent.clear()
    azure.plane.report(azure.plane.last("cluster"))
    assert create(azure)["properties"]["provisioningState"] == "Succeeded"


def test_a_body_as_azure_service_operator_writes_it_is_read(azure: Azure) -> None:
    body = {
        "identity": {"delegatedResources": None, "type": "SystemAssigned"},
        "location": "westus3",
        "name": NAME,
        "properties": {
            "addonProfiles": None,
            "dnsPrefix": "aso",
            "identityProfile": None,
            "privateLinkResources": None,
            "agentPoolProfiles": [
                {
                    "availabilityZones": None,
                    "count": 1,
                    "mode": "System",
                    "name": "ap1",
                    "nodeLabels": {},
                    "nodeTaints": [],
                    "osType": "Linux",
                    "tags": {},
                    "virtualMachineNodesStatus": None,
                    "vmSize": "Standard_DS2_v2",
                }
            ],
        },
        "tags": {},
    }
    for _ in range(2):
        found = azure.clusters.begin_create_or_update(GROUP, NAME, body).result().as_dict()["properties"]
        assert (found["provisioningState"], found["agentPoolProfiles"][0]["osSKU"]) == ("Succeeded", "Ubuntu")
