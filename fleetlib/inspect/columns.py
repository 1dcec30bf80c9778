"""The columns of every table of the fleet: names, dtypes and meanings, on which notebooks, CI and JSON may rely.

Tables are data here: `frames` builds DataFrames from them, and a test compares docs/inspect.md with them. Columns are only ever
added.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

TEXT, KIND, COUNT, NUMBER, FLAG, TIME = "string", "category", "Int64", "Float64", "boolean", "datetime64[ns, UTC]"
"""The dtypes, all nullable: text, text with few values, integer, number, boolean, time in UTC."""

STATUS = ("broken", "unreachable", "progressing", "stopped", "unknown", "ok")
"""The categories of every `status` column, ordered from worst to best."""

SIGNS = {"broken": "✗", "unreachable": "⊘", "progressing": "…", "stopped": "■", "unknown": "?", "ok": "✓"}
"""Status -> its sign, readable without colours."""

LAYERS = ("git", "source", "kustomization", "release", "aso", "arm", "extension", "flux", "workloads")
"""The categories of every `layer` column, in the order in which a change travels."""


HUB, NONE = "(control plane)", "(none)"
"""In the place of an environment: for the control plane, and for clusters without one."""


def natural(name: str) -> list[tuple[int, str]]:
    """Return a sort key that puts `prod-2` before `prod-10`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


@dataclass(frozen=True)
class Column:
    """One column. `values` are the ordered categories of a KIND; empty for the values that occur."""

    name: str
    dtype: str
    meaning: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """One table. `title` says what a row is. `brief` are the columns that terminals and notebooks show; JSON and CSV have all.

    `empty` is the meaning of a table without rows, if that is good news.
    """

    name: str
    title: str
    index: tuple[Column, ...]
    columns: tuple[Column, ...]
    brief: tuple[str, ...]
    empty: str = ""

    @property
    def all(self) -> tuple[Column, ...]:
        return self.index + self.columns


def text(name: str, meaning: str) -> Column:
    return Column(name, TEXT, meaning)


def kind(name: str, meaning: str, values: Sequence[str] = ()) -> Column:
    return Column(name, KIND, meaning, tuple(values))


def count(name: str, meaning: str) -> Column:
    return Column(name, COUNT, meaning)


def number(name: str, meaning: str) -> Column:
    return Column(name, NUMBER, meaning)


def flag(name: str, meaning: str) -> Column:
    return Column(name, FLAG, meaning)


def time(name: str, meaning: str) -> Column:
    return Column(name, TIME, meaning)


CLUSTER = kind("cluster", "the managed cluster; the control plane is one too")
ENVIRONMENT = kind("environment", "the cluster's release of the cluster chart, such as podinfo-prod")
NAMESPACE = kind("namespace", "the object's namespace")
STATE = (
    kind("status", "its state, ordered from worst to best", STATUS),
    kind("reason", "the condition's reason, verbatim"),
    text("message", "the condition's message, verbatim"),
    time("since", "when the condition last changed"),
)
ERROR = text("error", "the reason that the cluster could not be read; the row's other columns are empty")

