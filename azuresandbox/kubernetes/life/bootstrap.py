"""The objects of a new cluster: namespaces, the roles that Kubernetes ships, the `kubernetes` Service.

Source of the roles: `plugin/pkg/auth/authorizer/rbac/bootstrappolicy` of Kubernetes.
"""

from __future__ import annotations

from typing import Any

from azuresandbox.kubernetes.api.write.own import put_own
from azuresandbox.kubernetes.model.resources import BY_PLURAL
from azuresandbox.kubernetes.state import allocation
from azuresandbox.kubernetes.state.cluster import Cluster
from azuresandbox.kubernetes.state.rbac import GROUP, Rule

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_BOOTSTRAP = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_UPDATED = {"rbac.authorization.kubernetes.io/autoupdate": "true"}
READ = ["get", "list", "watch"]
WRITE = ["create", "delete", "deletecollection", "patch", "update"]
ALL = [*READ, *WRITE]


def _rule(verbs: list[str], group: str, *resources: str) -> Rule:
    return {"verbs": verbs, "apiGroups": [group], "resources": list(resources)}


_WORKLOADS = (
    "daemonsets",
    "deployments",
    "deployments/scale",
    "replicasets",
    "replicasets/scale",
    "statefulsets",
    "statefulsets/scale",
)
_EVERYWHERE = (
    "configmaps",
    "endpoints",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "replicationcontrollers/scale",
    "serviceaccounts",
    "services",
)

_VIEW = [
    _rule(READ, "", *_EVERYWHERE, "persistentvolumeclaims/status", "services/status"),
    _rule(READ, "", "events", "limitranges", "namespaces/status", "pods/log", "pods/status", "resourcequotas", "namespaces"),
    _rule(READ, "discovery.k8s.io", "endpointslices"),
    _rule(READ, "apps", "controllerrevisions", *_WORKLOADS, *(f"{name}/status" for name in _WORKLOADS if "/" not in name)),
    _rule(READ, "autoscaling", "horizontalpodautoscalers", "horizontalpodautoscalers/status"),
    _rule(READ, "batch", "cronjobs", "cronjobs/status", "jobs", "jobs/status"),
    _rule(READ, "policy", "poddisruptionbudgets", "poddisruptionbudgets/status"),
    _rule(READ, "networking.k8s.io", "ingresses", "ingresses/status", "networkpolicies"),
]

