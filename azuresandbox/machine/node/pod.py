"""A Pod that is placed on a node, as the kubelet holds it: the latest object, its containers' states, its addresses."""

from __future__ import annotations

import asyncio

from azuresandbox.machine.addresses import node_ip, pod_ip
from azuresandbox.machine.cluster import CORE, Cluster
from azuresandbox.machine.node.containers import Container
from azuresandbox.machine.types import Object


class PlacedPod:
    """`obj` is the latest Pod object that the kubelet has seen.

    `changed` is set when a Secret, ConfigMap or claim in the Pod's namespace has changed; `dirty` when its status has changed.
    """

    def __init__(self, cluster: Cluster, obj: Object) -> None:
        self.cluster, self.obj = cluster, obj
        self.clock = cluster.clock
        self.namespace, self.name = obj["metadata"]["namespace"], obj["metadata"]["name"]
        self.uid = obj["metadata"]["uid"]
        spec = obj["spec"]
        self.inits = [Container(item, init=True) for item in spec.get("initContainers") or ()]
        self.mains = [Container(item, init=False) for item in spec["containers"]]
        if self.inits:
            for item in (*self.inits, *self.mains):
                item.wait("PodInitializing")
        self.start_time = cluster.now()
        self.resumed = False
        self.network = False
        self.changed = asyncio.Event()
        self.dirty = asyncio.Event()
        self._load(obj.get("status") or {})

    def _load(self, status: Object) -> None:
        """Resume from a status that was reported before the sandbox was restarted."""
        if "startTime" not in status:
            return
        self.start_time = status["startTime"]
        self.network = "podIP" in status
        known = {
            item["name"]: item
            for item in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
        }
        for item in (*self.inits, *self.mains):
            if item.name in known:
                item.load(known[item.name])
        self.resumed = True

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def node(self) -> str:
        return str(self.obj["spec"]["nodeName"])

    @property
    def service_account(self) -> str:
        return str(self.obj["spec"].get("serviceAccountName", "default"))

    @property
    def host_ip(self) -> str:
        node = self.cluster.cache(CORE, "Node").get(self.node)
        addresses = ((node or {}).get("status") or {}).get("addresses") or ()
        return next((item["address"] for item in addresses if item["type"] == "InternalIP"), node_ip(0))

    @property
    def ip(self) -> str:
        return self.host_ip if self.obj["spec"].get("hostNetwork") else pod_ip(self.uid)

    async def event(self, kind: str, reason: str, message: str, item: Container | None = None) -> None:
        """Record an event about the Pod or one of its containers. `kind`: Normal or Warning."""
        await self.cluster.event(self.obj, kind, reason, message, "kubelet", item.path if item else "")
