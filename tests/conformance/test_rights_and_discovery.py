"""Rights in access reviews and in refusals, tokens, discovery and OpenAPI."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from tests.conformance.comparing import on_both
from tests.conformance.definitions import config_map, pod
from tests.conformance.talk import Talk

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
AGGREGATED_BETA = AGGREGATED.replace("v=v2;", "v=v2beta1;")
_RBAC = "rbac.authorization.k8s.io/v1"


def _review(kind: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}


def _prepare(talk: Talk) -> None:
    rules = [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "create"]},
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["mine"], "verbs": ["get"]},
    ]
    talk.quietly("POST", talk.at(f"{_RBAC}/roles"), {"metadata": {"name": "reader"}, "rules": rules})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}
    binding = {"metadata": {"name": "reader"}, "roleRef": reference, "subjects": [{"kind": "User", "name": "ann"}]}
    talk.quietly("POST", talk.at(f"{_RBAC}/rolebindings"), binding)
    _await(talk, "ann", "get", "", "configmaps")


def _await(talk: Talk, user: str, verb: str, group: str, resource: str) -> None:
    """Wait until the authorizer knows a binding; the real one learns of it by a watch."""
    attributes = {"verb": verb, "group": group, "resource": resource, "namespace": talk.namespace}
    limit, allowed = time.monotonic() + 10, False
    while not allowed:
        review = _review("SubjectAccessReview", user=user, resourceAttributes=attributes)
        allowed = talk.quietly("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)["status"]["allowed"]
        assert allowed or time.monotonic() < limit
        time.sleep(0 if allowed else 0.02)


ATTRIBUTES: tuple[dict[str, str], ...] = (
    {"verb": "get", "resource": "configmaps", "namespace": "NS"},
    {"verb": "delete", "resource": "configmaps", "namespace": "NS"},
    {"verb": "get", "resource": "secrets", "name": "mine", "namespace": "NS"},
    {"verb": "get", "resource": "secrets", "name": "other", "namespace": "NS"},
    {"verb": "get", "resource": "configmaps"},
    {"verb": "*", "resource": "*"},
    {"verb": "get", "group": "apps", "resource": "deployments", "subresource": "scale", "namespace": "NS"},
)
"""Questions about rights; NS stands for the conversation's namespace."""


@on_both
def test_reviews(talk: Talk) -> None:
    _prepare(talk)
    path = "/apis/authorization.k8s.io/v1"

    def review(kind: str, *, sender: str = "", **spec: Any) -> None:
        where = f"{path}/namespaces/{talk.namespace}" if kind.startswith("Local") else path
        talk("POST", f"{where}/{kind.lower()}s", _review(kind, **spec), user=sender)

    for asked in ATTRIBUTES:
        attributes = {name: talk.namespace if value == "NS" else value for name, value in asked.items()}
        review("SubjectAccessReview", user="ann", resourceAttributes=attributes)
        review("SelfSubjectAccessReview", sender="ann", resourceAttributes=attributes)
        inside = {**attributes, "namespace": talk.namespace}
        review("LocalSubjectAccessReview", user="ann", resourceAttributes=inside)
    review("SubjectAccessReview", user="ann", nonResourceAttributes={"path": "/healthz", "verb": "get"})
    review("SubjectAccessReview", user="ann", nonResourceAttributes={"path": "/metrics", "verb": "get"})
    review("SubjectAccessReview", user="ann")
    pods = {"verb": "get", "resource": "pods"}
    review("SubjectAccessReview", resourceAttributes=pods)
    review("SubjectAccessReview", groups=["system:masters"], user="x", resourceAttributes=pods)
    review("SelfSubjectRulesReview")
    authentication = "authentication.k8s.io/v1"
    myself = {"apiVersion": authentication, "kind": "SelfSubjectReview"}
    talk("POST", f"/apis/{authentication}/selfsubjectreviews", myself, user="ann")
    token = {"apiVersion": authentication, "kind": "TokenReview", "spec": {}}
    talk("POST", f"/apis/{authentication}/tokenreviews", token)


