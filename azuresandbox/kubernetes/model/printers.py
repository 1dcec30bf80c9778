"""The cells of the built-in kinds in the tables that kubectl prints: a function for each kind.

Source: kubernetes, `pkg/printers/internalversion/printers.go`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from azuresandbox.kubernetes.model.types import Object

Cells = Callable[[Object, datetime], list[Any]]


def age(timestamp: str | None, now: datetime) -> str:
    """Return the time since a timestamp: `42s`, `3m`, `2d4h`; `<unknown>` if there is no timestamp."""
    if not timestamp:
        return "<unknown>"
    then = datetime.fromisoformat(timestamp.replace("Z", "+00:00")).astimezone(UTC)
    return human(int((now - then).total_seconds()))


def human(seconds: int) -> str:
    """Return a duration as apimachinery's `duration.HumanDuration` prints it."""
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


def name_of(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def age_of(obj: Object, now: datetime) -> str:
    return age(obj["metadata"].get("creationTimestamp"), now)


def _labels(found: Object | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((found or {}).items())) or "<none>"


def selector_text(spec: Object) -> str:
    selector = spec.get("selector") or {}
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for item in selector.get("matchExpressions") or []:
        parts.append(f"{item['key']} {item['operator'].lower()} ({','.join(item.get('values') or [])})")
    return ",".join(parts) or "<none>"


def _images(template: Object) -> list[str]:
    containers = ((template.get("spec") or {}).get("containers")) or []
    return [",".join(item["name"] for item in containers), ",".join(item.get("image", "") for item in containers)]


def pod(obj: Object, now: datetime) -> list[Any]:
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
        name_of(obj),
        f"{ready}/{len(spec.get('containers') or [])}",
        pod_status(obj),
        restarted,
        age_of(obj, now),
        status.get("podIP") or "<none>",
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        f"0/{gates}" if gates else "<none>",
    ]


def pod_status(obj: Object) -> str:
    """Return the STATUS column: the phase, or a more precise reason."""
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


def deployment(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    return [
        name_of(obj),
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 1)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        age_of(obj, now),
        *_images(spec["template"]),
        selector_text(spec),
    ]


def replica_set(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    return [
        name_of(obj),
        spec.get("replicas", 1),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        age_of(obj, now),
        *_images(spec["template"]),
        selector_text(spec),
    ]


def stateful_set(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 1)}"
    return [name_of(obj), ready, age_of(obj, now), *_images(spec["template"])]


