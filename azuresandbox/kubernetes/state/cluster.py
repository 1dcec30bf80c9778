"""The state of one cluster's API server: its objects, resources, roles and keys.

`clusters(sandbox)` is the table of the existing clusters, filled by `life/provision.py` from ARM's goals.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class _Accepted:
    """An accepted token. `expires`: seconds since 1970; `bound`: the uids of the objects that it expires with."""

    user: User
    expires: float = float("inf")
    bound: tuple[str, ...] = ()


class Cluster:
    """One cluster. `goal` is ARM's latest; `work` queues (key, old, new) for the controllers, and `wake` wakes them."""

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
        """Key -> CustomResourceDefinition, as stored."""
        self._schemas: dict[tuple[str, str], Schema] = {}
        self._tokens: dict[str, _Accepted] = {}
        self.objects.on_change = self._changed

    @property
    def stopped(self) -> bool:
        return self.goal.power != "Running"

    @property
    def issuer(self) -> str:
        """The issuer of new service-account tokens."""
        return self.goal.oidc_issuer or tokens.IN_CLUSTER_ISSUER

    def now(self) -> str:
        return rfc3339(self.sandbox.clock.now())

    def later(self, seconds: float) -> str:
        return rfc3339(self.sandbox.clock.now() + timedelta(seconds=seconds))

    def load(self) -> None:
        """Load the data that an earlier run has stored."""
        self.objects.load()
        for record in self.objects.store.list(self.objects.partition, crds.PREFIX).records:
            self.definitions[record.key] = crds.stored(record.value)
        self._serve_definitions()

    def set_goal(self, goal: ClusterGoal) -> None:
        """Take over ARM's goal; a cluster that stops closes its watches."""
        self.goal = goal
        self._tokens.clear()
        if self.stopped:
            self.hang_up()

    def hang_up(self) -> None:
        """Close all watches."""
        for watch in list(self.watches):
            watch.close()

    def _serve_definitions(self) -> None:
        """Serve the custom resources of the stored definitions."""
        self.registry.set_custom(crds.served(self.definitions.values()))

    def _define(self, key: str, old: Object | None, new: Object | None) -> None:
        """Update schemas and resources after a change of one definition."""
        for definition in filter(None, (old, new)):
            for resource in crds.resources(definition):
                self._schemas.pop((resource.api_version, resource.kind), None)
        if new is None:
            self.definitions.pop(key, None)
        else:
            self.definitions[key] = new
        self._serve_definitions()

    def schema(self, resource: Resource) -> Schema:
        """Return the schema of a resource's objects."""
        found = self._schemas.get((resource.api_version, resource.kind))
        if found is None:
            made = crds.schema(resource) if resource.custom is not None else _builtin_schema(resource)
            found = self._schemas[resource.api_version, resource.kind] = made
        return found

    def authenticate(self, token: str) -> User | None:
        """Return the user of a bearer token, or `None` if this API server does not accept it."""
        now = self.sandbox.clock.now().timestamp()
        known = self._tokens.get(token)
        if known is None:
            known = self._check(token)
            if known is None:
                return None
            if len(self._tokens) > 2000:
                self._tokens.clear()
            self._tokens[token] = known
        if now >= known.expires or not all(uid in self.objects.keys for uid in known.bound):
            return None
        return known.user

    def _check(self, token: str) -> _Accepted | None:
        if token.count(".") != 2:
            fixed = tokens.fixed_user(self.sandbox.store, self.id, token)
            return _Accepted(fixed) if fixed else None
        claims = self.key.claims(token)
        if claims is None or not self.issuers & set(claims["aud"]) or self.claims_problem(claims):
            return None
        return _Accepted(tokens.service_account_user(claims), float(claims["exp"]), bound_uids(claims))

    @property
    def issuers(self) -> set[str]:
        """The issuers whose tokens are accepted, which are also the audiences of this API server."""
        return {tokens.IN_CLUSTER_ISSUER, self.goal.oidc_issuer} - {""}

    def claims_problem(self, claims: dict[str, Any]) -> str:
        """Return why a token that this cluster has signed is no longer valid, or "" if it is. The audience is not checked."""
        if claims["iss"] not in self.issuers:
            return "issuer is not known"
        if self.sandbox.clock.now().timestamp() >= claims["exp"]:
            return "service account token has expired"
        if not all(uid in self.objects.keys for uid in bound_uids(claims)):
            return "service account token has been invalidated"
        return ""

    def user_of_certificate(self, names: list[tuple[str, str]]) -> User | None:
        """Return the user of a client certificate, or `None` if it was not issued for this cluster.

        `names`: the (name, value) pairs of its subject.
        """
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
    """Return the uids of the objects that a service-account token is bound to; it expires with any of them."""
    private = claims["kubernetes.io"]
    assert isinstance(private, dict)
    kinds = ("serviceaccount", "pod", "secret") if "pod" in private else ("serviceaccount", "secret", "node")
    return tuple(private[kind]["uid"] for kind in kinds if kind in private)


def certificate_mark(cluster_id: str) -> str:
    """Return the organization that binds a client certificate to one cluster; one CA signs for all clusters of the sandbox."""
    return "cluster:" + hashlib.sha256(cluster_id.encode()).hexdigest()[:32]


_CLUSTERS = Memory[dict[str, Cluster]](lambda sandbox: {})


def clusters(sandbox: Sandbox) -> dict[str, Cluster]:
    """Return the existing clusters, by id."""
    return _CLUSTERS.of(sandbox)


def _builtin_schema(resource: Resource) -> Schema:
    found = builtin.schema_for(resource.group, resource.version, resource.kind)
    assert found is not None, f"{resource.api_version} {resource.kind} has no schema"
    return found
