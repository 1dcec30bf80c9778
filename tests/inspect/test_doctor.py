"""The findings: each fault once, worst first; empty for a healthy fleet."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fleetlib.change import Check
from fleetlib.inspect import show
from fleetlib.inspect.reading import Inside
from fleetlib.inspect.roles import Roles
from fleetlib.inspect.rules import RULES
from fleetlib.inspect.versions import Offer
from tests.inspect.fleet_documents import Documents, condition
from tests.inspect.test_fleet_tables import CASES, PROD, fault, pod, waiting, workload

SIZES = {"standard_d2as_v6": {"name": "Standard_D2as_v6", "family": "standardDasv6Family", "vcpus": 2, "available": True}}
PLENTY = {"standardDasv6Family": (10, 1000), "cores": (10, 1000)}
OFFERED = [Offer("1.35.8", ("KubernetesOfficial",), preview=False)]


def assignment(group: str, **properties: Any) -> dict[str, Any]:
    scope = f"/subscriptions/1f0c3c2e-5d1b-4a27-8f7a-0e9b6a4d2c10/resourceGroups/{group}"
    return {
        "name": f"of-{group}",
        "id": f"{scope}/providers/Microsoft.Authorization/roleAssignments/of-{group}",
        "properties": {
            "scope": scope,
            "principalId": "aso",
            "roleDefinitionId": "/definitions/contributor",
            "principalType": "ServicePrincipal",
            **properties,
        },
    }


class Patient(Documents):
    """A healthy fleet, with the documents that the rules read besides the sides."""

    def __post_init__(self) -> None:
        super().__post_init__()
        assignments = [assignment("controlplane-rg"), assignment("myfleet-rg")]
        self.besides: dict[str, Any] = {
            "ASO's identity": [Check("its issuer fits ASO's tokens", "https://issuer", True)],
            "roles": Roles(assignments, {"contributor": "Contributor"}, {}, "aso"),
            "quota of eastus2": (SIZES, PLENTY),
            "Kubernetes versions of eastus2": OFFERED,
            "custom resource definitions": [definition("v1api20240901")],
        }
        self.budget = {"reads": 249, "writes": 199}

    def findings(self, *, deep: bool = False) -> Any:
        fleet = self.fleet()
        reading = fleet._reading
        assert reading is not None
        reading._parts.update(self.besides)
        reading._inside["asocluster-aks"].objects["Deployment"] = []
        reading.session.azure.__dict__["subscription_id"] = "1f0c3c2e-5d1b-4a27-8f7a-0e9b6a4d2c10"
        reading.session.azure.budget.update(self.budget)
        return fleet.doctor(deep=deep)


def definition(*stored: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "managedclusters.containerservice.azure.com"},
        "spec": {
            "group": "containerservice.azure.com",
            "versions": [{"name": "v1api20210501", "storage": False}, {"name": "v1api20240901", "storage": True}],
        },
        "status": {"storedVersions": list(stored)},
    }


@pytest.fixture
def patient() -> Patient:
    found = Patient()
    found.inside["asocluster-aks"] = Inside()
    return found


def test_a_fleet_that_is_well_has_no_findings(patient: Patient) -> None:
    frame = patient.findings()
    assert len(frame) == 0 and frame.attrs["unread"] == {} and show.findings(frame) == "no faults"


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case[2] != "progressing"])
def test_every_fault_of_a_layer_is_one_finding(patient: Patient, name: str) -> None:
    spoil, layer, status, reason, message = CASES[name]
    spoil(patient)
    frame = patient.findings()
    assert len(frame) == 1, frame.T.to_string()
    found = frame.iloc[0]
    assert (found.layer, found.status, found.reason) == (layer, status, reason)
    assert message in (found.message if isinstance(found.message, str) else "")
    assert found.meaning.endswith(".") and found.fix and found.look
    assert "{" not in found.look, "every name in a command is filled in"


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case[2] == "progressing"])
def test_work_in_progress_is_a_finding_only_when_it_lasts(patient: Patient, name: str) -> None:
    spoil, layer, *_ = CASES[name]
    spoil(patient)
    frame = patient.findings()  # the documents' times are long ago; ARM has no time for a cluster's state
    assert len(frame) == (layer not in ("arm",)), frame.T.to_string()
    assert all("longer than the usual" in words for words in frame.meaning)


def test_a_shared_fault_is_one_finding_that_names_the_clusters_it_holds_back(patient: Patient) -> None:
    fault("HelmRelease", "podinfoprod", reason="UpgradeFailed", message="no")(patient)
    (found,) = [row for _, row in patient.findings().iterrows()]
    assert (found.cluster, found.object) == ("asocluster-aks", "HelmRelease/podinfoprod")
    assert "It holds back podinfo-prod-0-aks, podinfo-prod-1-aks." in found.meaning
    assert "KUBECONFIG=$(fleet kubeconfig --hub) kubectl -n cluster-config describe helmrelease podinfoprod" in found.look


def test_an_object_that_has_just_begun_to_wait_is_not_a_finding(patient: Patient) -> None:
    """After every restart of the controllers, objects wait for each other for a moment."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    message = "dependency 'cluster-config/cluster-config-infra' is not ready"
    fault("Kustomization", "cluster-config-clusters", reason="DependencyNotReady", message=message, lastTransitionTime=now)(
        patient
    )
    assert len(patient.findings()) == 0


