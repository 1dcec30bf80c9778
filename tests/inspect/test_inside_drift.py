"""What somebody has changed in a cluster under Flux, from that cluster's own answers: objects that are gone, and fields with another's name on them."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any, cast

import pytest
import yaml

from fleetlib.clients.kube import Kube
from fleetlib.errors import FinalError
from fleetlib.inspect import applied, inside_drift, managers
from fleetlib.inspect.rows import Row
from tests.inspect.fleet_documents import SINCE

Document = dict[str, Any]
HELM = {"helm.toolkit.fluxcd.io/name": "web", "helm.toolkit.fluxcd.io/namespace": "flux"}
KUSTOMIZE = {"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux"}
PLAIN = "application/json"


def owns(manager: str, fields: Document, subresource: str = "") -> Document:
    more = {"subresource": subresource} if subresource else {}
    return {"manager": manager, "operation": "Update", "time": SINCE, "fieldsV1": fields, **more}


def fields_of(tree: Any) -> Document:
    return {f"f:{name}": fields_of(value) for name, value in tree.items()} if isinstance(tree, dict) else {}


def made(kind: str, name: str, namespace: str, by: str, labels: Document, api_version: str = "v1", **body: Any) -> Document:
    """An object as its applier has made it."""
    metadata = {"name": name, **({"namespace": namespace} if namespace else {}), "labels": dict(labels)}
    found = {"apiVersion": api_version, "kind": kind, "metadata": metadata, **body}
    applied_fields = {
        "f:metadata": {"f:labels": fields_of(labels)},
        **{f"f:{key}": fields_of(value) for key, value in body.items()},
    }
    found["metadata"]["managedFields"] = [owns(by, applied_fields)]
    return found


class Cluster:
    """A cluster that answers lists, and counts them."""

    def __init__(self) -> None:
        self.objects: list[Document] = []
        self.calls: list[str] = []
        self.accepted: dict[str, bool] = {}
        self.kustomization: Document = {
            "metadata": {
                "name": "apps",
                "namespace": "flux",
                "managedFields": [owns("fluxconfig-agent", {"f:spec": {"f:prune": {}}})],
            },
            "spec": {"prune": True, "sourceRef": {"kind": "GitRepository", "name": "fleet"}},
            "status": {"inventory": {"entries": []}},
        }
        last = {"name": "web", "namespace": "web", "version": 2, "status": "deployed"}
        self.release: Document = {
            "metadata": {"name": "web", "namespace": "flux", "labels": dict(KUSTOMIZE)},
            "spec": {},
            "status": {"history": [last], "storageNamespace": "flux"},
        }
        self.manifest: list[Document] = []
        self.refused = False
        self.by_agent: list[applied.Key] = []
        self.custom: dict[str, dict[str, tuple[str, bool]]] = {}

    def by_kustomize(self, kind: str, name: str, namespace: str, **more: Any) -> Document:
        obj = made(kind, name, namespace, "kustomize-controller", KUSTOMIZE, **more)
        group, _, version = obj["apiVersion"].rpartition("/")
        entry = {"id": f"{namespace}_{name}_{group}_{kind}", "v": version}
        self.kustomization["status"]["inventory"]["entries"].append(entry)
        self.objects.append(obj)
        return obj

    def by_helm(self, kind: str, name: str, namespace: str = "web", **more: Any) -> Document:
        obj = made(kind, name, namespace, "helm-controller", HELM, **more)
        self.manifest.append(json.loads(json.dumps(obj)))
        self.manifest[-1]["metadata"].pop("managedFields")
        self.manifest[-1]["metadata"].pop("namespace", None)
        self.objects.append(obj)
        return obj

    def items(
        self,
        api_version: str,
        plural: str,
        namespace: str | None = None,
        timeout: float = 0,
        *,
        labels: str = "",
        only_metadata: bool = False,
    ) -> list[Document]:
        self.calls.append(plural)
        if labels:
            return self._stored()
        self.accepted[plural] = only_metadata
        special = {"kustomizations": [self.kustomization], "helmreleases": [self.release]}
        if plural in special:
            return special[plural]
        found = [o for o in self.objects if o["apiVersion"] == api_version and self._plural(o) == plural]
        return [{"metadata": o["metadata"]} for o in found] if only_metadata else found

    def _plural(self, obj: Document) -> str:
        known = self.custom.get(obj["apiVersion"], {})
        return known[obj["kind"]][0] if obj["kind"] in known else applied.regular(obj["kind"])

    def _stored(self) -> list[Document]:
        if self.refused:
            raise FinalError(
                "could not list in cluster x",
                target="secrets",
                said='Forbidden: secrets is forbidden: User "reader" cannot list',
            )
        content = json.dumps({"manifest": "---\n".join(map(yaml.safe_dump, self.manifest))}).encode()
        data = base64.b64encode(base64.b64encode(gzip.compress(content))).decode()
        return [{"metadata": {"name": "sh.helm.release.v1.web.v2", "namespace": "flux"}, "data": {"release": data}}]

    def resources(self, api_version: str, timeout: float = 0) -> dict[str, tuple[str, bool]]:
        self.calls.append(api_version)
        return self.custom.get(api_version, {})

    def drift(self) -> list[Row]:
        return list(inside_drift.differences("one-aks", applied.read(cast(Kube, self), self.by_agent)))

    def told(self) -> list[tuple[Any, ...]]:
        return [
            tuple(row.get(name) for name in ("object", "kind", "field", "declared", "actual", "by")) for row in self.drift()
        ]


def deployment(cluster: Cluster, **spec: Any) -> Document:
    return cluster.by_helm("Deployment", "web", api_version="apps/v1", spec={"replicas": 1, **spec})


def takes(obj: Document, manager: str, subresource: str = "", **spec: Any) -> None:
    """Somebody writes fields of the spec: they are theirs from then on, and no longer the applier's."""
    obj["spec"].update(spec)
    for entry in obj["metadata"]["managedFields"]:
        for name in spec:
            entry["fieldsV1"].get("f:spec", {}).pop(f"f:{name}", None)
    obj["metadata"]["managedFields"].append(owns(manager, {"f:spec": fields_of(spec)}, subresource))


