"""Failures, with ASO's messages and severities, and that ASO recovers when the cause is removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetlib.diagnosis import explain
from tests.aso.aso_world import AUDIENCE, ISSUER, SUBJECT, Fleet, cluster, configuration, extension, group, owned, thing

SUCCEEDED = ("True", "", "Succeeded", "")
NAME = "podinfo-prod-0-aks"


@pytest.mark.parametrize(
    ("trust", "code", "said"),
    [
        ({"issuer": ISSUER + "x/"}, "AADSTS700211", ISSUER),
        ({"subject": SUBJECT + "x"}, "AADSTS700213", SUBJECT),
        ({"audience": "api://x"}, "AADSTS700212", AUDIENCE),
    ],
)
async def test_a_wrong_trust_shows_entras_error_in_the_condition(
    tmp_path: Path, trust: dict[str, str], code: str, said: str
) -> None:
    async with Fleet.open(tmp_path, trusted=False) as fleet:
        await fleet.trust(**trust)
        await fleet.start()
        await fleet.create(group(), cluster())
        status, severity, reason, message = fleet.ready("ResourceGroup", "myfleet-rg")
        assert (status, severity, reason) == ("False", "Warning", "Failed")
        assert message.startswith(f'error getting status for resource ID "{fleet.group_id}": getting resource with ID: ')
        assert "WorkloadIdentityCredential authentication failed" in message and "RESPONSE 401: 401 Unauthorized" in message
        assert code in message and said in message
        assert fleet.ready("ManagedCluster", NAME)[2] == "WaitingForOwner"
        assert any(code in line for line in fleet.log)
        await fleet.trust()
        await fleet.advance(1800)
        assert fleet.ready("ManagedCluster", NAME) == SUCCEEDED


async def test_without_any_trust_the_token_is_refused(tmp_path: Path) -> None:
    async with Fleet.open(tmp_path, trusted=False) as fleet:
        await fleet.start()
        await fleet.create(group())
        assert "AADSTS70025" in fleet.ready("ResourceGroup", "myfleet-rg")[3]


async def test_an_unknown_client_id_is_refused(tmp_path: Path) -> None:
    async with Fleet.open(tmp_path) as fleet:
        fleet.env["AZURE_CLIENT_ID"] = "00000000-0000-4000-8000-00000000dead"
        await fleet.start()
        await fleet.create(group())
        assert "AADSTS700016" in fleet.ready("ResourceGroup", "myfleet-rg")[3]


async def test_without_a_role_the_group_cannot_be_read_until_it_is_assigned(tmp_path: Path) -> None:
    async with Fleet.open(tmp_path, allowed=False) as fleet:
        await fleet.start()
        await fleet.create(group(), cluster())
        status, severity, reason, message = fleet.ready("ResourceGroup", "myfleet-rg")
        assert (status, severity, reason) == ("False", "Warning", "Failed")
        assert "RESPONSE 403: 403 Forbidden" in message and "ERROR CODE: AuthorizationFailed" in message
        assert "Microsoft.Resources/subscriptions/resourceGroups/read" in message
        await fleet.allow(fleet.group_id)
        await fleet.advance(1800)
        assert fleet.ready("ManagedCluster", NAME) == SUCCEEDED


async def test_a_group_that_azure_does_not_have(tmp_path: Path) -> None:
    async with Fleet.open(tmp_path, allowed=False) as fleet:
        await fleet.allow(f"/subscriptions/{fleet.env['AZURE_SUBSCRIPTION_ID']}")
        await fleet.start()
        await fleet.create(group("elsewhere-rg"), cluster(owner={"name": "elsewhere-rg"}))
        status, severity, reason, message = fleet.ready("ResourceGroup", "elsewhere-rg")
        assert (status, severity, reason) == ("False", "Warning", "AzureResourceNotFound")
        assert "ERROR CODE: ResourceGroupNotFound" in message
        assert fleet.ready("ManagedCluster", NAME)[2] == "WaitingForOwner"


async def test_a_fatal_error_waits_for_a_change(tmp_path: Path) -> None:
    async with Fleet.open(tmp_path) as fleet:
        await fleet.start()
        pool = {"name": "system", "mode": "System", "vmSize": "Standard_Nonsense", "count": 1, "osType": "Linux"}
        await fleet.create(group(), cluster(agentPoolProfiles=[pool]))
        await fleet.advance(1800)
        status, severity, reason, message = fleet.ready("ManagedCluster", NAME)
        assert (status, severity) == ("False", "Error"), message
        assert "Standard_Nonsense" in message, reason
        assert ("Warning", "CreateOrUpdateActionError", message[:1024]) in fleet.events(NAME)
        writes = len(fleet.api.writes)
        await fleet.advance(900)
        assert [w for w in fleet.api.writes[writes:] if "Lease" not in w] == [], "a fatal error is not retried"
        await fleet.edit("ManagedCluster", NAME, {"agentPoolProfiles": [{**pool, "vmSize": "Standard_D2as_v6"}]})
        await fleet.advance(1800)
        assert fleet.ready("ManagedCluster", NAME) == SUCCEEDED


async def test_a_failed_operation_is_reported_and_sent_again(tmp_path: Path) -> None:
    async with Fleet.open(tmp_path) as fleet:
        fleet.plane.failing["cluster"] = "Network plugin crashed."
        await fleet.start()
        await fleet.create(group(), cluster())
        await fleet.advance(900)
        status, severity, _, message = fleet.ready("ManagedCluster", NAME)
        assert status == "False" and severity == "Warning", message
        fleet.plane.failing.clear()
        await fleet.advance(3600)
        assert fleet.ready("ManagedCluster", NAME) == SUCCEEDED


async def test_a_busy_cluster_is_sent_no_requests(tmp_path: Path) -> None:
    async with Fleet.open(tmp_path) as fleet:
        await fleet.start()
        await fleet.create(group(), cluster())
        await fleet.advance(1800)
        path = f"{fleet.group_id}/providers/Microsoft.ContainerService/managedClusters/{NAME}/stop"
        assert (await fleet.arm.call("POST", path, "2024-09-01")).status == 202
        pool = {"owner": {"name": NAME}, "count": 1, "vmSize": "Standard_D2as_v6", "mode": "User", "osType": "Linux"}
        await fleet.create(thing("ManagedClustersAgentPool", "more", pool))
        assert fleet.ready("ManagedClustersAgentPool", "more") == (
            "False",
            "Warning",
            "ReconciliationBlocked",
            f'Managed cluster "{NAME}" is in provisioning state "Stopping"',
        )
        await fleet.edit("ManagedCluster", NAME, {"tags": {"a": "b"}})
        assert fleet.ready("ManagedCluster", NAME) == (
            "False",
            "Warning",
            "ReconciliationBlocked",
            'Managed cluster is in provisioning state "Stopping"',
        )


async def test_an_object_waits_for_an_owner_of_the_right_kind_and_name(tmp_path: Path) -> None:
    async with Fleet.open(tmp_path) as fleet:
        await fleet.start()
        await fleet.create(group(), cluster(owner={"name": "no-such-rg"}))
        await fleet.create(thing("Extension", "x", {"owner": {"group": "x.azure.com", "kind": "Nothing", "name": NAME}}))
        shown = fleet.ready("ManagedCluster", NAME)[3]
        assert shown.startswith('Owner "no-such-rg, Group/Kind: resources.azure.com/ResourceGroup" cannot be found.')
        assert fleet.ready("Extension", "x")[2] == "WaitingForOwner"
        await fleet.edit("ManagedCluster", NAME, {"owner": {"name": "myfleet-rg"}})
        await fleet.advance(1800)
        assert fleet.ready("ManagedCluster", NAME) == SUCCEEDED
        await fleet.edit("ManagedCluster", NAME, {"azureName": "another"})
        status, severity, _, message = fleet.ready("ManagedCluster", NAME)
        assert (status, severity) == ("False", "Error") and "updating 'spec.azureName' is not allowed" in message
        await fleet.edit("ManagedCluster", NAME, {"azureName": NAME})
        await fleet.advance(1800)
        assert fleet.ready("ManagedCluster", NAME) == SUCCEEDED
        await fleet.create(group("other-rg"))
        await fleet.edit("ManagedCluster", NAME, {"owner": {"armId": fleet.group_id.replace("myfleet", "other")}})
        status, severity, _, message = fleet.ready("ManagedCluster", NAME)
        assert (status, severity) == ("False", "Error") and "updating 'spec.owner.name' is not allowed" in message


async def test_two_configurations_with_one_name_are_one_azure_resource(tmp_path: Path) -> None:
    """The seed's collision: both objects are the same ARM resource, and the second overwrites the first."""
    async with Fleet.open(tmp_path) as fleet:
        await fleet.start()
        first = owned("FluxConfiguration", "a", {"azureName": "flux-config", "namespace": "a", "scope": "cluster"})
        second = owned("FluxConfiguration", "b", {"azureName": "flux-config", "namespace": "b", "scope": "cluster"})
        for obj, url in ((first, "https://example.invalid/a"), (second, "https://example.invalid/b")):
            obj["spec"] |= {"gitRepository": {"url": url, "repositoryRef": {"branch": "main"}}, "sourceKind": "GitRepository"}
        await fleet.create(group(), cluster(), extension(), first, second)
        await fleet.advance(3600)
        marks = [
            fleet.get("FluxConfiguration", n)["metadata"]["annotations"]["serviceoperator.azure.com/resource-id"] for n in "ab"
        ]
        assert marks[0] == marks[1]


