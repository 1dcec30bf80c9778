"""How a resource in ARM becomes something that runs: goals written by ARM, reports written by the data plane.

Both are records in partition `fabric`; each side watches the other's. Neither side imports the other. May import the store
only.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Self, TypedDict

from azuresandbox import trees
from azuresandbox.store import Store

PARTITION = "fabric"


@dataclass
class _Document:
    """A JSON document; fields are its keys, in camel case nowhere: this is internal."""

    def dump(self) -> bytes:
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    @classmethod
    def load(cls, data: bytes) -> Self:
        return cls(**trees.parse(data))


class AgentPool(TypedDict):
    """A pool of a `ClusterGoal`. `memory_gb` in GiB, of each node; `version` and `node_image` are those of its nodes."""

    name: str
    count: int
    vm_size: str
    vcpus: int
    memory_gb: float
    mode: str
    os_sku: str
    version: str
    node_image: str
    labels: dict[str, str]
    taints: list[str]
    zones: list[str]


class Failure(TypedDict):
    """The error of a report."""

    code: str
    message: str


class Credential(TypedDict):
    """A way to sign in to a cluster: a bearer token, and a client certificate with its key (PEM, "" without one)."""

    token: str
    cert: str
    key: str


@dataclass
class Goal(_Document):
    """What ARM wants of the data plane. `revision` is filled in on reading: the goal's version, for `Report.observed`."""

    KIND: ClassVar[str] = ""
    cluster_id: str
    name: str = ""
    resource_id: str = ""
    deleted: bool = False
    revision: int = 0

    @property
    def key(self) -> str:
        return goal_key(self.KIND, self.cluster_id, self.name)


@dataclass
class ClusterGoal(Goal):
    """A managed cluster as the data plane needs it. Its `name` is empty: one a cluster id.

    `power`: Running or Stopped; `oidc_issuer`: the issuer's URL, or "" when it is off; `version`: the control plane's.
    """

    KIND: ClassVar[str] = "cluster"
    cluster_name: str = ""
    location: str = ""
    version: str = ""
    power: str = "Running"
    oidc_issuer: str = ""
    workload_identity: bool = False
    node_resource_group: str = ""
    fqdn: str = ""
    pools: list[AgentPool] = field(default_factory=list)


@dataclass
class ExtensionGoal(Goal):
    """An extension to install; `settings` are its configurationSettings as given."""

    KIND: ClassVar[str] = "extension"
    extension_type: str = ""
    version: str = ""
    release_namespace: str = ""
    settings: dict[str, str] = field(default_factory=dict)


@dataclass
class FluxConfigurationGoal(Goal):
    """A fluxConfiguration; `properties` are the ARM resource's, defaults filled in. `secrets`: protected settings."""

    KIND: ClassVar[str] = "flux"
    properties: dict[str, Any] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)


@dataclass
class Report(_Document):
    """What the data plane says of a goal. `state`: Progressing, Succeeded, Failed or Deleted; `error`: {code, message}."""

    observed: int
    state: str = "Progressing"
    error: Failure | None = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass
class ClusterReport(_Document):
    """What the Kubernetes API says of a cluster; `credentials`: {admin, user, component} -> {token, cert, key} (PEM)."""

    observed: int
    state: str = "Progressing"
    error: Failure | None = None
    credentials: dict[str, Credential] = field(default_factory=dict)


KINDS: dict[str, type[Goal]] = {kind.KIND: kind for kind in (ClusterGoal, ExtensionGoal, FluxConfigurationGoal)}


def goal_key(kind: str, cluster_id: str, name: str = "") -> str:
    return f"goal/{kind}/{cluster_id}/{name}"


def report_key(kind: str, cluster_id: str, name: str = "", part: str = "") -> str:
    """A goal may have several reporters, each with its `part`: `api` and `nodes` for a cluster, "" otherwise."""
    return f"report/{kind}/{cluster_id}/{name}" + (f"#{part}" if part else "")