def test_left_alone_there_is_nothing_to_tell() -> None:
    cluster = Cluster()
    deployment(cluster)
    cluster.by_kustomize("Namespace", "web", "")
    cluster.by_kustomize("ConfigMap", "settings", "web", data={"a": "1"})
    assert cluster.told() == []


def test_every_kind_that_flux_applies_is_looked_at() -> None:
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
def test_who_is_a_hand_who_a_controller_and_who_is_unknown(manager: str, subresource: str, field: str, by: str | None) -> None:
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


def test_the_declared_value_is_what_helm_deployed() -> None:
    cluster = Cluster()
    takes(deployment(cluster), "kubectl-edit", replicas=3, paused=True)
    assert [row[2:5] for row in cluster.told()] == [("spec.replicas", "1", "3"), ("spec.paused", "(none)", "true")]
    (first, _) = cluster.drift()
    assert (
        first["since"] == SINCE and "next upgrade only" in first["fix"] and "reconcile helmrelease web -n flux" in first["fix"]
    )


def test_a_field_that_flux_owns_too_has_fluxs_value() -> None:
    cluster = Cluster()
    obj = deployment(cluster)
    obj["metadata"]["managedFields"].append(owns("kubectl-client-side-apply", {"f:spec": {"f:replicas": {}}}))
    assert cluster.told() == []


def test_what_is_put_back_to_the_declared_value_by_hand_is_no_drift() -> None:
    cluster = Cluster()
    takes(deployment(cluster), "kubectl-edit", replicas=1)
    assert cluster.told() == []


