"""The Node objects of a cluster's agent pools: scaling, draining, upgrading.

Names, labels and capacities are AKS' own. Node leases and heartbeats are not written, so that a settled cluster has no writes.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TypedDict

from azuresandbox.fabric import AgentPool
from azuresandbox.machine.addresses import node_ip, number
from azuresandbox.machine.client import ApiError
from azuresandbox.machine.cluster import CORE, Cluster
from azuresandbox.machine.objects import controller_of, is_deleted, is_ready
from azuresandbox.machine.types import Object, Objects

POOL = "kubernetes.azure.com/agentpool"
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
DRAIN_SECONDS = 60.0
_SYSTEMS = {
    "AKSUbuntu-2204": ("Ubuntu 22.04.5 LTS", "5.15.0-1092-azure"),
    "AKSUbuntu": ("Ubuntu 24.04.3 LTS", "6.8.0-1041-azure"),
    "AKSAzureLinux": ("Microsoft Azure Linux 3.0", "6.6.104.2-4.azl3"),
    "": ("Linux", ""),
}
"""Prefix of a node image's name -> (operating system, kernel)."""


class PoolReport(TypedDict):
    """The nodes' names, the Kubernetes versions that they have, and how many nodes are ready."""

    nodes: list[str]
    versions: list[str]
    ready: int


