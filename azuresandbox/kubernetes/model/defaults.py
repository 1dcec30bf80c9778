"""The defaults of objects of built-in kinds.

A table for each kind, path -> value, where `[]` in a path means each item. Defaults that depend on another field are
functions. Source: `pkg/apis/*/v1/defaults.go` of Kubernetes.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable, Iterator
from typing import Any

from azuresandbox.kubernetes.model.types import Object

_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_VOLUME_MODES = ("secret", "configMap", "projected", "downwardAPI")

POD_SPEC: dict[str, Any] = {
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "dnsPolicy": "ClusterFirst",
    "securityContext": {},
    "schedulerName": "default-scheduler",
}
CONTAINER: dict[str, Any] = {
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "resources": {},
}

_WEBHOOK = {
    "webhooks[].failurePolicy": "Fail",
    "webhooks[].matchPolicy": "Equivalent",
    "webhooks[].timeoutSeconds": 10,
    "webhooks[].namespaceSelector": {},
    "webhooks[].objectSelector": {},
    "webhooks[].rules[].scope": "*",
}

TABLE: dict[tuple[str, str], dict[str, Any]] = {
    ("apps", "Deployment"): {
        "spec.replicas": 1,
        "spec.revisionHistoryLimit": 10,
        "spec.progressDeadlineSeconds": 600,
        "spec.strategy.type": "RollingUpdate",
    },
    ("apps", "ReplicaSet"): {"spec.replicas": 1},
    ("", "ReplicationController"): {"spec.replicas": 1},
    ("apps", "StatefulSet"): {
        "spec.replicas": 1,
        "spec.revisionHistoryLimit": 10,
        "spec.podManagementPolicy": "OrderedReady",
        "spec.updateStrategy.type": "RollingUpdate",
        "spec.persistentVolumeClaimRetentionPolicy.whenDeleted": "Retain",
        "spec.persistentVolumeClaimRetentionPolicy.whenScaled": "Retain",
    },
    ("apps", "DaemonSet"): {"spec.revisionHistoryLimit": 10, "spec.updateStrategy.type": "RollingUpdate"},
    ("batch", "Job"): {
        "spec.backoffLimit": 6,
        "spec.completionMode": "NonIndexed",
        "spec.suspend": False,
        "spec.manualSelector": False,
        "spec.podReplacementPolicy": "TerminatingOrFailed",
    },
    ("batch", "CronJob"): {
        "spec.concurrencyPolicy": "Allow",
        "spec.suspend": False,
        "spec.successfulJobsHistoryLimit": 3,
        "spec.failedJobsHistoryLimit": 1,
    },
    ("", "Service"): {
        "spec.type": "ClusterIP",
        "spec.sessionAffinity": "None",
        "spec.internalTrafficPolicy": "Cluster",
        "spec.ports[].protocol": "TCP",
    },
    ("", "Secret"): {"type": "Opaque"},
    ("", "Endpoints"): {"subsets[].ports[].protocol": "TCP"},
    ("", "PersistentVolumeClaim"): {"spec.volumeMode": "Filesystem", "status.phase": "Pending"},
    ("", "PersistentVolume"): {
        "spec.volumeMode": "Filesystem",
        "spec.persistentVolumeReclaimPolicy": "Retain",
        "status.phase": "Pending",
    },
    ("", "Namespace"): {"status.phase": "Active"},
    ("rbac.authorization.k8s.io", "RoleBinding"): {"roleRef.apiGroup": "rbac.authorization.k8s.io"},
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): {"roleRef.apiGroup": "rbac.authorization.k8s.io"},
    ("autoscaling", "HorizontalPodAutoscaler"): {
        "spec.minReplicas": 1,
        "spec.metrics": [
            {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}},
        ],
    },
    ("discovery.k8s.io", "EndpointSlice"): {"ports[].name": "", "ports[].protocol": "TCP"},
    ("storage.k8s.io", "CSIDriver"): {
        "spec.attachRequired": True,
        "spec.podInfoOnMount": False,
        "spec.storageCapacity": False,
        "spec.fsGroupPolicy": "ReadWriteOnceWithFSType",
        "spec.volumeLifecycleModes": ["Persistent"],
        "spec.requiresRepublish": False,
        "spec.seLinuxMount": False,
        "spec.preventPodSchedulingIfMissing": False,
    },
    ("storage.k8s.io", "StorageClass"): {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"},
    ("networking.k8s.io", "NetworkPolicy"): {
        "spec.ingress[].ports[].protocol": "TCP",
        "spec.egress[].ports[].protocol": "TCP",
    },
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): _WEBHOOK,
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): {
        **_WEBHOOK,
        "webhooks[].reinvocationPolicy": "Never",
    },
    ("scheduling.k8s.io", "PriorityClass"): {"preemptionPolicy": "PreemptLowerPriority"},
}

TEMPLATES = {
    ("", "Pod"): "spec",
    ("", "PodTemplate"): "template.spec",
    ("", "ReplicationController"): "spec.template.spec",
    ("apps", "Deployment"): "spec.template.spec",
    ("apps", "ReplicaSet"): "spec.template.spec",
    ("apps", "StatefulSet"): "spec.template.spec",
    ("apps", "DaemonSet"): "spec.template.spec",
    ("batch", "Job"): "spec.template.spec",
    ("batch", "CronJob"): "spec.jobTemplate.spec.template.spec",
}
"""(group, kind) -> the path of its Pod spec."""


TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
"""The annotation that counts changes of a DaemonSet's template, in place of the former `spec.templateGeneration`."""


