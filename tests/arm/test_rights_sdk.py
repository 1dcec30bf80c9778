"""Rights with the unmodified management clients: without a role, with an inherited role, and after its removal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.identity import ClientSecretCredential
from azure.mgmt.authorization import AuthorizationManagementClient
from azure.mgmt.containerservice import ContainerServiceClient
from azure.mgmt.kubernetesconfiguration.fluxconfigurations import KubernetesConfigurationFluxConfigurationsMgmtClient
from azure.mgmt.msi import ManagedServiceIdentityClient
from azure.mgmt.resource.resources import ResourceManagementClient

from azuresandbox import directory
from azuresandbox.context import OPERATOR_CLIENT_ID, SUBSCRIPTION_ID, TENANT_ID
from tests.arm.arm_client import SUBSCRIPTION
from tests.arm.served import Served, serve

APP, OBJECT = "aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000001"
SECRET = "of-a-test"
NAME = "11111111-2222-4333-8444-{:012}"

Clients = Callable[[Any], Any]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve Entra and ARM with an application without any role."""
    with serve(tmp_path_factory.mktemp("rights")) as served:

        async def fill() -> None:
            held = directory.Principal(APP, OBJECT, "app", secret_hash=directory.hash_secret(SECRET))
            directory.put_principal(served.world.sandbox.store, held)

        served.do(fill())
        yield served


@pytest.fixture
def clients(sandbox: Served) -> Iterator[Callable[[str, str], Clients]]:
    """Return a function that makes management clients of a principal; close the clients at the end."""
    with ExitStack() as stack:

        def signed_in(app: str, secret: str) -> Clients:
            where: dict[str, Any] = {"connection_verify": sandbox.ca_file}
            credential = ClientSecretCredential(
                TENANT_ID, app, secret, authority=sandbox.base, disable_instance_discovery=True, **where
            )
            stack.enter_context(credential)
            where |= {"base_url": sandbox.base, "credential_scopes": [f"{sandbox.base}/.default"]}
            return lambda kind: stack.enter_context(kind(credential, SUBSCRIPTION_ID, **where))

        yield signed_in


@pytest.fixture
def operator(sandbox: Served, clients: Callable[[str, str], Clients]) -> Clients:
    return clients(OPERATOR_CLIENT_ID, sandbox.environment["AZURE_CLIENT_SECRET"])


@pytest.fixture
def application(clients: Callable[[str, str], Clients]) -> Clients:
    return clients(APP, SECRET)


def grant(operator: Clients, scope: str, role: str, number: int) -> Any:
    authorization = operator(AuthorizationManagementClient)
    found = next(iter(authorization.role_definitions.list(scope.lstrip("/"), filter=f"roleName eq '{role}'")))
    properties = {"roleDefinitionId": found.id, "principalId": OBJECT, "principalType": "ServicePrincipal"}
    return authorization.role_assignments.create(scope, NAME.format(number), {"properties": properties})


def refusal(call: Callable[[], Any]) -> tuple[int | None, str | None, str]:
    with pytest.raises(HttpResponseError) as refused:
        call()
    assert refused.value.error is not None
    return refused.value.status_code, refused.value.error.code, str(refused.value.error.message)


def unauthorized(action: str, scope: str) -> tuple[int, str, str]:
    return (
        403,
        "AuthorizationFailed",
        f"The client '{APP}' with object id '{OBJECT}' does not have authorization to perform action '{action}' over "
        f"scope '{scope}' or "
        "the scope is invalid. If access was recently granted, please refresh your credentials.",
    )


def test_a_role_is_inherited_downwards_and_ends_with_its_assignment(operator: Clients, application: Clients) -> None:
    resources, identities = operator(ResourceManagementClient), application(ManagedServiceIdentityClient)
    resources.providers.register("Microsoft.ManagedIdentity")
    group = resources.resource_groups.create_or_update("own", {"location": "eastus2"}).id
    resources.resource_groups.create_or_update("other", {"location": "eastus2"})
    identity = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/who"

    def make() -> Any:
        return identities.user_assigned_identities.create_or_update("own", "who", {"location": "eastus2"})

    write = "Microsoft.ManagedIdentity/userAssignedIdentities/write"
    assert refusal(make) == unauthorized(write, identity)

    given = grant(operator, group, "Contributor", 1)
    assert make().name == "who"
    mine = application(ResourceManagementClient)
    assert [found.name for found in mine.resource_groups.list()] == ["own"]
    assert refusal(lambda: mine.resource_groups.get("other")) == unauthorized(
        "Microsoft.Resources/subscriptions/resourceGroups/read", f"{SUBSCRIPTION}/resourceGroups/other"
    )
    permissions = application(AuthorizationManagementClient).permissions.list_for_resource_group("own")
    assert [(held.actions, held.not_actions[0]) for held in permissions] == [(["*"], "Microsoft.Authorization/*/Delete")]
    assert refusal(lambda: grant(application, group, "Owner", 2)) == unauthorized(
        "Microsoft.Authorization/roleAssignments/write",
        f"{group}/providers/Microsoft.Authorization/roleAssignments/{NAME.format(2)}",
    )

    operator(AuthorizationManagementClient).role_assignments.delete_by_id(given.id)
    assert refusal(make) == unauthorized(write, identity)


def test_a_cluster_user_reads_user_credentials_only(operator: Clients, application: Clients) -> None:
    """The role reads the cluster; it gives no administrator's credentials and writes no Flux configuration."""
    resources = operator(ResourceManagementClient)
    for namespace in ("Microsoft.ContainerService", "Microsoft.KubernetesConfiguration"):
        resources.providers.register(namespace)
    group = resources.resource_groups.create_or_update("clusters", {"location": "eastus2"}).id
    cluster = f"{group}/providers/Microsoft.ContainerService/managedClusters/one"
    grant(operator, group, "Azure Kubernetes Service Cluster User Role", 3)
    clusters = application(ContainerServiceClient).managed_clusters
    assert refusal(lambda: clusters.get("clusters", "one"))[:2] == (404, "ResourceNotFound")
    assert refusal(lambda: clusters.list_cluster_user_credentials("clusters", "one"))[:2] == (404, "ResourceNotFound")
    assert refusal(lambda: clusters.list_cluster_admin_credentials("clusters", "one")) == unauthorized(
        "Microsoft.ContainerService/managedClusters/listClusterAdminCredential/action", cluster
    )
    assert refusal(lambda: clusters.begin_delete("clusters", "one")) == unauthorized(
        "Microsoft.ContainerService/managedClusters/delete", cluster
    )
    flux = application(KubernetesConfigurationFluxConfigurationsMgmtClient).flux_configurations
    where = ("clusters", "Microsoft.ContainerService", "managedClusters", "one", "config")
    assert refusal(lambda: flux.begin_create_or_update(*where, {"properties": {}})) == unauthorized(
        "Microsoft.KubernetesConfiguration/fluxConfigurations/write",
        f"{cluster}/providers/Microsoft.KubernetesConfiguration/fluxConfigurations/config",
    )
