"""Goals and reports: ARM writes the state that a resource shall have, and the data plane writes the state that it has.

Both are records in partition `fabric`. Each side watches the other's records and imports nothing of the other side.
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
    """A JSON document. Its keys are the fields' names, because only the sandbox reads it."""

    def dump(self) -> bytes:
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    @classmethod
    def load(cls, data: bytes) -> Self:
        return cls(**trees.parse(data))


class AgentPool(TypedDict):
    """A pool of a `ClusterGoal`. `memory_gb` is in GiB and of each node; `version` and `node_image` are those of its nodes."""

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
    """A credential for a cluster: a bearer token, and a client certificate with its key (PEM, "" without one)."""

    token: str
    cert: str
    key: str


@dataclass
class Goal(_Document):
    """A resource of ARM that the data plane shall realize.

    `revision` is the record's, filled in on reading, for `Report.observed`.
    """

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
    """A managed cluster as the data plane needs it. Its `name` is empty, because a cluster id has one such goal.

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
    """A fluxConfiguration. `properties` are those of the ARM resource, with defaults; `secrets` are its protected settings."""

    KIND: ClassVar[str] = "flux"
    properties: dict[str, Any] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)


@dataclass
class Report(_Document):
    """The data plane's state of a goal. `state`: Progressing, Succeeded, Failed or Deleted."""

    observed: int
    state: str = "Progressing"
    error: Failure | None = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass
class ClusterReport(_Document):
    """The Kubernetes API's state of a cluster. `credentials`: admin, user, component -> credential."""

    observed: int
    state: str = "Progressing"
    error: Failure | None = None
    credentials: dict[str, Credential] = field(default_factory=dict)


KINDS: dict[str, type[Goal]] = {kind.KIND: kind for kind in (ClusterGoal, ExtensionGoal, FluxConfigurationGoal)}


def goal_key(kind: str, cluster_id: str, name: str = "") -> str:
    return f"goal/{kind}/{cluster_id}/{name}"


def report_key(kind: str, cluster_id: str, name: str = "", part: str = "") -> str:
    """Return the key of a report. A cluster has two reporters, with the parts `api` and `nodes`; other goals have one, ""."""
    return f"report/{kind}/{cluster_id}/{name}" + (f"#{part}" if part else "")


def put_goal(store: Store, goal: Goal) -> int:
    """Write the goal unless an equal one is stored. Return its revision."""
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
    """Yield the goals that exist, then every change. A goal whose record is deleted is yielded with `deleted` set."""
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
    """Write the report unless an equal one is stored."""
    key, data = report_key(goal.KIND, goal.cluster_id, goal.name, part), report.dump()
    current = store.get(PARTITION, key)
    if current is None or current.value != data:
        store.put(PARTITION, key, data)


def get_report(store: Store, kind: str, cluster_id: str, name: str = "", part: str = "") -> Report | None:
    record = store.get(PARTITION, report_key(kind, cluster_id, name, part))
    return Report.load(record.value) if record else None


def get_cluster_report(store: Store, cluster_id: str) -> ClusterReport | None:
    """Return the Kubernetes API's report (part `api`), which carries the credentials; `None` before the first one."""
    record = store.get(PARTITION, report_key("cluster", cluster_id, part="api"))
    return ClusterReport.load(record.value) if record else None


async def settled(store: Store, kind: str, cluster_id: str, name: str, revision: int, parts: tuple[str, ...] = ("",)) -> Report:
    """Wait until every part has observed `revision` and is no longer Progressing.

    Return the first Failed report, or the last one.
    """
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
    """Delete a goal with all its reports, once its removal has been reported."""
    with store.transaction():
        store.delete(PARTITION, goal.key)
        prefix = report_key(goal.KIND, goal.cluster_id, goal.name)
        for record in store.list(PARTITION, prefix).records:
            if record.key == prefix or record.key.startswith(prefix + "#"):
                store.delete(PARTITION, record.key)
