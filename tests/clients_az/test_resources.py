"""The Azure CLI except `az aks`: groups, resources by id, providers, roles, identities, compute, subscription, directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients_az.conftest import Shell

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def group(shell: Shell) -> Shell:
    """Return the shell, with a group `rg` and an identity `who` in it."""
    shell("az provider register -n Microsoft.ManagedIdentity; az group create -n rg -l eastus2 --tags a=b -o none")
    shell("az identity create -g rg -n who -o none")
    return shell


def test_the_account(shell: Shell) -> None:
    account = shell.json("az account show")
    assert (account["environmentName"], account["state"], account["user"]["type"]) == (
        "FleetSandbox",
        "Enabled",
        "servicePrincipal",
    )
    assert account["user"]["name"] == shell.environment["AZURE_CLIENT_ID"]
    assert "East US 2" in shell.json("az account list-locations --query '[].displayName'")
    assert shell.json("az account get-access-token --query tenant") == account["tenantId"]


def test_the_secret_is_in_no_file_that_others_can_read(shell: Shell) -> None:
    secret = shell.environment["AZURE_CLIENT_SECRET"]
    holding = [p for p in shell.state.rglob("*") if p.is_file() and secret.encode() in p.read_bytes()]
    assert shell.state / "operator.secret" in holding
    assert [p for p in holding if p.stat().st_mode & 0o077] == []


def test_groups(group: Shell) -> None:
    assert group.json("az group show -n rg --query '[location, tags]'") == ["eastus2", {"a": "b"}]
    assert group.json("az group exists -n rg") is True
    assert group.json("az group exists -n none") is False
    assert group.json("az group update -n rg --set tags.c=d --query tags") == {"a": "b", "c": "d"}
    group("az group create -n gone -l westeurope -o none; az group delete -n gone --yes")
    assert group.json("az group list --query '[].name'") == ["rg"]
    assert "(ResourceGroupNotFound) Resource group 'gone' could not be found." in group.fails("az group show -n gone")


def test_resources_by_id(group: Shell) -> None:
    found = group.json("az resource list -g rg")
    assert [(one["name"], one["type"]) for one in found] == [("who", "Microsoft.ManagedIdentity/userAssignedIdentities")]
    identifier = found[0]["id"]
    shown = group.json(f"az resource show --ids {identifier}")
    assert shown["properties"]["clientId"] == group.json("az identity show -g rg -n who --query clientId")
    group("az identity create -g rg -n other -o none")
    group(f"az resource tag --tags a=b --ids {identifier.replace('/who', '/other')} -o none")
    assert group.json("az resource list --tag a=b --query [].name") == ["other"]
    group(f"az resource delete --ids {identifier.replace('/who', '/other')}")
    assert group.json("az identity list -g rg --query '[].name'") == ["who"]
    missing = group.fails(f"az resource show --ids {identifier.replace('/who', '/other')}")
    assert (
        "(ResourceNotFound) The Resource 'Microsoft.ManagedIdentity/userAssignedIdentities/other' under resource group "
        "'rg' was not "
        "found."
    ) in missing


def test_providers(group: Shell) -> None:
    assert group.json("az provider show -n Microsoft.KubernetesConfiguration --query registrationState") == "NotRegistered"
    group("az provider register -n Microsoft.KubernetesConfiguration --wait")
    assert group.json("az provider show -n Microsoft.KubernetesConfiguration --query registrationState") == "Registered"
    states = dict(group.json("az provider list --query '[].[namespace, registrationState]'"))
    assert states["Microsoft.Compute"] == "NotRegistered"
    assert "(InvalidResourceNamespace)" in group.fails("az provider show -n Microsoft.Nothing")


def test_roles_by_names_and_ids(group: Shell) -> None:
    scope = "--scope /subscriptions/$AZURE_SUBSCRIPTION_ID/resourceGroups/rg"
    made = group.json(
        f"az role assignment create --role Reader --assignee $(az identity show -g rg -n who --query clientId -o tsv) {scope}"
    )
    principal = group.json("az identity show -g rg -n who --query principalId")
    assert (made["principalId"], made["principalType"]) == (principal, "ServicePrincipal")
    listed = group.json(f"az role assignment list {scope}")
    assert [(one["roleDefinitionName"], one["principalId"]) for one in listed] == [("Reader", principal)]
    above = group.json(f"az role assignment list {scope} --include-inherited --query '[].roleDefinitionName'")
    assert sorted(above) == ["Owner", "Reader"]
    group(f"az role assignment delete --assignee {principal} --role Reader {scope}")
    assert group.json(f"az role assignment list {scope}") == []
    nobody = group.fails(f"az role assignment create --role Reader --assignee 00000000-1111-4111-8111-111111111111 {scope}")
    assert "Cannot find user or service principal in graph database" in nobody
    alone = f"--assignee-object-id {principal} --assignee-principal-type ServicePrincipal --role Reader {scope} --query name"
    assert group.json(f"az role assignment create {alone}") == group.json(
        f"az role assignment create {alone}"
    )  # az reads it first
    nothing = group.fails(f"az role assignment create --role 'No Such Role' --assignee {principal} {scope}")
    assert "Role 'No Such Role' doesn't exist" in nothing


def test_federated_credentials(group: Shell) -> None:
    on = "--identity-name who -g rg"
    trust = "--issuer https://example.org --subject a --audiences api://AzureADTokenExchange"
    made = group.json(f"az identity federated-credential create -n one-fic {on} {trust}")
    assert (made["issuer"], made["subject"], made["audiences"]) == ("https://example.org", "a", ["api://AzureADTokenExchange"])
    twice = group.fails(f"az identity federated-credential create -n two-fic {on} {trust}")
    assert "(Conflict) Issuer and subject combination already exists for this Managed Identity." in twice
    assert group.json(f"az identity federated-credential list {on} --query '[].name'") == ["one-fic"]
    group(f"az identity federated-credential delete -n one-fic {on} --yes")
    assert group.json(f"az identity federated-credential list {on}") == []
    flexible = "--claims-matching-expression-version 1 --claims-matching-expression-value \"claims['sub'] eq 'a'\""
    refused = group.fails(
        f"az identity federated-credential create -n three {on} --issuer https://example.org --audiences api://x {flexible}"
    )
    assert "(NotImplemented)" in refused and "claimsMatchingExpression" in refused


def test_compute(shell: Shell) -> None:
    shell("az provider register -n Microsoft.Compute")
    usages = {one["name"]["value"]: (one["currentValue"], one["limit"]) for one in shell.json("az vm list-usage -l eastus2")}
    assert int(usages["cores"][0]) == 0 and int(usages["cores"][1]) > 0
    sizes = shell.json("az vm list-skus -l eastus2 --size Standard_D2as_v6")
    assert [size["name"] for size in sizes] == ["Standard_D2as_v6"]
    capabilities = {one["name"]: one["value"] for one in sizes[0]["capabilities"]}
    assert (capabilities["vCPUs"], capabilities["MemoryGB"]) == ("2", "8")


def test_resource_graph_by_rest(group: Shell) -> None:
    """Use `az rest`, because the extension `resource-graph` is not on PyPI."""
    body = '{"query": "resources | project name, type"}'
    found = group.json(
        f"az rest --method post --url /providers/Microsoft.ResourceGraph/resources?api-version=2022-10-01 --body '{body}'"
    )
    assert {"name": "who", "type": "microsoft.managedidentity/userassignedidentities"} in found["data"]


def test_signing_in_with_a_wrong_secret(shell: Shell, tmp_path: Path) -> None:
    """Use another folder of the Azure CLI, because it would otherwise use the cached token of the right secret."""
    cloud = (
        'az cloud register --name FleetSandbox --endpoint-resource-manager "$ARM_ENDPOINT"; az cloud set --name FleetSandbox'
    )
    shell(cloud, AZURE_CONFIG_DIR=str(tmp_path))
    login = "az login --service-principal --username $AZURE_CLIENT_ID --tenant $AZURE_TENANT_ID --password wrong"
    assert "AADSTS7000215: Invalid client secret provided." in shell.fails(login, AZURE_CONFIG_DIR=str(tmp_path))


def test_the_directory(group: Shell) -> None:
    principal = group.json("az identity show -g rg -n who --query principalId")
    shown = group.json(f"az ad sp show --id {principal}")
    assert (shown["displayName"], shown["servicePrincipalType"]) == ("who", "ManagedIdentity")
    assert group.json("az ad sp list --filter \"displayName eq 'who'\" --query '[].id'") == [principal]
    assert "does not exist" in group.fails("az ad sp show --id 00000000-1111-4111-8111-111111111111")
    assert "The sandbox does not emulate Microsoft Graph's 'GET /applications'" in group.fails("az ad app list")


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("az lock list", "management locks"),
        ("az deployment group list -g rg", "template deployments"),
        ("az network vnet list", "Microsoft.Network"),
        ("az policy assignment list", "Azure Policy"),
        ("az group export -n rg", "exporting a group's template"),
        (
            'az role definition create --role-definition \'{"Name": "x", "Actions": ["*/read"], "AssignableScopes": '
            "[\"/subscriptions/'$AZURE_SUBSCRIPTION_ID'\"]}'",
            "custom role",
        ),
    ],
)
def test_commands_not_emulated_are_refused_by_name(group: Shell, command: str, what: str) -> None:
    said = group.fails(command)
    assert "(NotImplemented) The sandbox does not emulate" in said and what in said
