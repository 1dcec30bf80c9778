"""Objects as the tables that kubectl prints: the columns people know, and the printer columns of CRDs.

Columns after `pkg/printers/internalversion/printers.go` of Kubernetes. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from azuresandbox.kubernetes.model.resources import Resource

Object = dict[str, Any]
Cells = Callable[[Object, datetime], list[Any]]


def table(
    resource: Resource, objects: list[Object], metadata: Object, include: str, now: datetime, version: str = "v1"
) -> Object:
    """A meta.k8s.io Table."""
    columns, cells = _columns(resource)
    rows = []
    for obj in objects:
        row: Object = {"cells": cells(obj, now)}
        if include == "Object":
            row["object"] = obj
        else:
            row["object"] = None if include == "None" else partial(obj, version)
        rows.append(row)
    if not metadata and objects:
        metadata = {"resourceVersion": objects[-1]["metadata"].get("resourceVersion", "")}
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    }


def blank(resource: Resource, now: datetime) -> list[Any]:
    """The cells of an object that has nothing, which a bookmark has for an object."""
    columns, cells = _columns(resource)
    try:
        return cells({"metadata": {"name": ""}, "spec": {}, "status": {}}, now)
    except (KeyError, IndexError):  # kinds whose cells are made of what every object has
        return ["" for _ in columns]


def partial(obj: Object, version: str) -> Object:
    """Only the metadata."""
    return {"kind": "PartialObjectMetadata", "apiVersion": f"meta.k8s.io/{version}", "metadata": obj["metadata"]}


def age(timestamp: str | None, now: datetime) -> str:
    """`42s`, `3m`, `2d4h`: as `duration.HumanDuration` says it; <unknown> if there is no timestamp."""
    if not timestamp:
        return "<unknown>"
    then = datetime.fromisoformat(timestamp.replace("Z", "+00:00")).astimezone(UTC)
    return human(int((now - then).total_seconds()))


def human(seconds: int) -> str:
    if seconds < -1:
        return "<invalid>"
    if seconds < 0:
        return "0s"
    if seconds < 120:
        return f"{seconds}s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 730:
        return f"{days}d"
    if days < 8 * 365:
        return f"{days // 365}y{days % 365}d" if days % 365 else f"{days // 365}y"
    return f"{days // 365}y"


def _column(text: str) -> Object:
    """`Name`, `Node:wide` (only with -o wide), `Ready:integer` or another type."""
    name, _, hint = text.partition(":")
    return {
        "name": name,
        "type": hint if hint in ("integer", "boolean", "date") else "string",
        "format": "name" if name == "Name" else "",
        "description": "",
        "priority": 1 if hint == "wide" else 0,
    }


def _columns(resource: Resource) -> tuple[list[Object], Cells]:
    if resource.custom is not None:
        return _custom(resource.custom.get("additionalPrinterColumns") or [])
    found = _BUILTIN.get((resource.group, resource.plural))
    if found is None:
        return [_column("Name"), _column("Age")], lambda obj, now: [_name(obj), _age(obj, now)]
    names, cells = found
    return [_column(name) for name in names.split("|")], cells


# --- custom resources ------------------------------------------------------------------------------------------------


_UNDESCRIBED = "Custom resource definition column (in JSONPath format):"


def _custom(columns: list[Object]) -> tuple[list[Object], Cells]:
    if not columns:
        columns = [{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]
    shown = [_column("Name")] + [
        {
            "name": column["name"],
            "type": column["type"],
            "format": column.get("format", ""),
            "description": column.get("description") or f"{_UNDESCRIBED} {column['jsonPath']}",
            "priority": column.get("priority", 0),
        }
        for column in columns
    ]

    def cells(obj: Object, now: datetime) -> list[Any]:
        return [_name(obj)] + [_custom_cell(column, obj, now) for column in columns]

    return shown, cells


def _custom_cell(column: Object, obj: Object, now: datetime) -> Any:
    found = json_path(obj, column["jsonPath"])
    if not found:
        return None
    value = found[0]
    if column["type"] == "date":
        return age(value, now) if isinstance(value, str) else "<unknown>"
    if column["type"] == "string":
        return str(value).lower() if isinstance(value, bool) else str(value)
    return value


_STEP = re.compile(r"\.([\w\-/]+|\*)|\['([^']*)'\]|\[(\*|\d+)\]|\[\?\(@\.([\w.]+)\s*==\s*[\"']([^\"']*)[\"']\)\]")


def json_path(obj: Any, path: str) -> list[Any]:
    """The values a CRD's jsonPath finds: members, indices, `[*]` and `[?(@.type=="Ready")]`."""
    found, position = [obj], 0
    path = path.replace("\\.", "\x00")
    path = path if path.startswith((".", "[")) else "." + path
    while position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            return []
        found = [value for item in found for value in _step(item, step)]
        position = step.end()
    return [value for value in found if value is not None]


