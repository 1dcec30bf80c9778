"""Admission: plugins that change or refuse an object between authorization and storage.

Emulates NamespaceLifecycle, ServiceAccount, DefaultTolerationSeconds, Priority and AKS' Azure Workload Identity webhook
(azure-wi-webhook, after Azure/azure-workload-identity `pkg/webhook`). Webhook configurations that clients create are
stored but never called; a warning on their creation says so.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from azuresandbox.kubernetes.model import defaults, errors
from azuresandbox.kubernetes.model.resources import Resource
from azuresandbox.kubernetes.model.types import Object
from azuresandbox.kubernetes.state.cluster import Cluster

IMMORTAL = ("default", "kube-system", "kube-public")
TOKEN_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""The letters of random names: without vowels and look-alikes. Source: apimachinery, `util/rand`."""

WI_LABEL = "azure.workload.identity/use"
WI_AUDIENCE = "api://AzureADTokenExchange"
WI_MOUNT = "/var/run/secrets/azure/tokens"
WI_VOLUME = "azure-identity-token"

Plugin = Callable[[Cluster, Object], None]

REFUSED = {
    ("", "resourcequotas"): (
        "ResourceQuota",
        "quotas are not enforced here; leave the object out, or test it on a real cluster",
    ),
    ("", "limitranges"): ("LimitRange", "defaults and limits are not enforced here; set requests and limits on the containers"),
    ("apiregistration.k8s.io", "apiservices"): ("API aggregation", "serve the resources by a CustomResourceDefinition"),
}
"""(group, plural) of built-in resources that cannot be created -> their name in the refusal, and the alternative."""

NOT_CALLED = "the sandbox stores webhook configurations but does not call the webhooks"


def suffix() -> str:
    """Return the random part of a generated name."""
    return "".join(secrets.choice(ALPHABET) for _ in range(5))


def check_refused(resource: Resource) -> None:
    """Raise 501 for a resource that the sandbox does not emulate."""
    found = REFUSED.get((resource.group, resource.plural))
    if found:
        raise errors.not_emulated(*found)


def warnings(resource: Resource) -> list[str]:
    """Return the warnings for a client that creates an object of the resource."""
    return [NOT_CALLED] if resource.plural.endswith("webhookconfigurations") else []


DEPRECATED = {("", "endpoints"): "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"}
"""(group, plural) -> the warning on every request for the resource."""


def namespace_lifecycle(cluster: Cluster, resource: Resource, name: str, namespace: str) -> None:
    """Refuse to create an object in a namespace that does not exist (404) or is being deleted (403)."""
    if not resource.namespaced:
        return
    found = cluster.objects.read(f"//namespaces//{namespace}")
    if found is None:
        raise errors.not_found("", "namespaces", namespace)
    if found["metadata"].get("deletionTimestamp"):
        text = f"unable to create new content in namespace {namespace} because it is being terminated"
        causes: errors.Causes = [
            {
                "reason": "NamespaceTerminating",
                "message": f"namespace {namespace} is being terminated",
                "field": "metadata.namespace",
            }
        ]
        raise errors.forbidden(resource.group, resource.plural, name, text, causes)


def on_create(cluster: Cluster, resource: Resource, obj: Object) -> None:
    """Run the mutating plugins for a new object, in place."""
    for plugin in PLUGINS.get((resource.group, resource.kind), ()):
        plugin(cluster, obj)


