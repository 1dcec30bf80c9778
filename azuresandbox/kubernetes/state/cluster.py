"""One cluster's API server: its objects, what it serves, who may do what, its keys.

`clusters(sandbox)` is the table of those that exist, filled by `provision.py` from ARM's goals. May import the modules
below the request handlers.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from datetime import timedelta
from typing import Any

from azuresandbox.clock import rfc3339
from azuresandbox.context import Memory, Sandbox
from azuresandbox.fabric import ClusterGoal
from azuresandbox.kubernetes.model import builtin, crds
from azuresandbox.kubernetes.model.resources import Registry, Resource
from azuresandbox.kubernetes.model.schema import Schema
from azuresandbox.kubernetes.model.types import Object
from azuresandbox.kubernetes.state import rbac, tokens
from azuresandbox.kubernetes.state.objects import Objects
from azuresandbox.kubernetes.state.tokens import User
from azuresandbox.store import Watch


class Cluster:
    """See the module. `goal` is the latest; `work` feeds the background controllers with changed keys."""

    def __init__(self, sandbox: Sandbox, goal: ClusterGoal, key: tokens.SigningKey) -> None:
        self.sandbox = sandbox
        self.id = goal.cluster_id
        self.goal = goal
        self.key = key
        self.objects = Objects(sandbox.store, f"cluster:{self.id}")
        self.registry = Registry()
        self.policy = rbac.Policy(self.objects)
        self.work: deque[tuple[str, Object | None, Object | None]] = deque()
        self.wake = asyncio.Event()
        self.watches: set[Watch] = set()
        self.definitions: dict[str, Object] = {}
        """key -> CustomResourceDefinition, as stored"""
        self._schemas: dict[tuple[str, str], Schema] = {}
        self._tokens: dict[str, tuple[User, float, tuple[str, ...]]] = {}
        self.objects.on_change = self._changed

    @property
    def stopped(self) -> bool:
        return self.goal.power != "Running"

    @property
    def issuer(self) -> str:
        """The issuer of the service-account tokens handed out now."""
        return self.goal.oidc_issuer or tokens.IN_CLUSTER_ISSUER

    def now(self) -> str:
        return rfc3339(self.sandbox.clock.now())

    def later(self, seconds: float) -> str:
        return rfc3339(self.sandbox.clock.now() + timedelta(seconds=seconds))

    def load(self) -> None:
        """Take up what is stored."""
        self.objects.load()
        for record in self.objects.store.list(self.objects.partition, crds.PREFIX).records:
            self.definitions[record.key] = crds.stored(record.value)
        self._serve_definitions()

    def set_goal(self, goal: ClusterGoal) -> None:
        """Follow ARM. A cluster that stops hangs up on its watchers."""
        self.goal = goal
        self._tokens.clear()
        if self.stopped:
            self.hang_up()

    def hang_up(self) -> None:
        for watch in list(self.watches):
            watch.close()

    def _serve_definitions(self) -> None:
        """Serve what the stored definitions define."""
        self.registry.set_custom(crds.served(self.definitions.values()))

    def _define(self, key: str, old: Object | None, new: Object | None) -> None:
        """Follow one definition's change."""
        for definition in filter(None, (old, new)):
            for resource in crds.resources(definition):
                self._schemas.pop((resource.api_version, resource.kind), None)
        if new is None:
            self.definitions.pop(key, None)
        else:
            self.definitions[key] = new
        self._serve_definitions()

    def schema(self, resource: Resource) -> Schema:
        """The schema of a resource's objects."""
        found = self._schemas.get((resource.api_version, resource.kind))
        if found is None:
            made = crds.schema(resource) if resource.custom is not None else _builtin_schema(resource)
            found = self._schemas[resource.api_version, resource.kind] = made
        return found

    def authenticate(self, token: str) -> User | None:
        """Who a bearer token stands for, at this API server."""
        now = self.sandbox.clock.now().timestamp()
        known = self._tokens.get(token)
        if known is None:
            known = self._check(token)
            if known is None:
                return None
            if len(self._tokens) > 2000:
                self._tokens.clear()
            self._tokens[token] = known
        user, expires, bound = known
        if now >= expires or not all(uid in self.objects.keys for uid in bound):
            return None
        return user

    def _check(self, token: str) -> tuple[User, float, tuple[str, ...]] | None:
        if token.count(".") != 2:
            fixed = tokens.fixed_user(self.sandbox.store, self.id, token)
            return (fixed, float("inf"), ()) if fixed else None
        claims = self.key.claims(token)
        if claims is None or not self.issuers & set(claims["aud"]) or self.claims_problem(claims):
            return None
        return tokens.service_account_user(claims), float(claims["exp"]), bound_uids(claims)

    @property
    def issuers(self) -> set[str]:
        """The issuers whose tokens are accepted; also the audiences that mean this API server."""
        return {tokens.IN_CLUSTER_ISSUER, self.goal.oidc_issuer} - {""}

    def claims_problem(self, claims: dict[str, Any]) -> str:
        """Why a token that this cluster has signed no longer holds ("" if it does), whatever its audience."""
        if claims["iss"] not in self.issuers:
            return "issuer is not known"
        if self.sandbox.clock.now().timestamp() >= claims["exp"]:
            return "service account token has expired"
        if not all(uid in self.objects.keys for uid in bound_uids(claims)):
            return "service account token has been invalidated"
        return ""

    def user_of_certificate(self, names: list[tuple[str, str]]) -> User | None:
        """Who a client certificate stands for: one made for this cluster carries its id as an organization."""
        organizations = [value for name, value in names if name == "organizationName"]
        common = next((value for name, value in names if name == "commonName"), "")
        mark = certificate_mark(self.id)
        if mark not in organizations or not common:
            return None
        groups = tuple(name for name in organizations if name != mark)
        return User(common, (*groups, "system:authenticated"))

    def _changed(self, key: str, old: Object | None, new: Object | None) -> None:
        if key.startswith("/rbac.authorization.k8s.io/"):
            self.policy.invalidate()
        elif key.startswith(crds.PREFIX):
            self._define(key, old, new)
        self.work.append((key, old, new))
        self.wake.set()


def bound_uids(claims: dict[str, object]) -> tuple[str, ...]:
    """The uids of the objects a service-account token is bound to: it ends with any of them."""
    private = claims["kubernetes.io"]
    assert isinstance(private, dict)
    kinds = ("serviceaccount", "pod", "secret") if "pod" in private else ("serviceaccount", "secret", "node")
    return tuple(private[kind]["uid"] for kind in kinds if kind in private)


def certificate_mark(cluster_id: str) -> str:
    """One CA signs for all clusters of the sandbox; this organization ties a certificate to one of them."""
    return "cluster:" + hashlib.sha256(cluster_id.encode()).hexdigest()[:32]


_CLUSTERS = Memory[dict[str, Cluster]](lambda sandbox: {})


def clusters(sandbox: Sandbox) -> dict[str, Cluster]:
    """The clusters that exist, by id."""
    return _CLUSTERS.of(sandbox)


def _builtin_schema(resource: Resource) -> Schema:
    found = builtin.schema_for(resource.group, resource.version, resource.kind)
    assert found is not None, f"{resource.api_version} {resource.kind} has no schema"
    return found
