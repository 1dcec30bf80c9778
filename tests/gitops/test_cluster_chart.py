"""The cluster chart: the objects for a number of clusters, the values that it refuses, and ASO's schemas of its objects."""

from __future__ import annotations

from typing import Any

import helm_python
import pytest

from azuresandbox.kubernetes.model.schema import Schema
from azuresandbox.machine.images.aso.crds import definition
from azuresandbox.machine.images.aso.kinds import KINDS
from fleetlib.environments import cluster_name
from fleetlib.parameters import MAX_CLUSTERS
from tests.gitops.rendered import CLUSTER_CHART, Object, render


def test_helm_lint_passes() -> None:
    found = helm_python.lint(str(CLUSTER_CHART))
    assert found["messages"] == [] and found["errors"] == []


@pytest.mark.parametrize("count", [0, 1, 3, MAX_CLUSTERS])
def test_each_cluster_has_three_objects_with_unique_names(count: int) -> None:
    objects = render(CLUSTER_CHART, {"clusterCount": count})
    assert len(objects) == 3 * count
    assert len({(obj["kind"], obj["metadata"]["name"]) for obj in objects}) == 3 * count
    clusters = [obj["metadata"]["name"] for obj in objects if obj["kind"] == "ManagedCluster"]
    assert clusters == [cluster_name("podinfo-prod", number) for number in range(count)]


def test_flux_is_owned_by_its_cluster_and_has_the_same_name_on_each() -> None:
    objects = render(CLUSTER_CHART, {"clusterCount": 2})
    for number in range(2):
        owned = [obj for obj in objects if obj["spec"]["owner"]["name"] == cluster_name("podinfo-prod", number)]
        assert {obj["kind"]: obj["spec"]["azureName"] for obj in owned} == {
            "Extension": "flux",
            "FluxConfiguration": "cluster-config",
        }
        assert all(obj["spec"]["owner"]["kind"] == "ManagedCluster" for obj in owned)
    assert {o["spec"]["owner"]["name"] for o in objects if o["kind"] == "ManagedCluster"} == {"myfleet-rg"}


def test_fewer_clusters_leave_the_others_as_they_are() -> None:
    five, three = render(CLUSTER_CHART, {"clusterCount": 5}), render(CLUSTER_CHART, {"clusterCount": 3})
    assert five[: len(three)] == three


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"kubernetesVersion": "1.34.2", "tags": {"cost": "42"}},
        {"dnsPrefix": "shop", "flux": {"branch": "next"}},
    ],
)
def test_asos_definitions_accept_every_object(values: Object) -> None:
    schemas = {kind.kind: definition(kind, "v2.13.0")["spec"]["versions"] for kind in KINDS}
    for obj in render(CLUSTER_CHART, {"clusterCount": 2, **values}):
        version = obj["apiVersion"].partition("/")[2]
        found = next(v for v in schemas[obj["kind"]] if v["name"] == version)
        schema = Schema(found["schema"]["openAPIV3Schema"])
        assert schema.validate(obj) == []
        assert schema.prune(obj) == [], "there are no unknown fields"


def test_values_reach_the_cluster() -> None:
    values = {
        "clusterCount": 1,
        "location": "westeurope",
        "resourceGroup": "other-rg",
        "vmSize": "Standard_D4as_v5",
        "kubernetesVersion": "1.34",
        "nodeCount": {"min": 2, "max": 7},
        "tags": {"environment": "mine", "cost": "42"},
        "dnsPrefix": "shop",
        "flux": {"repository": "https://example.invalid/w", "branch": "b", "kustomizationPath": "./x"},
    }
    cluster, _, flux = render(CLUSTER_CHART, values)
    spec, pool = cluster["spec"], cluster["spec"]["agentPoolProfiles"][0]
    assert (spec["location"], spec["owner"]["name"], spec["kubernetesVersion"]) == ("westeurope", "other-rg", "1.34")
    assert (pool["minCount"], pool["maxCount"], pool["vmSize"], pool["orchestratorVersion"]) == (
        2,
        7,
        "Standard_D4as_v5",
        "1.34",
    )
    assert "count" not in pool and spec["dnsPrefix"] == "shop-0"
    assert spec["tags"] == {"environment": "podinfo-prod", "cost": "42"}, "the environment is the release's, not a tag's"
    git = flux["spec"]["gitRepository"]
    assert (git["url"], git["repositoryRef"]["branch"]) == ("https://example.invalid/w", "b")
    assert flux["spec"]["kustomizations"]["apps"]["path"] == "./x" and flux["spec"]["kustomizations"]["apps"]["dependsOn"] == [
        "infra"
    ]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"clusterCount": -1}, "/clusterCount"),
        ({"clusterCount": MAX_CLUSTERS + 1}, "/clusterCount"),
        ({"clusterCount": "3"}, "/clusterCount"),
        ({"clustercount": 3}, "'clustercount' not allowed"),
        ({"location": "East US 2"}, "/location"),
        ({"kubernetesVersion": "latest"}, "/kubernetesVersion"),
        ({"vmSize": "D2as_v6"}, "/vmSize"),
        ({"nodeCount": {"min": 0}}, "/nodeCount/min"),
        ({"nodeCount": {"min": 4}}, "nodeCount.min (4) must not exceed nodeCount.max (3)"),
        ({"tags": {"a<b": "c"}}, "invalid propertyName 'a<b'"),
        ({"dnsPrefix": "-x"}, "/dnsPrefix"),
        ({"flux": {"repository": "github.com/x"}}, "/flux/repository"),
        ({"flux": {"kustomizationPath": "apps/prod"}}, "/flux/kustomizationPath"),
        ({"flux": {"path": "./x"}}, "'path' not allowed"),
    ],
)
def test_wrong_values_are_refused_by_name(values: Object, said: str) -> None:
    with pytest.raises(helm_python.HelmError) as error:
        render(CLUSTER_CHART, values)
    assert said in str(error.value)


def test_a_release_name_too_long_for_dns_is_refused() -> None:
    with pytest.raises(helm_python.HelmError, match="set dnsPrefix to something shorter"):
        render(CLUSTER_CHART, release="a" * 52)
    long: Any = render(CLUSTER_CHART, {"dnsPrefix": "short"}, release="a" * 52)
    assert long[0]["spec"]["dnsPrefix"] == "short-0"
