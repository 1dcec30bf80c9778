"""Who may do what: role-based access control over the cluster's own roles and bindings.

Rules are evaluated as kube-apiserver's RBAC authorizer does; `system:masters` may do everything. May import objects and
resources.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from fleetlib.sandbox.kubernetes.objects import Object, Objects
from fleetlib.sandbox.kubernetes.selectors import label_selector
from fleetlib.sandbox.kubernetes.tokens import User

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


class Policy:
    """The roles and bindings of one cluster, read when first needed after a change."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._loaded = False
        self._cluster_bindings: list[tuple[list[Rule], list[Object]]] = []
        self._bindings: dict[str, list[tuple[list[Rule], list[Object]]]] = {}
        self._rules: dict[tuple[str, tuple[str, ...], str], list[Rule]] = {}

    def invalidate(self) -> None:
        self._loaded = False

    def allows(self, user: User, asked: Attributes) -> bool:
        if MASTERS in user.groups:
            return True
        if asked.path:
            return any(_rule_allows_path(rule, asked) for rule in self.rules(user, ""))
        return any(_rule_allows(rule, asked) for rule in self.rules(user, asked.namespace))

    def rules(self, user: User, namespace: str) -> list[Rule]:
        """All rules that hold for the user in the namespace ("": those of the whole cluster only)."""
        self._load()
        key = (user.name, user.groups, namespace)
        found = self._rules.get(key)
        if found is None:
            bindings = self._cluster_bindings + (self._bindings.get(namespace, []) if namespace else [])
            found = [
                rule for rules, subjects in bindings for rule in rules
                if any(_is_subject(subject, user) for subject in subjects)
            ]  # fmt: skip
            self._rules[key] = found
        return found

    def _load(self) -> None:
        if self._loaded:
            return
        roles = {
            (kind, item["metadata"].get("namespace", ""), item["metadata"]["name"]): item.get("rules") or []
            for kind, plural in (("ClusterRole", "clusterroles"), ("Role", "roles"))
            for item in self._objects.all(f"/{GROUP}/{plural}/")
        }
        self._cluster_bindings = [_binding(item, roles, "") for item in self._objects.all(f"/{GROUP}/clusterrolebindings/")]
        self._bindings = {}
        for item in self._objects.all(f"/{GROUP}/rolebindings/"):
            namespace = item["metadata"]["namespace"]
            self._bindings.setdefault(namespace, []).append(_binding(item, roles, namespace))
        self._rules.clear()
        self._loaded = True


def _binding(item: Object, roles: dict[tuple[str, str, str], list[Rule]], namespace: str) -> tuple[list[Rule], list[Object]]:
    reference = item["roleRef"]
    scope = namespace if reference["kind"] == "Role" else ""
    subjects = [{"namespace": namespace, **subject} for subject in item.get("subjects") or []]
    return roles.get((reference["kind"], scope, reference["name"]), []), subjects


def _is_subject(subject: Object, user: User) -> bool:
    kind, name = subject["kind"], subject["name"]
    if kind == "User":
        return bool(name == user.name)
    if kind == "Group":
        return name in user.groups
    return kind == "ServiceAccount" and user.name == f"system:serviceaccount:{subject.get('namespace', '')}:{name}"


def _rule_allows(rule: Rule, asked: Attributes) -> bool:
    verbs, groups, names = rule.get("verbs", ()), rule.get("apiGroups") or (), rule.get("resourceNames")
    return (
        (asked.verb in verbs or "*" in verbs)
        and (asked.group in groups or "*" in groups)
        and _covers_resource(rule.get("resources") or (), asked)
        and (not names or asked.name in names)
    )


def _covers_resource(resources: Any, asked: Attributes) -> bool:
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
    """The rules an aggregated ClusterRole should have, or None if it is not aggregated."""
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