def test_a_failed_release_declares_nothing() -> None:
    cluster = Cluster()
    takes(deployment(cluster), "kubectl-edit", replicas=3)
    cluster.release["status"]["history"][0]["status"] = "failed"
    cluster.by_kustomize("Deployment", "other", "web", api_version="apps/v1", spec={})  # so that Deployments are in the books
    cluster.objects.pop()
    cluster.kustomization["metadata"]["deletionTimestamp"] = SINCE
    assert cluster.told() == [("Deployment/web/web", "changed", "spec.replicas", None, "3", "kubectl-edit")]


def test_deleted_by_hand() -> None:
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
    ], "a Job may go by itself; a definition that is gone takes its objects along"
    fixes = [row["fix"] for row in cluster.drift()]
    assert (
        fixes[0].startswith("Flux makes it anew within its interval")
        and "Helm makes it anew at the next upgrade only" in fixes[1]
    )


def test_custom_kinds_in_no_namespace() -> None:
    cluster = Cluster()
    cluster.custom["example.com/v1"] = {"Realm": ("realms", False), "Widget": ("widgetry", True)}
    cluster.by_helm("Realm", "r", "", api_version="example.com/v1", spec={})
    cluster.by_helm("Widget", "w", "web", api_version="example.com/v1", spec={})
    assert cluster.told() == [] and cluster.calls.count("example.com/v1") == 1
    cluster.objects.clear()
    assert [row[0] for row in cluster.told()] == ["Realm/r", "Widget/web/w"]


def test_what_is_taken_away_has_nobodys_name_on_it() -> None:
    cluster = Cluster()
    obj = cluster.by_helm("ConfigMap", "settings", data={"a": "1", "b": "2"})
    del obj["data"]["b"], obj["metadata"]["managedFields"][0]["fieldsV1"]["f:data"]["f:b"]
    assert cluster.told() == [("ConfigMap/web/settings", "changed", "data.b", "2", "(none)", None)]


def test_a_secret_is_named_never_shown() -> None:
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
    assert cluster.accepted["secrets"] is True, "nothing but metadata is asked for"
    assert [
        value
        for item in applied.manifests("---\n".join(map(yaml.safe_dump, cluster.manifest)))
        for value in item["data"].values()
    ] == [applied.SECRET] * 2


def test_who_may_not_read_secrets_is_told_and_the_rest_is_compared() -> None:
    cluster = Cluster()
    cluster.refused = True
    takes(deployment(cluster), "kubectl-edit", replicas=3)
    cluster.by_helm("Service", "gone", spec={})
    cluster.objects.pop()
    cluster.release["status"]["inventory"] = {
        "entries": [{"id": "web_web_apps_Deployment", "v": "v1"}, {"id": "web_gone__Service", "v": "v1"}]
    }
    found = applied.read(cast(Kube, cluster))
    assert list(found.unread) == ["what Helm has stored"]
    assert cluster.told() == [
        ("Service/web/gone", "missing", None, None, None, None),
        ("Deployment/web/web", "changed", "spec.replicas", None, "3", "kubectl-edit"),
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"spec": {"suspend": True}},
            "HelmRelease web is suspended, so that nothing puts it back: flux resume helmrelease web -n flux",
        ),
        ({"spec": {"driftDetection": {"mode": "enabled"}}}, "Flux puts it back within its interval"),
        ({"spec": {"driftDetection": {"mode": "warn"}}}, "at the next upgrade only"),
    ],
)
def test_what_puts_it_right(change: Document, words: str) -> None:
    cluster = Cluster()
    cluster.release.update(change)
    obj = deployment(cluster)
    takes(obj, "kubectl-edit", replicas=3)
    assert words in cluster.drift()[0]["fix"]
    obj["metadata"]["annotations"] = {"helm.toolkit.fluxcd.io/driftDetection": "disabled"}
    assert "Flux leaves this object alone" in cluster.drift()[0]["fix"]


def test_flux_undoes_kubectls_changes_and_leaves_others_additions() -> None:
    cluster = Cluster()
    takes(cluster.by_kustomize("Service", "web", "web", spec={"a": 1}), "kubectl-edit", b=1)
    assert cluster.drift()[0]["fix"].startswith("Flux puts it back within its interval")
    cluster = Cluster()
    takes(cluster.by_kustomize("Service", "web", "web", spec={"a": 1}), "node-fetch", b=1)
    assert "what Git does not declare it leaves" in cluster.drift()[0]["fix"]