async def test_a_configuration_without_the_extension(tmp_path: Path) -> None:
    async with Fleet.open(tmp_path) as fleet:
        await fleet.start()
        await fleet.create(group(), cluster(), configuration())
        await fleet.advance(1200)
        status, _, _, message = fleet.ready("FluxConfiguration", "prod-0-config")
        assert status == "False" and "extension" in message.lower(), message
        await fleet.create(extension())
        await fleet.advance(3600)
        assert fleet.ready("FluxConfiguration", "prod-0-config") == SUCCEEDED


async def test_an_object_of_another_operator_is_not_changed(tmp_path: Path) -> None:
    async with Fleet.open(tmp_path) as fleet:
        await fleet.start()
        marked = group()
        marked["metadata"]["annotations"]["serviceoperator.azure.com/operator-namespace"] = "elsewhere"
        await fleet.create(marked)
        assert fleet.events("myfleet-rg") == [
            (
                "Warning",
                "Overlap",
                'Operators in "azureserviceoperator-system" and "elsewhere" are both configured to manage this resource',
            )
        ]
        assert "status" not in fleet.get("ResourceGroup", "myfleet-rg")


async def test_a_resource_that_was_deleted_in_azure_is_created_again(tmp_path: Path) -> None:
    async with Fleet.open(tmp_path) as fleet:
        await fleet.start()
        await fleet.create(group(), cluster())
        await fleet.advance(1800)
        path = f"{fleet.group_id}/providers/Microsoft.ContainerService/managedClusters/{NAME}"
        await fleet.arm.call("DELETE", path, "2024-09-01")
        await fleet.advance(900)
        assert await fleet.cluster_in_azure() is None
        await fleet.advance(9000)
        assert await fleet.cluster_in_azure() is not None