class Nodes:
    """Brings a cluster's nodes to the cluster's goal, one pool after the other."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.cache = cluster.cache(CORE, "Node")

    def of(self, pool: str) -> Objects:
        """Return the nodes of a pool in the order of their indices, without those that are being deleted."""
        found = [
            node
            for node in self.cache.list()
            if (node["metadata"].get("labels") or {}).get(POOL) == pool and not is_deleted(node)
        ]
        return sorted(found, key=lambda node: _index(node["metadata"]["name"]))

    async def reconcile(self) -> None:
        pools = {pool["name"]: pool for pool in self.cluster.goal.pools}
        for name, pool in pools.items():
            await self._scale(name, pool)
            await self._upgrade(name, pool)
            await self._label(name, pool)
        gone = {(node["metadata"].get("labels") or {}).get(POOL, "") for node in self.cache.list()} - set(pools) - {""}
        for name in sorted(gone):
            for node in self.of(name):
                await self._remove(node)

    def report(self) -> dict[str, PoolReport]:
        """Return the state of each pool by its name."""
        return {
            pool["name"]: {
                "nodes": [node["metadata"]["name"] for node in self.of(pool["name"])],
                "versions": sorted(
                    {node["status"]["nodeInfo"]["kubeletVersion"].removeprefix("v") for node in self.of(pool["name"])}
                ),
                "ready": sum(is_ready(node) for node in self.of(pool["name"])),
            }
            for pool in self.cluster.goal.pools
        }

    async def _scale(self, name: str, pool: AgentPool) -> None:
        nodes = self.of(name)
        while len(nodes) < pool["count"]:
            nodes.append(await self._add(pool, self._free_index(nodes)))
        for node in nodes[pool["count"] :]:
            await self._remove(node)

    @staticmethod
    def _free_index(nodes: Objects) -> int:
        return max((_index(node["metadata"]["name"]) for node in nodes), default=-1) + 1

    async def _add(self, pool: AgentPool, index: int) -> Object:
        node = node_object(self.cluster, pool, index)
        try:
            created = await self.cluster.create({key: value for key, value in node.items() if key != "status"})
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            created = await self.cluster.manager.get(CORE, "Node", node["metadata"]["name"])
        written = await self.cluster.status(created, _status(self.cluster, pool, index))
        text = f"Registered Node {node['metadata']['name']} in Controller"
        await self.cluster.event(written, "Normal", "RegisteredNode", text, "node-controller")
        return written

    async def _upgrade(self, name: str, pool: AgentPool) -> None:
        """Upgrade as AKS does: add a surge node, drain and reimage each node, remove the surge node."""
        old = [node for node in self.of(name) if not _current(node, pool)]
        if not old:
            return
        surge = await self._add(pool, self._free_index(self.of(name)))
        for node in old:
            await self.cluster.event(node, "Normal", "Drain", f"Draining node: {node['metadata']['name']}", "upgrader")
            await self._drain(node)
            await self._reimage(node["metadata"]["name"], pool)
        await self._remove(surge)

    async def _reimage(self, name: str, pool: AgentPool) -> None:
        node = await self.cluster.manager.get(CORE, "Node", name)
        fresh = node_object(self.cluster, pool, _index(name))
        spec = {key: value for key, value in {**node["spec"], **fresh["spec"]}.items() if key != "unschedulable"}
        node = await self.cluster.update(
            {**node, "metadata": {**node["metadata"], "labels": fresh["metadata"]["labels"]}, "spec": spec}
        )
        await self.cluster.status(node, _status(self.cluster, pool, _index(name)))
        text = f"Successfully reimaged node: {name}"
        await self.cluster.event(node, "Normal", "Upgrade", text, "upgrader")

    async def _label(self, name: str, pool: AgentPool) -> None:
        for node in self.of(name):
            fresh = node_object(self.cluster, pool, _index(node["metadata"]["name"]))
            labels = {**node["metadata"]["labels"], **fresh["metadata"]["labels"]}
            spec = {key: value for key, value in node["spec"].items() if key != "taints"} | fresh["spec"]
            if labels != node["metadata"]["labels"] or spec != node["spec"]:
                await self.cluster.update({**node, "metadata": {**node["metadata"], "labels": labels}, "spec": spec})

    async def _remove(self, node: Object) -> None:
        await self._drain(node)
        current = await self.cluster.manager.find(CORE, "Node", node["metadata"]["name"])
        if current is not None:
            await self.cluster.delete(current)

    async def _drain(self, node: Object) -> None:
        """Cordon the node and delete its Pods, except those of DaemonSets."""
        name = node["metadata"]["name"]
        current = await self.cluster.manager.get(CORE, "Node", name)
        if not current["spec"].get("unschedulable"):
            await self.cluster.update({**current, "spec": {**current["spec"], "unschedulable": True}})
        leaving = [pod for pod in self.cluster.pods() if pod["spec"].get("nodeName") == name and _drained(pod)]
        for pod in leaving:
            await self.cluster.delete(pod)
        uids = {pod["metadata"]["uid"] for pod in leaving}
        try:
            await self._until_deleted(uids)
        except TimeoutError:
            self.cluster.log(f"drain of {name}: Pods did not end in time and are deleted with the node")

    async def _until_deleted(self, uids: set[str]) -> None:
        """Wait until the Pods no longer exist. Raises `TimeoutError` after `DRAIN_SECONDS`."""
        cache = self.cluster.cache(CORE, "Pod")
        timer = asyncio.ensure_future(self.cluster.clock.wait(DRAIN_SECONDS))
        with cache.changes() as changed:
            try:
                while uids & {pod["metadata"]["uid"] for pod in cache.list()}:
                    changed.clear()
                    change = asyncio.ensure_future(changed.wait())
                    await asyncio.wait({timer, change}, return_when=asyncio.FIRST_COMPLETED)
                    change.cancel()
                    if timer.done():
                        raise TimeoutError
            finally:
                timer.cancel()


def _drained(pod: Object) -> bool:
    owner = controller_of(pod)
    return owner is None or owner["kind"] != "DaemonSet"


def _current(node: Object, pool: AgentPool) -> bool:
    version = node["status"]["nodeInfo"]["kubeletVersion"].removeprefix("v")
    image = node["metadata"]["labels"].get("kubernetes.azure.com/node-image-version")
    return bool(version == pool["version"] and image == pool["node_image"])


def _index(name: str) -> int:
    return int(name[-6:], 36)


def node_name(cluster: Cluster, pool: str, index: int) -> str:
    """Return a node's name as AKS forms it: pool, a number that belongs to the cluster, and the index in base 36."""
    digits = f"{number(cluster.id, 90_000_000) + 10_000_000}"
    suffix = ""
    for _ in range(6):
        index, digit = divmod(index, 36)
        suffix = _DIGITS[digit] + suffix
    return f"aks-{pool}-{digits}-vmss{suffix}"