def test_azures_own_kustomization_suspended_in_the_cluster() -> None:
    cluster = Cluster()
    takes(cluster.kustomization, "flux", suspend=True)
    assert cluster.told() == [("Kustomization/flux/apps", "changed", "spec.suspend", None, "true", "flux")]
    assert "Azure's agent" in cluster.drift()[0]["fix"]


def test_azures_agent_may_call_itself_as_it_likes() -> None:
    """What it made is known from ARM; of its objects only what tools of people own is told."""
    cluster = Cluster()
    configuration = {"namespace": "flux", "sourceKind": "GitRepository", "kustomizations": {"apps": {}}}
    cluster.by_agent = [key for key in applied.of_configuration("fleet", configuration) if key.kind == "Kustomization"]
    cluster.kustomization["metadata"]["name"] = "fleet-apps"
    takes(cluster.kustomization, "some-name-of-azures", prune=False)
    assert cluster.told() == []
    takes(cluster.kustomization, "kubectl-edit", suspend=True)
    assert [row[2] for row in cluster.told()] == ["spec.suspend"]


def test_what_azures_agent_made_and_somebody_deleted() -> None:
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


def test_made_by_hand_where_flux_made_the_namespace() -> None:
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
def test_what_git_leaves_to_others_is_no_drift(rule: Document, told: list[str]) -> None:
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


def test_an_item_of_a_list_left_to_others_by_its_place() -> None:
    cluster = Cluster()
    cluster.release["spec"] = {"driftDetection": {"mode": "enabled", "ignore": [{"paths": ["/webhooks/1/failure~1Policy"]}]}}
    hooks = [{"name": "a", "failure/Policy": "Fail"}, {"name": "b", "failure/Policy": "Fail"}]
    obj = cluster.by_helm(
        "ValidatingWebhookConfiguration", "w", "", api_version="admissionregistration.k8s.io/v1", webhooks=hooks
    )
    owned = {f'k:{{"name":"{name}"}}': {"f:failure/Policy": {}} for name in "ab"}
    obj["webhooks"] = [{**hook, "failure/Policy": "Ignore"} for hook in hooks]
    obj["metadata"]["managedFields"] = [*obj["metadata"]["managedFields"], owns("kubectl-edit", {"f:webhooks": owned})]
    del obj["metadata"]["managedFields"][0]["fieldsV1"]["f:webhooks"]
    assert [row[2:5] for row in cluster.told()] == [("webhooks.a.failure/Policy", "Fail", "Ignore")]


def test_copies_of_labels_are_not_fluxs() -> None:
    """KEDA's HorizontalPodAutoscalers have their ScaledObject's labels, and an owner."""
    cluster = Cluster()
    cluster.by_helm("HorizontalPodAutoscaler", "web", api_version="autoscaling/v2", spec={})
    copy = made(
        "HorizontalPodAutoscaler", "keda-hpa", "web", "keda", HELM, api_version="autoscaling/v2", spec={"maxReplicas": 3}
    )
    copy["metadata"]["ownerReferences"] = [{"kind": "ScaledObject"}]
    cluster.objects.append(copy)
    assert cluster.told() == []


def test_calls_grow_with_kinds_not_with_objects() -> None:
    def calls(objects: int, kinds: tuple[str, ...]) -> int:
        cluster = Cluster()
        for kind in kinds:
            for number in range(objects):
                cluster.by_helm(kind, f"x{number}", api_version="v1", spec={})
        cluster.drift()
        return len(cluster.calls)

    books = len(("kustomizations", "helmreleases", "secrets", "gitrepositories"))
    assert calls(1, ("Service",)) == calls(500, ("Service",)) == books + 1
    assert calls(3, ("Service", "ConfigMap", "ServiceAccount")) == books + 3