def apply(group: str, kind: str, obj: Object) -> None:
    """Set the defaults of a built-in kind, in place."""
    for path, value in TABLE.get((group, kind), {}).items():
        *parents, last = path.split(".")
        for holder in _holders(obj, parents):
            if holder.get(last) is None:
                holder[last] = copy.deepcopy(value)
    function = _FUNCTIONS.get((group, kind))
    if function:
        function(obj)
    spec = at(obj, TEMPLATES.get((group, kind), ""))
    if spec is not None:
        pod_spec(spec)


def at(obj: Object, path: str) -> Object | None:
    """Return the object at a dotted path, or `None` if the path does not exist."""
    if not path:
        return None
    found: Any = obj
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None


def _holders(obj: Object, parents: list[str]) -> Iterator[Object]:
    """Yield the objects at a path of `TABLE` without its last part; objects that are missing are created."""
    if not parents:
        yield obj
        return
    first, *rest = parents
    if first.endswith("[]"):
        for item in obj.get(first[:-2]) or []:
            if isinstance(item, dict):
                yield from _holders(item, rest)
        return
    if obj.get(first) is None:
        obj[first] = {}
    if isinstance(obj[first], dict):
        yield from _holders(obj[first], rest)


def pod_spec(spec: Object) -> None:
    """Set the defaults of a Pod spec, in place."""
    for name, value in POD_SPEC.items():
        if spec.get(name) is None:
            spec[name] = copy.deepcopy(value)
    if spec.get("serviceAccountName"):
        spec["serviceAccount"] = spec["serviceAccountName"]
    elif spec.get("serviceAccount"):
        spec["serviceAccountName"] = spec["serviceAccount"]
    for container in containers(spec):
        _container(container)
    for volume in spec.get("volumes") or []:
        _volume(volume)


def containers(spec: Object) -> list[Object]:
    """Return the init containers and the containers of a Pod spec."""
    found = [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]
    return [item for item in found if isinstance(item, dict)]