def test_deep_reports_workloads_with_the_messages_of_their_pods(patient: Patient) -> None:
    good = {"Deployment": [workload("podinfo", 2, 2)], "StatefulSet": [], "DaemonSet": []}
    message = 'Back-off pulling image "podinfo:9.9.9"'
    bad = {
        **good,
        "Deployment": [workload("podinfo", 2, 1)],
        "Pod": [pod("podinfo-5x-7", **waiting("ImagePullBackOff", message))],
    }
    patient.inside |= {"podinfo-prod-0-aks": Inside(bad), PROD: Inside(bad), "podinfo-staging-0-aks": Inside(good)}
    assert len(patient.findings()) == 0
    (found,) = [row for _, row in patient.findings(deep=True).iterrows()]
    assert (found.status, found.layer, found.object) == (
        "broken",
        "workloads",
        "podinfo-prod-0-aks: Deployment/podinfo/podinfo",
    )
    assert (found.reason, found.message) == ("ImagePullBackOff", message)
    assert f"The same fault is on {PROD}." in found.meaning and "correct the image's name or tag in Git" in found.fix


def test_an_object_that_waits_for_a_broken_one_is_not_a_finding(patient: Patient) -> None:
    fault("GitRepository", "cluster-config", reason="GitOperationFailed", message="no")(patient)
    fault("Kustomization", "cluster-config-clusters", reason="DependencyNotReady", message="dependency not ready")(patient)
    assert patient.findings().object.tolist() == ["GitRepository/cluster-config"]


def test_azures_message_is_added_to_asos(patient: Patient) -> None:
    fault("ManagedCluster", PROD, reason="Failed", message="the operation failed", severity="Warning")(patient)
    patient.clusters[PROD]["properties"] |= {
        "provisioningState": "Failed",
        "status": {"provisioningError": {"code": "QuotaExceeded", "message": "12 cores are left"}},
    }
    (found,) = [row for _, row in patient.findings().iterrows()]
    assert "the operation failed" in found.message and "QuotaExceeded: 12 cores are left" in found.message


def test_the_worst_comes_first(patient: Patient) -> None:
    patient.clusters[PROD]["properties"]["powerState"] = {"code": "Stopped"}
    fault("GitRepository", "cluster-config", reason="GitOperationFailed", message="no")(patient)
    assert patient.findings().status.tolist() == ["broken", "stopped"]


