"""Reviews: questions about a user, a token or a right, answered and not stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from azuresandbox.kubernetes.api.request import Request
from azuresandbox.kubernetes.model import errors
from azuresandbox.kubernetes.model.resources import Resource
from azuresandbox.kubernetes.model.types import Object
from azuresandbox.kubernetes.state import tokens
from azuresandbox.kubernetes.state.rbac import Attributes
from azuresandbox.kubernetes.state.tokens import User


def review(request: Request, resource: Resource, obj: Object, namespace: str) -> Object:
    """Return the review, completed in place with its status."""
    obj["apiVersion"], obj["kind"] = resource.api_version, resource.kind
    metadata = obj["metadata"] = obj.get("metadata") or {}
    if resource.namespaced:
        metadata["namespace"] = namespace
    if resource.kind == "SelfSubjectReview":
        metadata["creationTimestamp"] = request.cluster.now()
    obj["status"] = _REVIEWS[resource.kind](request, obj.get("spec") or {}, namespace)
    return obj


def _user_info(user: User) -> Object:
    info: Object = {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        info["uid"] = user.uid
    if user.extra:
        info["extra"] = user.extra
    return info


def _whoami(request: Request, spec: Object, namespace: str) -> Object:
    return {"userInfo": _user_info(request.user)}


def _token_review(request: Request, spec: Object, namespace: str) -> Object:
    cluster, token = request.cluster, str(spec.get("token") or "")
    if not token:
        raise errors.bad_request("token is required for TokenReview in authentication")
    issuers = [issuer for issuer in (cluster.goal.oidc_issuer, tokens.IN_CLUSTER_ISSUER) if issuer]
    wanted = spec.get("audiences") or issuers
    claims = cluster.key.claims(token) if token.count(".") == 2 else None
    if claims is None:
        user = cluster.authenticate(token)
        if user is None:
            return {"user": {}, "error": "[invalid bearer token, unknown]"}
        return {"authenticated": True, "user": _user_info(user), "audiences": wanted}
    common = [audience for audience in wanted if audience in claims["aud"]]
    problem = cluster.claims_problem(claims)
    if problem or not common:
        text = problem or f"token audiences {json_list(claims['aud'])} is invalid for the target audiences {json_list(wanted)}"
        return {"user": {}, "error": f"[invalid bearer token, {text}]"}
    return {"authenticated": True, "user": _user_info(tokens.service_account_user(claims)), "audiences": common}


def json_list(items: list[str]) -> str:
    """Return a list of strings as Go's %q prints it."""
    return "[" + " ".join(f'"{item}"' for item in items) + "]"


def _attributes(spec: Object) -> Attributes:
    """Return the right that an access review asks for; raise 422 unless it names either a resource or a path."""
    resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if (resource is None) == (other is None):
        text = "Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified"
        raise errors.invalid("authorization.k8s.io", "", "", [errors.cause("FieldValueInvalid", text, "spec")])
    if resource is None:
        assert other is not None
        return Attributes(other.get("verb", ""), path=other.get("path", ""))
    return Attributes(
        resource.get("verb", ""),
        resource.get("group", ""),
        resource.get("resource", ""),
        resource.get("subresource", ""),
        resource.get("namespace", ""),
        resource.get("name", ""),
    )


def _self_access(request: Request, spec: Object, namespace: str) -> Object:
    return _decided(request, request.user, _attributes(spec))


def _access(request: Request, spec: Object, namespace: str) -> Object:
    asked = _attributes(spec)
    if not spec.get("user") and not spec.get("groups"):
        text = 'Invalid value: "": at least one of user or group must be specified'
        raise errors.invalid("authorization.k8s.io", "", "", [errors.cause("FieldValueInvalid", text, "spec.user")])
    if namespace and asked.namespace != namespace:
        raise errors.bad_request(f"spec.resourceAttributes.namespace must match namespace: {namespace}")
    return _decided(request, User(spec.get("user") or "", tuple(spec.get("groups") or ())), asked)


def _decided(request: Request, user: User, asked: Attributes) -> Object:
    decision = request.cluster.policy.decide(user, asked)
    return {"allowed": decision.allowed} | ({"reason": decision.reason} if decision.reason else {})


def _self_rules(request: Request, spec: Object, namespace: str) -> Object:
    """Return the rules that hold for the user in a namespace."""
    wanted = spec.get("namespace")
    if not wanted:
        raise errors.bad_request("no namespace on request")
    rules = list(request.cluster.policy.rules(request.user, wanted))
    resource = [{k: v for k, v in rule.items() if k != "nonResourceURLs"} for rule in rules if rule.get("resources")]
    other = [
        {"verbs": rule["verbs"], "nonResourceURLs": rule["nonResourceURLs"]} for rule in rules if rule.get("nonResourceURLs")
    ]
    return {"resourceRules": resource, "nonResourceRules": other, "incomplete": False}


_REVIEWS: dict[str, Callable[[Request, Object, str], dict[str, Any]]] = {
    "SelfSubjectReview": _whoami,
    "TokenReview": _token_review,
    "SelfSubjectAccessReview": _self_access,
    "SubjectAccessReview": _access,
    "LocalSubjectAccessReview": _access,
    "SelfSubjectRulesReview": _self_rules,
}
"""Kind -> the function that returns the status: (request, spec, namespace)."""
