"""Each fault of Azure: the error that the unmodified SDK raises, and how fleetlib recovers or names the fix."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from azure.core.exceptions import AzureError, HttpResponseError

from fleetlib.clients.azure import flux, groups, identities, managed_clusters, roles
from fleetlib.errors import FinalError, FleetError, RetryableError
from tests.faults.fault_cloud import CLUSTER, GROUP, IDENTITY, Cloud

pytestmark = pytest.mark.xdist_group("faults")

READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
ONCE = {"retry_total": 0}
"""Options that stop azure-core from retrying 429 and 5xx, so that a test sees the answer."""


def raised(call: Callable[[], Any]) -> tuple[int, str, str, Any]:
    """Return status, code, message and headers of the error that the SDK raises, at once or at the end of the operation."""
    with pytest.raises(HttpResponseError) as caught:
        answer = call()
        if hasattr(answer, "result"):
            answer.result()
    error: Any = caught.value
    return error.status_code, error.error.code, error.error.message, error.response.headers


def explained(work: Callable[[], Any], kind: type[FleetError], *words: str) -> None:
    with pytest.raises(FleetError) as caught:
        work()
    assert isinstance(caught.value, kind), repr(caught.value)
    missing = [word for word in words if not re.search(word, str(caught.value))]
    assert not missing, f"{missing} not in:\n{caught.value}"


def principal(cloud: Cloud) -> str:
    found = identities.get(cloud.azure, GROUP, IDENTITY)
    assert found is not None
    return str(found["properties"]["principalId"])


def put(cloud: Cloud, name: str = CLUSTER, version: str = "", **more: Any) -> Callable[[], Any]:
    p = cloud.session.parameters
    body = managed_clusters.desired(name, p.location, version, p.controlplane_vm_size, 1)
    return lambda: cloud.azure.containers.managed_clusters.begin_create_or_update(GROUP, name, body, **more)


# --- faults that pass by themselves ------------------------------------------------------------------------------------


def test_principal_not_found(cloud: Cloud) -> None:
    scope, who = cloud.azure.group_id(GROUP), principal(cloud)
    role = f"{scope}/providers/Microsoft.Authorization/roleDefinitions/{READER}"

    def assign(**more: str) -> Any:
        body = {"properties": {"roleDefinitionId": role, "principalId": who, **more}}
        return cloud.azure.authorization.role_assignments.create(scope, str(uuid.uuid4()), body)

    cloud.arm("principal-not-found", who)
    status, code, message, _ = raised(assign)
    assert (status, code) == (400, "PrincipalNotFound")
    assert f"Principal {who.replace('-', '')} does not exist in the directory" in message
    assert "set the role assignment principalType property" in message
    cloud.arm("principal-not-found", who)
    roles.ensure(cloud.azure, scope, who, "Reader").apply()
    assert cloud.armed() == ["principal-not-found"], "fleetlib names the principal's type, so Azure does not look it up"


def test_fic_concurrency(cloud: Cloud) -> None:
    issuer, subject = "https://issuer.example.com/", "system:serviceaccount:a:b"
    body = {"properties": {"issuer": issuer, "subject": subject, "audiences": ["api://AzureADTokenExchange"]}}
    create = cloud.azure.identities.federated_identity_credentials.create_or_update
    cloud.arm("fic-concurrency", f"*/{IDENTITY}")
    status, code, message, _ = raised(lambda: create(GROUP, IDENTITY, "one", body))
    assert (status, code) == (409, "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity")
    assert message.startswith("Too many Federated Identity Credentials are written concurrently for the managed identity")
    cloud.arm("fic-concurrency", f"*/{IDENTITY}")
    assert identities.ensure_federated(cloud.azure, GROUP, IDENTITY, "one", issuer, subject).apply()
    assert not cloud.armed()
    cloud.arm("fic-concurrency", f"*/{IDENTITY}", times=-1)
    step = identities.ensure_federated(cloud.azure, GROUP, IDENTITY, "two", issuer + "2", subject)
    explained(step.apply, RetryableError, "ConcurrentFederated", "Too many Federated Identity Credentials")


def test_operation_not_allowed(cloud: Cloud) -> None:
    cloud.arm("operation-not-allowed", f"*/{CLUSTER}")
    status, code, message, _ = raised(put(cloud))
    assert (status, code) == (409, "OperationNotAllowed")
    assert re.search(r"Another operation \(Updating\) is in progress, please wait for it to finish", message)
    cloud.arm("operation-not-allowed", "*/busy-aks", times=2)
    assert cloud.cluster("busy-aks").apply()
    assert not cloud.armed()
    managed_clusters.delete(cloud.azure, GROUP, "busy-aks", 60).apply()


def test_throttled(cloud: Cloud) -> None:
    group = cloud.azure.resources.resource_groups.get
    cloud.arm("throttled", f"*/{GROUP}")
    status, code, message, headers = raised(lambda: group(GROUP, **ONCE))
    assert status == 429 and code in ("TooManyRequests", "SubscriptionRequestsThrottled"), (code, message)
    assert "retry-after-ms" in headers or "Retry-After" in headers
    cloud.arm("throttled", f"*/{GROUP}", times=2)
    assert groups.get(cloud.azure, GROUP) is not None  # the SDK waits as long as `Retry-After` says
    assert not cloud.armed()


def test_server_error(cloud: Cloud) -> None:
    cloud.arm("server-error", f"*/{GROUP}")
    status, code, message, _ = raised(lambda: cloud.azure.resources.resource_groups.get(GROUP, **ONCE))
    assert (status, code) == (500, "InternalServerError") and "Encountered internal server error" in message
    cloud.arm("server-error", f"*/{GROUP}")
    assert groups.get(cloud.azure, GROUP) is not None
    assert not cloud.armed()


def test_token_revoked(cloud: Cloud) -> None:
    """A claims challenge makes the SDK ask Entra for a newer token. A principal that stays revoked gets the error."""
    client = cloud.session.cloud.client_id
    cloud.arm("token-revoked", client)
    assert cloud.azure.resources.resource_groups.get(GROUP).name == GROUP
    assert not cloud.armed()
    cloud.arm("token-revoked", client, times=-1)
    with pytest.raises(AzureError) as caught:
        cloud.azure.resources.resource_groups.get(GROUP)
    error: Any = caught.value
    assert (error.status_code, error.error.code) == (401, "InvalidAuthenticationToken")
    assert "TokenIssuedBeforeRevocationTimestamp" in error.error.message
    assert 'error="insufficient_claims", claims="' in error.response.headers["WWW-Authenticate"]
    explained(lambda: groups.get(cloud.azure, GROUP), FinalError, "TokenIssuedBeforeRevocationTimestamp", "sign in again")


# --- faults that need a fix ----------------------------------------------------------------------------------------------


def test_vcpu_quota(cloud: Cloud) -> None:
    cloud.arm("vcpu-quota", "*/quota-aks", times=2)
    status, code, message, _ = raised(put(cloud, "quota-aks"))
    assert (status, code) == (400, "ErrCode_InsufficientVCPUQuota")
    assert re.search(
        r"Insufficient regional vcpu quota left for location \w+\. left regional vcpu quota 0, requested quota \d+\.", message
    )
    explained(cloud.cluster("quota-aks").apply, FinalError, "ErrCode_InsufficientVCPUQuota", "00_check_prerequisites")


def test_version_unsupported(cloud: Cloud) -> None:
    cloud.arm("version-unsupported", "*/old-aks", times=2)
    status, code, message, _ = raised(put(cloud, "old-aks"))
    assert (status, code) == (400, "K8sVersionNotSupported")
    assert re.match(r"Version [\d.]+ is not supported in this region\. Please use \[az aks get-versions\]", message)
    explained(cloud.cluster("old-aks").apply, FinalError, "is not supported in this region", "00_check_prerequisites")


def test_lro_failed(cloud: Cloud) -> None:
    cloud.arm("lro-failed", "*/broken-aks", detail="The nodes did not come up.")
    with pytest.raises(HttpResponseError) as caught:
        put(cloud, "broken-aks")().result()
    assert "(InternalOperationError) The nodes did not come up." in str(caught.value)
    assert cloud.azure.containers.managed_clusters.get(GROUP, "broken-aks").properties.provisioning_state == "Failed"
    cloud.arm("lro-failed", "*/broken-aks", detail="The nodes did not come up.")
    explained(cloud.cluster("broken-aks").apply, FleetError, "The nodes did not come up", "run the same notebook again")
    assert cloud.cluster("broken-aks").apply(), "run again, the failed cluster is put right"
    managed_clusters.delete(cloud.azure, GROUP, "broken-aks", 60).apply()


def test_extension_failed(cloud: Cloud) -> None:
    body = {"properties": {"extensionType": "microsoft.flux", "autoUpgradeMinorVersion": True}}
    place = (GROUP, flux.PROVIDER, flux.CLUSTERS, CLUSTER, "flux")
    cloud.arm("extension-failed", f"{cloud.cluster_id}/*", times=2)
    with pytest.raises(HttpResponseError) as caught:
        cloud.azure.extensions.extensions.begin_create(*place, body).result()
    assert "(ExtensionOperationFailed) The extension operation failed with the following error:" in str(caught.value)
    found = cloud.azure.extensions.extensions.get(*place).properties
    assert found.provisioning_state == "Failed" and found.error_info.code == "ExtensionOperationFailed"
    step = flux.ensure_extension(cloud.azure, GROUP, CLUSTER, 60)
    explained(step.apply, FinalError, "ExtensionOperationFailed", "Helm installation failed", "03_bootstrap_flux")
    assert step.apply(), "run again, it is installed"
    flux.delete_extension(cloud.azure, GROUP, CLUSTER, 60).apply()


def test_finalizer_stuck(cloud: Cloud) -> None:
    """The lock in Azure; ASO's object is tested in test_fleet_faults.py."""
    assert cloud.cluster("locked-aks").apply()
    cloud.arm("finalizer-stuck", "*/locked-aks", times=-1)
    status, code, message, _ = raised(lambda: cloud.azure.containers.managed_clusters.begin_delete(GROUP, "locked-aks"))
    scope = cloud.cluster_id.replace(CLUSTER, "locked-aks")
    assert (status, code, message) == (
        409,
        "ScopeLocked",
        f"The scope '{scope}' cannot perform delete operation because following scope(s) are locked: '{scope}'. "
        "Please remove the lock and try again.",
    )
    step = managed_clusters.delete(cloud.azure, GROUP, "locked-aks", 60)
    explained(step.apply, FinalError, "ScopeLocked", "az lock delete", "99_tear_down")


def test_cluster_deleted_out_of_band(cloud: Cloud) -> None:
    assert cloud.cluster("lost-aks").apply()
    cloud.arm("cluster-deleted-out-of-band", "*/lost-aks")
    status, code, message, _ = raised(lambda: cloud.azure.containers.managed_clusters.get(GROUP, "lost-aks"))
    assert (status, code) == (404, "ResourceNotFound")
    assert (
        f"The Resource 'Microsoft.ContainerService/managedClusters/lost-aks' under resource group '{GROUP}' was not found."
        in message
    )
    explained(
        lambda: managed_clusters.kubeconfig(cloud.azure, GROUP, "lost-aks"),
        FinalError,
        "lost-aks does not exist",
        "01_create_control_plane",
    )
    assert cloud.cluster("lost-aks").apply(), "run again, it is created"
    managed_clusters.delete(cloud.azure, GROUP, "lost-aks", 60).apply()
