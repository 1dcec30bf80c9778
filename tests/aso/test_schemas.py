"""The definitions' schemas: valid objects pass, invalid ones are refused, and the file is up to date."""

from __future__ import annotations

import json
from typing import Any

import pytest

from azuresandbox.kubernetes.model.schema import Schema
from azuresandbox.machine.images.aso.crds import definition
from azuresandbox.machine.images.aso.kinds import KINDS
from tools import aso_schemas


def _schema(kind: str) -> dict[str, Any]:
    found = next(k for k in KINDS if k.kind == kind)
    version = next(v for v in definition(found, "v2.13.0")["spec"]["versions"] if v["storage"])
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


def test_the_schema_file_is_generated_from_the_installed_sdks() -> None:
    assert aso_schemas.TARGET.read_text() == aso_schemas.render(), "run python tools/aso_schemas.py"


@pytest.mark.parametrize("kind", [kind.kind for kind in KINDS])
def test_every_definition_has_one_storage_version_and_asos_columns(kind: str) -> None:
    found = next(k for k in KINDS if k.kind == kind)
    crd = definition(found, "v2.13.0")
    versions = crd["spec"]["versions"]
    assert [v["name"] for v in versions if v["storage"]] == [found.storage]
    assert [c["name"] for c in versions[0]["additionalPrinterColumns"]] == ["Ready", "Severity", "Reason", "Message"]
    assert json.loads(json.dumps(crd)) == crd
    assert Schema(versions[0]["schema"]["openAPIV3Schema"]).problems() == []


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("agentPoolProfiles.items.vnetSubnetReference", "object"),
        ("agentPoolProfiles.items.osSKU", "string"),
        ("networkProfile.loadBalancerProfile.outboundIPs.publicIPs.items.reference", "object"),
        ("identity.userAssignedIdentities.items.reference", "object"),
        ("servicePrincipalProfile.secret", "object"),
        ("operatorSpec.secrets.adminCredentials", "object"),
        ("oidcIssuerProfile.enabled", "boolean"),
        ("addonProfiles.*.config", "object"),
        ("azureName", "string"),
    ],
)
def test_members_have_asos_names(path: str, expected: str) -> None:
    node = _schema("ManagedCluster")["properties"]["spec"]
    for part in path.split("."):
        node = node["items"] if part == "items" else node["additionalProperties"] if part == "*" else node["properties"][part]
    assert node["type"] == expected


@pytest.mark.parametrize("member", ["vnetSubnetID", "provisioningState", "id", "fqdn", "properties", "powerState"])
def test_members_that_aso_renames_or_arm_sets_are_pruned(member: str) -> None:
    schema = Schema(_schema("ManagedCluster"))
    obj = {"metadata": {"name": "x"}, "spec": {"location": "eastus2", "owner": {"name": "rg"}, member: "x"}}
    assert schema.prune(obj) == [f"spec.{member}"]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"agentPoolProfiles": [{"name": "system", "osSKU": "Gentoo"}]}, "osSKU"),
        ({"agentPoolProfiles": {"name": "system"}}, "agentPoolProfiles"),
        ({"owner": {"name": "rg", "armId": "nonsense"}}, "armId"),
        ({"azureName": "-"}, "azureName"),
        ({"location": None}, "location"),
    ],
)
def test_values_that_asos_definition_refuses(spec: dict[str, Any], said: str) -> None:
    members = {"location": "eastus2", "owner": {"name": "rg"}, **spec}
    obj = {"metadata": {"name": "x"}, "spec": {key: value for key, value in members.items() if value is not None}}
    assert said in str(Schema(_schema("ManagedCluster")).validate(obj))
