"""Flux's CRDs: the tables become structural schemas with the fields of Flux's API references."""

from __future__ import annotations

from typing import Any

import pytest

from azuresandbox.machine.images.flux.crds import flux_crds

CRDS = {crd["spec"]["names"]["kind"]: crd["spec"] for crd in flux_crds()}


def properties(kind: str, version: str, part: str = "spec") -> dict[str, Any]:
    found = next(item for item in CRDS[kind]["versions"] if item["name"] == version)
    fields: dict[str, Any] = found["schema"]["openAPIV3Schema"]["properties"][part]
    return fields


@pytest.mark.parametrize(
    ("kind", "served"),
    [
        ("GitRepository", ["v1", "v1beta2"]),
        ("OCIRepository", ["v1", "v1beta2"]),
        ("HelmRepository", ["v1", "v1beta2"]),
        ("HelmChart", ["v1", "v1beta2"]),
        ("Bucket", ["v1", "v1beta2"]),
        ("Kustomization", ["v1", "v1beta2"]),
        ("HelmRelease", ["v2", "v2beta2"]),
        ("Alert", ["v1beta3"]),
        ("Provider", ["v1beta3"]),
        ("Receiver", ["v1"]),
    ],
)
def test_one_version_is_stored_and_older_ones_warn(kind: str, served: list[str]) -> None:
    versions = CRDS[kind]["versions"]
    assert [version["name"] for version in versions] == served
    assert [version["storage"] for version in versions] == [True] + [False] * (len(served) - 1)
    assert all(version["deprecationWarning"].endswith(f"upgrade to {served[0]}") for version in versions[1:])


def test_fields_defaults_and_constraints() -> None:
    git = properties("GitRepository", "v1")
    assert git["required"] == ["interval", "url"]
    assert git["properties"]["timeout"]["default"] == "60s"
    assert git["properties"]["url"]["pattern"] == "^(http|https|ssh)://.*$"
    assert set(git["properties"]["ref"]["properties"]) == {"branch", "tag", "semver", "name", "commit"}
    release = properties("HelmRelease", "v2")["properties"]
    assert release["chart"]["properties"]["spec"]["properties"]["version"]["default"] == "*"
    assert release["values"] == {"x-kubernetes-preserve-unknown-fields": True}
    assert properties("Kustomization", "v1")["required"] == ["interval", "prune", "sourceRef"]
    assert properties("OCIRepository", "v1", "status")["default"] == {"observedGeneration": -1}


def test_an_older_version_has_its_own_fields() -> None:
    old, new = properties("GitRepository", "v1beta2")["properties"], properties("GitRepository", "v1")["properties"]
    assert "gitImplementation" in old
    assert "gitImplementation" not in new
    assert "sparseCheckout" in new
    assert "sparseCheckout" not in old
    assert old["verify"]["required"] == ["mode", "secretRef"]


def _schemas(node: Any) -> list[dict[str, Any]]:
    children = [*node.get("properties", {}).values(), *(node[k] for k in ("items", "additionalProperties") if k in node)]
    return [node, *(found for child in children for found in _schemas(child))]


@pytest.mark.parametrize("kind", list(CRDS))
def test_schemas_are_structural(kind: str) -> None:
    for version in CRDS[kind]["versions"]:
        for node in _schemas(version["schema"]["openAPIV3Schema"]):
            assert "type" in node or node == {"x-kubernetes-preserve-unknown-fields": True}
            assert set(node.get("required", ())) <= set(node.get("properties", {}))


def test_columns_and_short_names() -> None:
    assert CRDS["GitRepository"]["names"]["shortNames"] == ["gitrepo"]
    titles = [column["name"] for column in CRDS["OCIRepository"]["versions"][0]["additionalPrinterColumns"]]
    assert titles == ["URL", "Ready", "Status", "Age"]
    assert "subresources" not in CRDS["Provider"]["versions"][0]


def test_callers_get_copies() -> None:
    flux_crds()[0]["spec"].clear()
    assert flux_crds()[0]["spec"]