def _step(item: Any, step: re.Match[str]) -> list[Any]:
    member, quoted, index, condition, value = step.groups()
    name = (member or quoted or "").replace("\x00", ".")
    if name and name != "*":
        return [item[name]] if isinstance(item, dict) and name in item else []
    if not isinstance(item, list):
        return list(item.values()) if isinstance(item, dict) and (name == "*" or index == "*") else []
    if condition:
        return [entry for entry in item if isinstance(entry, dict) and str(entry.get(condition)) == value]
    if index == "*" or name == "*":
        return list(item)
    return [item[int(index)]] if int(index) < len(item) else []


# --- built-in kinds --------------------------------------------------------------------------------------------------


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def _age(obj: Object, now: datetime) -> str:
    return age(obj["metadata"].get("creationTimestamp"), now)


def _labels(found: Object | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((found or {}).items())) or "<none>"


def _selector(spec: Object) -> str:
    selector = spec.get("selector") or {}
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for item in selector.get("matchExpressions") or []:
        parts.append(f"{item['key']} {item['operator'].lower()} ({','.join(item.get('values') or [])})")
    return ",".join(parts) or "<none>"


def _images(template: Object) -> list[str]:
    containers = ((template.get("spec") or {}).get("containers")) or []
    return [",".join(item["name"] for item in containers), ",".join(item.get("image", "") for item in containers)]