@on_both
def test_refusals(talk: Talk) -> None:
    _prepare(talk)
    maps = talk.at("configmaps")
    talk("GET", maps, user="ann")
    talk("POST", maps, config_map("x"), user="ann")
    talk("DELETE", talk.at("configmaps", "x"), user="ann")
    talk("PUT", talk.at("configmaps", "x"), config_map("x"), user="ann")
    talk("PATCH", talk.at("configmaps", "x"), {}, content_type="application/merge-patch+json", user="ann")
    talk("DELETE", maps, user="ann")
    talk("GET", "/api/v1/configmaps", user="ann")
    talk("GET", "/api/v1/nodes", user="ann")
    talk("GET", "/api/v1/nodes/x", user="ann")
    talk("GET", talk.at("apps/v1/deployments", "x", "scale"), user="ann")
    talk("GET", talk.at("pods", "x", "log"), user="ann")
    talk("GET", "/metrics", user="ann")
    talk("GET", "/version", user="ann", accept="application/yaml")
    talk("GET", "/apis/no.such/v1/things", user="ann")
    talk(
        "POST",
        talk.at(f"{_RBAC}/roles"),
        {"metadata": {"name": "more"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
        user="ann",
    )
    talk("GET", maps, user="ann", groups=("system:masters",))
    talk("GET", maps, user="system:serviceaccount:default:default")


@on_both
def test_escalation(talk: Talk) -> None:
    """Roles and bindings that grant rights the user does not have."""
    rules = [{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"], "verbs": ["*"]}]
    talk.quietly("POST", talk.at(f"{_RBAC}/roles"), {"metadata": {"name": "giver"}, "rules": rules})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "giver"}
    binding = {"metadata": {"name": "giver"}, "roleRef": reference, "subjects": [{"kind": "User", "name": "bob"}]}
    talk.quietly("POST", talk.at(f"{_RBAC}/rolebindings"), binding)
    _await(talk, "bob", "create", "rbac.authorization.k8s.io", "roles")
    wider = [
        {"apiGroups": [""], "resources": ["secrets", "pods"], "verbs": ["get", "list"]},
        {"apiGroups": ["apps"], "resources": ["*"], "verbs": ["*"]},
    ]
    talk("POST", talk.at(f"{_RBAC}/roles"), {"metadata": {"name": "wider"}, "rules": wider}, user="bob")
    talk("POST", talk.at(f"{_RBAC}/roles"), {"metadata": {"name": "same"}, "rules": rules}, user="bob")
    admin = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    talk("POST", talk.at(f"{_RBAC}/rolebindings"), {**binding, "metadata": {"name": "up"}, "roleRef": admin}, user="bob")
    talk(
        "POST",
        talk.at(f"{_RBAC}/rolebindings"),
        {**binding, "metadata": {"name": "none"}, "roleRef": {**reference, "name": "no-such"}},
        user="bob",
    )
    talk("PUT", talk.at(f"{_RBAC}/rolebindings", "giver"), {**binding, "roleRef": {**reference, "name": "other"}})


@on_both
def test_tokens(talk: Talk) -> None:
    """TokenRequest: answers, refusals, and every claim of the token."""
    talk.quietly("POST", talk.at("serviceaccounts"), {"metadata": {"name": "robot"}})
    talk.quietly("POST", talk.at("secrets"), {"metadata": {"name": "s"}})
    talk.quietly("POST", talk.at("pods"), {**pod("p"), "spec": {**pod("p")["spec"], "serviceAccountName": "robot"}})
    uid = talk.quietly("GET", talk.at("pods", "p"))["metadata"]["uid"]

    def reference(kind: str, name: str, **more: str) -> dict[str, Any]:
        return {"boundObjectRef": {"kind": kind, "apiVersion": "v1", "name": name, **more}}

    for spec in (
        {},
        {"audiences": ["api://AzureADTokenExchange"]},
        {"audiences": ["a", "b"], "expirationSeconds": 7200},
        {"expirationSeconds": 600},
        {"expirationSeconds": 599},
        {"expirationSeconds": 0},
        {"expirationSeconds": -1},
        {"expirationSeconds": 1 << 33},
        {"expirationSeconds": "600"},
        {"audiences": "one"},
        reference("Pod", "p"),
        reference("Pod", "p", uid=uid),
        reference("Pod", "p", uid="other"),
        reference("Pod", "none"),
        reference("Secret", "s"),
        reference("ConfigMap", "c"),
        reference("Deployment", "d", apiVersion="apps/v1"),
        reference("Node", "none"),
        {"unknown": 1},
    ):
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        _read_token(talk("POST", talk.at("serviceaccounts", "robot", "token"), body))
    _read_token(talk("POST", talk.at("serviceaccounts", "default", "token"), {"spec": reference("Pod", "p")}))
    talk("POST", talk.at("serviceaccounts", "none", "token"), {"spec": {}})
    talk("POST", talk.at("serviceaccounts", "robot", "token"), {"kind": "Pod", "apiVersion": "v1"})
    talk("GET", talk.at("serviceaccounts", "robot", "token"))
    _read_token(
        talk("POST", talk.at("serviceaccounts", "robot", "token"), {"spec": {}}, fieldValidation="Strict", dryRun="All")
    )


def _read_token(answer: dict[str, Any]) -> None:
    """Replace the token by its claims, with times relative to `iat` and a name for the issuer."""
    if answer["kind"] == "TokenRequest":
        token = answer["status"]["token"]
        part = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        issued, issuer = claims.pop("iat"), claims.pop("iss")
        for name in ("exp", "nbf"):
            claims[name] -= issued
        answer["status"]["token"] = json.loads(json.dumps(claims).replace(json.dumps(issuer), '"<issuer>"'))
        answer["spec"]["audiences"] = ["<issuer>" if name == issuer else name for name in answer["spec"]["audiences"]]


@on_both
def test_aggregated_discovery(talk: Talk) -> None:
    """Aggregated discovery, as kubectl requests it. Only groups and resources that both servers have are compared."""
    for path in ("/api", "/apis"):
        for accept in (
            AGGREGATED,
            f"{AGGREGATED},{AGGREGATED_BETA},application/json",
            f"{AGGREGATED_BETA},application/json",
            AGGREGATED_BETA,
            "application/json",
        ):
            _keep_shared(talk("GET", path, accept=accept))


SHARED = (
    "",
    "apps",
    "authorization.k8s.io",
    "rbac.authorization.k8s.io",
    "coordination.k8s.io",
    "policy",
    "conformance.example.com",
)
SHARED_IN_CORE = ("configmaps", "endpoints", "events", "namespaces", "nodes", "pods", "secrets", "serviceaccounts", "services")

SHARED_PARTS = ("status", "log", "binding", "eviction", "token", "finalize")


def _keep_shared(answer: dict[str, Any]) -> None:
    """Remove from an answer, in place, the groups and resources of one server only, and the server's address."""
    for entry in answer.get("serverAddressByClientCIDRs") or ():
        entry["serverAddress"] = "<address>"
    if "groups" in answer:
        answer["groups"] = [group for group in answer["groups"] if group["name"] in SHARED]
    if "items" in answer:
        answer["items"] = [group for group in answer["items"] if group["metadata"].get("name", "") in SHARED]
        for version in (
            version for group in answer["items"] if not group["metadata"].get("name") for version in group["versions"]
        ):
            version["resources"] = [resource for resource in version["resources"] if resource["resource"] in SHARED_IN_CORE]
            for resource in version["resources"]:
                parts = resource.get("subresources", [])
                resource["subresources"] = [part for part in parts if part["subresource"] in SHARED_PARTS]


@on_both
def test_discovery(talk: Talk) -> None:
    """Discovery of group versions that both servers have."""
    for path in (
        "/apis/apps",
        "/apis/rbac.authorization.k8s.io",
        "/apis/batch/v1",
        "/apis/apps/v1",
        "/apis/rbac.authorization.k8s.io/v1",
        "/apis/conformance.example.com/v1",
        "/apis/autoscaling/v2",
        "/apis/networking.k8s.io/v1",
        "/apis/policy/v1",
        "/apis/coordination.k8s.io/v1",
        "/apis/apiextensions.k8s.io/v1",
        "/apis/authorization.k8s.io/v1",
        "/apis/authentication.k8s.io/v1",
        "/api/v1",
    ):
        talk("GET", path)


@on_both
def test_openapi(talk: Talk) -> None:
    """The schemas of custom resources, which kubectl explain and validation read; paths are not compared."""
    found = talk("GET", "/openapi/v3/apis/conformance.example.com/v1")
    schemas = found["components"]["schemas"]
    found.clear()
    found.update(
        {name: schema for name, schema in schemas.items() if name.startswith("com.example") and not name.endswith("List")}
    )