def _trust(patient: Patient) -> None:
    evidence = "is https://old, the cluster's tokens say https://new"
    patient.besides["ASO's identity"] = [
        Check("its issuer fits ASO's tokens", evidence, False, "run 02_create_aso_identity again")
    ]


def _no_role(patient: Patient) -> None:
    patient.besides["roles"] = Roles([assignment("controlplane-rg")], {"contributor": "Contributor"}, {}, "aso")


def _no_type(patient: Patient) -> None:
    patient.besides["roles"].assignments[1]["properties"]["principalType"] = "Unknown"


def _quota(patient: Patient) -> None:
    patient.besides["quota of eastus2"] = (SIZES, {"standardDasv6Family": (10, 12), "cores": (10, 1000)})


def _long_term(patient: Patient) -> None:
    patient.besides["Kubernetes versions of eastus2"] = [
        Offer("1.35.8", ("AKSLongTermSupport",), preview=False),
        Offer("1.36.1", ("KubernetesOfficial",), preview=False),
    ]


def _channel(patient: Patient) -> None:
    patient.environments["podinfo-prod"].values["kubernetesVersion"] = "1.35"
    patient.clusters[PROD]["properties"]["autoUpgradeProfile"] = {"upgradeChannel": "stable"}


def _budget(patient: Patient) -> None:
    patient.budget["writes"] = 3


def _stored(patient: Patient) -> None:
    patient.besides["custom resource definitions"] = [definition("v1api20210501", "v1api20240901")]


def _upgraded(patient: Patient) -> None:
    CASES["not compliant"][0](patient)
    patient.extensions[PROD][0]["properties"]["currentVersion"] = "1.20.0"


def _left_alone(patient: Patient) -> None:
    patient.object("ManagedCluster", PROD)["metadata"]["annotations"] = {"serviceoperator.azure.com/reconcile-policy": "skip"}


BY_RULE = {
    "identity": (_trust, "PromiseNotKept", "is https://old, the cluster's tokens say https://new"),
    "role": (_no_role, "RoleAssignmentMissing", "notebook 04"),
    "principal-type": (_no_type, "PrincipalType", "Unknown"),
    "quota": (_quota, "QuotaTooSmallToGrow", "10 of 12 vCPUs"),
    "version": (_long_term, "VersionNotSupported", "AKSLongTermSupport only"),
    "channel-and-pin": (_channel, "AutoUpgradeAndPin", "upgradeChannel is stable, kubernetesVersion is pinned to 1.35"),
    "budget": (_budget, "WritesNearlyUsedUp", "3 writes are left"),
    "stored-versions": (_stored, "StoredVersions", "has v1api20210501 besides v1api20240901"),
    "extension-upgraded": (_upgraded, "NewerThanTheOthers", "microsoft.flux is 1.20.0 here, 1.19.5 where"),
    "left-alone": (_left_alone, "LeftAlone", "reconcile-policy: skip"),
}


@pytest.mark.parametrize(
    ("channel", "pinned", "fights"),
    [
        ("patch", "1.35", False),
        ("patch", "1.35.8", True),
        ("rapid", "1.35", True),
        ("node-image", "1.35.8", False),
        ("stable", "", False),
    ],
)
def test_a_channel_conflicts_only_with_a_pin_that_it_upgrades(
    patient: Patient, channel: str, pinned: str, fights: bool
) -> None:
    """`patch` keeps the minor version, `node-image` does not change Kubernetes."""
    patient.environments["podinfo-prod"].values["kubernetesVersion"] = pinned
    patient.clusters[PROD]["properties"]["autoUpgradeProfile"] = {"upgradeChannel": channel}
    assert patient.findings().reason.tolist() == ["AutoUpgradeAndPin"] * fights