_TABLES = (
    Table(
        "clusters",
        "The workload clusters, with the state of each layer.",
        (kind("cluster", "the managed cluster's name"),),
        (
            ENVIRONMENT,
            flag("declared", "whether Git declares it"),
            text("git", "head of the fleet repository's branch, 8 characters"),
            text("source", "the commit that the control plane's source has fetched, 8 characters"),
            kind("release", "reason of the HelmRelease's Ready condition"),
            text("chart", "version of the cluster chart that is installed"),
            kind("aso", "reason of the ManagedCluster object's Ready condition; Succeeded, or missing"),
            kind("provisioning", "ARM's provisioningState, or missing"),
            kind("power", "ARM's power state: Running or Stopped"),
            kind("extension", "provisioningState of the extension microsoft.flux, or missing"),
            kind("compliance", "the Flux configuration's complianceState, or missing"),
            text("revision", "the commit that the cluster's own Flux has fetched, 8 characters"),
            kind("version", "Kubernetes version of its control plane"),
            count("nodes", "nodes in all pools"),
            kind("location", "Azure region"),
            count("workloads", "its Deployments, StatefulSets and DaemonSets; only with deep=True"),
            count("workloads_ready", "the workloads that are ready; only with deep=True"),
            *STATE,
            kind("first_broken_layer", "the first layer, in the order in which a change travels, that is not ok", LAYERS),
            text("next_step", "the next step to fix it"),
            time("created", "when Azure created it"),
            text("id", "ARM resource id"),
            text("portal", "its page in the Azure portal; missing for a cloud without a portal"),
        ),
        (
            "environment",
            "status",
            "aso",
            "provisioning",
            "compliance",
            "version",
            "nodes",
            "location",
            "revision",
            "first_broken_layer",
            "reason",
        ),
    ),
    Table(
        "environments",
        "The environments: clusters declared, provisioned, compliant.",
        (ENVIRONMENT,),
        (
            count("declared", "clusters that Git declares"),
            count("succeeded", "clusters whose provisioningState in ARM is Succeeded"),
            count("compliant", "clusters whose Flux configuration is Compliant"),
            count("broken", "clusters whose status is not ok"),
            count("nodes", "nodes in all pools"),
            count("nodes_max", "nodes at the autoscalers' limits"),
            text("versions", "Kubernetes versions, comma-separated"),
            text("locations", "regions, comma-separated"),
            text("chart", "version of the cluster chart that is installed"),
            text("file", "the file in the fleet repository"),
            kind("release", "reason of the HelmRelease's Ready condition"),
            *STATE,
        ),
        ("declared", "succeeded", "compliant", "broken", "nodes", "versions", "chart", "status", "reason"),
    ),
    Table(
        "pools",
        "The node pools.",
        (CLUSTER, kind("pool", "name of the pool")),
        (
            ENVIRONMENT,
            kind("mode", "System or User"),
            kind("vm_size", "VM size"),
            kind("os", "OS SKU"),
            kind("version", "Kubernetes version of the pool"),
            kind("image", "node image version"),
            count("count", "nodes now"),
            count("min", "the autoscaler's lower limit"),
            count("max", "the autoscaler's upper limit"),
            flag("autoscaling", "whether the autoscaler is on"),
            kind("power", "Running or Stopped"),
            kind("provisioning", "ARM's provisioningState"),
            kind("status", "its state, ordered from worst to best", STATUS),
            text("id", "ARM resource id"),
        ),
        ("environment", "mode", "vm_size", "version", "image", "count", "min", "max", "provisioning", "status"),
    ),
    Table(
        "nodes",
        "The nodes, read from each cluster.",
        (CLUSTER, text("node", "name of the node; empty in an error's row")),
        (
            ENVIRONMENT,
            kind("pool", "its pool"),
            *STATE,
            kind("version", "kubelet's version"),
            kind("image", "node image version"),
            kind("vm_size", "VM size"),
            kind("zone", "availability zone"),
            number("cpu", "allocatable cores"),
            number("memory", "allocatable memory, GiB"),
            count("pods", "allocatable pods"),
            flag("cordoned", "whether new Pods are kept off it"),
            time("created", "when it joined"),
            ERROR,
        ),
        ("environment", "pool", "status", "version", "image", "vm_size", "cpu", "memory", "reason", "error"),
    ),
    Table(
        "workloads",
        "The Deployments, StatefulSets and DaemonSets, read from each cluster.",
        (CLUSTER, NAMESPACE, kind("kind", "Deployment, StatefulSet or DaemonSet"), text("workload", "its name")),
        (
            ENVIRONMENT,
            count("desired", "Pods desired"),
            count("ready", "Pods ready"),
            *STATE,
            text("images", "images, comma-separated"),
            text("applied_by", "the Flux kustomization or HelmRelease that applies it, namespace/name"),
            time("created", "when it was created"),
            ERROR,
        ),
        ("environment", "desired", "ready", "status", "images", "applied_by", "reason", "error"),
    ),
    Table(
        "sources",
        "Flux's sources: Git, OCI, Helm and bucket.",
        (CLUSTER, NAMESPACE, kind("kind", "GitRepository, OCIRepository, HelmRepository or Bucket"), text("name", "its name")),
        (
            ENVIRONMENT,
            text("url", "its URL"),
            text("ref", "the declared branch, tag or version"),
            text("revision", "the fetched revision, verbatim"),
            *STATE,
            flag("suspended", "whether it is suspended"),
            kind("interval", "how often it checks for changes"),
            ERROR,
        ),
        ("url", "ref", "revision", "status", "reason", "message", "error"),
    ),
    Table(
        "kustomizations",
        "Flux's kustomizations.",
        (CLUSTER, NAMESPACE, text("name", "its name")),
        (
            ENVIRONMENT,
            text("source", "kind/name of its source"),
            text("path", "folder in the source"),
            text("depends_on", "names, comma-separated"),
            text("revision", "the applied revision, verbatim"),
            text("attempted", "the last attempted revision, verbatim"),
            count("objects", "objects in its inventory"),
            *STATE,
            flag("suspended", "whether it is suspended"),
            flag("prune", "whether it prunes"),
            ERROR,
        ),
        ("path", "revision", "objects", "status", "reason", "message", "error"),
    ),
    Table(
        "releases",
        "Flux's Helm releases.",
        (CLUSTER, NAMESPACE, text("name", "name of the HelmRelease")),
        (
            ENVIRONMENT,
            text("release", "namespace/name of the Helm release"),
            text("chart", "the chart"),
            text("version", "version of the chart that is installed"),
            count("revision", "Helm's revision number"),
            kind("state", "Helm's state: deployed, failed, ..."),
            *STATE,
            count("failures", "failed attempts"),
            flag("suspended", "whether it is suspended"),
            text("depends_on", "names, comma-separated"),
            ERROR,
        ),
        ("chart", "version", "revision", "state", "status", "reason", "message", "error"),
    ),
    Table(
        "extensions",
        "Cluster extensions: Azure's build of Flux.",
        (CLUSTER, kind("extension", "its name")),
        (
            ENVIRONMENT,
            kind("type", "such as microsoft.flux"),
            kind("version", "installed version"),
            kind("pinned", "the pinned version, if any"),
            flag("auto_upgrade", "whether Azure upgrades it to new minor versions"),
            kind("train", "release train"),
            kind("provisioning", "ARM's provisioningState"),
            *STATE,
            text("id", "ARM resource id"),
        ),
        ("environment", "type", "version", "auto_upgrade", "provisioning", "status", "reason", "message"),
    ),
    Table(
        "roles",
        "The role assignments on the control plane's and the fleet's group.",
        (text("assignment", "its name (a GUID); empty for a missing assignment"),),
        (
            kind("scope", "the group, or the scope's last part"),
            kind("role", "the role's name"),
            kind("principal", "the principal's name, if it is known"),
            text("principal_id", "the principal's object id"),
            kind("principal_type", "ServicePrincipal, User or Group"),
            flag("inherited", "whether it is assigned above the group"),
            flag("needed", "whether the runbook needs it"),
            kind("status", "ok; broken if the runbook needs it and it is missing", STATUS),
            text("message", "the fault and its fix, if it is broken"),
            time("created", "when it was assigned"),
            text("id", "ARM resource id"),
        ),
        ("scope", "role", "principal", "principal_type", "inherited", "needed", "status", "message"),
    ),
    Table(
        "events",
        "Kubernetes events, newest first.",
        (time("time", "when it was last seen"),),
        (
            CLUSTER,
            NAMESPACE,
            kind("kind", "kind of the object"),
            text("name", "name of the object"),
            kind("type", "Normal or Warning"),
            kind("reason", "reason, verbatim"),
            text("message", "message, verbatim"),
            count("count", "how many times it occurred"),
            kind("reporter", "the component that reported it"),
            ERROR,
        ),
        ("cluster", "kind", "name", "type", "reason", "message", "count", "error"),
    ),
    Table(
        "operations",
        "How long each layer of each cluster took, or is taking.",
        (CLUSTER, kind("layer", "aso, arm, extension or flux", LAYERS)),
        (
            ENVIRONMENT,
            text("object", "the object that is created or deleted, kind/name"),
            time("started", "when it began"),
            time("ended", "when it ended; missing while it lasts"),
            number("seconds", "how long it took, or has taken so far"),
            kind("state", "reason of the object's Ready condition, verbatim"),
            kind("status", "its state, ordered from worst to best", STATUS),
            text("message", "message of the object's Ready condition, verbatim"),
        ),
        ("environment", "object", "started", "seconds", "state", "status"),
    ),
    Table(
        "versions",
        "The versions that run, are declared and are offered.",
        (
            CLUSTER,
            kind(
                "component",
                "kubernetes, pool/<name>, microsoft.flux, flux (the upstream controllers in it), aso, cert-manager, "
                "cluster-chart/<release>",
            ),
        ),
        (
            ENVIRONMENT,
            kind("version", "the version that runs"),
            kind("declared", "the declared version, if any"),
            kind(
                "offered",
                "the newest version: offered by the region (kubernetes), of the control plane (pools), in the fleet "
                "(microsoft.flux), in Git (cluster-chart)",
            ),
            kind("patch", "the newest patch of the minor version that runs"),
            flag("behind", "whether a newer version is offered"),
            flag("supported", "whether the region offers the version that runs, under the cluster's support plan"),
            text("note", "a fault or the next step, if any"),
        ),
        ("environment", "version", "declared", "patch", "offered", "behind", "supported", "note"),
    ),
    Table(
        "costs",
        "The estimated costs of nodes and control planes at list prices, without disks, load balancers, traffic and discounts.",
        (ENVIRONMENT, CLUSTER, kind("item", "pool/<name>, or control plane")),
        (
            kind("sku", "VM size, or the cluster's tier"),
            count("units", "nodes, or 1"),
            number("hour", "USD an hour, all units"),
            number("month", "USD for 730 hours"),
            number("month_max", "USD for 730 hours at the autoscaler's limit"),
            time("priced", "date of the price"),
            text("note", "the reason that there is no price, or no cost now"),
        ),
        ("sku", "units", "month", "month_max", "note"),
    ),
    Table(
        "findings",
        "The faults of the fleet, worst first.",
        (count("finding", "1, 2, ..."),),
        (
            kind("status", "its state, ordered from worst to best", STATUS),
            kind("layer", "the layer of the fault", LAYERS),
            kind("cluster", "the cluster, or the control plane"),
            text("object", "the object, kind/name"),
            kind("reason", "reason or code, verbatim"),
            text("message", "the message, verbatim"),
            time("since", "when the fault began"),
            text("meaning", "the meaning of the fault"),
            text("look", "commands to look closer, one on each line"),
            text("fix", "the fix"),
        ),
        ("status", "layer", "cluster", "object", "reason", "meaning", "fix"),
        empty="no faults",
    ),
    Table(
        "drift",
        "The differences between the declared and the actual fleet, field by field.",
        (count("difference", "1, 2, ..."),),
        (
            kind("cluster", "the cluster, or the control plane"),
            kind("layer", "the layer of the difference", LAYERS),
            text("object", "the object, kind/name"),
            kind(
                "kind",
                "the kind of difference; a missing object is declared but does not exist, an orphan exists but is not declared",
                ("missing", "orphan", "changed"),
            ),
            text("field", "path of the field; empty for a whole object"),
            text("declared", "the declared value; missing if it cannot be known"),
            text("actual", "the actual value"),
            text(
                "by", "the writer, if recorded: in Kubernetes the field manager, in Azure the last writer of the whole resource"
            ),
            time("since", "when it was written, if recorded"),
            text("fix", "the fix"),
        ),
        ("cluster", "layer", "object", "kind", "field", "declared", "actual", "by"),
        empty="no differences",
    ),
)

TABLES: dict[str, Table] = {table.name: table for table in _TABLES}
"""All tables by name: the methods of `Fleet`, and the commands of `fleet`."""