def _container(container: Object) -> None:
    for name, value in CONTAINER.items():
        if container.get(name) is None:
            container[name] = copy.deepcopy(value)
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = _pull_policy(container.get("image") or "")
    for port in container.get("ports") or []:
        port.setdefault("protocol", "TCP")
    for item in container.get("env") or []:
        reference = (item.get("valueFrom") or {}).get("fieldRef")
        if reference is not None:
            reference.setdefault("apiVersion", "v1")
    resources = container["resources"]
    for name, limit in (resources.get("limits") or {}).items():
        resources.setdefault("requests", {}).setdefault(name, limit)
    for name in _PROBES:
        probe = container.get(name)
        if probe is not None:
            for key, default in _PROBE.items():
                if not probe.get(key):
                    probe[key] = default
            if probe.get("httpGet") is not None:
                probe["httpGet"].setdefault("scheme", "HTTP")
                probe["httpGet"].setdefault("path", "/")


def _pull_policy(image: str) -> str:
    last = image.rpartition("/")[2]
    tag = last.partition(":")[2] if "@" not in last else "digest"
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def _volume(volume: Object) -> None:
    if not set(volume) - {"name"}:
        volume["emptyDir"] = {}
    for kind in _VOLUME_MODES:
        if volume.get(kind) is not None:
            volume[kind].setdefault("defaultMode", 420)
    for source in (volume.get("projected") or {}).get("sources") or []:
        if source.get("serviceAccountToken") is not None:
            source["serviceAccountToken"].setdefault("expirationSeconds", 3600)
    if volume.get("hostPath") is not None:
        volume["hostPath"].setdefault("type", "")


def _deployment(obj: Object) -> None:
    strategy = obj["spec"]["strategy"]
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")


def _daemon_set(obj: Object) -> None:
    obj["metadata"].setdefault("annotations", {}).setdefault(TEMPLATE_GENERATION, "1")
    strategy = obj["spec"]["updateStrategy"]
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)


def _stateful_set(obj: Object) -> None:
    strategy = obj["spec"]["updateStrategy"]
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("partition", 0)
        rolling.setdefault("maxUnavailable", 1)
    for claim in obj["spec"].get("volumeClaimTemplates") or []:
        claim.setdefault("apiVersion", "v1")
        claim.setdefault("kind", "PersistentVolumeClaim")
        apply("", "PersistentVolumeClaim", claim)


def _job(obj: Object) -> None:
    spec = obj["spec"]
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    if spec.get("parallelism") is None:
        spec["parallelism"] = 1


def _service(obj: Object) -> None:
    spec = obj["spec"]
    for port in spec.get("ports") or []:
        if port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port.get("port")
    if spec["type"] in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    if spec["type"] == "ExternalName":
        spec.pop("internalTrafficPolicy", None)


def _volume_source(obj: Object) -> None:
    if obj["spec"].get("hostPath") is not None:
        obj["spec"]["hostPath"].setdefault("type", "")


def _secret(obj: Object) -> None:
    plain = obj.pop("stringData", None)
    if plain:
        encoded = {name: base64.b64encode(str(text).encode()).decode() for name, text in plain.items()}
        obj["data"] = {**(obj.get("data") or {}), **encoded}


def _namespace(obj: Object) -> None:
    obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"]["name"]


def _binding(obj: Object) -> None:
    for subject in obj.get("subjects") or []:
        if subject.get("kind") in ("User", "Group"):
            subject.setdefault("apiGroup", "rbac.authorization.k8s.io")


def _network_policy(obj: Object) -> None:
    spec = obj["spec"]
    spec.setdefault("policyTypes", ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])


def _pod(obj: Object) -> None:
    obj["spec"].setdefault("enableServiceLinks", True)


_FUNCTIONS: dict[tuple[str, str], Callable[[Object], None]] = {
    ("", "Pod"): _pod,
    ("", "Service"): _service,
    ("", "Secret"): _secret,
    ("", "Namespace"): _namespace,
    ("apps", "Deployment"): _deployment,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "StatefulSet"): _stateful_set,
    ("", "PersistentVolume"): _volume_source,
    ("batch", "Job"): _job,
    ("rbac.authorization.k8s.io", "RoleBinding"): _binding,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): _binding,
    ("networking.k8s.io", "NetworkPolicy"): _network_policy,
}