_EDIT = [
    _rule(READ, "", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "secrets", "services/proxy"),
    _rule(["impersonate"], "", "serviceaccounts"),
    _rule(WRITE, "", "pods", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy"),
    _rule(["create"], "", "pods/eviction"),
    _rule(
        WRITE,
        "",
        "configmaps",
        "events",
        "persistentvolumeclaims",
        "replicationcontrollers",
        "replicationcontrollers/scale",
        "secrets",
        "serviceaccounts",
        "services",
        "services/proxy",
    ),
    _rule(["create"], "", "serviceaccounts/token"),
    _rule(WRITE, "apps", *_WORKLOADS),
    _rule(WRITE, "autoscaling", "horizontalpodautoscalers"),
    _rule(WRITE, "batch", "cronjobs", "jobs"),
    _rule(WRITE, "policy", "poddisruptionbudgets"),
    _rule(WRITE, "networking.k8s.io", "ingresses", "networkpolicies"),
    _rule(ALL, "coordination.k8s.io", "leases"),
]

_ADMIN = [
    _rule(["create"], "authorization.k8s.io", "localsubjectaccessreviews"),
    _rule(ALL, GROUP, "rolebindings", "roles"),
]

_NODE = [
    _rule(["create"], "authentication.k8s.io", "tokenreviews"),
    _rule(["create"], "authorization.k8s.io", "localsubjectaccessreviews", "subjectaccessreviews"),
    _rule(READ, "", "services", "configmaps", "secrets", "persistentvolumeclaims", "persistentvolumes"),
    _rule(["create", "get", "list", "watch", "patch", "update"], "", "nodes", "nodes/status"),
    _rule(["create", "delete", *READ], "", "pods"),
    _rule(["patch", "update"], "", "pods/status"),
    _rule(["create"], "", "pods/eviction", "serviceaccounts/token"),
    _rule(["create", "patch", "update"], "", "events"),
    _rule(["create", "delete", "get", "patch", "update"], "coordination.k8s.io", "leases"),
    _rule(READ, "storage.k8s.io", "csidrivers", "volumeattachments"),
    _rule(READ, "node.k8s.io", "runtimeclasses"),
]

_PUBLIC = [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/livez", "/readyz", "/version", "/version/"]}]
_DISCOVERY = [
    {
        "verbs": ["get"],
        "nonResourceURLs": [
            "/api",
            "/api/*",
            "/apis",
            "/apis/*",
            "/healthz",
            "/livez",
            "/openapi",
            "/openapi/*",
            "/readyz",
            "/version",
            "/version/",
        ],
    }
]
_BASIC = [
    _rule(["create"], "authorization.k8s.io", "selfsubjectaccessreviews", "selfsubjectrulesreviews"),
    _rule(["create"], "authentication.k8s.io", "selfsubjectreviews"),
]
_EVERYTHING = [
    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
    {"verbs": ["*"], "nonResourceURLs": ["*"]},
]

ROLES: dict[str, tuple[list[Rule], dict[str, str]]] = {
    "cluster-admin": (_EVERYTHING, {}),
    "system:aggregate-to-view": (_VIEW, {"rbac.authorization.k8s.io/aggregate-to-view": "true"}),
    "system:aggregate-to-edit": (_EDIT, {"rbac.authorization.k8s.io/aggregate-to-edit": "true"}),
    "system:aggregate-to-admin": (_ADMIN, {"rbac.authorization.k8s.io/aggregate-to-admin": "true"}),
    "system:basic-user": (_BASIC, {}),
    "system:discovery": (_DISCOVERY, {}),
    "system:public-info-viewer": (_PUBLIC, {}),
    "system:node": (_NODE, {}),
    "system:auth-delegator": (
        [
            _rule(["create"], "authentication.k8s.io", "tokenreviews"),
            _rule(["create"], "authorization.k8s.io", "subjectaccessreviews"),
        ],
        {},
    ),
    "system:service-account-issuer-discovery": (
        [
            {
                "verbs": ["get"],
                "nonResourceURLs": [
                    "/.well-known/openid-configuration",
                    "/.well-known/openid-configuration/",
                    "/openid/v1/jwks",
                    "/openid/v1/jwks/",
                ],
            }
        ],
        {},
    ),
    "system:kube-scheduler": (
        [
            _rule(["create", "patch", "update"], "", "events"),
            _rule(READ, "", "nodes", "pods", "services", "replicationcontrollers"),
            _rule(["create"], "", "bindings", "pods/binding"),
            _rule(["patch", "update"], "", "pods/status"),
            _rule(["delete"], "", "pods"),
            _rule(READ, "apps", "replicasets", "statefulsets"),
            _rule(READ, "policy", "poddisruptionbudgets"),
            _rule(ALL, "coordination.k8s.io", "leases"),
        ],
        {},
    ),
}
"""ClusterRole -> its rules and labels."""

AGGREGATED = {
    "view": (["view"], {"rbac.authorization.k8s.io/aggregate-to-edit": "true"}),
    "edit": (["edit"], {"rbac.authorization.k8s.io/aggregate-to-admin": "true"}),
    "admin": (["admin"], {}),
}
"""Aggregated ClusterRole -> the `aggregate-to-` labels that it gathers, and its own labels."""

BINDINGS: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "cluster-admin": ("cluster-admin", [("Group", "system:masters")]),
    "system:basic-user": ("system:basic-user", [("Group", "system:authenticated")]),
    "system:discovery": ("system:discovery", [("Group", "system:authenticated")]),
    "system:public-info-viewer": (
        "system:public-info-viewer",
        [("Group", "system:authenticated"), ("Group", "system:unauthenticated")],
    ),
    "system:node": ("system:node", [("Group", "system:nodes")]),
    "system:service-account-issuer-discovery": (
        "system:service-account-issuer-discovery",
        [("Group", "system:serviceaccounts")],
    ),
    "system:kube-scheduler": ("system:kube-scheduler", [("User", "system:kube-scheduler")]),
}
"""ClusterRoleBinding -> its ClusterRole, and its subjects as (kind, name)."""


def furnish_cluster(cluster: Cluster) -> None:
    """Create the objects that are missing; objects that exist are not changed."""
    with cluster.sandbox.store.transaction():
        for name in NAMESPACES:
            put_own(cluster, BY_PLURAL["", "namespaces"], {"metadata": {"name": name}})
        _roles(cluster)
        _api_service(cluster)


def _meta(name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"name": name, "labels": _BOOTSTRAP | labels, "annotations": dict(_UPDATED)}


def _roles(cluster: Cluster) -> None:
    roles, bindings = BY_PLURAL[GROUP, "clusterroles"], BY_PLURAL[GROUP, "clusterrolebindings"]
    if cluster.objects.get(roles.key("", "cluster-admin")) is not None:
        return
    for name, (rules, labels) in ROLES.items():
        put_own(cluster, roles, {"metadata": _meta(name, labels), "rules": rules})
    for name, (gathered, labels) in AGGREGATED.items():
        selectors = [{"matchLabels": {f"rbac.authorization.k8s.io/aggregate-to-{target}": "true"}} for target in gathered]
        role = {"metadata": _meta(name, labels), "aggregationRule": {"clusterRoleSelectors": selectors}, "rules": []}
        put_own(cluster, roles, role)
    for name, (role_name, subjects) in BINDINGS.items():
        reference = {"apiGroup": GROUP, "kind": "ClusterRole", "name": role_name}
        people = [{"kind": kind, "apiGroup": GROUP, "name": subject} for kind, subject in subjects]
        put_own(cluster, bindings, {"metadata": _meta(name, {}), "roleRef": reference, "subjects": people})


def _api_service(cluster: Cluster) -> None:
    labels = {"component": "apiserver", "provider": "kubernetes"}
    spec = {
        "type": "ClusterIP",
        "clusterIP": allocation.API_ADDRESS,
        "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 443}],
    }
    put_own(
        cluster,
        BY_PLURAL["", "services"],
        {"metadata": {"name": "kubernetes", "namespace": "default", "labels": labels}, "spec": spec},
    )
