"""From ASO's start to clusters in Azure and their deletion: claims, operations, status, policies."""

from __future__ import annotations

from pathlib import Path

from azuresandbox.context import Receive, Scope, Send
from tests.aso.aso_world import Fleet, cluster, configuration, extension, group, owned

SUCCEEDED = ("True", "", "Succeeded", "")


async def test_a_cluster_with_flux_is_created_in_order(tmp_path: Path) -> None:
    async with Fleet.open(tmp_path) as fleet:
        await fleet.start()
        assert fleet.is_ready == [True]
        await fleet.create(configuration(), extension(), cluster(), group())
        assert fleet.ready("ResourceGroup", "myfleet-rg") == SUCCEEDED
        status = fleet.ready("ManagedCluster", "podinfo-prod-0-aks")
        assert status == ("False", "Info", "Reconciling", "The resource is in the process of being reconciled by the operator")
        waiting = fleet.ready("FluxConfiguration", "prod-0-config")
        assert waiting == (
            "False",
            "Warning",
            "WaitingForOwner",
            'Owner "podinfo-prod-0-aks, Group/Kind: containerservice.azure.com/ManagedCluster" cannot be found. '
            "Progress is blocked until the owner is created.",
        )
        await fleet.advance(3600)
        for kind, name in (
            ("ManagedCluster", "podinfo-prod-0-aks"),
            ("Extension", "prod-0-flux"),
            ("FluxConfiguration", "prod-0-config"),
        ):
            assert fleet.ready(kind, name) == SUCCEEDED, name
        found = fleet.get("ManagedCluster", "podinfo-prod-0-aks")
        assert found["status"]["provisioningState"] == "Succeeded" and found["status"]["fqdn"]
        assert found["spec"]["azureName"] == "podinfo-prod-0-aks"
        assert found["metadata"]["finalizers"] == ["serviceoperator.azure.com/finalizer"]
        assert found["metadata"]["ownerReferences"][0]["kind"] == "ResourceGroup"
        assert "serviceoperator.azure.com/poller-resume-token" not in found["metadata"]["annotations"]
        identifier = found["metadata"]["annotations"]["serviceoperator.azure.com/resource-id"]
        assert identifier == f"{fleet.group_id}/providers/Microsoft.ContainerService/managedClusters/podinfo-prod-0-aks"
        goal = fleet.plane.last("flux")
        assert goal.name == "cluster-config", "the ARM name is azureName, not the object's"
        events = fleet.events("podinfo-prod-0-aks")
        assert ("Normal", "BeginCreateOrUpdate", f'Successfully sent resource to Azure with ID "{identifier}"') in events
        assert (
            "Normal",
            "CredentialFrom",
            'Using credential from "azureserviceoperator-system/aso-controller-settings"',
        ) in events


async def test_settled_objects_cause_no_requests_until_the_sync_period(tmp_path: Path) -> None:
    async with Fleet.open(tmp_path) as fleet:
        await fleet.start()
        await fleet.create(group(), cluster())
        await fleet.advance(1800)
        assert fleet.ready("ManagedCluster", "podinfo-prod-0-aks") == SUCCEEDED
        writes, requests = len(fleet.api.writes), _requests_to_arm(fleet)
        await fleet.advance(600)
        assert [w for w in fleet.api.writes[writes:] if "Lease" not in w] == [] and requests == []
        await fleet.advance(2 * 4500)
        assert any(r.startswith("PUT") and r.endswith("podinfo-prod-0-aks") for r in requests), (
            "compared with Azure once an hour"
        )
        assert not [r for r in requests if r.startswith("PUT") and r.endswith("myfleet-rg")], "policy skip only reads"
        assert not [w for w in fleet.api.writes[writes:] if w.startswith(("PUT ResourceGroup", "PATCH ResourceGroup"))]


def _requests_to_arm(fleet: Fleet) -> list[str]:
    """Return a list to which each further request to ARM is added."""
    seen: list[str] = []
    inner = fleet.world.wire.app
    assert inner is not None

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path.lower().startswith("/subscriptions"):
            seen.append(f"{scope['method']} {path}")
        await inner(scope, receive, send)

    fleet.world.wire.app = app
    return seen


