"""Objects that the API server writes itself, and the effects of every write."""

from __future__ import annotations

from azuresandbox import trees
from azuresandbox.kubernetes.api.write.common import fill
from azuresandbox.kubernetes.api.write.initial import initialise
from azuresandbox.kubernetes.model import crds
from azuresandbox.kubernetes.model.resources import Resource
from azuresandbox.kubernetes.model.types import Object
from azuresandbox.kubernetes.state import allocation, rbac
from azuresandbox.kubernetes.state.cluster import Cluster


def put_own(cluster: Cluster, resource: Resource, obj: Object) -> None:
    """Create one of the API server's own objects if it is missing."""
    metadata = obj["metadata"]
    key = resource.key(metadata.get("namespace", ""), metadata["name"])
    if cluster.objects.get(key) is not None:
        return
    obj = trees.copy(obj) | {"apiVersion": resource.api_version, "kind": resource.kind}
    initialise(cluster, resource, obj)
    fill(cluster, resource, obj)
    with cluster.sandbox.store.transaction():
        before_write(cluster, resource, key, obj, None)
        cluster.objects.put(resource, key, obj, None, 0)
    after_write(cluster, resource, obj)


def furnish(cluster: Cluster, namespace: str) -> None:
    """Create the objects of every new namespace: the default ServiceAccount and the ConfigMap with the cluster's CA."""
    registry = cluster.registry
    account, config = registry.find("", "v1", "serviceaccounts"), registry.find("", "v1", "configmaps")
    assert account and config
    put_own(cluster, account, {"metadata": {"name": "default", "namespace": namespace}})
    about = {
        "kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver when using internal "
        "endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across "
        "distributions of Kubernetes clusters."
    }
    metadata = {"name": "kube-root-ca.crt", "namespace": namespace, "annotations": about}
    put_own(cluster, config, {"metadata": metadata, "data": {"ca.crt": cluster.sandbox.ca_pem}})


def aggregate(cluster: Cluster, resource: Resource) -> None:
    """Update the rules of aggregated ClusterRoles. They may gather each other, so repeat until no role changes."""
    changed = True
    while changed:
        changed = False
        roles = cluster.objects.all(resource.prefix)
        for role in roles:
            rules = rbac.aggregated_rules(role, roles)
            if rules is not None and rules != (role.get("rules") or []):
                key = resource.key("", role["metadata"]["name"])
                new = trees.copy(role) | {"rules": rules}
                cluster.objects.put(resource, key, new, role, int(role["metadata"]["resourceVersion"]))
                changed = True
                break


def before_write(cluster: Cluster, resource: Resource, key: str, obj: Object, old: Object | None) -> None:
    """Prepare a write, in its transaction: allocate a Service's addresses, set a CustomResourceDefinition's status."""
    if resource.custom is not None:
        return
    if resource.kind == "Service" and resource.group == "":
        allocation.assign(cluster, key, obj, old)
    elif resource.kind == "CustomResourceDefinition" and not obj["metadata"].get("deletionTimestamp"):
        crds.accept(obj, cluster.definitions.values(), cluster.now())


def after_write(cluster: Cluster, resource: Resource, obj: Object) -> None:
    """Apply the immediate effects of a write: fill a new Namespace, aggregate ClusterRoles."""
    if resource.custom is not None:
        return
    if resource.kind == "Namespace" and not obj["metadata"].get("deletionTimestamp"):
        furnish(cluster, obj["metadata"]["name"])
    elif resource.kind == "ClusterRole":
        aggregate(cluster, resource)