async def test_a_deleted_object_waits_while_azure_refuses(tmp_path: Path) -> None:
    async with Fleet.open(tmp_path) as fleet:
        await fleet.start()
        await fleet.create(group(), cluster())
        await fleet.advance(1800)
        name = "00000000-0000-4000-8000-000000000001"
        await fleet.arm.good(
            "DELETE", f"{fleet.group_id}/providers/Microsoft.Authorization/roleAssignments/{name}", "2022-04-01"
        )
        await fleet.delete("ManagedCluster", NAME)
        status, severity, reason, message = fleet.ready("ManagedCluster", NAME)
        assert (status, severity, reason) == ("False", "Warning", "AuthorizationFailed"), message
        assert fleet.has("ManagedCluster", NAME)
        await fleet.allow(fleet.group_id)
        await fleet.advance(1800)
        assert not fleet.has("ManagedCluster", NAME)


async def test_a_locked_resource_keeps_the_finalizer_until_the_lock_is_removed(tmp_path: Path) -> None:
    """The fault finalizer-stuck: ARM refuses the deletion, so the object remains, and its condition says why."""
    async with Fleet.open(tmp_path) as fleet:
        await fleet.start()
        await fleet.create(group(), cluster())
        await fleet.advance(1800)
        faults = fleet.world.sandbox.faults
        faults.arm("finalizer-stuck", f"*/{NAME}", times=-1)
        await fleet.delete("ManagedCluster", NAME)
        for _ in range(3):
            await fleet.advance(600)
            status, severity, reason, message = fleet.ready("ManagedCluster", NAME)
            assert (status, severity, reason) == ("False", "Warning", "ScopeLocked"), message
            assert "cannot perform delete operation because following scope(s) are locked" in message
            assert fleet.has("ManagedCluster", NAME)
        cause = explain(f"{reason}: {message}")
        assert cause is not None and cause.final and "az lock delete" in cause.fix and "99_tear_down" in cause.fix
        faults.disarm("finalizer-stuck")
        await fleet.advance(600)
        assert not fleet.has("ManagedCluster", NAME)