async def test_a_change_is_sent_and_a_label_is_not(tmp_path: Path) -> None:
    async with Fleet.open(tmp_path) as fleet:
        await fleet.start()
        await fleet.create(group(), cluster())
        await fleet.advance(1800)
        requests = _requests_to_arm(fleet)
        obj = fleet.get("ManagedCluster", "podinfo-prod-0-aks")
        fleet.api.put({**obj, "metadata": {**obj["metadata"], "labels": {"a": "b"}}})
        await fleet.settle()
        assert requests == []
        await fleet.edit("ManagedCluster", "podinfo-prod-0-aks", {"tags": {"environment": "prod"}})
        await fleet.advance(900)
        assert fleet.ready("ManagedCluster", "podinfo-prod-0-aks") == SUCCEEDED
        assert (await fleet.cluster_in_azure())["tags"] == {"environment": "prod"}
        condition = fleet.get("ManagedCluster", "podinfo-prod-0-aks")["status"]["conditions"][0]
        assert condition["observedGeneration"] == fleet.get("ManagedCluster", "podinfo-prod-0-aks")["metadata"]["generation"]


async def test_deleting_an_object_deletes_the_cluster_and_then_the_object(tmp_path: Path) -> None:
    async with Fleet.open(tmp_path) as fleet:
        await fleet.start()
        await fleet.create(group(), cluster())
        await fleet.advance(1800)
        await fleet.delete("ManagedCluster", "podinfo-prod-0-aks")
        assert fleet.ready("ManagedCluster", "podinfo-prod-0-aks") == (
            "False",
            "Info",
            "Deleting",
            "The resource is being deleted",
        )
        await fleet.advance(1800)
        assert not fleet.has("ManagedCluster", "podinfo-prod-0-aks")
        assert await fleet.cluster_in_azure() is None
        deleted = [event for event in fleet.events("podinfo-prod-0-aks") if "Delete" in event[1]]
        assert deleted == [
            ("Normal", "BeginDelete", "Starting delete of resource"),
            ("Normal", "MonitorDelete", "Continue monitoring deletion"),
        ]


async def test_policies_keep_azure_resources(tmp_path: Path) -> None:
    async with Fleet.open(tmp_path) as fleet:
        await fleet.start()
        await fleet.create(group(), cluster())
        await fleet.advance(1800)
        policy = "serviceoperator.azure.com/reconcile-policy"
        await fleet.edit("ManagedCluster", "podinfo-prod-0-aks", annotations={policy: "detach-on-delete"})
        await fleet.advance(900)
        await fleet.delete("ManagedCluster", "podinfo-prod-0-aks")
        await fleet.advance(60)
        assert not fleet.has("ManagedCluster", "podinfo-prod-0-aks") and await fleet.cluster_in_azure() is not None
        await fleet.delete("ResourceGroup", "myfleet-rg")
        await fleet.advance(60)
        assert not fleet.has("ResourceGroup", "myfleet-rg")
        assert (await fleet.arm.call("GET", fleet.group_id, "2021-04-01")).status == 200


async def test_a_restarted_operator_continues_the_operation_under_way(tmp_path: Path) -> None:
    async with Fleet.open(tmp_path) as fleet:
        await fleet.start()
        await fleet.create(group(), cluster())
        await fleet.advance(5)
        await fleet.stop()
        requests = _requests_to_arm(fleet)
        await fleet.start()
        await fleet.advance(1800)
        assert fleet.ready("ManagedCluster", "podinfo-prod-0-aks") == SUCCEEDED
        assert not [r for r in requests if r.startswith("PUT") and "managedClusters" in r], "it polls, it does not send again"


async def test_a_second_operator_waits_until_the_first_stops(tmp_path: Path) -> None:
    async with Fleet.open(tmp_path) as fleet:
        await fleet.start()
        first = fleet.task
        await fleet.start(name="azureserviceoperator-controller-manager-1")
        second, lease = fleet.task, ("Lease", "azureserviceoperator-system", "controllers-leader-election-azinfra-generated")
        assert fleet.api.objects[lease]["spec"]["holderIdentity"] == "azureserviceoperator-controller-manager-0"
        fleet.task = first
        await fleet.stop()
        await fleet.advance(20)
        assert fleet.api.objects[lease]["spec"]["holderIdentity"] == "azureserviceoperator-controller-manager-1"
        await fleet.create(group())
        assert fleet.ready("ResourceGroup", "myfleet-rg") == SUCCEEDED
        fleet.task = second


async def test_an_extension_as_in_asos_sample_for_aks(tmp_path: Path) -> None:
    async with Fleet.open(tmp_path) as fleet:
        await fleet.start()
        spec = {"identity": {"type": "SystemAssigned"}, "scope": {"cluster": {"releaseNamespace": "kube-system"}}}
        sample = owned(
            "Extension", "prod-0-gitops", {"autoUpgradeMinorVersion": True, "extensionType": "microsoft.flux", **spec}
        )
        await fleet.create(group(), cluster(), sample)
        await fleet.advance(3600)
        assert fleet.ready("Extension", "prod-0-gitops") == SUCCEEDED
