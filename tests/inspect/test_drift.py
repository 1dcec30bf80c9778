"""Drift between Git, the control plane and Azure: on documents, and on random trees."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetlib.errors import RetryableError
from fleetlib.inspect.drift import as_azure_sees_it, compare, owner
from tests.inspect.fleet_documents import SINCE, Documents
from tests.inspect.test_fleet_tables import PROD

POOL = {"name": "system", "mode": "System", "minCount": 1, "maxCount": 3, "vmSize": "standard_d2as_V6", "osSKU": "AzureLinux"}


class Drifting(Documents):
    """A fleet whose rendered chart equals the control plane's objects."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for obj in self.hub["ManagedCluster"]:
            obj["spec"] |= {
                "agentPoolProfiles": [dict(POOL)],
                "kubernetesVersion": "1.35",
                "tags": {"environment": obj["metadata"]["labels"]["fleet/environment"]},
            }
            obj["metadata"]["managedFields"] = [
                {
                    "manager": "helm-controller",
                    "time": "2026-01-01T00:00:00Z",
                    "fieldsV1": {"f:spec": {"f:agentPoolProfiles": {}, "f:location": {}}},
                },
                {"manager": "kubectl-edit", "time": SINCE, "fieldsV1": {"f:spec": {"f:agentPoolProfiles": {}}}},
            ]
        for obj in self.hub["Extension"]:
            obj["spec"]["autoUpgradeMinorVersion"] = True
        self.rendered = {
            (obj["kind"], obj["metadata"]["name"]): copy.deepcopy(obj)
            for kind in ("ManagedCluster", "Extension", "FluxConfiguration")
            for obj in self.hub[kind]
        }

    def drift(self) -> Any:
        fleet = self.fleet()
        assert fleet._reading is not None
        fleet._reading._parts["the rendered chart"] = self.rendered
        return fleet.drift(deep=False)


def only(documents: Drifting) -> Any:
    frame = documents.drift()
    assert len(frame) == 1, frame.T.to_string()
    return frame.iloc[0]


def test_an_unchanged_fleet_has_no_differences() -> None:
    frame = Drifting().drift()
    assert len(frame) == 0 and frame.attrs["unread"] == {}


def test_an_edit_on_the_control_plane_has_its_manager_and_time() -> None:
    documents = Drifting()
    documents.object("ManagedCluster", PROD)["spec"]["agentPoolProfiles"][0]["maxCount"] = 5
    documents.clusters[PROD]["properties"]["agentPoolProfiles"][0]["maxCount"] = 5
    found = only(documents)
    assert (found.layer, found.kind, found.field, found.declared, found.actual) == (
        "aso",
        "changed",
        "agentPoolProfiles.system.maxCount",
        "3",
        "5",
    )
    assert found.by == "kubectl-edit" and found.since.isoformat() == SINCE.replace("Z", "+00:00")


def test_missing_and_undeclared_objects_on_the_control_plane() -> None:
    documents = Drifting()
    documents.hub["FluxConfiguration"].remove(documents.object("FluxConfiguration", f"{PROD}-config"))
    documents.configurations.pop(PROD)
    assert only(documents)[["layer", "object", "kind"]].tolist() == ["aso", f"FluxConfiguration/{PROD}-config", "missing"]
    documents = Drifting()
    documents.add("more-aks", "podinfo-prod")
    documents.object("ManagedCluster", "more-aks")["spec"]["agentPoolProfiles"] = [dict(POOL)]
    assert only(documents)[["cluster", "layer", "object", "kind"]].tolist() == [
        "more-aks",
        "aso",
        "ManagedCluster/more-aks",
        "orphan",
    ]


@pytest.mark.parametrize("where", ["clusters", "extensions", "configurations"])
def test_a_resource_that_was_deleted_in_azure_is_missing(where: str) -> None:
    documents = Drifting()
    getattr(documents, where).pop(PROD)
    found = only(documents)
    assert (found.kind, found.cluster) == ("missing", PROD)


def test_undeclared_resources_in_azure_are_orphans() -> None:
    documents = Drifting()
    documents.add("forgotten-aks", "podinfo-old")
    for kind in ("ManagedCluster", "Extension", "FluxConfiguration"):
        documents.hub[kind].pop()
    found = only(documents)
    assert (found.layer, found.kind) == ("arm", "orphan") and "az aks delete -g myfleet-rg -n forgotten-aks" in found.fix
    documents = Drifting()
    documents.extensions[PROD].append(dict(documents.extensions[PROD][0], name="dapr"))
    found = only(documents)
    assert (found.layer, found.object, found.kind) == (
        "extension",
        "Extension/dapr",
        "orphan",
    ) and "az k8s-extension delete" in found.fix


