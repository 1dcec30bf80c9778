"""A resource comes back as it was sent, with the server's own fields, and can be sent again, by the unmodified SDKs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from azure.identity import ClientSecretCredential
from azure.mgmt.authorization import AuthorizationManagementClient
from azure.mgmt.msi import ManagedServiceIdentityClient
from azure.mgmt.resource.resources import ResourceManagementClient

from azuresandbox.context import OPERATOR_CLIENT_ID, OPERATOR_OBJECT_ID, SUBSCRIPTION_ID, TENANT_ID
from tests.arm.arm_client import SUBSCRIPTION
from tests.arm.served import Served, serve

READER = f"{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/acdd72a7-3385-48ef-bd42-f606fba81ae7"
IDENTITIES = f"{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
TAGS = {"Team": "Fleet", "empty": ""}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("round")) as served:
        yield served


@pytest.fixture
def client(sandbox: Served) -> Iterator[Callable[[Any], Any]]:
    """Return a function that makes management clients of the operator; close the clients at the end."""
    with ExitStack() as stack:
        where: dict[str, Any] = {"connection_verify": sandbox.ca_file}
        secret = sandbox.environment["AZURE_CLIENT_SECRET"]
        credential = stack.enter_context(
            ClientSecretCredential(
                TENANT_ID,
                OPERATOR_CLIENT_ID,
                secret,
                authority=sandbox.base,
                disable_instance_discovery=True,
                **where,
            )
        )
        where |= {"base_url": sandbox.base, "credential_scopes": [f"{sandbox.base}/.default"]}

        def make(kind: Any) -> Any:
            return stack.enter_context(kind(credential, SUBSCRIPTION_ID, **where))

        make(ResourceManagementClient).resource_groups.create_or_update("rg", {"location": "eastus2"})
        make(ResourceManagementClient).providers.register("Microsoft.ManagedIdentity")
        yield make


def shown(model: Any) -> dict[str, Any]:
    """Return the model without `system_data`, which every write changes."""
    return {name: value for name, value in model.as_dict().items() if name != "system_data"}


def test_a_group(client: Callable[[Any], Any]) -> None:
    groups = client(ResourceManagementClient).resource_groups
    sent = {"location": "West Europe", "tags": TAGS, "managedBy": "/subscriptions/x/somebody"}
    made = groups.create_or_update("mine", sent)
    assert (made.location, made.tags, made.managed_by) == ("westeurope", TAGS, "/subscriptions/x/somebody")
    assert (made.id, made.type, made.properties.provisioning_state) == (
        f"{SUBSCRIPTION}/resourceGroups/mine",
        "Microsoft.Resources/resourceGroups",
        "Succeeded",
    )
    assert groups.create_or_update("MINE", made).as_dict() == made.as_dict() == groups.get("Mine").as_dict()


def test_an_identity_and_its_trust(client: Callable[[Any], Any]) -> None:
    identities = client(ManagedServiceIdentityClient)
    made = identities.user_assigned_identities.create_or_update("rg", "who", {"location": "East US 2", "tags": TAGS})
    assert (made.location, made.tags, made.id) == ("eastus2", TAGS, f"{IDENTITIES}/who")
    assert made.tenant_id == TENANT_ID and len({made.client_id, made.principal_id, TENANT_ID}) == 3
    again = identities.user_assigned_identities.create_or_update("rg", "who", made)
    assert shown(again) == shown(made) == shown(identities.user_assigned_identities.get("rg", "who"))
    assert identities.user_assigned_identities.update("rg", "who", {"tags": {"b": "c"}}).tags == {"b": "c"}

    trusts = identities.federated_identity_credentials
    sent = {
        "issuer": "https://issuer.example/",
        "subject": "system:serviceaccount:a:b",
        "audiences": ["api://AzureADTokenExchange"],
    }
    trust = trusts.create_or_update("rg", "who", "fic", {"properties": sent})
    assert {name: getattr(trust, name) for name in sent} == sent
    assert trust.type == "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials"
    again = trusts.create_or_update("rg", "who", "fic", trust)
    assert shown(again) == shown(trust) == shown(trusts.get("rg", "who", "fic"))


def test_a_role_assignment(client: Callable[[Any], Any]) -> None:
    assignments = client(AuthorizationManagementClient).role_assignments
    scope, name = f"{SUBSCRIPTION}/resourceGroups/rg", "11111111-2222-4333-8444-555555555555"
    properties = {
        "roleDefinitionId": READER,
        "principalId": OPERATOR_OBJECT_ID,
        "principalType": "ServicePrincipal",
        "description": "why",
    }
    made = assignments.create(scope, name, {"properties": properties})
    assert (made.role_definition_id, made.principal_id, made.principal_type) == (READER, OPERATOR_OBJECT_ID, "ServicePrincipal")
    assert (made.description, made.scope, made.created_by, made.condition) == ("why", scope, OPERATOR_OBJECT_ID, None)
    assert made.created_on == made.updated_on
    assert assignments.get(scope, name).as_dict() == made.as_dict() == assignments.get_by_id(made.id).as_dict()


def test_a_resource_by_its_id_alone(client: Callable[[Any], Any]) -> None:
    """Read a resource of any type by id, change a member and write the whole back, as `az resource update` does."""
    resources = client(ResourceManagementClient).resources
    identifier, version = f"{IDENTITIES}/generic", "2024-11-30"
    made = resources.begin_create_or_update_by_id(
        identifier, {"location": "eastus2", "tags": TAGS}, api_version=version
    ).result()
    assert (made.name, made.tags) == ("generic", TAGS)
    made.tags["more"] = "yes"
    written = resources.begin_create_or_update_by_id(identifier, made, api_version=version).result()
    assert written.tags == {**TAGS, "more": "yes"}
    assert written.properties == made.properties == resources.get_by_id(identifier, api_version=version).properties
