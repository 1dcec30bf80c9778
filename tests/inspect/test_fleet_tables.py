"""The fleet's tables from the documents of each side: the row of a fault has its layer, its message and the next step."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fleetlib.errors import FinalError, RetryableError
from fleetlib.inspect.frames import text
from fleetlib.inspect.reading import Inside
from tests.inspect.fleet_documents import CONTENT, SINCE, Documents, at, condition

PROD = "podinfo-prod-1-aks"


def row(documents: Documents, name: str = PROD, **options: Any) -> Any:
    return documents.fleet().clusters(**options).loc[name]


def test_a_healthy_fleet() -> None:
    frame = Documents().fleet().clusters()
    assert list(frame.index) == ["podinfo-prod-0-aks", PROD, "podinfo-staging-0-aks"]
    assert set(frame.status) == {"ok"} and frame.first_broken_layer.isna().all() and frame.next_step.isna().all()
    found = at(frame, PROD)
    assert found[
        ["environment", "aso", "provisioning", "power", "extension", "compliance", "version", "nodes", "location"]
    ].tolist() == [
        "podinfo-prod",
        "Succeeded",
        "Succeeded",
        "Running",
        "Succeeded",
        "Compliant",
        "1.35.8",
        1,
        "eastus2",
    ]
    assert (found.git, found.source, found.revision, found.chart) == ("c4272488", "c4272488", CONTENT[:8], "0.1.0")
    assert found.portal.startswith("https://portal.invalid/#resource/subscriptions/")


def fault(kind: str, name: str, **changes: str) -> Callable[[Documents], None]:
    def make(documents: Documents) -> None:
        documents.object(kind, name)["status"]["conditions"] = [condition("False", **changes)]

    return make


def arm(**properties: Any) -> Callable[[Documents], None]:
    return lambda documents: documents.clusters[PROD]["properties"].update(properties)


def told(**properties: Any) -> Callable[[Documents], None]:
    return lambda documents: documents.configurations[PROD][0]["properties"].update(properties)


def not_compliant(documents: Documents) -> None:
    statuses = documents.configurations[PROD][0]["properties"]["statuses"]
    documents.configurations[PROD][0]["properties"]["complianceState"] = "Non-Compliant"
    waiting = condition("False", "DependencyNotReady", "dependency 'cluster-config/cluster-config-infra' is not ready")
    statuses[1] |= {"complianceState": "Non-Compliant", "statusConditions": [waiting]}
    failed = condition("False", "InstallFailed", "Helm install failed: timed out waiting for the condition")
    statuses[2] |= {"complianceState": "Non-Compliant", "statusConditions": [failed]}


CASES: dict[str, tuple[Callable[[Documents], Any], str, str, str, str]] = {
    "not declared": (
        lambda d: d.environments["podinfo-prod"].values.update(clusterCount=1),
        "git",
        "broken",
        "NotDeclared",
        "no environment in Git",
    ),
    "source refused": (
        fault(
            "GitRepository",
            "cluster-config",
            reason="GitOperationFailed",
            message="failed to checkout: couldn't find remote ref",
        ),
        "source",
        "broken",
        "GitOperationFailed",
        "couldn't find remote ref",
    ),
    "source behind": (
        lambda d: setattr(d, "head", "f" * 40),
        "source",
        "progressing",
        "Behind",
        "the control plane has c4272488, Git ffffffff",
    ),
    "chart not found": (
        fault(
            "OCIRepository", "aso-cluster-charts", reason="OCIArtifactPullFailed", message="MANIFEST_UNKNOWN: manifest unknown"
        ),
        "source",
        "broken",
        "OCIArtifactPullFailed",
        "MANIFEST_UNKNOWN",
    ),
    "kustomization failed": (
        fault("Kustomization", "cluster-config-clusters", reason="BuildFailed", message="kustomize build failed: no such file"),
        "kustomization",
        "broken",
        "BuildFailed",
        "kustomize build failed",
    ),
    "kustomization behind": (
        lambda d: d.object("Kustomization", "cluster-config-clusters")["status"].update(
            lastAppliedRevision="main@sha1:" + "e" * 40
        ),
        "kustomization",
        "progressing",
        "Behind",
        "it has applied eeeeeeee, the source has c4272488",
    ),
    "release failed": (
        fault(
            "HelmRelease", "podinfoprod", reason="UpgradeFailed", message="Helm upgrade failed: values don't meet the schema"
        ),
        "release",
        "broken",
        "UpgradeFailed",
        "don't meet the schema",
    ),
    "release suspended": (
        lambda d: d.object("HelmRelease", "podinfoprod")["spec"].update(suspend=True),
        "release",
        "stopped",
        "Suspended",
        "suspended",
    ),
    "ASO refused": (
        fault(
            "ManagedCluster",
            PROD,
            reason="AuthorizationFailed",
            message="does not have authorization to perform action",
            severity="Error",
        ),
        "aso",
        "broken",
        "AuthorizationFailed",
        "does not have authorization",
    ),
    "ASO at work": (
        fault("ManagedCluster", PROD, reason="Reconciling", message="", severity="Info"),
        "aso",
        "progressing",
        "Reconciling",
        "",
    ),
    "ASO's extension missing": (
        lambda d: d.hub["Extension"].remove(d.object("Extension", f"{PROD}-flux")),
        "aso",
        "broken",
        "Missing",
        f"no Extension of {PROD}",
    ),
    "creating": (arm(provisioningState="Creating"), "arm", "progressing", "Creating", ""),
    "failed": (arm(provisioningState="Failed"), "arm", "broken", "Failed", ""),
    "stopped": (arm(powerState={"code": "Stopped"}), "arm", "stopped", "Stopped", "no nodes"),
    "gone from Azure": (lambda d: d.clusters.pop(PROD), "arm", "broken", "Missing", "Azure has no such cluster"),
    "extension failed": (
        lambda d: d.extensions[PROD][0]["properties"].update(
            provisioningState="Failed",
            statuses=[{"code": "InstallationFailed", "level": "Error", "message": "helm install timed out"}],
        ),
        "extension",
        "broken",
        "Failed",
        "helm install timed out",
    ),
    "no extension": (lambda d: d.extensions.pop(PROD), "extension", "broken", "Missing", "Azure has no such extension"),
    "not compliant": (not_compliant, "flux", "broken", "InstallFailed", "timed out waiting for the condition"),
    "pending": (told(complianceState="Pending"), "flux", "progressing", "Pending", ""),
    "no configuration": (
        lambda d: d.configurations.pop(PROD),
        "flux",
        "broken",
        "Missing",
        "the cluster has no Flux configuration",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_fault_has_its_first_layer_and_the_verbatim_message(name: str) -> None:
    spoil, layer, status, reason, message = CASES[name]
    documents = Documents()
    spoil(documents)
    found = row(documents)
    assert (found.first_broken_layer, found.status, found.reason) == (layer, status, reason)
    assert message in text(found.message)
    assert found.next_step, "every fault has a next step"


def test_a_known_cause_has_its_own_fix_and_the_time_is_the_other_sides() -> None:
    documents = Documents()
    fault(
        "ManagedCluster",
        PROD,
        reason="AuthorizationFailed",
        message="does not have authorization to perform action",
        severity="Error",
    )(documents)
    found = row(documents)
    assert "04_prepare_fleet" in found.next_step
    assert found.since.isoformat() == SINCE.replace("Z", "+00:00")


def test_a_cluster_that_is_being_deleted_is_in_progress() -> None:
    documents = Documents()
    documents.environments["podinfo-prod"].values.update(clusterCount=1)
    documents.clusters[PROD]["properties"]["provisioningState"] = "Deleting"
    found = row(documents)
    assert (found.status, found.first_broken_layer, found.reason, found.declared) == ("progressing", "git", "Deleting", False)


def test_an_undeclared_cluster_is_a_row() -> None:
    documents = Documents()
    documents.add("forgotten-aks", "podinfo-old")
    for kind in ("ManagedCluster", "Extension", "FluxConfiguration"):
        documents.hub[kind].pop()
    found = row(documents, "forgotten-aks")
    assert (found.environment, found.aso, found.reason, found.declared) == ("podinfo-old", "missing", "NotDeclared", False)


@pytest.mark.parametrize("side", ["git", "hub", "arm", "graph"])
def test_a_side_that_cannot_be_read_does_not_affect_the_others(side: str) -> None:
    documents = Documents()
    documents.unread[side] = RetryableError("could not read", said="TooManyRequests: slow down")
    frame = documents.fleet().clusters()
    assert list(frame.index) == ["podinfo-prod-0-aks", PROD, "podinfo-staging-0-aks"]
    assert set(frame.status) == {"unknown"} and set(frame.reason) == {"Unread"} and "slow down" in frame.message.iloc[0]
    assert "slow down" in frame.attrs["unread"][side] and "not read" in (frame._repr_html_() or "")
    if side != "arm":
        assert set(frame.provisioning) == {"Succeeded"}


def test_an_error_is_raised_if_all_sides_cannot_be_read() -> None:
    documents = Documents()
    documents.unread = {side: FinalError(f"no {side}") for side in ("git", "hub", "arm", "graph")}
    with pytest.raises(FinalError, match="no git"):
        documents.fleet().clusters()


def workload(name: str, wanted: int, ready: int) -> dict[str, Any]:
    available = {
        "type": "Available",
        "status": "True" if ready >= wanted else "False",
        "reason": "MinimumReplicas",
        "message": f"{ready} ready",
    }
    return {
        "metadata": {
            "name": name,
            "namespace": "podinfo",
            "creationTimestamp": SINCE,
            "labels": {"helm.toolkit.fluxcd.io/name": name, "helm.toolkit.fluxcd.io/namespace": "cluster-config"},
        },
        "spec": {"replicas": wanted, "template": {"spec": {"containers": [{"image": "podinfo:6.9.2"}]}}},
        "status": {"readyReplicas": ready, "conditions": [available]},
    }


def _inside(documents: Documents) -> None:
    good = {"Deployment": [workload("podinfo", 2, 2)], "StatefulSet": [], "DaemonSet": []}
    bad = {**good, "Deployment": [workload("podinfo", 2, 1)]}
    documents.inside = {
        "podinfo-prod-0-aks": Inside(error="the API of cluster podinfo-prod-0-aks does not answer: timed out"),
        PROD: Inside(bad),
        "podinfo-staging-0-aks": Inside(good),
    }


def test_deep_reads_the_clusters_and_an_unreachable_one_is_a_row() -> None:
    documents = Documents()
    _inside(documents)
    frame = documents.fleet().clusters(deep=True)
    assert frame.status.tolist() == ["unreachable", "progressing", "ok"]
    assert frame.first_broken_layer.astype(object).tolist()[:2] == ["workloads", "workloads"]
    assert "does not answer" in frame.message.iloc[0]
    assert frame.workloads.tolist()[1:] == [1, 1] and frame.workloads_ready.tolist()[1:] == [0, 1]


def test_workloads_have_their_applier_and_errors_have_a_row() -> None:
    documents = Documents()
    _inside(documents)
    frame = documents.fleet().workloads()
    assert at(frame, PROD, "podinfo", "Deployment", "podinfo")[["desired", "ready", "status", "applied_by"]].tolist() == [
        2,
        1,
        "progressing",
        "cluster-config/podinfo",
    ]
    error = frame[frame.status == "unreachable"]
    assert len(error) == 1 and "timed out" in error.error.iloc[0] and error.index[0][0] == "podinfo-prod-0-aks"


def test_stopped_clusters_are_not_read() -> None:
    documents = Documents()
    _inside(documents)
    arm(powerState={"code": "Stopped"})(documents)
    assert PROD not in documents.fleet().workloads().index.get_level_values("cluster")


def test_environments_count_their_clusters() -> None:
    documents = Documents()
    documents.clusters[PROD]["properties"]["provisioningState"] = "Failed"
    frame = documents.fleet().environments()
    prod = at(frame, "podinfo-prod")
    assert prod[["declared", "succeeded", "compliant", "broken", "nodes", "nodes_max", "status"]].tolist() == [
        2,
        1,
        2,
        1,
        2,
        6,
        "broken",
    ]
    assert frame.loc["podinfo-staging", "status"] == "ok"


def test_flux_of_the_clusters_is_known_without_reading_them() -> None:
    documents = Documents()
    not_compliant(documents)
    releases = documents.fleet().releases()
    failed = releases[releases.status == "broken"]
    assert failed.index.tolist() == [(PROD, "cluster-config", "podinfo")] and failed.reason.iloc[0] == "InstallFailed"
    assert len(documents.fleet().kustomizations()) == 4 and len(documents.fleet().sources()) == 5


def test_operations_last_until_ready() -> None:
    documents = Documents()
    fault("Extension", f"{PROD}-flux", reason="Reconciling", message="", severity="Info")(documents)
    frame = documents.fleet().operations()
    assert frame.loc[(PROD, "arm"), "seconds"] == 245
    assert frame.loc[(PROD, "extension"), "status"] == "progressing" and frame.ended.isna()[(PROD, "extension")]


def test_pools_have_the_limits_of_their_autoscalers() -> None:
    frame = Documents().fleet().pools()
    assert len(frame) == 4 and at(frame, PROD, "system")[["count", "min", "max", "autoscaling"]].tolist() == [1, 1, 3, True]


WAITS = {
    "a dependency": (
        "Kustomization",
        "cluster-config-clusters",
        "DependencyNotReady",
        "dependency 'cluster-config/x' is not ready",
    ),
    "the source's artifact": (
        "Kustomization",
        "cluster-config-clusters",
        "ArtifactFailed",
        "Source artifact not found, retrying in 30s",
    ),
    "the chart": (
        "HelmRelease",
        "podinfoprod",
        "SourceNotReady",
        "HelmChart 'cluster-config/x' is not ready: latest generation",
    ),
}


@pytest.mark.parametrize(("age", "status"), [(10, "progressing"), (600, "broken")])
@pytest.mark.parametrize("name", WAITS)
def test_an_object_that_waits_for_another_is_in_progress_for_a_while(name: str, age: int, status: str) -> None:
    kind, obj, reason, message = WAITS[name]
    documents = Documents()
    since = (datetime.now(UTC) - timedelta(seconds=age)).isoformat(timespec="seconds")
    fault(kind, obj, reason=reason, message=message, lastTransitionTime=since)(documents)
    fleet = documents.fleet()
    assert fleet.clusters().loc[PROD, "status"] == status
    table = fleet.kustomizations() if kind == "Kustomization" else fleet.releases()
    assert table.query("name == @obj").status.tolist() == [status]


def test_a_dependency_that_does_not_exist_is_not_waited_for() -> None:
    documents = Documents()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    message = (
        "unable to get 'cert-manager/cert-manager' dependency: helmreleases.helm.toolkit.fluxcd.io \"cert-manager\" not found"
    )
    fault("HelmRelease", "podinfoprod", reason="DependencyNotReady", message=message, lastTransitionTime=now)(documents)
    assert documents.fleet().clusters().loc[PROD, "status"] == "broken"


def pod(name: str, **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "podinfo", "creationTimestamp": SINCE}, "status": status}


def waiting(reason: str, message: str) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "podinfod", "state": {"waiting": {"reason": reason, "message": message}}}]}


BACK_OFF = 'Back-off pulling image "podinfo:9.9.9"'
NO_ROOM = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/1 nodes are available: 1 Insufficient cpu.",
}

PODS: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "an image that is not there": (
        pod("podinfo-5xnrw-72dj4", **waiting("ImagePullBackOff", BACK_OFF)),
        "broken",
        "ImagePullBackOff",
        BACK_OFF,
    ),
    "no room": (pod("podinfo-5xnrw-72dj4", conditions=[NO_ROOM]), "progressing", "Unschedulable", NO_ROOM["message"]),
    "it starts": (pod("podinfo-5xnrw-72dj4", **waiting("ContainerCreating", "")), "progressing", "MinimumReplicas", "1 ready"),
    "another's": (pod("redis-0", **waiting("CrashLoopBackOff", "")), "progressing", "MinimumReplicas", "1 ready"),
}


@pytest.mark.parametrize("name", PODS)
def test_a_workload_that_is_not_ready_has_the_reason_of_its_pods(name: str) -> None:
    found, *expected = PODS[name]
    documents = Documents()
    _inside(documents)
    documents.inside[PROD].objects["Pod"] = [found]
    row = at(documents.fleet().clusters(deep=True), PROD)
    assert row[["status", "reason", "message"]].tolist() == expected


def test_an_unfinished_rollout_is_in_progress_although_the_old_pods_are_ready() -> None:
    documents = Documents()
    _inside(documents)
    deployment = documents.inside["podinfo-staging-0-aks"].objects["Deployment"][0]
    deployment["status"] |= {"observedGeneration": 2, "updatedReplicas": 1}
    documents.inside["podinfo-staging-0-aks"].objects["Pod"] = []
    row = at(documents.fleet().clusters(deep=True), "podinfo-staging-0-aks")
    assert row[["status", "reason", "message"]].tolist() == [
        "progressing",
        "PodsNotReady",
        "1 of 2 Pods are of the new version",
    ]
