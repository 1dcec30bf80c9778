"""The seed's runbook by the Azure CLI: its own commands, with a misspelt word and the order of the Secret corrected.

The `k8s-configuration` extension is in no registry, so its two commands are `az rest` with the documented bodies.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.clients_az.conftest import FLEET, Shell

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SEED = "https://github.com/markjgardner/aks-multi-cluster-management"

CONTROL_PLANE = r"""
LOCATION=eastus2
CONTROLPLANE_GROUP=controlplane-rg
ASO_CLUSTER=asocluster-aks
SUBID=$(az account show -o tsv --query id)
TENANT=$(az account show -o tsv --query tenantId)
USERNAME=$(az account show -o tsv --query user.name)

az group create -n $CONTROLPLANE_GROUP -l $LOCATION
ASOID=$(az aks create -g $CONTROLPLANE_GROUP -n $ASO_CLUSTER --node-count 1 \
    --enable-oidc-issuer --enable-workload-identity --generate-ssh-keys -o tsv --query id)

ASO_IDENTITY_NAME=aso-controlplane-identity
IDENTITY=$(az identity create -g $CONTROLPLANE_GROUP -n $ASO_IDENTITY_NAME -o tsv --query clientId)
az role assignment create --role "Contributor" --assignee $IDENTITY \
    --scope /subscriptions/$SUBID/resourceGroups/$CONTROLPLANE_GROUP

ISSUER=$(az aks show -g $CONTROLPLANE_GROUP -n $ASO_CLUSTER -o json | jq -r '.oidcIssuerProfile.issuerUrl')
az identity federated-credential create --name aso-federated-credential \
    --identity-name $ASO_IDENTITY_NAME -g $CONTROLPLANE_GROUP \
    --issuer $ISSUER \
    --subject "system:serviceaccount:azureserviceoperator-system:azureserviceoperator-default" \
    --audiences "api://AzureADTokenExchange"

az aks get-credentials -g $CONTROLPLANE_GROUP -n $ASO_CLUSTER --overwrite-existing
"""

FLUX = r"""
CLUSTER=$(az aks show -g controlplane-rg -n asocluster-aks -o tsv --query id)
FLUX=$CLUSTER/providers/Microsoft.KubernetesConfiguration
az rest --method put --url "$FLUX/extensions/flux?api-version=2023-05-01" -o none --body '{"properties": {
  "extensionType": "microsoft.flux", "autoUpgradeMinorVersion": true}}'
az resource wait --created --ids $FLUX/extensions/flux --api-version 2023-05-01 --interval 1
az rest --method put --url "$FLUX/fluxConfigurations/cluster-config?api-version=2023-05-01" -o none --body '{"properties": {
  "scope": "cluster", "namespace": "cluster-config", "sourceKind": "GitRepository",
  "gitRepository": {"url": "'$SEED'", "repositoryRef": {"branch": "main"}},
  "kustomizations": {"controlplane": {"path": "./flux/controlplane", "prune": true}}}}'
az resource wait --created --ids $FLUX/fluxConfigurations/cluster-config --api-version 2023-05-01 --interval 1

kubectl create secret generic aso-identity -n cluster-config --from-literal=values.yaml="
azureSubscriptionID: $AZURE_SUBSCRIPTION_ID
azureTenantID: $AZURE_TENANT_ID
azureClientID: $(az identity show -g controlplane-rg -n aso-controlplane-identity -o tsv --query clientId)
"
"""

FLEET_GROUP = r"""
LOCATION=eastus2
SUBID=$AZURE_SUBSCRIPTION_ID
IDENTITY=$(az identity show -g controlplane-rg -n aso-controlplane-identity -o tsv --query clientId)
FLEET_GROUP=myfleet-rg
az group create -n $FLEET_GROUP -l $LOCATION
az role assignment create --role "Contributor" --assignee $IDENTITY --scope /subscriptions/$SUBID/resourceGroups/$FLEET_GROUP

az rest --method patch -o none --url "$(az aks show -g controlplane-rg -n asocluster-aks -o tsv --query id)/providers/\
Microsoft.KubernetesConfiguration/fluxConfigurations/cluster-config?api-version=2023-05-01" --body '{"properties": {
  "kustomizations": {"clusters": {"path": "./flux/clusters", "prune": true, "syncIntervalInSeconds": 60}}}}'
"""

FLUX_ID = "$(az aks show -g controlplane-rg -n asocluster-aks -o tsv --query id)/providers/Microsoft.KubernetesConfiguration"


def _git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, timeout=300)


def _repository(folder: Path) -> Path:
    """Create a stand-in for the seed's repository and return its folder: one object in each reconciled folder."""
    for name in ("controlplane", "clusters"):
        path = folder / "flux" / name / "settings.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: from-{name}, namespace: cluster-config}}\n")
    _git(folder, "init", "-b", "main")
    _git(folder, "add", ".")
    _git(folder, "commit", "-m", "as the seed")
    return folder


@pytest.fixture(scope="module")
def built(shell: Shell) -> subprocess.CompletedProcess[str]:
    """Build the control plane by the seed's commands, and return their result."""
    done = shell.run(CONTROL_PLANE)
    assert done.returncode == 0, done.stderr
    return done


