"""Addresses of Services: cluster IPs from AKS' default service range, node ports; each used once in a cluster.

Kept in partition `apiserver:<id>`: `ip/<address>` and `port/<number>` -> the Service's key.
"""

from __future__ import annotations

import ipaddress

from azuresandbox.kubernetes.model.errors import cause, invalid
from azuresandbox.kubernetes.model.types import Object
from azuresandbox.kubernetes.state.cluster import Cluster
from azuresandbox.kubernetes.state.tokens import private

SERVICE_RANGE = ipaddress.ip_network("10.0.0.0/16")
API_ADDRESS = "10.0.0.1"
NODE_PORTS = range(30000, 32768)
DRY_PORT = NODE_PORTS.stop + 1
"""The node port in a dry run's answer, where kube-apiserver does not allocate a port."""


def assign(cluster: Cluster, key: str, service: Object, old: Object | None, *, dry: bool = False) -> None:
    """Set the addresses and ports of the Service's type, in place; keep those of `old`. `dry`: allocate nothing."""
    spec = service["spec"]
    before = (old or {}).get("spec") or {}
    if spec["type"] == "ExternalName":
        for name in ("clusterIP", "clusterIPs"):
            spec.pop(name, None)
        return
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    if not spec.get("clusterIP"):
        spec["clusterIP"] = before.get("clusterIP") or _free_address(cluster)
    spec["clusterIPs"] = [spec["clusterIP"]]
    if spec["clusterIP"] != "None" and not dry:
        _take(cluster, f"ip/{spec['clusterIP']}", key, service, "spec.clusterIPs")
    if spec["type"] in ("NodePort", "LoadBalancer"):
        had = {port.get("name", ""): port.get("nodePort") for port in before.get("ports") or []}
        for port in spec.get("ports") or []:
            number = port.get("nodePort") or had.get(port.get("name", "")) or (DRY_PORT if dry else _free_port(cluster))
            port["nodePort"] = number
            if not dry:
                _take(cluster, f"port/{number}", key, service, "spec.ports[0].nodePort")
    else:
        for port in spec.get("ports") or []:
            port.pop("nodePort", None)


def release(cluster: Cluster, service: Object) -> None:
    """Release the addresses and ports of a deleted Service."""
    store, partition, spec = cluster.sandbox.store, private(cluster.id), service["spec"]
    if spec.get("clusterIP"):
        store.delete(partition, f"ip/{spec['clusterIP']}")
    for port in spec.get("ports") or []:
        if port.get("nodePort"):
            store.delete(partition, f"port/{port['nodePort']}")


def _take(cluster: Cluster, entry: str, key: str, service: Object, field: str) -> None:
    """Allocate `ip/<address>` or `port/<number>` to a Service; raise 422 if another Service has it."""
    store, partition = cluster.sandbox.store, private(cluster.id)
    held = store.get(partition, entry)
    if held is None:
        store.put(partition, entry, key.encode())
    elif held.value.decode() != key:
        number = entry.partition("/")[2]
        text = f'Invalid value: "{number}": provided value is already allocated'
        raise invalid("", "Service", service["metadata"]["name"], [cause("FieldValueInvalid", text, field)])


def _free_address(cluster: Cluster) -> str:
    store, partition = cluster.sandbox.store, private(cluster.id)
    taken = {record.key[3:] for record in store.list(partition, "ip/").records}
    first = int(SERVICE_RANGE.network_address)
    return next(
        address
        for offset in range(16, SERVICE_RANGE.num_addresses - 1)
        if (address := str(ipaddress.ip_address(first + offset))) not in taken
    )


def _free_port(cluster: Cluster) -> int:
    store, partition = cluster.sandbox.store, private(cluster.id)
    return next(number for number in NODE_PORTS if store.get(partition, f"port/{number}") is None)