def daemon_set(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    names = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable")
    nodes = _labels((spec["template"].get("spec") or {}).get("nodeSelector"))
    counts = [status.get(name, 0) for name in names]
    return [name_of(obj), *counts, nodes, age_of(obj, now), *_images(spec["template"]), selector_text(spec)]


def job(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    conditions = {item["type"] for item in status.get("conditions") or [] if item.get("status") == "True"}
    state = next((name for name in ("Complete", "Failed", "Suspended") if name in conditions), "Running")
    state = "Terminating" if obj["metadata"].get("deletionTimestamp") else state
    start, end = status.get("startTime"), status.get("completionTime")
    until = datetime.fromisoformat(end.replace("Z", "+00:00")) if end else now
    done = f"{status.get('succeeded', 0)}/{spec.get('completions') or 1}"
    return [
        name_of(obj),
        state,
        done,
        age(start, until) if start else "",
        age_of(obj, now),
        *_images(spec["template"]),
        selector_text(spec),
    ]


def cron_job(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    last = status.get("lastScheduleTime")
    return [
        name_of(obj),
        spec["schedule"],
        spec.get("timeZone") or "<none>",
        str(bool(spec.get("suspend"))),
        len(status.get("active") or []),
        age(last, now) if last else "<none>",
        age_of(obj, now),
        *_images(spec["jobTemplate"]["spec"]["template"]),
        selector_text(spec["jobTemplate"]["spec"]),
    ]


def node(obj: Object, now: datetime) -> list[Any]:
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
        name_of(obj),
        state,
        ",".join(roles) or "<none>",
        age_of(obj, now),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", "<none>"),
        addresses.get("ExternalIP", "<none>"),
        info.get("osImage") or "<unknown>",
        info.get("kernelVersion") or "<unknown>",
        info.get("containerRuntimeVersion") or "<unknown>",
    ]


def service(obj: Object, now: datetime) -> list[Any]:
    spec = obj["spec"]
    ports = ",".join(
        f"{item['port']}" + (f":{item['nodePort']}" if item.get("nodePort") else "") + f"/{item.get('protocol', 'TCP')}"
        for item in spec.get("ports") or []
    )
    return [
        name_of(obj),
        spec.get("type"),
        spec.get("clusterIP") or "<none>",
        _external(obj),
        ports or "<none>",
        age_of(obj, now),
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


def event(obj: Object, now: datetime) -> list[Any]:
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
        name_of(obj),
    ]


def ingress(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    hosts = [rule["host"] for rule in spec.get("rules") or [] if rule.get("host")]
    balancer = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    address = ",".join(item.get("ip") or item.get("hostname") or "" for item in balancer)
    ports = "80, 443" if spec.get("tls") else "80"
    return [name_of(obj), spec.get("ingressClassName") or "<none>", ",".join(hosts) or "*", address, ports, age_of(obj, now)]


def endpoints(obj: Object, now: datetime) -> list[Any]:
    found = [
        f"{address['ip']}:{port['port']}"
        for subset in obj.get("subsets") or []
        for port in subset.get("ports") or []
        for address in subset.get("addresses") or []
    ]
    text = ",".join(found[:3]) + (f" + {len(found) - 3} more..." if len(found) > 3 else "")
    return [name_of(obj), text or "<none>", age_of(obj, now)]


def claim(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    short = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
    modes = ",".join(short.get(mode, mode) for mode in status.get("accessModes") or [])
    size = (status.get("capacity") or {}).get("storage", "")
    return [
        name_of(obj),
        status.get("phase", ""),
        spec.get("volumeName", ""),
        size,
        modes,
        spec.get("storageClassName", ""),
        "<unset>",
        age_of(obj, now),
        spec.get("volumeMode", "<unset>"),
    ]


def hpa(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    target = spec["scaleTargetRef"]
    return [
        name_of(obj),
        f"{target['kind']}/{target['name']}",
        "<unknown>",
        spec.get("minReplicas", "<unset>"),
        spec["maxReplicas"],
        status.get("currentReplicas", 0),
        age_of(obj, now),
    ]


def binding(obj: Object, now: datetime) -> list[Any]:
    reference, subjects = obj["roleRef"], obj.get("subjects") or []
    kinds = {
        kind: ", ".join(_subject(item) for item in subjects if item["kind"] == kind)
        for kind in ("User", "Group", "ServiceAccount")
    }
    return [name_of(obj), f"{reference['kind']}/{reference['name']}", age_of(obj, now), *kinds.values()]


def _subject(item: Object) -> str:
    return f"{item.get('namespace', '')}/{item['name']}" if item["kind"] == "ServiceAccount" else str(item["name"])


def pdb(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    low, high = spec.get("minAvailable", "N/A"), spec.get("maxUnavailable", "N/A")
    return [name_of(obj), str(low), str(high), status.get("disruptionsAllowed", 0), age_of(obj, now)]


def storage_class(obj: Object, now: datetime) -> list[Any]:
    default = (obj["metadata"].get("annotations") or {}).get("storageclass.kubernetes.io/is-default-class") == "true"
    grows = str(bool(obj.get("allowVolumeExpansion"))).lower()
    return [
        name_of(obj) + (" (default)" if default else ""),
        obj.get("provisioner"),
        obj.get("reclaimPolicy"),
        obj.get("volumeBindingMode"),
        grows == "true",
        age_of(obj, now),
    ]


def created(obj: Object, now: datetime) -> list[Any]:
    return [name_of(obj), obj["metadata"].get("creationTimestamp")]
