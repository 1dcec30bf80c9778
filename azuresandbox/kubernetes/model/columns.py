"""The columns of the built-in kinds in the tables that kubectl prints, with the function that fills each row.

Source: kubernetes, `pkg/printers/internalversion/printers.go`.
"""

from __future__ import annotations

from azuresandbox.kubernetes.model import printers
from azuresandbox.kubernetes.model.printers import Cells, age_of, name_of

_WORKLOAD = "Containers:wide|Images:wide|Selector:wide"


BUILTIN: dict[tuple[str, str], tuple[str, Cells]] = {
    ("", "pods"): ("Name|Ready|Status|Restarts|Age|IP:wide|Node:wide|Nominated Node:wide|Readiness Gates:wide", printers.pod),
    ("", "nodes"): (
        "Name|Status|Roles|Age|Version|Internal-IP:wide|External-IP:wide|OS-Image:wide|Kernel-Version:wide|"
        "Container-Runtime:wide",
        printers.node,
    ),
    ("", "services"): ("Name|Type|Cluster-IP|External-IP|Port(s)|Age|Selector:wide", printers.service),
    ("", "namespaces"): (
        "Name|Status|Age",
        lambda obj, now: [name_of(obj), (obj.get("status") or {}).get("phase", ""), age_of(obj, now)],
    ),
    ("", "secrets"): (
        "Name|Type|Data|Age",
        lambda obj, now: [name_of(obj), obj.get("type", ""), len(obj.get("data") or {}), age_of(obj, now)],
    ),
    ("", "configmaps"): (
        "Name|Data|Age",
        lambda obj, now: [name_of(obj), len(obj.get("data") or {}) + len(obj.get("binaryData") or {}), age_of(obj, now)],
    ),
    ("", "serviceaccounts"): ("Name|Age", lambda obj, now: [name_of(obj), age_of(obj, now)]),
    ("", "events"): (
        "Last Seen|Type|Reason|Object|Subobject:wide|Source:wide|Message|First Seen:wide|Count:wide|Name:wide",
        printers.event,
    ),
    ("", "endpoints"): ("Name|Endpoints|Age", printers.endpoints),
    ("", "persistentvolumeclaims"): (
        "Name|Status|Volume|Capacity|Access Modes|StorageClass|VolumeAttributesClass|Age|VolumeMode:wide",
        printers.claim,
    ),
    ("apps", "deployments"): (f"Name|Ready|Up-to-date|Available|Age|{_WORKLOAD}", printers.deployment),
    ("apps", "replicasets"): (f"Name|Desired:integer|Current:integer|Ready:integer|Age|{_WORKLOAD}", printers.replica_set),
    ("apps", "statefulsets"): ("Name|Ready|Age|Containers:wide|Images:wide", printers.stateful_set),
    ("apps", "daemonsets"): (
        "Name|Desired:integer|Current:integer|Ready:integer|Up-to-date:integer|Available:integer|"
        f"Node Selector|Age|{_WORKLOAD}",
        printers.daemon_set,
    ),
    ("batch", "jobs"): (f"Name|Status|Completions|Duration|Age|{_WORKLOAD}", printers.job),
    ("batch", "cronjobs"): (
        f"Name|Schedule|Timezone|Suspend:boolean|Active:integer|Last Schedule|Age|{_WORKLOAD}",
        printers.cron_job,
    ),
    ("networking.k8s.io", "ingresses"): ("Name|Class|Hosts|Address|Ports|Age", printers.ingress),
    ("networking.k8s.io", "ingressclasses"): (
        "Name|Controller|Parameters|Age",
        lambda obj, now: [name_of(obj), (obj.get("spec") or {}).get("controller", ""), "<none>", age_of(obj, now)],
    ),
    ("networking.k8s.io", "networkpolicies"): (
        "Name|Pod-Selector|Age",
        lambda obj, now: [name_of(obj), printers.selector_text({"selector": obj["spec"].get("podSelector")}), age_of(obj, now)],
    ),
    ("policy", "poddisruptionbudgets"): ("Name|Min Available|Max Unavailable|Allowed Disruptions:integer|Age", printers.pdb),
    ("autoscaling", "horizontalpodautoscalers"): ("Name|Reference|Targets|MinPods|MaxPods|Replicas|Age", printers.hpa),
    ("rbac.authorization.k8s.io", "roles"): ("Name|Created At:date", printers.created),
    ("rbac.authorization.k8s.io", "clusterroles"): ("Name|Created At:date", printers.created),
    ("rbac.authorization.k8s.io", "rolebindings"): (
        "Name|Role|Age|Users:wide|Groups:wide|ServiceAccounts:wide",
        printers.binding,
    ),
    ("rbac.authorization.k8s.io", "clusterrolebindings"): (
        "Name|Role|Age|Users:wide|Groups:wide|ServiceAccounts:wide",
        printers.binding,
    ),
    ("apiextensions.k8s.io", "customresourcedefinitions"): ("Name|Created At", printers.created),
    ("storage.k8s.io", "storageclasses"): (
        "Name|Provisioner|ReclaimPolicy|VolumeBindingMode|AllowVolumeExpansion|Age",
        printers.storage_class,
    ),
    ("scheduling.k8s.io", "priorityclasses"): (
        "Name|Value:integer|Global-Default:boolean|Age|PreemptionPolicy",
        lambda obj, now: [
            name_of(obj),
            obj.get("value", 0),
            bool(obj.get("globalDefault")),
            age_of(obj, now),
            obj.get("preemptionPolicy", ""),
        ],
    ),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"): (
        "Name|Webhooks:integer|Age",
        lambda obj, now: [name_of(obj), len(obj.get("webhooks") or []), age_of(obj, now)],
    ),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"): (
        "Name|Webhooks:integer|Age",
        lambda obj, now: [name_of(obj), len(obj.get("webhooks") or []), age_of(obj, now)],
    ),
    ("node.k8s.io", "runtimeclasses"): (
        "Name|Handler|Age",
        lambda obj, now: [name_of(obj), obj.get("handler", ""), age_of(obj, now)],
    ),
    ("coordination.k8s.io", "leases"): (
        "Name|Holder|Age",
        lambda obj, now: [name_of(obj), (obj.get("spec") or {}).get("holderIdentity") or "", age_of(obj, now)],
    ),
}
"""(group, plural) -> the columns, in the notation of `tables`, and the function that returns the cells of an object."""