def test_no_deletion_is_advised_while_git_cannot_be_read() -> None:
    documents = Drifting()
    documents.hub["ManagedCluster"].remove(documents.object("ManagedCluster", PROD))
    documents.unread["git"] = RetryableError("git fetch failed", said="could not resolve host")
    frame = documents.drift()
    assert "git" in frame.attrs["unread"] and not any("az aks delete" in fix for fix in frame.fix)


def test_an_undeclared_pool_is_an_orphan() -> None:
    documents = Drifting()
    documents.clusters[PROD]["properties"]["agentPoolProfiles"].append({"name": "byhand", "count": 1})
    found = only(documents)
    assert (found.layer, found.kind, found.field) == ("arm", "orphan", "agentPoolProfiles.byhand")


def test_aso_does_not_revert_an_object_that_it_skips() -> None:
    documents = Drifting()
    documents.object("ManagedCluster", PROD)["metadata"]["annotations"] = {"serviceoperator.azure.com/reconcile-policy": "skip"}
    documents.clusters[PROD]["properties"]["kubernetesVersion"] = "1.36"
    assert "ASO does not revert it" in only(documents).fix


def test_a_change_in_azure_has_its_writer() -> None:
    documents = Drifting()
    documents.clusters[PROD]["properties"]["kubernetesVersion"] = "1.36"
    documents.clusters[PROD]["systemData"] |= {"lastModifiedBy": "someone", "lastModifiedAt": SINCE}
    found = only(documents)
    assert (found.layer, found.field, found.declared, found.actual, found.by) == (
        "arm",
        "kubernetesVersion",
        "1.35",
        "1.36",
        "someone",
    )


@pytest.mark.parametrize(
    ("path", "wanted", "there", "same"),
    [
        (("kubernetesVersion",), "1.35", "1.35.8", True),
        (("kubernetesVersion",), "1.3", "1.35", False),
        (("location",), "East US 2", "eastus2", True),
        (("pool", "vmSize"), "standard_d2s_v5", "Standard_D2s_v5", True),
        (("tags", "a"), "X", "x", False),
        (("count",), 1, 2, False),
    ],
)
def test_values_that_are_equal_for_azure(path: tuple[str, ...], wanted: Any, there: Any, same: bool) -> None:
    assert as_azure_sees_it(path, wanted, there) is same


LEAF = st.one_of(st.integers(1, 9), st.text("abc", min_size=1), st.just(True))
TREE = st.recursive(
    st.dictionaries(st.text("abc", min_size=1), LEAF, max_size=3),
    lambda inner: st.dictionaries(st.text("abc", min_size=1), inner | LEAF, max_size=3),
)


def exactly(path: tuple[str, ...], wanted: Any, there: Any) -> bool:
    return bool(wanted == there)


@given(TREE, TREE)
def test_only_declared_values_are_compared(declared: dict[str, Any], more: dict[str, Any]) -> None:
    assert list(compare(declared, declared, exactly)) == []
    assert list(compare(declared, {**more, **declared}, exactly)) == []


@given(TREE)
def test_every_missing_leaf_is_a_difference(declared: dict[str, Any]) -> None:
    def count(tree: Any) -> int:
        return sum(map(count, tree.values())) if isinstance(tree, dict) else 1

    assert len(list(compare(declared, {}, exactly))) == count(declared)


def test_the_owner_of_a_field_is_its_last_manager() -> None:
    fields: dict[str, Any] = {"f:spec": {"f:containers": {'k:{"name":"app"}': {".": {}, "f:image": {}}}, "f:replicas": {}}}
    obj: dict[str, Any] = {"metadata": {"managedFields": [{"manager": "kubectl-edit", "time": SINCE, "fieldsV1": fields}]}}
    assert owner(obj, ("spec", "containers", "app", "image")) == ("kubectl-edit", SINCE)
    assert owner(obj, ("data",)) == (None, None)
    obj["metadata"]["managedFields"][0]["manager"] = "Go-http-client"
    assert owner(obj, ("spec", "replicas")) == ("unknown program Go-http-client", SINCE)
