"""Create, read, update and delete, and the reasons to refuse them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.comparing import on_both
from tests.conformance.definitions import WIDGETS, config_map, deployment, pod, service, widget
from tests.conformance.talk import Talk

Object = dict[str, Any]

_TEMPLATE: Object = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "main", "image": "redis:7"}]}}
_ROLE = {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]}
_BINDING: Object = {
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
    "subjects": [{"kind": "User", "name": "someone"}, {"kind": "ServiceAccount", "name": "default", "namespace": "default"}],
}

KINDS: dict[str, tuple[str, Object]] = {
    "configmap": ("configmaps", config_map("x")),
    "secret": ("secrets", {"apiVersion": "v1", "kind": "Secret", "stringData": {"a": "b"}, "data": {"c": "ZA=="}}),
    "service": ("services", service("x")),
    "headless": ("services", service("x", clusterIP="None")),
    "nodeport": ("services", service("x", type="NodePort")),
    "external": ("services", {"apiVersion": "v1", "kind": "Service", "spec": {"type": "ExternalName", "externalName": "a.b"}}),
    "serviceaccount": ("serviceaccounts", {"apiVersion": "v1", "kind": "ServiceAccount"}),
    "pod": ("pods", pod("x")),
    "pod-rich": (
        "pods",
        pod(
            "x",
            restartPolicy="Never",
            nodeSelector={"a": "b"},
            volumes=[{"name": "v", "emptyDir": {}}, {"name": "s", "secret": {"secretName": "t"}}],
            initContainers=[{"name": "init", "image": "busybox:1.36", "command": ["true"]}],
            containers=[
                {
                    "name": "main",
                    "image": "redis",
                    "ports": [{"containerPort": 80, "name": "web"}],
                    "env": [
                        {"name": "A", "value": "b"},
                        {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    ],
                    "resources": {"requests": {"cpu": "0.1", "memory": "64Mi"}, "limits": {"memory": "64Mi"}},
                    "livenessProbe": {"httpGet": {"path": "/", "port": 80}},
                    "readinessProbe": {"tcpSocket": {"port": "web"}},
                    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                }
            ],
        ),
    ),
    "deployment": ("apps/v1/deployments", deployment("x")),
    "replicaset": (
        "apps/v1/replicasets",
        {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": _TEMPLATE},
        },
    ),
    "daemonset": (
        "apps/v1/daemonsets",
        {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": _TEMPLATE},
        },
    ),
    "statefulset": (
        "apps/v1/statefulsets",
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "spec": {"serviceName": "x", "selector": {"matchLabels": {"app": "x"}}, "template": _TEMPLATE},
        },
    ),
    "job": (
        "batch/v1/jobs",
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "redis:7"}]}}},
        },
    ),
    "cronjob": (
        "batch/v1/cronjobs",
        {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "spec": {
                "schedule": "* * * * *",
                "jobTemplate": {
                    "spec": {
                        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "redis:7"}]}}
                    }
                },
            },
        },
    ),
    "role": ("rbac.authorization.k8s.io/v1/roles", {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", **_ROLE}),
    "rolebinding": (
        "rbac.authorization.k8s.io/v1/rolebindings",
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", **_BINDING},
    ),
    "ingress": (
        "networking.k8s.io/v1/ingresses",
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "spec": {
                "rules": [
                    {
                        "host": "a.b",
                        "http": {
                            "paths": [
                                {
                                    "path": "/",
                                    "pathType": "Prefix",
                                    "backend": {"service": {"name": "x", "port": {"number": 80}}},
                                }
                            ]
                        },
                    }
                ]
            },
        },
    ),
    "networkpolicy": (
        "networking.k8s.io/v1/networkpolicies",
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": {"podSelector": {}}},
    ),
    "poddisruptionbudget": (
        "policy/v1/poddisruptionbudgets",
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"a": "b"}}},
        },
    ),
    "autoscaler": (
        "autoscaling/v2/horizontalpodautoscalers",
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"}},
        },
    ),
    "lease": (
        "coordination.k8s.io/v1/leases",
        {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {"holderIdentity": "me", "leaseDurationSeconds": 15}},
    ),
    "claim": (
        "persistentvolumeclaims",
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        },
    ),
    "endpointslice": (
        "discovery.k8s.io/v1/endpointslices",
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.1.1.1"]}],
            "ports": [{"port": 80}],
        },
    ),
    "event": (
        "events",
        {
            "apiVersion": "v1",
            "kind": "Event",
            "involvedObject": {"kind": "Pod", "name": "x", "namespace": "NS"},
            "reason": "Made",
            "message": "it",
            "type": "Normal",
        },
    ),
    "podtemplate": ("podtemplates", {"apiVersion": "v1", "kind": "PodTemplate", "template": _TEMPLATE}),
    "endpoints": (
        "endpoints",
        {"apiVersion": "v1", "kind": "Endpoints", "subsets": [{"addresses": [{"ip": "10.1.1.1"}], "ports": [{"port": 80}]}]},
    ),
    "widget": (WIDGETS, widget("x", parts=[{"name": "a"}], port=80)),
}
"""(resource, object) to create, read, replace and delete."""


@pytest.mark.parametrize("kind", KINDS)
@on_both
def test_life(talk: Talk, kind: str) -> None:
    """Create, read, replace and delete an object of each kind."""
    resource, document = KINDS[kind]
    document = {**document, "metadata": {"name": "x", "labels": {"a": "b"}}}
    if kind == "event":
        document["involvedObject"] = {**document["involvedObject"], "namespace": talk.namespace}
    talk("POST", talk.at(resource), document, dryRun="All")
    created = talk("POST", talk.at(resource), document)
    talk("POST", talk.at(resource), document)
    talk("GET", talk.at(resource, "x"))
    talk("PUT", talk.at(resource, "x"), created)
    labelled = {**created, "metadata": {**created["metadata"], "labels": {"c": "d"}}}
    talk("PUT", talk.at(resource, "x"), labelled)
    talk("PUT", talk.at(resource, "x"), labelled)
    talk("GET", talk.at(resource))
    options = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
    talk("DELETE", talk.at(resource, "x"), options | ({"propagationPolicy": "Background"} if kind == "job" else {}))
    talk("GET", talk.at(resource, "x"))
    talk("DELETE", talk.at(resource, "x"))


CLUSTER_KINDS: dict[str, tuple[str, Object]] = {
    "namespace": ("namespaces", {"apiVersion": "v1", "kind": "Namespace"}),
    "node": ("nodes", {"apiVersion": "v1", "kind": "Node", "spec": {"unschedulable": True}}),
    "clusterrole": (
        "rbac.authorization.k8s.io/v1/clusterroles",
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", **_ROLE},
    ),
    "clusterrolebinding": (
        "rbac.authorization.k8s.io/v1/clusterrolebindings",
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", **_BINDING},
    ),
    "storageclass": (
        "storage.k8s.io/v1/storageclasses",
        {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "a.b/c"},
    ),
    "priorityclass": (
        "scheduling.k8s.io/v1/priorityclasses",
        {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 5},
    ),
    "ingressclass": (
        "networking.k8s.io/v1/ingressclasses",
        {"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "spec": {"controller": "a.b/c"}},
    ),
    "volume": (
        "persistentvolumes",
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/a"}},
        },
    ),
    "csidriver": (
        "storage.k8s.io/v1/csidrivers",
        {"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "spec": {"attachRequired": True}},
    ),
    "runtimeclass": (
        "node.k8s.io/v1/runtimeclasses",
        {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": "runc"},
    ),
    "globe": (
        "conformance.example.com/v1/globes",
        {"apiVersion": "conformance.example.com/v1", "kind": "Globe", "spec": {"a": "b"}},
    ),
}


@pytest.mark.parametrize("kind", CLUSTER_KINDS)
@on_both
def test_cluster_life(talk: Talk, kind: str) -> None:
    resource, document = CLUSTER_KINDS[kind]
    document = {**document, "metadata": {"name": f"x-{kind}"}}
    path = talk.at(resource, f"x-{kind}", namespace="")
    talk("POST", talk.at(resource, namespace=""), document, dryRun="All")
    created = talk("POST", talk.at(resource, namespace=""), document)
    talk("POST", talk.at(resource, namespace=""), document)
    talk("GET", path)
    talk("PUT", path, {**created, "metadata": {**created["metadata"], "annotations": {"c": "d"}}})
    talk("DELETE", path)


@on_both
def test_create_refused(talk: Talk) -> None:
    maps = talk.at("configmaps")
    talk("POST", maps, {**config_map("x"), "kind": "Secret"})
    talk("POST", maps, {**config_map("x"), "apiVersion": "v2"})
    talk("POST", maps, {"apiVersion": "v1", "metadata": {"name": "x"}})
    talk("POST", maps, {"kind": "ConfigMap", "metadata": {"name": "x"}})
    talk("POST", maps, {"metadata": {"name": "bare"}})
    talk("POST", maps, {**config_map("x"), "metadata": {}})
    talk("POST", maps, {**config_map("x"), "metadata": None})
    talk("POST", maps, config_map("Not_A_Name"))
    talk("POST", maps, config_map("x" * 300))
    talk("POST", maps, config_map("x", resourceVersion="5"))
    talk("POST", maps, config_map("x", namespace="elsewhere"))
    talk("POST", maps, config_map("x", labels={"a b": "c"}))
    talk("POST", maps, config_map("x", labels={"d": "e f"}))
    talk("POST", maps, config_map("x", annotations={"a b": "c"}))
    talk("POST", maps, config_map("x", finalizers=["bad one", "unqualified"]))
    talk("POST", maps, config_map("x", ownerReferences=[{"apiVersion": "v1", "kind": "Pod"}]))
    talk("POST", maps, config_map("x", {"bad key": "1"}))
    talk("POST", maps, {**config_map("x"), "data": {"a": 1}})
    talk("POST", maps, {**config_map("x"), "data": "text"})
    talk("POST", maps, {**config_map("x"), "binaryData": {"b": "not base64!"}})
    talk("POST", maps, {**config_map("x"), "binaryData": {"a": "YQ=="}})
    talk("POST", talk.at("configmaps", namespace="nowhere"), config_map("x"))
    talk("POST", "/api/v1/configmaps", config_map("x"))
    talk("POST", talk.at("configmaps", "x"), config_map("x"))


@on_both
def test_bodies(talk: Talk) -> None:
    """Bodies that are not objects."""
    maps = talk.at("configmaps")
    for body in ("", "{", "[]", "null", '"text"', "7", "{}", '{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":7}}'):
        talk("POST", maps, body)
    talk("POST", maps, "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: from-yaml\n", content_type="application/yaml")
    talk("POST", maps, "a: [", content_type="application/yaml")
    talk("POST", maps, config_map("y"), content_type="text/plain")
    talk("POST", maps, config_map("y"), content_type="application/x-www-form-urlencoded")
    talk("POST", maps, config_map("charset"), content_type="application/json; charset=utf-8")
    talk("POST", talk.at(WIDGETS), "[]")
    talk("POST", talk.at(WIDGETS), "{")
    talk("POST", talk.at(WIDGETS), "{}")
    talk("POST", talk.at(WIDGETS), {"kind": "Widget", "metadata": {"name": "x"}})
    talk("POST", talk.at(WIDGETS), {"apiVersion": "conformance.example.com/v1", "metadata": {"name": "x"}})
    talk("POST", talk.at(WIDGETS), {**widget("x"), "kind": "Gadget"})
    talk("POST", talk.at(WIDGETS), {**widget("x"), "apiVersion": "conformance.example.com/v9"}, fieldValidation="Ignore")
    talk("POST", talk.at(WIDGETS), {**widget("x"), "metadata": {}})
    talk("POST", talk.at(WIDGETS), {**widget("x"), "metadata": {"name": 7}})
    talk("POST", talk.at(WIDGETS), {**widget("x"), "metadata": {"name": "x", "labels": {"a": 7}}})


@on_both
def test_generate_name(talk: Talk) -> None:
    maps = talk.at("configmaps")
    bare = {"apiVersion": "v1", "kind": "ConfigMap"}
    talk("POST", maps, {**bare, "metadata": {"generateName": "made-"}})
    talk("POST", maps, {**bare, "metadata": {"generateName": "made-"}}, dryRun="All")
    talk("POST", maps, {**bare, "metadata": {"generateName": "made-", "name": "given"}})
    talk("POST", maps, {**bare, "metadata": {"generateName": "x" * 80}})
    talk("POST", maps, {**bare, "metadata": {"generateName": "Not_A_Name"}})
    talk("POST", talk.at(WIDGETS), {**widget("x"), "metadata": {"generateName": "made-"}})


@on_both
def test_update(talk: Talk) -> None:
    """PUT: preconditions, immutable fields, and objects that do not exist."""
    path = talk.at("configmaps", "x")
    talk("PUT", path, config_map("x"))
    first = talk("POST", talk.at("configmaps"), config_map("x"))
    talk("PUT", path, config_map("x", {"a": "2"}))
    talk("PUT", path, {**first, "data": {"a": "3"}})
    talk("PUT", path, config_map("y"))
    talk("PUT", path, config_map("x", uid="00000000-0000-0000-0000-000000000000"))
    talk("PUT", path, config_map("x", resourceVersion="nonsense"))
    talk("PUT", path, config_map("x", namespace="elsewhere"))
    talk("PUT", path, config_map("x", generateName="other-", creationTimestamp="2020-01-01T00:00:00Z", generation=9))
    talk("PUT", path, {**config_map("x"), "immutable": True})
    talk("PUT", path, config_map("x", {"a": "4"}))
    talk("PUT", path, {**config_map("x"), "immutable": False})
    talk("PUT", talk.at("configmaps", "x", namespace="nowhere"), config_map("x"))
    widgets = talk.at(WIDGETS, "w")
    made = talk("POST", talk.at(WIDGETS), widget("w"))
    talk("PUT", widgets, widget("w", size=2))
    talk("PUT", widgets, {**made, "spec": {"size": 2}})
    talk("PUT", widgets, {**made, "spec": {"size": 3}})
    talk("PUT", talk.at(WIDGETS, "not-there"), widget("not-there"))
    talk("PUT", talk.at(WIDGETS, "not-there"), {**made, "metadata": {**made["metadata"], "name": "not-there"}})


@on_both
def test_generation(talk: Talk) -> None:
    path = talk.at("apps/v1/deployments", "x")
    talk("POST", talk.at("apps/v1/deployments"), deployment("x"))
    talk("PUT", path, deployment("x", replicas=2))
    talk("PUT", path, deployment("x", replicas=2))
    talk("PUT", path, {**deployment("x", replicas=2), "metadata": {"name": "x", "labels": {"a": "b"}}})
    talk("PUT", path, {**deployment("x", replicas=2), "status": {"replicas": 7}})
    talk("PUT", talk.at("apps/v1/deployments", "x", "status"), {**deployment("x", replicas=9), "status": {"replicas": 7}})
    talk("DELETE", path)


@on_both
def test_dry_run(talk: Talk) -> None:
    maps, path = talk.at("configmaps"), talk.at("configmaps", "x")
    talk("POST", maps, config_map("x"), dryRun="All")
    talk("GET", path)
    talk("POST", maps, config_map("x"), dryRun="Some")
    talk("POST", maps, config_map("x"))
    talk("POST", maps, config_map("x"), dryRun="All")
    talk("PUT", path, config_map("x", {"a": "2"}), dryRun="All")
    talk("PUT", path, config_map("x", {"a": "2"}), dryRun="Other")
    talk("DELETE", path, dryRun="All")
    talk("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"]})
    talk("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["Half"]})
    talk("DELETE", maps, dryRun="All")
    talk("GET", path)
    talk("POST", talk.at("services"), service("dry"), dryRun="All")
    talk("POST", talk.at("pods"), pod("dry"), dryRun="All")
    talk("GET", talk.at("services"))


@on_both
def test_field_validation(talk: Talk) -> None:
    """Unknown and duplicate fields: refused, warned of, or ignored."""
    maps = talk.at("configmaps")
    unknown = {**config_map("u"), "extra": 1, "metadata": {"name": "u", "other": {"a": 1}}}
    for mode in ("Strict", "Warn", "Ignore", "Loose"):
        talk("POST", maps, unknown, fieldValidation=mode, dryRun="All")
    talk("POST", maps, unknown, dryRun="All")
    double = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"d"},"data":{"a":"1","a":"2"},"data":{"b":"3"}}'
    for mode in ("Strict", "Warn", "Ignore"):
        talk("POST", maps, double, fieldValidation=mode, dryRun="All")
    nested = deployment("n", paused="no")
    talk("POST", talk.at("apps/v1/deployments"), nested, dryRun="All")
    wrong = deployment("n", replicsa=1)
    wrong["spec"]["template"]["spec"]["containers"][0]["imagee"] = "x"
    for mode in ("Strict", "Warn"):
        talk("POST", talk.at("apps/v1/deployments"), wrong, fieldValidation=mode, dryRun="All")
    cased = {**config_map("c"), "Data": {"a": "b"}}
    talk("POST", maps, cased, fieldValidation="Strict", dryRun="All")
    custom = {**widget("w", sise=2, nested={"depth": 1}), "extra": True}
    for mode in ("Strict", "Warn", "Ignore"):
        talk("POST", talk.at(WIDGETS), custom, fieldValidation=mode, dryRun="All")
    twice = (
        '{"apiVersion":"conformance.example.com/v1","kind":"Widget","metadata":{"name":"d","bad":1},"spec":{"size":1,"size":2}}'
    )
    for mode in ("Strict", "Warn", "Ignore"):
        talk("POST", talk.at(WIDGETS), twice, fieldValidation=mode, dryRun="All")
    yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: y}\ndata: {a: b}\ndata: {c: d}\nwhat: 1\n"
    for mode in ("Strict", "Warn"):
        talk("POST", maps, yaml, content_type="application/yaml", fieldValidation=mode, dryRun="All")


@on_both
def test_not_found(talk: Talk) -> None:
    for resource in ("configmaps", "apps/v1/deployments", WIDGETS):
        for method in ("GET", "DELETE"):
            talk(method, talk.at(resource, "no-such"))
        talk("PATCH", talk.at(resource, "no-such"), {}, content_type="application/merge-patch+json")
        talk("GET", talk.at(resource, "no-such", namespace="nowhere"))
        talk("GET", talk.at(resource, namespace="nowhere"))
        talk("GET", talk.at(resource, "no-such", namespace=""))
    for path in (
        "/nothing",
        "/api/v2",
        "/api/v1/nothings",
        "/apis/nothing",
        "/apis/apps/v9",
        "/apis/apps/v1/nothings",
        "/apis/apps/v9/deployments",
        f"/api/v1/namespaces/{talk.namespace}/configmaps/x/nothing",
        f"/api/v1/namespaces/{talk.namespace}/configmaps/x/y/z",
        "/apis/conformance.example.com/v1/nothings",
        "/apis/conformance.example.com/v9/widgets",
        f"/api/v1/namespaces/{talk.namespace}/nodes",
        talk.at(WIDGETS, "x", "nothing"),
        "/api/v1/namespaces/nowhere/nothings",
        "/api/v1/watch/namespaces/nowhere/nothings",
    ):
        talk("GET", path)


@on_both
def test_method_not_allowed(talk: Talk) -> None:
    for method, path in (
        ("PUT", talk.at("configmaps")),
        ("PATCH", talk.at("configmaps")),
        ("POST", talk.at("configmaps", "x")),
        ("GET", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
        ("DELETE", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
        ("POST", "/api"),
        ("PUT", "/apis/apps/v1"),
        ("DELETE", "/version"),
        ("POST", "/healthz"),
        ("OPTIONS", talk.at("configmaps")),
        ("PUT", talk.at(WIDGETS)),
        ("POST", talk.at(WIDGETS, "x")),
        ("DELETE", talk.at(WIDGETS, "x", "status")),
        ("POST", talk.at(WIDGETS, "x", "scale")),
        ("DELETE", talk.at("apps/v1/deployments", "x", "status")),
        ("POST", talk.at("apps/v1/deployments", "x", "scale")),
        ("GET", talk.at("pods", "x", "eviction")),
        ("GET", talk.at("pods", "x", "binding")),
        ("GET", talk.at("serviceaccounts", "x", "token")),
        ("DELETE", talk.at("pods", "x", "log")),
        ("DELETE", "/api/v1/namespaces"),
        ("DELETE", talk.at("services")),
        ("GET", "/api/v1/namespaces/default/finalize"),
    ):
        talk(method, path, {} if method in ("PUT", "POST", "PATCH") else None)


@on_both
def test_media_types(talk: Talk) -> None:
    talk.quietly("POST", talk.at("configmaps"), config_map("x"))
    for accept in (
        "text/plain",
        "application/yaml",
        "application/xml,application/json",
        "*/*",
        "text/*",
        "application/json;as=Nothing;v=v1;g=meta.k8s.io",
    ):
        talk("GET", talk.at("configmaps", "x"), accept=accept)
        talk("GET", talk.at("configmaps", "not-there"), accept=accept)
    talk("GET", talk.at(WIDGETS), accept="text/plain")
    for kind in ("application/json", "application/strategic-merge-patch+json", "text/plain", "application/yaml", ""):
        talk("PATCH", talk.at("configmaps", "x"), {}, content_type=kind)
        talk("PATCH", talk.at(WIDGETS, "x"), {}, content_type=kind)
