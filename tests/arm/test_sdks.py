"""The unmodified azure-identity and azure-mgmt clients against Entra and ARM on a real port."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jwt
import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.identity import ClientSecretCredential, DefaultAzureCredential, WorkloadIdentityCredential
from azure.mgmt.authorization import AuthorizationManagementClient
from azure.mgmt.msi import ManagedServiceIdentityClient
from azure.mgmt.resource.resources import ResourceManagementClient
from azure.mgmt.resource.subscriptions import SubscriptionClient
from cryptography.hazmat.primitives.asymmetric import rsa

from azuresandbox.context import OPERATOR_CLIENT_ID, SUBSCRIPTION_ID, TENANT_ID
from azuresandbox.http import send_json
from tests.arm.arm_client import SUBSCRIPTION
from tests.arm.served import Served, serve

READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("arm")) as served:
        yield served


@pytest.fixture
def environment(sandbox: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in sandbox.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def credential(sandbox: Served, environment: None) -> Iterator[Any]:
    with DefaultAzureCredential(
        authority=sandbox.base, disable_instance_discovery=True, connection_verify=sandbox.ca_file
    ) as found:
        yield found


@pytest.fixture
def client(sandbox: Served, credential: Any) -> Iterator[Callable[..., Any]]:
    """Return a function that makes management clients; close the clients at the end."""
    with ExitStack() as stack:

        def make(kind: Any, *arguments: str) -> Any:
            return stack.enter_context(
                kind(
                    credential,
                    *arguments,
                    base_url=sandbox.base,
                    credential_scopes=[f"{sandbox.base}/.default"],
                    connection_verify=sandbox.ca_file,
                )
            )

        yield make


def test_the_default_credential_signs_in(client: Callable[..., Any], credential: Any) -> None:
    token = credential.get_token("https://management.core.windows.net//.default").token
    assert jwt.decode(token, options={"verify_signature": False})["appid"] == OPERATOR_CLIENT_ID
    subscriptions = list(client(SubscriptionClient).subscriptions.list())
    assert [(s.subscription_id, s.state) for s in subscriptions] == [(SUBSCRIPTION_ID, "Enabled")]
    places = client(SubscriptionClient).subscriptions.list_locations(SUBSCRIPTION_ID)
    assert {place.name: place.display_name for place in places}["eastus2"] == "East US 2"


def test_a_wrong_secret_gets_entras_message(sandbox: Served) -> None:
    wrong = ClientSecretCredential(
        TENANT_ID,
        OPERATOR_CLIENT_ID,
        "wrong",
        authority=sandbox.base,
        disable_instance_discovery=True,
        connection_verify=sandbox.ca_file,
    )
    with wrong, pytest.raises(ClientAuthenticationError, match="AADSTS7000215: Invalid client secret provided"):
        wrong.get_token("https://management.core.windows.net//.default")


def test_groups_providers_and_identities(client: Callable[..., Any]) -> None:
    resources = client(ResourceManagementClient, SUBSCRIPTION_ID)
    with pytest.raises(ResourceNotFoundError) as missing:
        resources.resource_groups.get("sdk-rg")
    assert missing.value.error.code == "ResourceGroupNotFound"
    assert resources.resource_groups.create_or_update("sdk-rg", {"location": "eastus2"}).location == "eastus2"
    assert resources.resource_groups.check_existence("sdk-rg") is True
    resources.providers.register("Microsoft.ManagedIdentity")
    while resources.providers.get("Microsoft.ManagedIdentity").registration_state != "Registered":
        pass
    identities = client(ManagedServiceIdentityClient, SUBSCRIPTION_ID)
    made = identities.user_assigned_identities.create_or_update("sdk-rg", "ident", {"location": "eastus2"})
    trust = {"issuer": "https://issuer.example/", "subject": "s", "audiences": ["api://AzureADTokenExchange"]}
    body = identities.federated_identity_credentials.models.FederatedIdentityCredential(**trust)
    identities.federated_identity_credentials.create_or_update("sdk-rg", "ident", "fic", body)
    assert [item.subject for item in identities.federated_identity_credentials.list("sdk-rg", "ident")] == ["s"]
    assert [item.id for item in resources.resources.list_by_resource_group("sdk-rg")] == [made.id]
    assert resources.resources.get_by_id(made.id, api_version="2024-11-30").name == "ident"
    assert [group.name for group in resources.resource_groups.list()] == ["sdk-rg"]

    authorization = client(AuthorizationManagementClient, SUBSCRIPTION_ID)
    role = next(iter(authorization.role_definitions.list(SUBSCRIPTION, filter="roleName eq 'Reader'")))
    assert role.name == READER
    parameters = {
        "properties": {"roleDefinitionId": role.id, "principalId": made.principal_id, "principalType": "ServicePrincipal"}
    }
    name = "22222222-2222-4333-8444-555555555555"
    assignment = authorization.role_assignments.create(made.id, name, parameters)
    assert assignment.principal_id == made.principal_id
    listed = authorization.role_assignments.list_for_scope(made.id, filter=f"assignedTo('{made.principal_id}')")
    assert [item.id for item in listed] == [assignment.id]
    with pytest.raises(HttpResponseError) as twice:
        authorization.role_assignments.create(made.id, name.replace("2", "3"), parameters)
    assert twice.value.error.code == "RoleAssignmentExists"

    resources.resource_groups.begin_delete("sdk-rg").result()
    assert resources.resource_groups.check_existence("sdk-rg") is False


def test_workload_identity_signs_in(sandbox: Served, client: Callable[..., Any], tmp_path: Path) -> None:
    resources = client(ResourceManagementClient, SUBSCRIPTION_ID)
    resources.resource_groups.create_or_update("wi-rg", {"location": "eastus2"})
    resources.providers.register("Microsoft.ManagedIdentity")
    identities = client(ManagedServiceIdentityClient, SUBSCRIPTION_ID)
    made = identities.user_assigned_identities.create_or_update("wi-rg", "workload", {"location": "eastus2"})
    issuer, key = f"{sandbox.base}/oidc/wi/", rsa.generate_private_key(65537, 2048)
    _publish(sandbox, issuer, key)
    model = identities.federated_identity_credentials.models.FederatedIdentityCredential
    trust = model(issuer=issuer, subject="system:serviceaccount:a:b", audiences=["api://AzureADTokenExchange"])
    identities.federated_identity_credentials.create_or_update("wi-rg", "workload", "fic", trust)

    now = int(sandbox.world.sandbox.clock.now().timestamp())
    claims = {
        "iss": issuer,
        "sub": "system:serviceaccount:a:b",
        "aud": ["api://AzureADTokenExchange"],
        "iat": now,
        "exp": now + 600,
    }
    token_file = tmp_path / "token"

    def sign_in(subject: str) -> str:
        token_file.write_text(jwt.encode({**claims, "sub": subject}, key, "RS256", {"kid": "k"}))
        with WorkloadIdentityCredential(
            tenant_id=TENANT_ID,
            client_id=made.client_id,
            token_file_path=str(token_file),
            authority=sandbox.base,
            disable_instance_discovery=True,
            connection_verify=sandbox.ca_file,
        ) as workload:
            return str(workload.get_token("https://management.core.windows.net//.default").token)

    found = jwt.decode(sign_in("system:serviceaccount:a:b"), options={"verify_signature": False})
    assert (found["oid"], found["xms_mirid"]) == (made.principal_id, made.id)
    with pytest.raises(ClientAuthenticationError, match="AADSTS700213: No matching federated identity record found"):
        sign_in("system:serviceaccount:a:other")


def _publish(sandbox: Served, issuer: str, key: Any) -> None:
    """Serve an issuer's documents as the Kubernetes part does."""
    inner: Any = sandbox.world.wire.app
    public = {**jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "k", "use": "sig"}
    documents = {
        "/oidc/wi/.well-known/openid-configuration": {"issuer": issuer, "jwks_uri": issuer + "jwks"},
        "/oidc/wi/jwks": {"keys": [public]},
    }

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] in documents:
            await send_json(send, 200, documents[scope["path"]])
        else:
            await inner(scope, receive, send)

    sandbox.world.wire.app = application