def test_the_seeds_commands(shell: Shell, built: subprocess.CompletedProcess[str], tmp_path: Path) -> None:
    shell(f'"{FLEET}" sandbox mirror {SEED} "{_repository(tmp_path)}"')
    # The first use of each provider registers it, as on a fresh subscription: the CLI says so and waits ten seconds.
    for namespace in ("Microsoft.ContainerService", "Microsoft.ManagedIdentity"):
        assert f"Resource provider '{namespace}' used by this operation is not registered" in built.stderr
    assert built.stderr.count("Registration succeeded.") == 2

    cluster = shell.json("az aks show -g controlplane-rg -n asocluster-aks")
    assert cluster["provisioningState"] == "Succeeded"
    assert cluster["oidcIssuerProfile"]["enabled"] and cluster["securityProfile"]["workloadIdentity"]["enabled"]
    assert cluster["linuxProfile"]["ssh"]["publicKeys"][0]["keyData"].startswith("ssh-rsa ")
    assert [(pool["name"], pool["count"], pool["mode"]) for pool in cluster["agentPoolProfiles"]] == [
        ("nodepool1", 1, "System")
    ]
    nodes = shell("kubectl wait --for=condition=Ready nodes --all --timeout=60s")
    assert nodes.startswith("node/aks-nodepool1-")

    shell("az provider register -n Microsoft.KubernetesConfiguration")
    shell(FLUX, SEED=SEED)
    shell("kubectl wait -n cluster-config kustomization/cluster-config-controlplane --for=condition=Ready --timeout=60s")
    shell("kubectl get configmap from-controlplane -n cluster-config")

    shell(FLEET_GROUP)
    shell("kubectl wait -n cluster-config kustomization/cluster-config-clusters --for=create --timeout=60s")
    shell("kubectl wait -n cluster-config kustomization/cluster-config-clusters --for=condition=Ready --timeout=60s")
    shell("kubectl get configmap from-clusters -n cluster-config")
    wait = (
        f"az resource wait --ids {FLUX_ID}/fluxConfigurations/cluster-config --api-version 2023-05-01 --interval 1 --timeout 60"
    )
    shell(f"{wait} --custom \"properties.complianceState=='Compliant'\"")
    _delete_flux_by_rest(shell)


def _delete_flux_by_rest(shell: Shell) -> None:
    """Send the requests of `az k8s-configuration flux delete` and `az k8s-extension delete`."""
    version = "api-version=2023-05-01"
    kinds = ("fluxConfigurations", "extensions")
    listed = {kind: shell.json(f'az rest --url "{FLUX_ID}/{kind}?{version}" --query value[].name') for kind in kinds}
    assert listed == {"fluxConfigurations": ["cluster-config"], "extensions": ["flux"]}
    for kind, names in listed.items():
        shell(f'az rest --method delete --url "{FLUX_ID}/{kind}/{names[0]}?{version}"')
        shell(
            f"az resource wait --deleted --ids {FLUX_ID}/{kind}/{names[0]} --api-version 2023-05-01 --interval 1 --timeout 60"
        )
    assert "(NotFound)" in shell.fails("kubectl get configmap from-clusters -n cluster-config")
    other = '{"properties": {"extensionType": "microsoft.dapr"}}'
    refused = shell.fails(f"""az rest --method put --url "{FLUX_ID}/extensions/dapr?{version}" --body '{other}'""")
    assert "The sandbox does not emulate" in refused and "microsoft.dapr" in refused


SIGN_IN = r"""
kubectl create namespace azureserviceoperator-system
kubectl create serviceaccount azureserviceoperator-default -n azureserviceoperator-system
TOKEN=$(kubectl create token azureserviceoperator-default -n azureserviceoperator-system --audience api://AzureADTokenExchange)
CLIENT=$(az identity show -g controlplane-rg -n aso-controlplane-identity -o tsv --query clientId)
export AZURE_CONFIG_DIR=$OTHER
az cloud register --name FleetSandbox --endpoint-resource-manager "$ARM_ENDPOINT" --only-show-errors
az cloud set --name FleetSandbox --only-show-errors
az login --service-principal --username $CLIENT --tenant $AZURE_TENANT_ID --federated-token "$TOKEN" -o none
"""


def test_the_identity_signs_in_with_a_service_account_token_as_contributor(
    shell: Shell, built: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    """The seed's trust works for the Azure CLI as for ASO, within the limits of the role."""
    other = {"AZURE_CONFIG_DIR": str(tmp_path), "OTHER": str(tmp_path)}
    shell(SIGN_IN, **{**other, "AZURE_CONFIG_DIR": shell.environment["AZURE_CONFIG_DIR"]})
    groups = shell.json("az group list --query '[].name'", **other)
    assert "controlplane-rg" in groups and "MC_controlplane-rg_asocluster-aks_eastus2" not in groups
    assert shell("az aks show -g controlplane-rg -n asocluster-aks -o tsv --query name", **other).strip() == "asocluster-aks"
    refused = shell.fails("az group create -n another-rg -l eastus2", **other)
    assert "(AuthorizationFailed)" in refused and "/resourcegroups/write" in refused.lower()
    scope = "--scope /subscriptions/$AZURE_SUBSCRIPTION_ID/resourceGroups/controlplane-rg"
    grant = f"az role assignment create --role Owner --assignee-object-id {'1' * 8}-1111-4111-8111-111111111111"
    refused = shell.fails(f"{grant} --assignee-principal-type ServicePrincipal {scope}", **other)
    assert "(AuthorizationFailed)" in refused and "Microsoft.Authorization/roleAssignments/write" in refused
    refused = shell.fails(f"az role assignment create --role Reader --assignee $AZURE_CLIENT_ID {scope}", **other)
    assert "Failed to query" in refused and "invoking Graph API" in refused  # the directory is closed to it too