def _pod(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    statuses = status.get("containerStatuses") or []
    ready = sum(1 for item in statuses if item.get("ready"))
    restarts = sum(item.get("restartCount", 0) for item in statuses)
    last = max(
        (
            found["finishedAt"]
            for item in statuses
            if (found := (item.get("lastState") or {}).get("terminated")) and found.get("finishedAt")
        ),
        default="",
    )
    restarted = f"{restarts} ({age(last, now)} ago)" if restarts and last else str(restarts)
    gates = len(spec.get("readinessGates") or [])
    return [
        _name(obj),
        f"{ready}/{len(spec.get('containers') or [])}",
        pod_status(obj),
        restarted,
        _age(obj, now),
        status.get("podIP") or "<none>",
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        f"0/{gates}" if gates else "<none>",
    ]


def pod_status(obj: Object) -> str:
    """The STATUS column: phase, or the reason that says more."""
    status, metadata = obj.get("status") or {}, obj["metadata"]
    reason = status.get("reason") or status.get("phase") or "Unknown"
    waiting_init = _init_reason(obj)
    if waiting_init:
        reason = waiting_init
    else:
        for item in reversed(status.get("containerStatuses") or []):
            state = item.get("state") or {}
            waiting, terminated = state.get("waiting") or {}, state.get("terminated")
            if waiting.get("reason"):
                reason = waiting["reason"]
            elif terminated is not None:
                signal = terminated.get("signal")
                exit_code = f"Signal:{signal}" if signal else f"ExitCode:{terminated.get('exitCode', 0)}"
                reason = terminated.get("reason") or exit_code
    if metadata.get("deletionTimestamp"):
        return "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    return str(reason)


def _init_reason(obj: Object) -> str:
    status, count = obj.get("status") or {}, len(obj["spec"].get("initContainers") or [])
    for position, item in enumerate(status.get("initContainerStatuses") or []):
        state = item.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        if terminated is not None and terminated.get("exitCode", 0) == 0:
            continue
        if terminated is not None:
            return "Init:" + (terminated.get("reason") or f"ExitCode:{terminated.get('exitCode')}")
        if waiting.get("reason") not in (None, "", "PodInitializing"):
            return f"Init:{waiting['reason']}"
        return f"Init:{position}/{count}"
    return ""


def _deployment(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    return [
        _name(obj),
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 1)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        _age(obj, now),
        *_images(spec["template"]),
        _selector(spec),
    ]


def _replica_set(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    return [
        _name(obj),
        spec.get("replicas", 1),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        _age(obj, now),
        *_images(spec["template"]),
        _selector(spec),
    ]


def _stateful_set(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 1)}"
    return [_name(obj), ready, _age(obj, now), *_images(spec["template"])]


def _daemon_set(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    names = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable")
    nodes = _labels((spec["template"].get("spec") or {}).get("nodeSelector"))
    counts = [status.get(name, 0) for name in names]
    return [_name(obj), *counts, nodes, _age(obj, now), *_images(spec["template"]), _selector(spec)]


def _job(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    conditions = {item["type"] for item in status.get("conditions") or [] if item.get("status") == "True"}
    state = next((name for name in ("Complete", "Failed", "Suspended") if name in conditions), "Running")
    state = "Terminating" if obj["metadata"].get("deletionTimestamp") else state
    start, end = status.get("startTime"), status.get("completionTime")
    until = datetime.fromisoformat(end.replace("Z", "+00:00")) if end else now
    done = f"{status.get('succeeded', 0)}/{spec.get('completions') or 1}"
    return [
        _name(obj),
        state,
        done,
        age(start, until) if start else "",
        _age(obj, now),
        *_images(spec["template"]),
        _selector(spec),
    ]


def _cron_job(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    last = status.get("lastScheduleTime")
    return [
        _name(obj),
        spec["schedule"],
        spec.get("timeZone") or "<none>",
        str(bool(spec.get("suspend"))),
        len(status.get("active") or []),
        age(last, now) if last else "<none>",
        _age(obj, now),
        *_images(spec["jobTemplate"]["spec"]["template"]),
        _selector(spec["jobTemplate"]["spec"]),
    ]


def _node(obj: Object, now: datetime) -> list[Any]:
    status, labels = obj.get("status") or {}, obj["metadata"].get("labels") or {}
    conditions = {item["type"]: item["status"] for item in status.get("conditions") or []}
    state = {"True": "Ready", "False": "NotReady"}.get(
        conditions.get("Ready", ""), "Unknown" if "Ready" not in conditions else "NotReady"
    )
    if (obj.get("spec") or {}).get("unschedulable"):
        state += ",SchedulingDisabled"
    prefix = "node-role.kubernetes.io/"
    roles = sorted(key[len(prefix) :] for key in labels if key.startswith(prefix) and len(key) > len(prefix))
    info, addresses = status.get("nodeInfo") or {}, {item["type"]: item["address"] for item in status.get("addresses") or []}
    return [
        _name(obj),
        state,
        ",".join(roles) or "<none>",
        _age(obj, now),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", "<none>"),
        addresses.get("ExternalIP", "<none>"),
        info.get("osImage") or "<unknown>",
        info.get("kernelVersion") or "<unknown>",
        info.get("containerRuntimeVersion") or "<unknown>",
    ]


def _service(obj: Object, now: datetime) -> list[Any]:
    spec = obj["spec"]
    ports = ",".join(
        f"{item['port']}" + (f":{item['nodePort']}" if item.get("nodePort") else "") + f"/{item.get('protocol', 'TCP')}"
        for item in spec.get("ports") or []
    )
    return [
        _name(obj),
        spec.get("type"),
        spec.get("clusterIP") or "<none>",
        _external(obj),
        ports or "<none>",
        _age(obj, now),
        _labels(spec.get("selector")),
    ]


def _external(obj: Object) -> str:
    spec, kind = obj["spec"], obj["spec"].get("type")
    if kind == "ExternalName":
        return str(spec.get("externalName", ""))
    fixed = ",".join(spec.get("externalIPs") or [])
    if kind != "LoadBalancer":
        return fixed or "<none>"
    ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    found = ",".join(item.get("ip") or item.get("hostname") or "" for item in ingress)
    return ",".join(part for part in (found, fixed) if part) or "<pending>"


def _event(obj: Object, now: datetime) -> list[Any]:
    involved, source = obj.get("involvedObject") or {}, obj.get("source") or {}
    series = obj.get("series") or {}
    first = obj.get("firstTimestamp") or obj.get("eventTime")
    last = series.get("lastObservedTime") or obj.get("lastTimestamp") or first
    count = series.get("count") or obj.get("count") or 1
    about = (
        f"{involved.get('kind', '').lower()}/{involved.get('name', '')}"
        if involved.get("name")
        else involved.get("kind", "").lower()
    )
    where = source.get("component") or obj.get("reportingComponent") or ""
    where += f", {source['host']}" if source.get("host") else ""
    return [
        age(last, now),
        obj.get("type", ""),
        obj.get("reason", ""),
        about,
        involved.get("fieldPath", ""),
        where,
        (obj.get("message") or "").strip(),
        age(first, now),
        count,
        _name(obj),
    ]


def _ingress(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    hosts = [rule["host"] for rule in spec.get("rules") or [] if rule.get("host")]
    balancer = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    address = ",".join(item.get("ip") or item.get("hostname") or "" for item in balancer)
    ports = "80, 443" if spec.get("tls") else "80"
    return [_name(obj), spec.get("ingressClassName") or "<none>", ",".join(hosts) or "*", address, ports, _age(obj, now)]


def _endpoints(obj: Object, now: datetime) -> list[Any]:
    found = [
        f"{address['ip']}:{port['port']}"
        for subset in obj.get("subsets") or []
        for port in subset.get("ports") or []
        for address in subset.get("addresses") or []
    ]
    text = ",".join(found[:3]) + (f" + {len(found) - 3} more..." if len(found) > 3 else "")
    return [_name(obj), text or "<none>", _age(obj, now)]


def _claim(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    short = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
    modes = ",".join(short.get(mode, mode) for mode in status.get("accessModes") or [])
    size = (status.get("capacity") or {}).get("storage", "")
    return [
        _name(obj),
        status.get("phase", ""),
        spec.get("volumeName", ""),
        size,
        modes,
        spec.get("storageClassName", ""),
        "<unset>",
        _age(obj, now),
        spec.get("volumeMode", "<unset>"),
    ]


def _hpa(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    target = spec["scaleTargetRef"]
    return [
        _name(obj),
        f"{target['kind']}/{target['name']}",
        "<unknown>",
        spec.get("minReplicas", "<unset>"),
        spec["maxReplicas"],
        status.get("currentReplicas", 0),
        _age(obj, now),
    ]


def _binding(obj: Object, now: datetime) -> list[Any]:
    reference, subjects = obj["roleRef"], obj.get("subjects") or []
    kinds = {
        kind: ", ".join(_subject(item) for item in subjects if item["kind"] == kind)
        for kind in ("User", "Group", "ServiceAccount")
    }
    return [_name(obj), f"{reference['kind']}/{reference['name']}", _age(obj, now), *kinds.values()]


def _subject(item: Object) -> str:
    return f"{item.get('namespace', '')}/{item['name']}" if item["kind"] == "ServiceAccount" else str(item["name"])


def _pdb(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    low, high = spec.get("minAvailable", "N/A"), spec.get("maxUnavailable", "N/A")
    return [_name(obj), str(low), str(high), status.get("disruptionsAllowed", 0), _age(obj, now)]


def _created(obj: Object, now: datetime) -> list[Any]:
    return [_name(obj), obj["metadata"].get("creationTimestamp")]


def _storage_class(obj: Object, now: datetime) -> list[Any]:
    default = (obj["metadata"].get("annotations") or {}).get("storageclass.kubernetes.io/is-default-class") == "true"
    grows = str(bool(obj.get("allowVolumeExpansion"))).lower()
    return [
        _name(obj) + (" (default)" if default else ""),
        obj.get("provisioner"),
        obj.get("reclaimPolicy"),
        obj.get("volumeBindingMode"),
        grows == "true",
        _age(obj, now),
    ]


_WORKLOAD = "Containers:wide|Images:wide|Selector:wide"

_BUILTIN: dict[tuple[str, str], tuple[str, Cells]] = {
    ("", "pods"): ("Name|Ready|Status|Restarts|Age|IP:wide|Node:wide|Nominated Node:wide|Readiness Gates:wide", _pod),
    ("", "nodes"): (
        "Name|Status|Roles|Age|Version|Internal-IP:wide|External-IP:wide|OS-Image:wide|Kernel-Version:wide|Container-Runtime:wide",
        _node,
    ),
    ("", "services"): ("Name|Type|Cluster-IP|External-IP|Port(s)|Age|Selector:wide", _service),
    ("", "namespaces"): (
        "Name|Status|Age",
        lambda obj, now: [_name(obj), (obj.get("status") or {}).get("phase", ""), _age(obj, now)],
    ),
    ("", "secrets"): (
        "Name|Type|Data|Age",
        lambda obj, now: [_name(obj), obj.get("type", ""), len(obj.get("data") or {}), _age(obj, now)],
    ),
    ("", "configmaps"): (
        "Name|Data|Age",
        lambda obj, now: [_name(obj), len(obj.get("data") or {}) + len(obj.get("binaryData") or {}), _age(obj, now)],
    ),
    ("", "serviceaccounts"): ("Name|Age", lambda obj, now: [_name(obj), _age(obj, now)]),
    ("", "events"): (
        "Last Seen|Type|Reason|Object|Subobject:wide|Source:wide|Message|First Seen:wide|Count:wide|Name:wide",
        _event,
    ),
    ("", "endpoints"): ("Name|Endpoints|Age", _endpoints),
    ("", "persistentvolumeclaims"): (
        "Name|Status|Volume|Capacity|Access Modes|StorageClass|VolumeAttributesClass|Age|VolumeMode:wide",
        _claim,
    ),
    ("apps", "deployments"): (f"Name|Ready|Up-to-date|Available|Age|{_WORKLOAD}", _deployment),
    ("apps", "replicasets"): (f"Name|Desired:integer|Current:integer|Ready:integer|Age|{_WORKLOAD}", _replica_set),
    ("apps", "statefulsets"): ("Name|Ready|Age|Containers:wide|Images:wide", _stateful_set),
    ("apps", "daemonsets"): (
        f"Name|Desired:integer|Current:integer|Ready:integer|Up-to-date:integer|Available:integer|Node Selector|Age|{_WORKLOAD}",
        _daemon_set,
    ),
    ("batch", "jobs"): (f"Name|Status|Completions|Duration|Age|{_WORKLOAD}", _job),
    ("batch", "cronjobs"): (f"Name|Schedule|Timezone|Suspend:boolean|Active:integer|Last Schedule|Age|{_WORKLOAD}", _cron_job),
    ("networking.k8s.io", "ingresses"): ("Name|Class|Hosts|Address|Ports|Age", _ingress),
    ("networking.k8s.io", "ingressclasses"): (
        "Name|Controller|Parameters|Age",
        lambda obj, now: [_name(obj), (obj.get("spec") or {}).get("controller", ""), "<none>", _age(obj, now)],
    ),
    ("networking.k8s.io", "networkpolicies"): (
        "Name|Pod-Selector|Age",
        lambda obj, now: [_name(obj), _selector({"selector": obj["spec"].get("podSelector")}), _age(obj, now)],
    ),
    ("policy", "poddisruptionbudgets"): ("Name|Min Available|Max Unavailable|Allowed Disruptions:integer|Age", _pdb),
    ("autoscaling", "horizontalpodautoscalers"): ("Name|Reference|Targets|MinPods|MaxPods|Replicas|Age", _hpa),
    ("rbac.authorization.k8s.io", "roles"): ("Name|Created At:date", _created),
    ("rbac.authorization.k8s.io", "clusterroles"): ("Name|Created At:date", _created),
    ("rbac.authorization.k8s.io", "rolebindings"): ("Name|Role|Age|Users:wide|Groups:wide|ServiceAccounts:wide", _binding),
    ("rbac.authorization.k8s.io", "clusterrolebindings"): (
        "Name|Role|Age|Users:wide|Groups:wide|ServiceAccounts:wide",
        _binding,
    ),
    ("apiextensions.k8s.io", "customresourcedefinitions"): ("Name|Created At", _created),
    ("storage.k8s.io", "storageclasses"): (
        "Name|Provisioner|ReclaimPolicy|VolumeBindingMode|AllowVolumeExpansion|Age",
        _storage_class,
    ),
    ("scheduling.k8s.io", "priorityclasses"): (
        "Name|Value:integer|Global-Default:boolean|Age|PreemptionPolicy",
        lambda obj, now: [
            _name(obj),
            obj.get("value", 0),
            bool(obj.get("globalDefault")),
            _age(obj, now),
            obj.get("preemptionPolicy", ""),
        ],
    ),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"): (
        "Name|Webhooks:integer|Age",
        lambda obj, now: [_name(obj), len(obj.get("webhooks") or []), _age(obj, now)],
    ),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"): (
        "Name|Webhooks:integer|Age",
        lambda obj, now: [_name(obj), len(obj.get("webhooks") or []), _age(obj, now)],
    ),
    ("node.k8s.io", "runtimeclasses"): (
        "Name|Handler|Age",
        lambda obj, now: [_name(obj), obj.get("handler", ""), _age(obj, now)],
    ),
    ("coordination.k8s.io", "leases"): (
        "Name|Holder|Age",
        lambda obj, now: [_name(obj), (obj.get("spec") or {}).get("holderIdentity") or "", _age(obj, now)],
    ),
}
