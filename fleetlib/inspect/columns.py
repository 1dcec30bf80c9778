"""What every table of the fleet holds: names, dtypes and meanings, in one place, so that notebooks, CI and JSON may rely on them.

A table is data here; `frames` builds a DataFrame of it, `docs/inspect.md` is held against it by a test. Columns are only ever
added. May import nothing of the project.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

TEXT, KIND, COUNT, NUMBER, FLAG, TIME = "string", "category", "Int64", "Float64", "boolean", "datetime64[ns, UTC]"
"""The dtypes, all nullable: text, text with few values, whole number, number, truth, time in UTC."""

STATUS = ("broken", "unreachable", "progressing", "stopped", "unknown", "ok")
"""The categories of every `status` column, ordered from worst to best."""

SIGNS = {"broken": "✗", "unreachable": "⊘", "progressing": "…", "stopped": "■", "unknown": "?", "ok": "✓"}
"""Status -> the sign that says it where colours do not."""

LAYERS = ("git", "source", "kustomization", "release", "aso", "arm", "extension", "flux", "workloads")
"""The categories of every `layer` column, in the order in which a change travels."""


HUB, NONE = "(control plane)", "(none)"
"""What stands for an environment where there is none: for the control plane's own, and for what belongs to none."""


def natural(name: str) -> list[tuple[int, str]]:
    """The key by which names are sorted: `prod-2` before `prod-10`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


@dataclass(frozen=True)
class Column:
    """One column. `values`: the ordered categories, if they are fixed; a KIND without has those that occur."""

    name: str
    dtype: str
    meaning: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """One table. `index` are columns too. `brief`: those that a terminal and a notebook show; JSON and CSV have all.

    `empty`: what it means, where that is good news, that there is no row.
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
ENVIRONMENT = kind("environment", "the release of the cluster chart it belongs to, such as podinfo-prod")
NAMESPACE = kind("namespace", "the object's namespace")
STATE = (
    kind("status", "how it is, worst first", STATUS),
    kind("reason", "the reason in the condition that says so, verbatim"),
    text("message", "the other side's words, verbatim"),
    time("since", "since when it is so"),
)
ERROR = text("error", "why the cluster could not be read; such a row has nothing else")