_TOLERATED = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def _default_tolerations(cluster: Cluster, pod: Object) -> None:
    """Let a Pod stay five minutes on a node that is not ready or unreachable (DefaultTolerationSeconds)."""
    tolerations = pod["spec"].get("tolerations") or []
    for taint in _TOLERATED:
        if not any(
            item.get("key") in (None, "", taint) and item.get("effect") in (None, "", "NoExecute") for item in tolerations
        ):
            added = {"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
            tolerations = [*tolerations, added]
    pod["spec"]["tolerations"] = tolerations


_SYSTEM_CLASSES = {"system-cluster-critical": 2000000000, "system-node-critical": 2000001000}


def _priority(cluster: Cluster, pod: Object) -> None:
    """Set the priority and the preemption policy of the Pod's PriorityClass (Priority)."""
    spec = pod["spec"]
    name = spec.get("priorityClassName") or ""
    classes = cluster.objects.all("/scheduling.k8s.io/priorityclasses/")
    if name:
        found = next((item for item in classes if item["metadata"]["name"] == name), None)
        if found is None and name not in _SYSTEM_CLASSES:
            text = f"no PriorityClass with name {name} was found"
            raise errors.forbidden("", "pods", pod["metadata"].get("name") or "", text)
    else:
        chosen = [item for item in classes if item.get("globalDefault")]
        found = min(chosen, key=lambda item: int(item["value"]), default=None)
    if found is not None:
        spec["priorityClassName"] = found["metadata"]["name"]
    spec["priority"] = found["value"] if found is not None else _SYSTEM_CLASSES.get(name, 0)
    spec["preemptionPolicy"] = (found or {}).get("preemptionPolicy") or "PreemptLowerPriority"


def _service_account(cluster: Cluster, pod: Object) -> None:
    """Set the ServiceAccount, its pull secrets and the volume with its token (ServiceAccount)."""
    spec, metadata = pod["spec"], pod["metadata"]
    name = spec.get("serviceAccountName") or "default"
    spec["serviceAccountName"] = spec["serviceAccount"] = name
    account = cluster.objects.read(f"//serviceaccounts/{metadata['namespace']}/{name}")
    if account is None:
        text = f'error looking up service account {metadata["namespace"]}/{name}: serviceaccount "{name}" not found'
        raise errors.forbidden("", "pods", metadata["name"], text)
    if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
        spec["imagePullSecrets"] = account["imagePullSecrets"]
    automount = spec.get("automountServiceAccountToken")
    if automount is None:
        automount = account.get("automountServiceAccountToken")
    if automount is not False:
        _mount_token(spec)


def _mount_token(spec: Object) -> None:
    volumes = spec.setdefault("volumes", [])
    mounted = next((item["name"] for item in volumes if item["name"].startswith("kube-api-access-")), "")
    name = mounted or f"kube-api-access-{suffix()}"
    used = bool(mounted)
    for container in defaults.containers(spec):
        mounts = container.setdefault("volumeMounts", [])
        if all(mount["mountPath"] != TOKEN_MOUNT for mount in mounts):
            mounts.append({"name": name, "readOnly": True, "mountPath": TOKEN_MOUNT})
            used = True
    if used and not mounted:
        volumes.append({"name": name, "projected": {"defaultMode": 420, "sources": _token_sources()}})


def _token_sources() -> list[dict[str, Any]]:
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    return [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [namespace]}},
    ]


def _workload_identity(cluster: Cluster, pod: Object) -> None:
    """Inject the federated token and its environment, if the managed cluster has workload identity (azure-wi-webhook)."""
    metadata = pod["metadata"]
    if not cluster.goal.workload_identity or (metadata.get("labels") or {}).get(WI_LABEL) != "true":
        return
    annotations = metadata.get("annotations") or {}
    if "azure.workload.identity/inject-proxy-sidecar" in annotations:
        raise errors.not_emulated("the workload identity proxy sidecar", "use azure-identity's WorkloadIdentityCredential")
    account = cluster.objects.read(f"//serviceaccounts/{metadata['namespace']}/{pod['spec']['serviceAccountName']}") or {}
    on_account = (account.get("metadata") or {}).get("annotations") or {}
    environment = {
        "AZURE_CLIENT_ID": on_account.get("azure.workload.identity/client-id", ""),
        "AZURE_TENANT_ID": on_account.get("azure.workload.identity/tenant-id") or cluster.sandbox.tenant_id,
        "AZURE_FEDERATED_TOKEN_FILE": f"{WI_MOUNT}/{WI_VOLUME}",
        "AZURE_AUTHORITY_HOST": f"{cluster.sandbox.base}/",
    }
    skipped = {name.strip() for name in annotations.get("azure.workload.identity/skip-containers", "").split(";")}
    for container in defaults.containers(pod["spec"]):
        if container["name"] not in skipped:
            _add_identity(container, environment)
    expiry = "azure.workload.identity/service-account-token-expiration"
    _add_identity_volume(pod["spec"], _expiration(annotations.get(expiry) or on_account.get(expiry) or "3600"))


def _add_identity(container: Object, environment: dict[str, str]) -> None:
    env = container.setdefault("env", [])
    known = {item["name"] for item in env}
    env += [{"name": name, "value": value} for name, value in environment.items() if name not in known]
    mounts = container.setdefault("volumeMounts", [])
    if all(mount["name"] != WI_VOLUME for mount in mounts):
        mounts.append({"name": WI_VOLUME, "readOnly": True, "mountPath": WI_MOUNT})


def _add_identity_volume(spec: Object, seconds: int) -> None:
    volumes = spec.setdefault("volumes", [])
    if all(volume["name"] != WI_VOLUME for volume in volumes):
        token = {"path": WI_VOLUME, "expirationSeconds": seconds, "audience": WI_AUDIENCE}
        volumes.append({"name": WI_VOLUME, "projected": {"defaultMode": 420, "sources": [{"serviceAccountToken": token}]}})


def _expiration(text: str) -> int:
    """Return the seconds of a token expiration; refuse one outside an hour to a day."""
    seconds = int(text) if text.isdigit() else -1
    if not 3600 <= seconds <= 86400:
        message = f"token expiration {text} not valid. Expected value to be between 3600 and 86400"
        raise errors.StatusError(
            400, "BadRequest", f'admission webhook "mutation.azure-workload-identity.io" denied the request: {message}'
        )
    return seconds


PLUGINS: dict[tuple[str, str], tuple[Plugin, ...]] = {
    ("", "Pod"): (_service_account, _default_tolerations, _priority, _workload_identity)
}
"""(group, kind) -> its plugins, in kube-apiserver's order."""
