"""Privilege escalation prevention: writes of roles and bindings, and impersonation.

Source, with its messages: `pkg/registry/rbac/{clusterrole,role,clusterrolebinding,rolebinding}/policybased`,
`component-helpers/auth/rbac/validation` and `apiserver/pkg/endpoints/filters/impersonation.go` of Kubernetes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from urllib.parse import unquote

from azuresandbox.kubernetes.model import errors
from azuresandbox.kubernetes.model.resources import Resource
from azuresandbox.kubernetes.model.types import Object
from azuresandbox.kubernetes.state.rbac import GROUP, MASTERS, Attributes, Policy, Rule
from azuresandbox.kubernetes.state.tokens import User

ROLES = {"ClusterRole": "clusterroles", "Role": "roles"}
BINDINGS = ("ClusterRoleBinding", "RoleBinding")
_EVERYTHING: list[Rule] = [
    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
    {"verbs": ["*"], "nonResourceURLs": ["*"]},
]
_FIELDS = (
    ("apiGroups", "APIGroups"),
    ("resources", "Resources"),
    ("nonResourceURLs", "NonResourceURLs"),
    ("resourceNames", "ResourceNames"),
    ("verbs", "Verbs"),
)
_SERVICE_ACCOUNT = "system:serviceaccount:"
_AUTHENTICATED, _UNAUTHENTICATED = "system:authenticated", "system:unauthenticated"


def check(policy: Policy, user: User, resource: Resource, obj: Object, old: Object | None) -> None:
    """Refuse a role or binding that grants rights the user does not have. `old` is `None` when it is created."""
    if resource.group != GROUP or MASTERS in user.groups or (old is not None and _only_owners_or_finalizers(obj, old)):
        return
    metadata = obj["metadata"]
    namespace, name = metadata.get("namespace", ""), metadata.get("name", "")
    verb = "create" if old is None else "update"
    if resource.kind in ROLES:
        if not policy.allows(
            user, Attributes("escalate", GROUP, resource.plural, "", namespace, "" if verb == "create" else name)
        ):
            _confirm(policy, user, resource, namespace, name, obj.get("rules") or [])
            _confirm_aggregation(policy, user, resource, name, obj, old or {})
    elif resource.kind in BINDINGS:
        kind, role = obj["roleRef"]["kind"], obj["roleRef"]["name"]
        if policy.allows(user, Attributes("bind", GROUP, ROLES.get(kind, ""), "", namespace, role)):
            return
        rules = policy.role_rules(kind, namespace, role)
        if rules is None:
            raise errors.not_found(GROUP, ROLES.get(kind, kind.lower()), role)
        _confirm(policy, user, resource, namespace, name, rules)


def _only_owners_or_finalizers(obj: Object, old: Object) -> bool:
    """Return whether only owner references or finalizers change, which the garbage collector does."""

    def rest(side: Object) -> Object:
        kept = {"ownerReferences", "finalizers", "managedFields", "resourceVersion", "generation"}
        return {**side, "metadata": {key: value for key, value in side["metadata"].items() if key not in kept}}

    changed = any(obj["metadata"].get(key) != old["metadata"].get(key) for key in ("ownerReferences", "finalizers"))
    return changed and rest(obj) == rest(old)


def _confirm(policy: Policy, user: User, resource: Resource, namespace: str, name: str, rules: list[Rule]) -> None:
    missing = missing_rights(policy.rules(user, namespace), rules)
    if missing:
        groups = " ".join(json.dumps(group) for group in user.groups)
        described = "\n".join(sorted({_described(rule) for rule in _compact(missing)}))
        why = f'user "{user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions not currently held:\n{described}'
        raise errors.forbidden(GROUP, resource.plural, name, why)


def _confirm_aggregation(policy: Policy, user: User, resource: Resource, name: str, obj: Object, old: Object) -> None:
    """Refuse an aggregated role unless the user has all rights, because it can gather any rule."""
    aggregated = any((side.get("aggregationRule") or {}).get("clusterRoleSelectors") for side in (obj, old))
    if aggregated and missing_rights(policy.rules(user, ""), _EVERYTHING):
        raise errors.forbidden(GROUP, resource.plural, name, "must have cluster-admin privileges to use the aggregationRule")


def missing_rights(held: list[Rule], wanted: list[Rule]) -> list[Rule]:
    """Return the single rights of `wanted` that no rule of `held` covers."""
    return [single for rule in wanted for single in _singles(rule) if not any(_covers(own, single) for own in held)]


def _singles(rule: Rule) -> Iterator[Rule]:
    """Yield a rule for each combination of group, resource, verb and name."""
    for group in rule.get("apiGroups") or ():
        for resource in rule.get("resources") or ():
            for verb in rule.get("verbs") or ():
                single = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
                names = rule.get("resourceNames")
                yield from ({**single, "resourceNames": [name]} for name in names) if names else [single]
    for url in rule.get("nonResourceURLs") or ():
        yield from ({"nonResourceURLs": [url], "verbs": [verb]} for verb in rule.get("verbs") or ())


def _covers(own: Rule, single: Rule) -> bool:
    names = own.get("resourceNames")
    return (
        _has_all(own.get("verbs"), single["verbs"])
        and _has_all(own.get("apiGroups"), single.get("apiGroups") or ())
        and _has_resources(own.get("resources") or (), single.get("resources") or ())
        and all(_has_url(own.get("nonResourceURLs") or (), url) for url in single.get("nonResourceURLs") or ())
        and (not names or (bool(single.get("resourceNames")) and set(names).issuperset(single["resourceNames"])))
    )


def _has_all(own: Iterable[str] | None, wanted: Iterable[str]) -> bool:
    held = set(own or ())
    return "*" in held or held.issuperset(wanted)


def _has_resources(own: Iterable[str], wanted: Iterable[str]) -> bool:
    held = set(own)
    return "*" in held or all(path in held or ("/" in path and f"*/{path.partition('/')[2]}" in held) for path in wanted)


def _has_url(own: Iterable[str], url: str) -> bool:
    return any(held in ("*", url) or (held.endswith("*") and url.startswith(held.rstrip("*"))) for held in own)


def _compact(rules: list[Rule]) -> list[Rule]:
    """Join single rights that differ in the verb only."""
    found: dict[str, Rule] = {}
    for rule in rules:
        if "nonResourceURLs" in rule:
            found[json.dumps(rule)] = rule
            continue
        key = json.dumps([rule["apiGroups"], rule["resources"], rule.get("resourceNames")])
        known = found.setdefault(key, {**rule, "verbs": []})
        known["verbs"] = [*known["verbs"], *(verb for verb in rule["verbs"] if verb not in known["verbs"])]
    return list(found.values())


def _described(rule: Rule) -> str:
    """Return a rule as `rbacv1helpers.CompactString` prints it."""
    parts = (f"{title}:[{' '.join(json.dumps(item) for item in rule[field])}]" for field, title in _FIELDS if rule.get(field))
    return "{" + ", ".join(parts) + "}"


# --- impersonation ---------------------------------------------------------------------------------------------------


def impersonated(policy: Policy, user: User, headers: Iterable[tuple[bytes, bytes]]) -> User:
    """Return the user of the Impersonate-* headers, or `user` without them; raise 403 without the right to impersonate."""
    found = [(key.decode("latin-1"), value.decode("latin-1")) for key, value in headers if key.startswith(b"impersonate-")]
    if not found:
        return user
    name = next((value for key, value in found if key == "impersonate-user"), "")
    uid = next((value for key, value in found if key == "impersonate-uid"), "")
    groups = [value for key, value in found if key == "impersonate-group" and value]
    extra: dict[str, list[str]] = {}
    for key, value in found:
        if key.startswith("impersonate-extra-"):
            extra.setdefault(unquote(key.removeprefix("impersonate-extra-")).lower(), []).append(value)
    if not name:
        if not (uid or groups or extra):
            return user
        raise errors.internal("requested impersonation of uid, groups or extra without impersonating a user")
    for asked in _impersonations(name, uid, groups, extra):
        authorize(policy, user, asked)
    return User(name, _groups_of(name, groups), uid, extra)


def _impersonations(name: str, uid: str, groups: list[str], extra: dict[str, list[str]]) -> Iterator[Attributes]:
    """Yield the rights that the impersonator must have."""
    parts = name.removeprefix(_SERVICE_ACCOUNT).split(":")
    if name.startswith(_SERVICE_ACCOUNT) and len(parts) == 2:
        yield Attributes("impersonate", "", "serviceaccounts", "", parts[0], parts[1])
    else:
        yield Attributes("impersonate", "", "users", "", "", name)
    for group in groups:
        yield Attributes("impersonate", "", "groups", "", "", group)
    for key, values in extra.items():
        for value in values:
            yield Attributes("impersonate", "authentication.k8s.io", "userextras", key, "", value)
    if uid:
        yield Attributes("impersonate", "authentication.k8s.io", "uids", "", "", uid)


def _groups_of(name: str, groups: list[str]) -> tuple[str, ...]:
    parts = name.removeprefix(_SERVICE_ACCOUNT).split(":")
    if name.startswith(_SERVICE_ACCOUNT) and len(parts) == 2 and not groups:
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{parts[0]}"]
    if name == "system:anonymous":
        return tuple(groups) or (_UNAUTHENTICATED,)
    if _AUTHENTICATED in groups or _UNAUTHENTICATED in groups:
        return tuple(groups)
    return (*groups, _AUTHENTICATED)


def authorize(policy: Policy, user: User, asked: Attributes) -> None:
    """Raise 403 if the user does not have the right."""
    decision = policy.decide(user, asked)
    if decision.allowed:
        return
    more = f": {decision.reason}" if decision.reason else ""
    if asked.path:
        raise errors.forbidden_path(user.name, asked.verb, asked.path, more)
    what = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    why = f'User "{user.name}" cannot {asked.verb} resource "{what}" in API group "{asked.group}" {where}{more}'
    raise errors.forbidden(asked.group, asked.resource, asked.name, why)
