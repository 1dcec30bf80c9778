"""Drift inside a cluster, from its own answers: objects that were deleted, and fields with another owner than Flux."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
import yaml

from fleetlib.clients.kube import Kube
from fleetlib.inspect import applied, inside_drift, managers
from tests.inspect.fleet_documents import SINCE
from tests.inspect.flux_cluster import HELM, Cluster, Document, deployment, made, owns, takes


def test_an_unchanged_cluster_has_no_differences() -> None:
    cluster = Cluster()
    deployment(cluster)
    cluster.by_kustomize("Namespace", "web", "")
    cluster.by_kustomize("ConfigMap", "settings", "web", data={"a": "1"})
    assert cluster.told() == []


def test_every_kind_that_flux_applies_is_compared() -> None:
    cluster = Cluster()
    for kind, api_version in (
        ("Service", "v1"),
        ("Ingress", "networking.k8s.io/v1"),
        ("NetworkPolicy", "networking.k8s.io/v1"),
        ("HorizontalPodAutoscaler", "autoscaling/v2"),
        ("StatefulSet", "apps/v1"),
        ("PodDisruptionBudget", "policy/v1"),
        ("PersistentVolumeClaim", "v1"),
        ("CronJob", "batch/v1"),
    ):
        takes(cluster.by_helm(kind, "web", api_version=api_version, spec={"x": "1"}), "kubectl-edit", x="2")
    role = cluster.by_helm(
        "ClusterRole", "web:reader", "", api_version="rbac.authorization.k8s.io/v1", rules=[{"verbs": ["get"]}]
    )
    role["rules"] = [{"verbs": ["*"]}]
    del role["metadata"]["managedFields"][0]["fieldsV1"]["f:rules"]
    role["metadata"]["managedFields"].append(owns("kubectl-patch", {"f:rules": {}}))
    space = cluster.by_kustomize("Namespace", "web", "")
    space["metadata"]["labels"]["team"] = "x"
    space["metadata"]["managedFields"].append(owns("kubectl-label", {"f:metadata": {"f:labels": {"f:team": {}}}}))
    binding = cluster.by_kustomize(
        "RoleBinding", "a:b", "web", api_version="rbac.authorization.k8s.io/v1", roleRef={"name": "x"}
    )
    assert cluster.kustomization["status"]["inventory"]["entries"][-1]["id"] == "web_a:b_rbac.authorization.k8s.io_RoleBinding"
    cluster.kustomization["status"]["inventory"]["entries"][-1]["id"] = "web_a__b_rbac.authorization.k8s.io_RoleBinding"
    assert binding in cluster.objects
    told = cluster.told()
    assert [row[0].partition("/")[0] for row in told] == [
        "Namespace",
        "PersistentVolumeClaim",
        "Service",
        "StatefulSet",
        "HorizontalPodAutoscaler",
        "CronJob",
        "Ingress",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "ClusterRole",
    ]
    assert told[0] == ("Namespace/web", "changed", "metadata.labels.team", None, "x", "kubectl-label"), (
        "Git's value is not known"
    )
    assert told[-1][1:] == ("changed", "rules", '[{"verbs": ["get"]}]', '[{"verbs": ["*"]}]', "kubectl-patch")


@pytest.mark.parametrize(
    ("manager", "subresource", "field", "by"),
    [
        ("kube-controller-manager", "scale", "replicas", None),
        ("keda", "scale", "replicas", None),
        ("kubectl", "scale", "replicas", "kubectl"),
        ("kubectl-edit", "", "replicas", "kubectl-edit"),
        ("helm", "", "replicas", "helm"),
        ("keda", "", "replicas", "keda"),
        ("kube-controller-manager", "", "paused", "kube-controller-manager"),
        ("Go-http-client", "", "replicas", "unknown program Go-http-client"),
        ("node-fetch", "scale", "replicas", "unknown program node-fetch"),
        ("", "", "replicas", "unknown program (without a name)"),
        ("kubectlish", "", "replicas", "unknown program kubectlish"),
        ("kube-controller-manager", "status", "paused", None),
    ],
)
def test_a_change_is_named_by_its_manager_unless_a_controller_may_make_it(
    manager: str, subresource: str, field: str, by: str | None
) -> None:
    cluster = Cluster()
    takes(deployment(cluster), manager, subresource, **{field: 5})
    told = [row[-1] for row in cluster.told()]
    assert told == ([] if by is None else [by])


def test_controllers_own_their_fields_and_no_others() -> None:
    def may(manager: str, *path: str) -> bool:
        return managers.may_own({"manager": manager}, path)

    assert may("cert-manager-cainjector", "webhooks", "a.example.com", "clientConfig", "caBundle")
    assert not may("cert-manager-cainjector", "webhooks", "a.example.com", "rules")
    assert may("admissionsenforcer", "webhooks", "a.example.com", "namespaceSelector", "matchExpressions")
    assert may("clusterrole-aggregation-controller", "rules") and not may("admissionsenforcer", "rules")


def test_the_declared_value_is_that_of_helms_stored_manifest() -> None:
    cluster = Cluster()
    takes(deployment(cluster), "kubectl-edit", replicas=3, paused=True)
    assert [row[2:5] for row in cluster.told()] == [("spec.replicas", "1", "3"), ("spec.paused", "(none)", "true")]
    (first, _) = cluster.drift()
    assert (
        first["since"] == SINCE and "next upgrade only" in first["fix"] and "reconcile helmrelease web -n flux" in first["fix"]
    )


def test_a_field_that_flux_owns_as_well_is_not_drift() -> None:
    cluster = Cluster()
    obj = deployment(cluster)
    obj["metadata"]["managedFields"].append(owns("kubectl-client-side-apply", {"f:spec": {"f:replicas": {}}}))
    assert cluster.told() == []


def test_a_field_that_was_set_back_to_the_declared_value_is_not_drift() -> None:
    cluster = Cluster()
    takes(deployment(cluster), "kubectl-edit", replicas=1)
    assert cluster.told() == []


def test_a_failed_release_declares_nothing() -> None:
    cluster = Cluster()
    takes(deployment(cluster), "kubectl-edit", replicas=3)
    cluster.release["status"]["history"][0]["status"] = "failed"
    cluster.by_kustomize("Deployment", "other", "web", api_version="apps/v1", spec={})  # so that Deployments are recorded
    cluster.objects.pop()
    cluster.kustomization["metadata"]["deletionTimestamp"] = SINCE
    assert cluster.told() == [("Deployment/web/web", "changed", "spec.replicas", None, "3", "kubectl-edit")]


def test_deleted_objects_are_missing() -> None:
    cluster = Cluster()
    deployment(cluster)
    cluster.by_helm("Job", "once", api_version="batch/v1", spec={"ttlSecondsAfterFinished": 60})
    cluster.by_kustomize("ConfigMap", "settings", "web", data={})
    cluster.by_kustomize("Widget", "w", "web", api_version="example.com/v1", spec={})
    cluster.objects.clear()
    assert cluster.told() == [
        ("ConfigMap/web/settings", "missing", None, None, None, None),
        ("Deployment/web/web", "missing", None, None, None, None),
        ("Widget/web/w", "missing", None, None, None, None),
    ], "a Job may be deleted when it is done; a deleted definition takes its objects along"
    fixes = [row["fix"] for row in cluster.drift()]
    assert fixes[0].startswith("Flux recreates it within its interval")
    assert "Helm recreates it at the next upgrade only" in fixes[1]


def test_cluster_scoped_custom_kinds_are_compared() -> None:
    cluster = Cluster()
    cluster.custom["example.com/v1"] = {"Realm": ("realms", False), "Widget": ("widgetry", True)}
    cluster.by_helm("Realm", "r", "", api_version="example.com/v1", spec={})
    cluster.by_helm("Widget", "w", "web", api_version="example.com/v1", spec={})
    assert cluster.told() == [] and cluster.calls.count("example.com/v1") == 1
    cluster.objects.clear()
    assert [row[0] for row in cluster.told()] == ["Realm/r", "Widget/web/w"]


def test_a_removed_entry_has_no_owner() -> None:
    cluster = Cluster()
    obj = cluster.by_helm("ConfigMap", "settings", data={"a": "1", "b": "2"})
    del obj["data"]["b"], obj["metadata"]["managedFields"][0]["fieldsV1"]["f:data"]["f:b"]
    assert cluster.told() == [("ConfigMap/web/settings", "changed", "data.b", "2", "(none)", None)]


def test_the_values_of_a_secret_are_not_shown() -> None:
    cluster = Cluster()
    obj = cluster.by_helm("Secret", "login", data={"password": "b2xk", "user": "YQ=="})
    obj["data"]["password"] = "bmV3"
    obj["metadata"]["annotations"] = {
        "kubectl.kubernetes.io/last-applied-configuration": '{"data": {"password": "bmV3"}}',
        "note": "bmV3",
    }
    fields = obj["metadata"]["managedFields"][0]["fieldsV1"]
    del fields["f:data"]["f:password"], fields["f:data"]["f:user"]
    changed = {
        "f:data": {"f:password": {}},
        "f:metadata": {"f:annotations": {"f:note": {}, "f:kubectl.kubernetes.io/last-applied-configuration": {}}},
    }
    obj["metadata"]["managedFields"].append(owns("kubectl-edit", changed))
    rows = cluster.drift()
    assert [row["field"] for row in rows] == ["data.password", "metadata.annotations.note", "data.user"]
    assert not any(value in json.dumps(rows) for value in ("b2xk", "bmV3", "YQ=="))
    assert {row["declared"] for row in rows} == {row["actual"] for row in rows} == {inside_drift.HIDDEN}
    assert cluster.accepted["secrets"] is True, "only the metadata is requested"
    assert [
        value
        for item in applied.manifests("---\n".join(map(yaml.safe_dump, cluster.manifest)))
        for value in item["data"].values()
    ] == [applied.SECRET] * 2


def test_without_access_to_secrets_the_rest_is_compared() -> None:
    cluster = Cluster()
    cluster.refused = True
    takes(deployment(cluster), "kubectl-edit", replicas=3)
    cluster.by_helm("Service", "gone", spec={})
    cluster.objects.pop()
    cluster.release["status"]["inventory"] = {
        "entries": [{"id": "web_web_apps_Deployment", "v": "v1"}, {"id": "web_gone__Service", "v": "v1"}]
    }
    found = applied.read(cast(Kube, cluster))
    assert list(found.unread) == ["Helm's stored releases"]
    assert cluster.told() == [
        ("Service/web/gone", "missing", None, None, None, None),
        ("Deployment/web/web", "changed", "spec.replicas", None, "3", "kubectl-edit"),
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"spec": {"suspend": True}},
            "HelmRelease web is suspended, so Flux does not revert it: flux resume helmrelease web -n flux",
        ),
        ({"spec": {"driftDetection": {"mode": "enabled"}}}, "Flux reverts it within its interval"),
        ({"spec": {"driftDetection": {"mode": "warn"}}}, "at the next upgrade only"),
    ],
)
def test_the_fix_says_who_reverts_the_change_and_when(change: Document, words: str) -> None:
    cluster = Cluster()
    cluster.release.update(change)
    obj = deployment(cluster)
    takes(obj, "kubectl-edit", replicas=3)
    assert words in cluster.drift()[0]["fix"]
    obj["metadata"]["annotations"] = {"helm.toolkit.fluxcd.io/driftDetection": "disabled"}
    assert "Flux does not revert this object" in cluster.drift()[0]["fix"]


def test_flux_reverts_kubectls_changes_and_keeps_the_additions_of_others() -> None:
    cluster = Cluster()
    takes(cluster.by_kustomize("Service", "web", "web", spec={"a": 1}), "kubectl-edit", b=1)
    assert cluster.drift()[0]["fix"].startswith("Flux reverts it within its interval")
    cluster = Cluster()
    takes(cluster.by_kustomize("Service", "web", "web", spec={"a": 1}), "node-fetch", b=1)
    assert "it removes undeclared fields only if kubectl set them" in cluster.drift()[0]["fix"]


def test_azures_kustomization_that_was_suspended_in_the_cluster_is_drift() -> None:
    cluster = Cluster()
    takes(cluster.kustomization, "flux", suspend=True)
    assert cluster.told() == [("Kustomization/flux/apps", "changed", "spec.suspend", None, "true", "flux")]
    assert "Azure's agent" in cluster.drift()[0]["fix"]


def test_azures_agent_may_have_any_field_manager() -> None:
    """Its objects are known from ARM; on them, only changes by users' tools are drift."""
    cluster = Cluster()
    configuration = {"namespace": "flux", "sourceKind": "GitRepository", "kustomizations": {"apps": {}}}
    cluster.by_agent = [key for key in applied.of_configuration("fleet", configuration) if key.kind == "Kustomization"]
    cluster.kustomization["metadata"]["name"] = "fleet-apps"
    takes(cluster.kustomization, "some-name-of-azures", prune=False)
    assert cluster.told() == []
    takes(cluster.kustomization, "kubectl-edit", suspend=True)
    assert [row[2] for row in cluster.told()] == ["spec.suspend"]