def put_goal(store: Store, goal: Goal) -> int:
    """Write the goal unless it says what is stored already; its revision."""
    goal.revision = 0
    data, current = goal.dump(), store.get(PARTITION, goal.key)
    if current is not None and current.value == data:
        return current.revision
    return store.put(PARTITION, goal.key, data).revision


def get_goal(store: Store, kind: str, cluster_id: str, name: str = "") -> Goal | None:
    record = store.get(PARTITION, goal_key(kind, cluster_id, name))
    return _goal(kind, record.value, record.revision) if record else None


def goals(store: Store, kind: str, cluster_id: str | None = None) -> list[Goal]:
    prefix = f"goal/{kind}/" + (f"{cluster_id}/" if cluster_id else "")
    return [_goal(kind, record.value, record.revision) for record in store.list(PARTITION, prefix).records]


async def watch_goals(store: Store, kind: str, cluster_id: str | None = None) -> AsyncIterator[Goal]:
    """The goals there are, then every change. A goal whose record ARM dropped comes once more with `deleted` set."""
    prefix = f"goal/{kind}/" + (f"{cluster_id}/" if cluster_id else "")
    page = store.list(PARTITION, prefix)
    watch = store.watch(PARTITION, prefix, since=page.revision)
    try:
        for record in page.records:
            yield _goal(kind, record.value, record.revision)
        async for event in watch:
            goal = _goal(kind, event.record.value, event.record.revision)
            goal.deleted = goal.deleted or event.kind == "DELETED"
            yield goal
    finally:
        watch.close()


def _goal(kind: str, data: bytes, revision: int) -> Goal:
    goal = KINDS[kind].load(data)
    goal.revision = revision
    return goal


def put_report(store: Store, goal: Goal, report: Report | ClusterReport, part: str = "") -> None:
    """Write the report unless it says what is stored already."""
    key, data = report_key(goal.KIND, goal.cluster_id, goal.name, part), report.dump()
    current = store.get(PARTITION, key)
    if current is None or current.value != data:
        store.put(PARTITION, key, data)


def get_report(store: Store, kind: str, cluster_id: str, name: str = "", part: str = "") -> Report | None:
    record = store.get(PARTITION, report_key(kind, cluster_id, name, part))
    return Report.load(record.value) if record else None


def get_cluster_report(store: Store, cluster_id: str) -> ClusterReport | None:
    """The Kubernetes API's report (part `api`), which carries the credentials."""
    record = store.get(PARTITION, report_key("cluster", cluster_id, part="api"))
    return ClusterReport.load(record.value) if record else None


async def settled(store: Store, kind: str, cluster_id: str, name: str, revision: int, parts: tuple[str, ...] = ("",)) -> Report:
    """Wait until every part has observed `revision` and is no longer Progressing; the worst report, or the last."""
    prefix = report_key(kind, cluster_id, name)
    watch = store.watch(PARTITION, prefix)
    try:
        while True:
            found = [_read_report(store, report_key(kind, cluster_id, name, part)) for part in parts]
            done = [r for r in found if r is not None and r.observed >= revision and r.state != "Progressing"]
            if len(done) == len(parts):
                return next((report for report in done if report.state == "Failed"), done[-1])
            await anext(aiter(watch))
    except StopAsyncIteration:
        raise asyncio.CancelledError from None
    finally:
        watch.close()


def _read_report(store: Store, key: str) -> Report | None:
    record = store.get(PARTITION, key)
    if record is None:
        return None
    document = trees.parse(record.value)
    return Report(document["observed"], document["state"], document["error"], document.get("details", {}))


def drop(store: Store, goal: Goal) -> None:
    """Forget a goal with all its reports, once its removal has been reported."""
    with store.transaction():
        store.delete(PARTITION, goal.key)
        prefix = report_key(goal.KIND, goal.cluster_id, goal.name)
        for record in store.list(PARTITION, prefix).records:
            if record.key == prefix or record.key.startswith(prefix + "#"):
                store.delete(PARTITION, record.key)