def node_object(cluster: Cluster, pool: AgentPool, index: int) -> Object:
    """Return the Node object of a pool's instance, without its status."""
    goal, name = cluster.goal, node_name(cluster, pool["name"], index)
    mode, size, zones = pool["mode"].lower(), pool["vm_size"], pool.get("zones") or []
    zone = f"{goal.location}-{zones[index % len(zones)]}" if zones else "0"
    labels = {
        "agentpool": pool["name"],
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/instance-type": size,
        "beta.kubernetes.io/os": "linux",
        "failure-domain.beta.kubernetes.io/region": goal.location,
        "failure-domain.beta.kubernetes.io/zone": zone,
        POOL: pool["name"],
        "kubernetes.azure.com/cluster": goal.node_resource_group,
        "kubernetes.azure.com/mode": mode,
        "kubernetes.azure.com/node-image-version": pool["node_image"],
        "kubernetes.azure.com/os-sku": pool["os_sku"],
        "kubernetes.azure.com/role": "agent",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": size,
        "topology.kubernetes.io/region": goal.location,
        "topology.kubernetes.io/zone": zone,
        **(pool.get("labels") or {}),
    }
    provider = f"azure:///subscriptions/{cluster.sandbox.subscription_id}/resourceGroups/{goal.node_resource_group.lower()}"
    spec: Object = {
        "providerID": f"{provider}/providers/Microsoft.Compute/virtualMachineScaleSets/{name[:-6]}/virtualMachines/{index}"
    }
    taints = [_taint(text) for text in pool.get("taints") or ()]
    if taints:
        spec["taints"] = taints
    labels = {key: value for key, value in labels.items() if value}
    return {"apiVersion": CORE, "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": spec}


def _taint(text: str) -> Object:
    """Return the taint that a pool writes as `key=value:Effect`."""
    pair, _, effect = text.rpartition(":")
    key, _, value = pair.partition("=")
    return {"key": key, "effect": effect, **({"value": value} if value else {})}


def _status(cluster: Cluster, pool: AgentPool, index: int) -> Object:
    name, now = node_name(cluster, pool["name"], index), cluster.now()
    cores, memory = int(pool["vcpus"]), int(float(pool["memory_gb"]) * 1024 * 1024)
    capacity = {"cpu": str(cores), "memory": f"{memory - 200_000}Ki", "pods": "110", "ephemeral-storage": "129886128Ki"}
    # AKS reserves a share of the cores, smaller the more there are, and memory for 110 Pods.
    reserved = 60 + 40 * min(1, cores - 1) + 20 * min(2, max(0, cores - 2)) + 10 * max(0, cores - 4)
    allocatable = {**capacity, "cpu": f"{cores * 1000 - reserved}m", "memory": f"{int(memory * 0.85) - 300_000}Ki"}
    good = {
        "MemoryPressure": ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        "DiskPressure": ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        "PIDPressure": ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        "Ready": ("KubeletReady", "kubelet is posting ready status"),
    }
    conditions = [
        {
            "type": kind,
            "status": "True" if kind == "Ready" else "False",
            "reason": reason,
            "message": text,
            "lastTransitionTime": now,
            "lastHeartbeatTime": now,
        }
        for kind, (reason, text) in good.items()
    ]
    address = number(pool["name"], 200) * 100 + index
    system, kernel = next(facts for image, facts in _SYSTEMS.items() if pool["node_image"].startswith(image))
    machine = uuid.uuid5(uuid.NAMESPACE_URL, f"{cluster.id}/{name}")
    return {
        "capacity": capacity,
        "allocatable": allocatable,
        "conditions": conditions,
        "addresses": [{"type": "InternalIP", "address": node_ip(address)}, {"type": "Hostname", "address": name}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "nodeInfo": {
            "architecture": "amd64",
            "operatingSystem": "linux",
            "osImage": system,
            "kubeletVersion": f"v{pool['version']}",
            "kubeProxyVersion": "",
            "containerRuntimeVersion": "containerd://1.7.28-1",
            "kernelVersion": kernel,
            "machineID": machine.hex,
            "systemUUID": str(machine),
            "bootID": str(uuid.uuid5(machine, now)),
        },
    }