def test_deleted_objects_of_azures_agent_are_missing() -> None:
    cluster = Cluster()
    configuration = {"namespace": "flux", "sourceKind": "GitRepository", "kustomizations": {"apps": {}, "infra": {}}}
    cluster.by_agent = list(applied.of_configuration("fleet", configuration))
    cluster.kustomization["metadata"]["name"] = "fleet-apps"
    assert [row[:2] for row in cluster.told()] == [
        ("Kustomization/flux/fleet-infra", "missing"),
        ("GitRepository/flux/fleet", "missing"),
    ]
    assert {row["fix"] for row in cluster.drift()} == {inside_drift.BY_AGENT}
    assert list(applied.of_configuration("fleet", {"sourceKind": "AzureBlob"})) == [], "a kind that this table does not know"


def test_an_object_that_kubectl_created_in_fluxs_namespace_is_an_orphan() -> None:
    cluster = Cluster()
    cluster.by_kustomize("Namespace", "web", "")
    cluster.by_kustomize("ConfigMap", "settings", "web", data={})

    def own(name: str, manager: str, namespace: str = "web", **metadata: Any) -> None:
        cluster.objects.append(made("ConfigMap", name, namespace, manager, {}, data={"a": "1"}))
        cluster.objects[-1]["metadata"].update(metadata)

    own("mine", "kubectl-create")
    own("elsewhere", "kubectl-create", "other")
    own("operators", "some-operator")
    own("kube-root-ca.crt", "kube-controller-manager")
    own("owned", "kubectl-create", ownerReferences=[{"kind": "Thing"}])
    assert cluster.told() == [("ConfigMap/web/mine", "orphan", None, None, None, "kubectl-create")]
    assert "kubectl delete configmap mine -n web" in cluster.drift()[0]["fix"] and cluster.drift()[0]["since"] == SINCE


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"paths": ["/spec/replicas"]}, []),
        ({"paths": ["/spec"], "target": {"kind": "Deployment", "name": "we."}}, []),
        ({"paths": ["/spec/replicas"], "target": {"kind": "StatefulSet"}}, ["spec.replicas"]),
        ({"paths": ["/spec/rep"]}, ["spec.replicas"]),
        ({"paths": ["/spec/replicas"], "target": {"labelSelector": "a=b"}}, ["spec.replicas"]),
        ({"paths": []}, ["spec.replicas"]),
    ],
)
def test_fields_that_flux_ignores_by_declaration_are_not_drift(rule: Document, told: list[str]) -> None:
    cluster = Cluster()
    cluster.release["spec"] = {"driftDetection": {"mode": "enabled", "ignore": [rule]}}
    takes(deployment(cluster), "kubectl-edit", replicas=3)
    assert [row[2] for row in cluster.told()] == told
    cluster = Cluster()
    cluster.kustomization["spec"]["ignore"] = [rule]
    takes(
        cluster.by_kustomize("Deployment", "web", "web", api_version="apps/v1", spec={"replicas": 1}),
        "kubectl-edit",
        replicas=3,
    )
    assert [row[2] for row in cluster.told()] == told


