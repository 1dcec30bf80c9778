"""ASO's settings: definitions by pattern, credentials by object and namespace, exports, and settings with which it exits."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from azuresandbox.machine.images.aso import ConfigError
from azuresandbox.machine.images.aso.crds import CrdError
from tests.aso.aso_world import AUDIENCE, ISSUER, Fleet, cluster, group, thing

SUCCEEDED = ("True", "", "Succeeded", "")
NAME = "podinfo-prod-0-aks"


def _definitions(fleet: Fleet) -> set[str]:
    return {name for kind, _, name in fleet.api.objects if kind == "CustomResourceDefinition"}


async def test_only_the_groups_of_the_pattern_are_installed(tmp_path: Path) -> None:
    async with Fleet.open(tmp_path) as fleet:
        await fleet.start("resources.azure.com/*;containerservice.azure.com/ManagedCluster;eventhub.azure.com/*")
        assert _definitions(fleet) == {"resourcegroups.resources.azure.com", "managedclusters.containerservice.azure.com"}
        assert any('"eventhub.azure.com/*": the sandbox has no kind of this group' in line for line in fleet.log)
        await fleet.stop()
        writes = len(fleet.api.writes)
        await fleet.start("resources.azure.com/*")
        assert not [w for w in fleet.api.writes[writes:] if "CustomResource" in w], (
            "installed definitions are not written again"
        )


@pytest.mark.parametrize(
    ("pattern", "env", "kind", "said"),
    [
        ("", {}, CrdError, "No existing CRDs in cluster and no --crd-pattern specified"),
        ("nonsense/*", {}, CrdError, 'no match for "nonsense/*"'),
        ("resources.azure.com/*", {"AZURE_SYNC_PERIOD": "soon"}, ConfigError, "AZURE_SYNC_PERIOD"),
        ("resources.azure.com/*", {"DEFAULT_RECONCILE_POLICY": "maybe"}, ConfigError, "not a known reconcile policy"),
    ],
)
async def test_unusable_settings_end_the_container(
    tmp_path: Path, pattern: str, env: dict[str, str], kind: type[Exception], said: str
) -> None:
    async with Fleet.open(tmp_path) as fleet:
        fleet.env |= env
        await fleet.start(pattern)
        error = await fleet.stop()
        assert isinstance(error, kind) and said in str(error)
        assert fleet.is_ready == []


async def test_no_subscription_means_no_global_credential(tmp_path: Path) -> None:
    async with Fleet.open(tmp_path) as fleet:
        fleet.env["AZURE_SUBSCRIPTION_ID"] = ""
        await fleet.start()
        await fleet.create(group())
        assert "global credential not configured" in fleet.ready("ResourceGroup", "myfleet-rg")[3]


async def test_a_credential_may_be_named_by_the_object_or_its_namespace(tmp_path: Path) -> None:
    async with Fleet.open(tmp_path) as fleet:
        working = {key: fleet.env[key] for key in ("AZURE_SUBSCRIPTION_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_ID")}
        fleet.env["AZURE_CLIENT_ID"] = "00000000-0000-4000-8000-00000000dead"
        await fleet.start()
        named = group()
        named["metadata"]["annotations"]["serviceoperator.azure.com/credential-from"] = "mine"
        await fleet.create(named)
        assert fleet.ready("ResourceGroup", "myfleet-rg")[3] == (
            'clusters/mine does not exist (credential secret not found: Secret "mine" not found)'
        )
        await fleet.create(fleet.secret("mine", AZURE_TENANT_ID="t", AZURE_CLIENT_ID="c"))
        await fleet.advance(10)
        assert 'does not contain key "AZURE_SUBSCRIPTION_ID"' in fleet.ready("ResourceGroup", "myfleet-rg")[3]
        await fleet.create(fleet.secret("mine", **working))
        await fleet.advance(240)
        assert fleet.ready("ResourceGroup", "myfleet-rg") == SUCCEEDED
        await fleet.create(fleet.secret("aso-credential", **working), cluster())
        await fleet.advance(1800)
        assert fleet.ready("ManagedCluster", NAME) == SUCCEEDED
        assert ("Normal", "CredentialFrom", 'Using credential from "clusters/aso-credential"') in fleet.events(NAME)


async def test_identities_federated_credentials_and_exports(tmp_path: Path) -> None:
    async with Fleet.open(tmp_path) as fleet:
        await fleet.start()
        operator = {
            "configMaps": {"oidcIssuerProfile": {"name": "issuer", "key": "url"}},
            "secrets": {"userCredentials": {"name": "kubeconfig", "key": "value"}},
        }
        identity = thing(
            "UserAssignedIdentity",
            "app",
            {
                "location": "eastus2",
                "owner": {"name": "myfleet-rg"},
                "operatorSpec": {"configMaps": {"clientId": {"name": "app", "key": "client"}}},
            },
        )
        trust = thing(
            "FederatedIdentityCredential",
            "app-trust",
            {
                "owner": {"name": "app"},
                "issuerFromConfig": {"name": "issuer", "key": "url"},
                "audiences": [AUDIENCE],
                "subject": "system:serviceaccount:default:app",
            },
        )
        await fleet.create(group(), identity, trust)
        await fleet.advance(60)
        assert fleet.ready("FederatedIdentityCredential", "app-trust")[1:3] == ("Warning", "ConfigMapNotFound")
        await fleet.create(cluster(oidcIssuerProfile={"enabled": True}, operatorSpec=operator))
        await fleet.advance(3600)
        assert fleet.ready("ManagedCluster", NAME) == SUCCEEDED
        issuer = fleet.api.objects["ConfigMap", "clusters", "issuer"]["data"]["url"]
        assert issuer.startswith("https://")
        assert b"kind: Config" in base64.b64decode(fleet.api.objects["Secret", "clusters", "kubeconfig"]["data"]["value"])
        assert fleet.ready("FederatedIdentityCredential", "app-trust") == SUCCEEDED
        assert fleet.get("FederatedIdentityCredential", "app-trust")["status"]["issuer"] == issuer
        assert fleet.api.objects["ConfigMap", "clusters", "app"]["data"]["client"]
        assert issuer != ISSUER


async def test_references_become_ids(tmp_path: Path) -> None:
    async with Fleet.open(tmp_path) as fleet:
        await fleet.start()
        identity = thing("UserAssignedIdentity", "nodes", {"location": "eastus2", "owner": {"name": "myfleet-rg"}})
        reference = {"group": "managedidentity.azure.com", "kind": "UserAssignedIdentity", "name": "nodes"}
        assigned = {"type": "UserAssigned", "userAssignedIdentities": [{"reference": reference}]}
        await fleet.create(group(), cluster(identity=assigned))
        await fleet.advance(30)
        status = fleet.ready("ManagedCluster", NAME)
        assert status[1:3] == ("Warning", "ReferenceNotFound") and status[3].startswith("clusters/nodes does not exist (")
        await fleet.create(identity)
        await fleet.advance(3600)
        assert fleet.ready("ManagedCluster", NAME) == SUCCEEDED
        found = await fleet.cluster_in_azure()
        assert [key.rpartition("/")[2] for key in found["identity"]["userAssignedIdentities"]] == ["nodes"]


async def test_the_operator_and_the_namespace_may_set_the_default_policy(tmp_path: Path) -> None:
    async with Fleet.open(tmp_path) as fleet:
        fleet.env["DEFAULT_RECONCILE_POLICY"] = "detach-on-delete"
        await fleet.start()
        await fleet.create(group(), cluster())
        await fleet.advance(1800)
        await fleet.delete("ManagedCluster", NAME)
        await fleet.advance(60)
        assert not fleet.has("ManagedCluster", NAME) and await fleet.cluster_in_azure() is not None
        metadata = {"name": "clusters", "annotations": {"serviceoperator.azure.com/reconcile-policy": "skip"}}
        fleet.api.put({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        await fleet.create(cluster("never-made"))
        await fleet.advance(60)
        assert fleet.ready("ManagedCluster", "never-made")[2] == "AzureResourceNotFound"