_TABLES = (
    Table(
        "clusters",
        "The workload clusters, one row each, through every layer.",
        (kind("cluster", "the managed cluster's name"),),
        (
            ENVIRONMENT,
            flag("declared", "whether Git declares it"),
            text("git", "head of the fleet repository's branch, 8 characters"),
            text("source", "the commit the control plane's source has, 8 characters"),
            kind("release", "reason of the HelmRelease's Ready condition"),
            text("chart", "version of the cluster chart that is installed"),
            kind("aso", "reason of the ManagedCluster object's Ready condition; Succeeded, or missing"),
            kind("provisioning", "ARM's provisioningState, or missing"),
            kind("power", "ARM's power state: Running or Stopped"),
            kind("extension", "provisioningState of the extension microsoft.flux, or missing"),
            kind("compliance", "the Flux configuration's complianceState, or missing"),
            text("revision", "the commit its own Flux has synced, 8 characters"),
            kind("version", "Kubernetes version of its control plane"),
            count("nodes", "nodes in all its pools"),
            kind("location", "Azure region"),
            count("workloads", "Deployments, StatefulSets and DaemonSets that run on it; only with deep=True"),
            count("workloads_ready", "those of them that are ready; only with deep=True"),
            *STATE,
            kind("first_broken_layer", "the first layer, in the order a change travels, that is not as it should be", LAYERS),
            text("next_step", "what to do about it"),
            time("created", "when Azure created it"),
            text("id", "ARM resource id"),
            text("portal", "link to it in the Azure portal; none for a cloud without one"),
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
            count("succeeded", "clusters that ARM calls Succeeded"),
            count("compliant", "clusters whose Flux configuration is Compliant"),
            count("broken", "clusters whose status is not ok"),
            count("nodes", "nodes in all pools"),
            count("nodes_max", "nodes the autoscaler may reach"),
            text("versions", "Kubernetes versions that occur, comma-separated"),
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
            flag("autoscaling", "whether the autoscaler works on it"),
            kind("power", "Running or Stopped"),
            kind("provisioning", "ARM's provisioningState"),
            kind("status", "how it is, worst first", STATUS),
            text("id", "ARM resource id"),
        ),
        ("environment", "mode", "vm_size", "version", "image", "count", "min", "max", "provisioning", "status"),
    ),
    Table(
        "nodes",
        "The nodes, as each cluster sees them.",
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
            flag("cordoned", "whether it takes no new Pods"),
            time("created", "when it joined"),
            ERROR,
        ),
        ("environment", "pool", "status", "version", "image", "vm_size", "cpu", "memory", "reason", "error"),
    ),
    Table(
        "workloads",
        "Deployments, StatefulSets and DaemonSets, as each cluster sees them.",
        (CLUSTER, NAMESPACE, kind("kind", "Deployment, StatefulSet or DaemonSet"), text("workload", "its name")),
        (
            ENVIRONMENT,
            count("desired", "Pods wanted"),
            count("ready", "Pods ready"),
            *STATE,
            text("images", "images, comma-separated"),
            text("applied_by", "the Flux kustomization or Helm release that applies it, namespace/name"),
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
            text("url", "where from"),
            text("ref", "branch, tag or version asked for"),
            text("revision", "what it has, verbatim"),
            *STATE,
            flag("suspended", "whether it is suspended"),
            kind("interval", "how often it looks"),
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
            text("revision", "what it has applied, verbatim"),
            text("attempted", "what it tried last, verbatim"),
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
            kind("pinned", "the version asked for, if any"),
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
        "Role assignments on the control plane's and the fleet's group.",
        (text("assignment", "its name (a GUID); empty for one that is missing"),),
        (
            kind("scope", "the group, or the scope's last part"),
            kind("role", "the role's name"),
            kind("principal", "name, where it is known"),
            text("principal_id", "object id"),
            kind("principal_type", "ServicePrincipal, User or Group"),
            flag("inherited", "whether it is given above the group"),
            flag("needed", "whether the runbook needs it"),
            kind("status", "broken: the runbook needs it, and it is not there", STATUS),
            text("message", "what is wrong with it"),
            time("created", "when it was given"),
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
            count("count", "how often"),
            kind("reporter", "who says so"),
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
            text("object", "what is created or changed"),
            time("started", "when it began"),
            time("ended", "when it ended; none while it lasts"),
            number("seconds", "how long it took, or has taken so far"),
            kind("state", "the layer's own word for where it is"),
            kind("status", "how it is, worst first", STATUS),
            text("message", "the layer's words, verbatim"),
        ),
        ("environment", "object", "started", "seconds", "state", "status"),
    ),
    Table(
        "versions",
        "What runs in which version, and what is offered.",
        (
            CLUSTER,
            kind(
                "component",
                "kubernetes, pool/<name>, microsoft.flux, flux (upstream's controllers in it), aso, cert-manager, cluster-chart/<release>",
            ),
        ),
        (
            ENVIRONMENT,
            kind("version", "what runs"),
            kind("declared", "what is asked for, if anything"),
            kind("offered", "the newest that is offered: by the region; for a pool, its control plane's; in the fleet; in Git"),
            kind("patch", "the newest patch of the minor version that runs"),
            flag("behind", "whether a newer one is offered"),
            flag("supported", "whether the region offers what runs, under the cluster's support plan"),
            text("note", "what to know about it"),
        ),
        ("environment", "version", "declared", "patch", "offered", "behind", "supported", "note"),
    ),
    Table(
        "costs",
        "What nodes and control planes cost at list prices: an estimate, without disks, load balancers, traffic and discounts.",
        (ENVIRONMENT, CLUSTER, kind("item", "pool/<name>, or control plane")),
        (
            kind("sku", "VM size, or the cluster's tier"),
            count("units", "nodes, or 1"),
            number("hour", "USD an hour, all units"),
            number("month", "USD for 730 hours"),
            number("month_max", "the same at the autoscaler's limit"),
            time("priced", "date of the price"),
            text("note", "why there is no price, or it costs nothing now"),
        ),
        ("sku", "units", "month", "month_max", "note"),
    ),
    Table(
        "findings",
        "What is wrong, in words, worst first.",
        (count("finding", "1, 2, ..."),),
        (
            kind("status", "how bad, worst first", STATUS),
            kind("layer", "where", LAYERS),
            kind("cluster", "the cluster, or the control plane"),
            text("object", "the object, kind/name"),
            kind("reason", "reason or code, verbatim"),
            text("message", "the other side's words, verbatim"),
            time("since", "since when"),
            text("meaning", "what it means"),
            text("look", "commands to look closer, one a line"),
            text("fix", "what to do"),
        ),
        ("status", "layer", "cluster", "object", "reason", "meaning", "fix"),
        empty="nothing is wrong",
    ),
    Table(
        "drift",
        "Where what is declared and what there is differ, field by field.",
        (count("difference", "1, 2, ..."),),
        (
            kind("cluster", "the cluster, or the control plane"),
            kind("layer", "where the difference is", LAYERS),
            text("object", "the object, kind/name"),
            kind(
                "kind", "changed, missing (declared, not there), orphan (there, not declared)", ("missing", "orphan", "changed")
            ),
            text("field", "path of the field; empty for a whole object"),
            text("declared", "what is declared; missing where that cannot be known"),
            text("actual", "what there is"),
            text(
                "by",
                "who wrote it, where that is recorded: in Kubernetes the field's manager, in Azure the last to write anything of the whole resource",
            ),
            time("since", "when that was written, where it is recorded"),
            text("fix", "what to do"),
        ),
        ("cluster", "layer", "object", "kind", "field", "declared", "actual", "by"),
        empty="nothing differs",
    ),
)

TABLES: dict[str, Table] = {table.name: table for table in _TABLES}
"""All tables by name: the methods of `Fleet`, and the commands of `fleet`."""
