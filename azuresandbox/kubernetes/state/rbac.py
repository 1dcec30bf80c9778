"""Role-based access control over the cluster's roles and bindings.

Rules are evaluated like in kube-apiserver's RBAC authorizer; `system:masters` may do everything.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from azuresandbox.kubernetes.model.selectors import label_selector
from azuresandbox.kubernetes.model.types import Object
from azuresandbox.kubernetes.state.objects import Objects
from azuresandbox.kubernetes.state.tokens import User

GROUP = "rbac.authorization.k8s.io"
MASTERS = "system:masters"
Rule = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Attributes:
    """One question to the authorizer; `path` is set for requests that are not for a resource."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer of the authorizer. `reason`: the binding that allows it, or the bindings whose role does not exist."""

    allowed: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """A binding with the rules of its role. `missing`: the message that the role does not exist, or ""."""

    described: str
    namespace: str
    subjects: list[Object]
    rules: list[Rule]
    missing: str = ""


class Policy:
    """The roles and bindings of one cluster, read again at the first question after a change."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._loaded = False
        self._roles: dict[tuple[str, str, str], list[Rule]] = {}
        self._cluster_grants: list[Grant] = []
        self._grants: dict[str, list[Grant]] = {}
        self._held: dict[tuple[str, tuple[str, ...], str], list[tuple[Grant, Object]]] = {}

    def invalidate(self) -> None:
        self._loaded = False

    def allows(self, user: User, asked: Attributes) -> bool:
        return self.decide(user, asked).allowed

    def decide(self, user: User, asked: Attributes) -> Decision:
        """Return whether the user has the right, and why, with the message of kube-apiserver's authorizer."""
        if MASTERS in user.groups:
            return Decision(True)
        matches = _rule_allows_path if asked.path else _rule_allows
        problems = []
        for grant, subject in self._grants_of(user, "" if asked.path else asked.namespace):
            if any(matches(rule, asked) for rule in grant.rules):
                return Decision(True, f"RBAC: allowed by {grant.described} to {_described_subject(subject, grant.namespace)}")
            if grant.missing:
                problems.append(grant.missing)
        return Decision(False, f"RBAC: {_aggregate(problems)}" if problems else "")

    def rules(self, user: User, namespace: str) -> list[Rule]:
        """Return the rules that hold for the user in a namespace; for "", those of cluster role bindings only."""
        return [rule for grant, _ in self._grants_of(user, namespace) for rule in grant.rules]

    def role_rules(self, kind: str, namespace: str, name: str) -> list[Rule] | None:
        """Return the rules of a role, or `None` if it does not exist. `namespace`: that of the binding."""
        self._load()
        return self._roles.get((kind, namespace if kind == "Role" else "", name))

    def _grants_of(self, user: User, namespace: str) -> list[tuple[Grant, Object]]:
        """Return the bindings that name the user, each with the first subject that does."""
        self._load()
        key = (user.name, user.groups, namespace)
        found = self._held.get(key)
        if found is None:
            if len(self._held) > 2000:
                self._held.clear()
            found = []
            for grant in self._cluster_grants + (self._grants.get(namespace, []) if namespace else []):
                subject = next((item for item in grant.subjects if _is_subject(item, user, grant.namespace)), None)
                if subject is not None:
                    found.append((grant, subject))
            self._held[key] = found
        return found

    def _load(self) -> None:
        if self._loaded:
            return
        self._roles = {
            (kind, item["metadata"].get("namespace", ""), item["metadata"]["name"]): item.get("rules") or []
            for kind, plural in (("ClusterRole", "clusterroles"), ("Role", "roles"))
            for item in self._objects.all(f"/{GROUP}/{plural}/")
        }
        self._cluster_grants = [_grant(item, self._roles) for item in self._objects.all(f"/{GROUP}/clusterrolebindings/")]
        self._grants = {}
        for item in self._objects.all(f"/{GROUP}/rolebindings/"):
            self._grants.setdefault(item["metadata"]["namespace"], []).append(_grant(item, self._roles))
        self._held.clear()
        self._loaded = True


def _grant(item: Object, roles: dict[tuple[str, str, str], list[Rule]]) -> Grant:
    metadata, reference = item["metadata"], item["roleRef"]
    namespace, kind, role = metadata.get("namespace", ""), reference["kind"], reference["name"]
    binding = f'RoleBinding "{metadata["name"]}/{namespace}"' if namespace else f'ClusterRoleBinding "{metadata["name"]}"'
    rules = roles.get((kind, namespace if kind == "Role" else "", role))
    missing = "" if rules is not None else f'{kind.lower()}.{GROUP} "{role}" not found'
    return Grant(f'{binding} of {kind} "{role}"', namespace, item.get("subjects") or [], rules or [], missing)


def _is_subject(subject: Object, user: User, namespace: str) -> bool:
    kind, name = subject["kind"], subject["name"]
    if kind == "User":
        return bool(name == user.name)
    if kind == "Group":
        return name in user.groups
    where = subject.get("namespace") or namespace
    return kind == "ServiceAccount" and bool(where) and user.name == f"system:serviceaccount:{where}:{name}"


def _described_subject(subject: Object, namespace: str) -> str:
    name = subject["name"]
    if subject["kind"] == "ServiceAccount":
        name = f"{name}/{subject.get('namespace') or namespace}"
    return f'{subject["kind"]} "{name}"'


def _aggregate(problems: list[str]) -> str:
    """Return several errors as apimachinery's Aggregate prints them."""
    different = list(dict.fromkeys(problems))
    return different[0] if len(different) == 1 else f"[{', '.join(different)}]"


def _rule_allows(rule: Rule, asked: Attributes) -> bool:
    verbs, groups, names = rule.get("verbs", ()), rule.get("apiGroups") or (), rule.get("resourceNames")
    return (
        (asked.verb in verbs or "*" in verbs)
        and (asked.group in groups or "*" in groups)
        and _covers_resource(rule.get("resources") or (), asked)
        and (not names or asked.name in names)
    )


def _covers_resource(resources: Sequence[str], asked: Attributes) -> bool:
    wanted = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
    if "*" in resources or wanted in resources:
        return True
    return bool(asked.subresource) and f"*/{asked.subresource}" in resources


def _rule_allows_path(rule: Rule, asked: Attributes) -> bool:
    verbs = rule.get("verbs", ())
    if asked.verb not in verbs and "*" not in verbs:
        return False
    for pattern in rule.get("nonResourceURLs") or ():
        if pattern in ("*", asked.path) or (pattern.endswith("*") and asked.path.startswith(pattern.rstrip("*"))):
            return True
    return False


def aggregated_rules(role: Object, all_roles: list[Object]) -> list[Rule] | None:
    """Return the rules that an aggregated ClusterRole gathers, or `None` if the role is not aggregated."""
    rule = role.get("aggregationRule")
    if not rule:
        return None
    found: list[Rule] = []
    seen: set[str] = set()
    for wanted in rule.get("clusterRoleSelectors") or []:
        selector = label_selector(wanted)
        for other in sorted(all_roles, key=lambda item: str(item["metadata"]["name"])):
            if other["metadata"]["name"] == role["metadata"]["name"] or not selector.matches(other["metadata"].get("labels")):
                continue
            for item in other.get("rules") or []:
                text = json.dumps(item, sort_keys=True)
                if text not in seen:
                    seen.add(text)
                    found.append(item)
    return found