def test_a_list_item_can_be_ignored_by_its_index() -> None:
    cluster = Cluster()
    cluster.release["spec"] = {"driftDetection": {"mode": "enabled", "ignore": [{"paths": ["/webhooks/1/failure~1Policy"]}]}}
    hooks = [{"name": "a", "failure/Policy": "Fail"}, {"name": "b", "failure/Policy": "Fail"}]
    obj = cluster.by_helm(
        "ValidatingWebhookConfiguration", "w", "", api_version="admissionregistration.k8s.io/v1", webhooks=hooks
    )
    owned: Document = {f'k:{{"name":"{name}"}}': {"f:failure/Policy": {}} for name in "ab"}
    obj["webhooks"] = [{**hook, "failure/Policy": "Ignore"} for hook in hooks]
    obj["metadata"]["managedFields"] = [*obj["metadata"]["managedFields"], owns("kubectl-edit", {"f:webhooks": owned})]
    del obj["metadata"]["managedFields"][0]["fieldsV1"]["f:webhooks"]
    assert [row[2:5] for row in cluster.told()] == [("webhooks.a.failure/Policy", "Fail", "Ignore")]


def test_an_owned_object_with_copied_labels_is_not_fluxs() -> None:
    """KEDA's HorizontalPodAutoscalers have the labels of their ScaledObject, and an owner."""
    cluster = Cluster()
    cluster.by_helm("HorizontalPodAutoscaler", "web", api_version="autoscaling/v2", spec={})
    copy = made(
        "HorizontalPodAutoscaler", "keda-hpa", "web", "keda", HELM, api_version="autoscaling/v2", spec={"maxReplicas": 3}
    )
    copy["metadata"]["ownerReferences"] = [{"kind": "ScaledObject"}]
    cluster.objects.append(copy)
    assert cluster.told() == []


def test_the_requests_grow_with_kinds_not_with_objects() -> None:
    def calls(objects: int, kinds: tuple[str, ...]) -> int:
        cluster = Cluster()
        for kind in kinds:
            for number in range(objects):
                cluster.by_helm(kind, f"x{number}", api_version="v1", spec={})
        cluster.drift()
        return len(cluster.calls)

    records = len(("kustomizations", "helmreleases", "secrets", "gitrepositories"))
    assert calls(1, ("Service",)) == calls(500, ("Service",)) == records + 1
    assert calls(3, ("Service", "ConfigMap", "ServiceAccount")) == records + 3
