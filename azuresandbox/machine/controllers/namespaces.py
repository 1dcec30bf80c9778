"""The objects that every namespace has: the ServiceAccount `default` and the ConfigMap with the cluster's CA.

Source: Kubernetes `pkg/controller/{serviceaccount,certificates/rootcacertpublisher}`.
"""

from __future__ import annotations

from azuresandbox.machine.cluster import CORE, Cluster
from azuresandbox.machine.controller import Key, Mapper
from azuresandbox.machine.objects import is_deleted
from azuresandbox.machine.types import Object

ROOT_CA = "kube-root-ca.crt"


async def run_namespaces(cluster: Cluster) -> None:
    controller = cluster.controller("serviceaccount-controller", workers=2)
    spaces = controller.watch(CORE, "Namespace")

    def of_namespace(name: str) -> Mapper:
        return lambda obj: [Key("Namespace", "", obj["metadata"]["namespace"])] if obj["metadata"]["name"] == name else []

    accounts = controller.watch(CORE, "ServiceAccount", of_namespace("default"))
    maps = controller.watch(CORE, "ConfigMap", of_namespace(ROOT_CA))

    async def reconcile(key: Key) -> float | None:
        found = spaces.get(key.name)
        if found is None or is_deleted(found):
            return None
        if accounts.get("default", key.name) is None:
            await cluster.ensure(_account(key.name))
        authority = {"ca.crt": cluster.sandbox.ca_pem}
        current = maps.get(ROOT_CA, key.name)
        if current is None:
            await cluster.ensure(_authority(key.name, authority))
        elif current.get("data") != authority:
            await cluster.update({**current, "data": authority})
        return None

    await controller.run(reconcile, wait_for=(spaces, accounts, maps))


def _account(namespace: str) -> Object:
    return {"apiVersion": CORE, "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": namespace}}


def _authority(namespace: str, data: dict[str, str]) -> Object:
    metadata = {"name": ROOT_CA, "namespace": namespace}
    return {"apiVersion": CORE, "kind": "ConfigMap", "metadata": metadata, "data": data}
