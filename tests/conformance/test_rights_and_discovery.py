"""Who may do what, as the reviews say it and as refusals say it; and what there is."""

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
    """Until the authorizer has seen a binding: the real one follows it with a watch."""
    attributes = {"verb": verb, "group": group, "resource": resource, "namespace": talk.namespace}
    limit, allowed = time.monotonic() + 10, False
    while not allowed:
        review = _review("SubjectAccessReview", user=user, resourceAttributes=attributes)
        allowed = talk.quietly("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)["status"]["allowed"]
        assert allowed or time.monotonic() < limit
        time.sleep(0 if allowed else 0.02)


@on_both
def test_reviews(talk: Talk) -> None:
    _prepare(talk)
    path = "/apis/authorization.k8s.io/v1"
    for attributes in (
        {"verb": "get", "resource": "configmaps", "namespace": talk.namespace},
        {"verb": "delete", "resource": "configmaps", "namespace": talk.namespace},
        {"verb": "get", "resource": "secrets", "name": "mine", "namespace": talk.namespace},
        {"verb": "get", "resource": "secrets", "name": "other", "namespace": talk.namespace},
        {"verb": "get", "resource": "configmaps"},
        {"verb": "*", "resource": "*"},
        {"verb": "get", "group": "apps", "resource": "deployments", "subresource": "scale", "namespace": talk.namespace},
    ):
        talk("POST", f"{path}/subjectaccessreviews", _review("SubjectAccessReview", user="ann", resourceAttributes=attributes))
        talk(
            "POST",
            f"{path}/selfsubjectaccessreviews",
            _review("SelfSubjectAccessReview", resourceAttributes=attributes),
            user="ann",
        )
        local = f"{path}/namespaces/{talk.namespace}/localsubjectaccessreviews"
        talk(
            "POST",
            local,
            _review("LocalSubjectAccessReview", user="ann", resourceAttributes={**attributes, "namespace": talk.namespace}),
        )
    talk(
        "POST",
        f"{path}/subjectaccessreviews",
        _review("SubjectAccessReview", user="ann", nonResourceAttributes={"path": "/healthz", "verb": "get"}),
    )
    talk(
        "POST",
        f"{path}/subjectaccessreviews",
        _review("SubjectAccessReview", user="ann", nonResourceAttributes={"path": "/metrics", "verb": "get"}),
    )
    talk("POST", f"{path}/subjectaccessreviews", _review("SubjectAccessReview", user="ann"))
    talk(
        "POST",
        f"{path}/subjectaccessreviews",
        _review("SubjectAccessReview", resourceAttributes={"verb": "get", "resource": "pods"}),
    )
    talk(
        "POST",
        f"{path}/subjectaccessreviews",
        _review(
            "SubjectAccessReview", groups=["system:masters"], user="x", resourceAttributes={"verb": "get", "resource": "pods"}
        ),
    )
    talk("POST", f"{path}/selfsubjectrulesreviews", _review("SelfSubjectRulesReview"))
    talk(
        "POST",
        "/apis/authentication.k8s.io/v1/selfsubjectreviews",
        {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"},
        user="ann",
    )
    talk(
        "POST",
        "/apis/authentication.k8s.io/v1/tokenreviews",
        {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {}},
    )


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
    """Nobody grants what they do not hold."""
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
    """TokenRequest: what is answered and refused, and every claim of the token."""
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
    """Put the claims in the token's place; times are told by what is between them, the issuer by what it is used for."""
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
    """What kubectl asks for: everything in two answers. Groups and resources that both serve are compared."""
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
    """Leave out of an answer what only one of the servers has, and the address that each has of its own."""
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
    """The resources that the sandbox serves are described as there; which groups there are is its own choice."""
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
    """What kubectl explain and validation read of custom resources: their schemas. The paths are the sandbox's own, shorter ones."""
    found = talk("GET", "/openapi/v3/apis/conformance.example.com/v1")
    schemas = found["components"]["schemas"]
    found.clear()
    found.update(
        {name: schema for name, schema in schemas.items() if name.startswith("com.example") and not name.endswith("List")}
    )
