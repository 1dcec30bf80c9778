"""A caller's rights: role assignments at a scope and all above it, against the actions of their role definitions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain

from azuresandbox.arm import errors, records, roles
from azuresandbox.arm.provider import Caller
from azuresandbox.arm.records import Resource
from azuresandbox.arm.resource_id import GROUPS, ResourceId
from azuresandbox.arm.roles import Role
from azuresandbox.store import Store

ASSIGNMENTS = "Microsoft.Authorization/roleAssignments"


def require(store: Store, caller: Caller, action: str, scope: ResourceId) -> None:
    """Raise AuthorizationFailed unless a role of the caller at `scope` or above allows `action`."""
    if not allowed(store, caller.object_id, action, scope):
        raise errors.not_authorized(caller.app_id, caller.object_id, action, str(scope) or "/")


def require_linked(store: Store, caller: Caller, action: str, scope: ResourceId, needed: str, linked: ResourceId) -> None:
    """Raise LinkedAuthorizationFailed unless the caller has `needed` at `linked`, a resource that a write at `scope` uses."""
    if not allowed(store, caller.object_id, needed, linked):
        raise errors.link_not_authorized(caller.app_id, caller.object_id, action, str(scope), needed, str(linked))


def allowed(store: Store, object_id: str, action: str, scope: ResourceId) -> bool:
    """Return whether a role of the principal at `scope` or above allows `action`."""
    return Rights(store, object_id).allow(action, scope)


class Rights:
    """The rights of one principal, for many questions at one moment: the assignments of each scope are read once."""

    def __init__(self, store: Store, object_id: str) -> None:
        self._store = store
        self._object_id = object_id
        self._known: dict[str, list[Role]] = {}

    def allow(self, action: str, scope: ResourceId) -> bool:
        """Return whether a role at `scope` or above allows `action`."""
        return any(_grants(role, action) for role in self.roles(scope))

    def roles(self, scope: ResourceId) -> Iterator[Role]:
        """Return the roles that the principal has at `scope`, then those from above."""
        return chain.from_iterable(map(self._at, scope.ancestors))

    def _at(self, place: ResourceId) -> list[Role]:
        if place.key not in self._known:
            found = (a.properties for a in assignments_at(self._store, place) if a.properties["principalId"] == self._object_id)
            held = (roles.by_id(properties["roleDefinitionId"]) for properties in found)
            self._known[place.key] = [role for role in held if role is not None]
        return self._known[place.key]


def assignments_at(store: Store, scope: ResourceId) -> list[Resource]:
    """Return the role assignments made at exactly this scope."""
    return list(records.under(store, f"{scope.key}/providers/{ASSIGNMENTS}".lower()))


def require_list(store: Store, caller: Caller, action: str, scope: ResourceId) -> bool:
    """Return whether a list at `scope` must be narrowed to the items that the caller may read.

    A list of a subscription is given to every principal that has a role somewhere in it. Raises AuthorizationFailed for others.
    """
    if allowed(store, caller.object_id, action, scope):
        return False
    if scope.group or not scope.subscription or not visible(store, caller.object_id, scope.subscription):
        raise errors.not_authorized(caller.app_id, caller.object_id, action, str(scope) or "/")
    return True


def readable(store: Store, caller: Caller, found: Iterable[Resource]) -> list[Resource]:
    """Return the resources that the caller may read."""
    rights = Rights(store, caller.object_id)
    return [r for r in found if rights.allow(read_action(r.type), r.id)]


def read_action(type_name: str) -> str:
    """Return the action that reading a resource of the type needs. Role definitions name groups below `subscriptions`."""
    return f"{'Microsoft.Resources/subscriptions/resourceGroups' if type_name == GROUPS else type_name}/read"


def visible(store: Store, object_id: str, subscription: str) -> bool:
    """Return whether a principal has a role in the subscription, so that it sees the subscription in its list."""
    scope = ResourceId(f"/subscriptions/{subscription}")
    at = (assignment for place in scope.ancestors for assignment in assignments_at(store, place))
    return any(a.properties["principalId"] == object_id for a in chain(at, records.under(store, scope, ASSIGNMENTS)))


def _grants(role: Role, action: str) -> bool:
    return _matches(role.actions, action) and not _matches(role.not_actions, action)


def _matches(patterns: tuple[str, ...], action: str) -> bool:
    return any(_pattern(pattern).fullmatch(action) for pattern in patterns)


@cache
def _pattern(pattern: str) -> re.Pattern[str]:
    """Return the pattern of an action such as `Microsoft.Authorization/*/read`. A star also matches slashes.

    Between slashes a star also matches no segment: `userAssignedIdentities/*/assign/action` of Managed Identity Operator allows
    `userAssignedIdentities/assign/action`.
    """
    inner = [".*".join(map(re.escape, part.split("*"))) for part in pattern.split("/*/")]
    return re.compile("/(?:.*/)?".join(inner), re.IGNORECASE)