def test_a_channel_conflicts_with_the_control_planes_pin_too(patient: Patient) -> None:
    patient.parameters = patient.parameters.model_copy(update={"kubernetes_version": "1.35.8"})
    patient.control_plane["asocluster-aks"]["properties"]["autoUpgradeProfile"] = {"upgradeChannel": "patch"}
    (found,) = [row for _, row in patient.findings().iterrows()]
    assert (found.reason, found.cluster) == ("AutoUpgradeAndPin", "asocluster-aks") and "notebook 01" in found.meaning
    assert "-g controlplane-rg" in found.look


@pytest.mark.parametrize(
    ("spoil", "expected", "fix"),
    [
        (
            lambda p: p.control_plane["asocluster-aks"]["properties"]["powerState"].update(code="Stopped"),
            ("arm", "stopped", "Stopped"),
            "az aks start",
        ),
        (
            lambda p: p.control_plane["asocluster-aks"]["properties"].update(provisioningState="Failed"),
            ("arm", "broken", "Failed"),
            "activity log",
        ),
        (lambda p: p.control_plane.clear(), ("arm", "broken", "Missing"), "01_create_control_plane"),
        (lambda p: p.extensions.pop("asocluster-aks"), ("extension", "broken", "Missing"), "03_bootstrap_flux"),
    ],
    ids=["stopped", "failed", "deleted", "without Flux"],
)
def test_a_fault_of_the_control_planes_cluster_is_a_finding(
    patient: Patient, spoil: Any, expected: tuple[str, ...], fix: str
) -> None:
    spoil(patient)
    (found,) = [row for _, row in patient.findings().iterrows()]
    assert (found.layer, found.status, found.reason, found.cluster) == (*expected, "asocluster-aks")
    assert fix in found.fix and "control plane" in found.meaning and "-g controlplane-rg" in found.look


def test_an_upgrade_of_aso_that_the_api_server_refuses_is_explained(patient: Patient) -> None:
    """A real API server refuses to remove a stored version from spec.versions, with this message."""
    words = (
        'CustomResourceDefinition.apiextensions.k8s.io "managedclusters.containerservice.azure.com" is invalid: '
        'status.storedVersions[0]: Invalid value: "v1api20210501storage": missing from spec.versions; '
        "v1api20210501storage was previously "
        "a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in "
        "v1api20210501storage and removes v1api20210501storage from status.storedVersions"
    )
    fault("HelmRelease", "podinfoprod", reason="UpgradeFailed", message=words)(patient)
    (found,) = [row for _, row in patient.findings().iterrows()]
    assert "asoctl clean crds" in found.fix and found.message == words


@pytest.mark.parametrize("name", RULES)
def test_every_rule_finds_its_fault(patient: Patient, name: str) -> None:
    spoil, reason, message = BY_RULE[name]
    spoil(patient)
    frame = patient.findings()
    found = frame[frame.reason == reason]
    assert len(found) >= 1, frame.T.to_string()
    assert message in found.message.iloc[0] and found.fix.iloc[0] and found.look.iloc[0] and found.meaning.iloc[0].endswith(".")
    words = show.findings(frame)
    assert f"says: {reason}: " in words and "look: " in words and "fix:  " in words


def test_a_hundred_clusters_behind_one_fault_are_one_finding() -> None:
    patient = Patient({"podinfo-prod": 100})
    patient.inside["asocluster-aks"] = Inside()
    patient.object("GitRepository", "cluster-config")["status"]["conditions"] = [condition("False", "GitOperationFailed", "no")]
    (found,) = [row for _, row in patient.findings().iterrows()]
    assert "podinfo-prod-2-aks and 97 more" in found.meaning


def test_clusters_with_the_same_fault_are_one_finding(patient: Patient) -> None:
    for name in ("podinfo-prod-0-aks", PROD):
        patient.object("ManagedCluster", name)["status"]["conditions"] = [
            condition("False", "SkuNotAvailable", f"The size is not available for {name}", severity="Error")
        ]
    (found,) = [row for _, row in patient.findings().iterrows()]
    assert found.cluster == "podinfo-prod-0-aks" and found.meaning.endswith(f"The same fault is on {PROD}.")
