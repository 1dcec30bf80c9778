"""The checks of AKS before it starts to work: names, versions, sizes, pools, and immutable properties.

Pure functions over the filled-in documents; each raises `ArmError`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from azuresandbox.arm.compute import sizes
from azuresandbox.arm.containerservice import errors, versions
from azuresandbox.arm.errors import not_emulated

Document = dict[str, Any]

CLUSTER_NAME = re.compile(r"[a-zA-Z0-9]$|[a-zA-Z0-9][-_a-zA-Z0-9]{0,61}[a-zA-Z0-9]$")
DNS_PREFIX = re.compile(r"[a-zA-Z0-9]$|[a-zA-Z0-9][a-zA-Z0-9-]{0,52}[a-zA-Z0-9]$")
POOL_NAME = {"Linux": re.compile(r"[a-z][a-z0-9]{0,11}$"), "Windows": re.compile(r"[a-z][a-z0-9]{0,5}$")}
LABEL = re.compile(r"([a-zA-Z0-9]([-a-zA-Z0-9.]{0,251}[a-zA-Z0-9])?/)?[a-zA-Z0-9]([-_.a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$")
TAINT = re.compile(r"[^=:\s]+(=[^=:\s]*)?:(NoSchedule|PreferNoSchedule|NoExecute)$")
MAX_NODES = 1000

IMMUTABLE = (
    "dnsPrefix",
    "fqdnSubdomain",
    "nodeResourceGroup",
    "enableRBAC",
    "diskEncryptionSetID",
    "networkProfile.serviceCidr",
    "networkProfile.dnsServiceIP",
    "networkProfile.loadBalancerSku",
    "networkProfile.ipFamilies",
    "servicePrincipalProfile.clientId",
    "linuxProfile.adminUsername",
    "linuxProfile.ssh.publicKeys",
    "apiServerAccessProfile.enablePrivateCluster",
)
"""Cluster properties that are set once, when the cluster is created."""

POOL_IMMUTABLE = (
    "vmSize",
    "osDiskSizeGB",
    "osDiskType",
    "kubeletDiskType",
    "maxPods",
    "type",
    "osType",
    "availabilityZones",
    "vnetSubnetID",
    "podSubnetID",
    "enableNodePublicIP",
    "scaleSetPriority",
    "enableEncryptionAtHost",
    "enableUltraSSD",
)


def at(document: Document, path: str) -> Any:
    """Return the value at a dotted path, `None` if there is no such path."""
    value: Any = document
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def immutable(wanted: Document, current: Document, paths: tuple[str, ...], prefix: str = "") -> None:
    """Refuse a wanted value that differs from the current one.

    Text is compared without regard to case, as Azure compares sizes.
    """
    for path in paths:
        asked, is_now = at(wanted, path), at(current, path)
        if asked is not None and _folded(asked) != _folded(is_now):
            raise errors.change_not_allowed(prefix + path)


def _folded(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def emulated(properties: Document, table: dict[str, str]) -> None:
    """Refuse by name the properties of `table` that ask for a feature the sandbox does not emulate."""
    for path, what in table.items():
        if at(properties, path):
            raise not_emulated(what)


def cluster_name(name: str) -> None:
    if not CLUSTER_NAME.match(name) or len(name) > 63:
        raise errors.invalid("resourceName")


def dns_prefix(properties: Document) -> None:
    prefix = properties.get("dnsPrefix")
    if prefix is None and not properties.get("fqdnSubdomain"):
        raise errors.missing("dnsPrefix")
    if prefix is not None and not DNS_PREFIX.match(prefix):
        raise errors.invalid("dnsPrefix")


def version(location: str, name: str, wanted: str, plan: str, tier: str) -> str:
    """Return the full version for the version that a cluster asks for."""
    found = versions.resolve(location, wanted)
    if found is None:
        raise errors.version_not_supported(wanted)
    full, minor = found
    long_term = plan == versions.LTS and tier == "Premium"
    if versions.OFFICIAL not in minor.plans and not long_term:
        raise errors.version_lts_only(name, full)
    return full


def upgrade(location: str, current: str, wanted: str, plan: str) -> str:
    """Return the full version of a control plane after an upgrade from `current` to `wanted`.

    `wanted` may be the current version or its minor version: then the result is `current`.
    """
    if wanted in (current, current.rpartition(".")[0]):
        return current
    found = versions.resolve(location, wanted)
    available = versions.upgrades(location, current, plan)
    full = found[0] if found else wanted
    if full not in available:
        raise errors.upgrade_not_allowed(current, full, available)
    return full


def pool_version(location: str, wanted: str, current: str | None, control_plane: str) -> str:
    """Return the full version of a pool. `current`: its present version, `None` for a new pool."""
    if wanted in (control_plane, control_plane.rpartition(".")[0]):
        full = control_plane
    elif wanted == current:
        full = wanted
    else:
        found = versions.resolve(location, wanted)
        if found is None:
            raise errors.version_not_supported(wanted, pool=True)
        full = found[0]
    new, top = versions.parse(full), versions.parse(control_plane)
    if new > top:
        raise errors.pool_newer_than_control_plane(full, control_plane)
    if new[1] < top[1] - versions.MAX_SKEW:
        raise errors.pool_too_old(full, control_plane, versions.MAX_SKEW)
    if current is not None and new < versions.parse(current):
        raise errors.pool_upgrade_not_allowed(current, full)
    return full


def skew(pool_versions: Iterable[str], control_plane: str) -> None:
    """Refuse a control plane that would leave a pool too far behind."""
    for version in pool_versions:
        if versions.parse(version)[1] < versions.parse(control_plane)[1] - versions.MAX_SKEW:
            raise errors.pool_too_old(version, control_plane, versions.MAX_SKEW)


def system_pool(pools: list[Document]) -> None:
    if not any(pool["mode"] == "System" for pool in pools):
        raise errors.no_system_pool()


def pool(properties: Document, name: str, subscription: str, location: str) -> None:
    """Refuse a filled-in pool that AKS would not create."""
    if properties["osType"] not in POOL_NAME or not POOL_NAME[properties["osType"]].match(name):
        raise errors.invalid("agentPoolProfile.name")
    size(properties, subscription, location)
    counts(properties)
    wanted_zones = properties.get("availabilityZones") or []
    if not set(wanted_zones) <= set(sizes.zones(location)):
        raise errors.zones_not_supported(wanted_zones, location)
    if any(not LABEL.match(key) for key in properties.get("nodeLabels") or {}):
        raise errors.invalid("agentPoolProfile.nodeLabels")
    if any(not TAINT.match(taint) for taint in properties.get("nodeTaints") or []):
        raise errors.invalid("agentPoolProfile.nodeTaints")
    if not 10 <= properties["maxPods"] <= 250:
        raise errors.invalid("agentPoolProfile.maxPods")


def size(properties: Document, subscription: str, location: str) -> None:
    wanted = properties.get("vmSize")
    if not wanted:
        raise errors.missing("agentPoolProfile.vmSize")
    found = sizes.find(wanted)
    if found is None or not sizes.offered(found, location):
        raise errors.size_not_supported(wanted, subscription, location, _usable(location))
    if sizes.restricted(found, location):
        raise errors.size_not_allowed(wanted, location, _usable(location))
    if properties["mode"] == "System" and (found.vcpus < 2 or found.memory_gb < 4):
        raise errors.size_too_small(wanted)


def _usable(location: str) -> list[str]:
    return [found.name.lower() for found in sizes.usable(location)]


def counts(properties: Document) -> None:
    """Check the number of nodes and the autoscaler's bounds. A system pool has at least one node."""
    lowest = 1 if properties["mode"] == "System" else 0
    if properties["enableAutoScaling"]:
        low, high = properties.get("minCount"), properties.get("maxCount")
        if low is None or not lowest <= low <= MAX_NODES:
            raise errors.invalid("agentPoolProfile.minCount")
        if high is None or not max(low, 1) <= high <= MAX_NODES:
            raise errors.invalid("agentPoolProfile.maxCount")
    if not lowest <= properties["count"] <= MAX_NODES:
        raise errors.invalid_count(properties["count"], lowest, MAX_NODES)


def issuer(properties: Document, current: Document | None) -> None:
    enabled = bool(at(properties, "oidcIssuerProfile.enabled"))
    if current is not None and at(current, "oidcIssuerProfile.enabled") and not enabled:
        raise errors.issuer_stays()
    if at(properties, "securityProfile.workloadIdentity.enabled") and not enabled:
        raise errors.issuer_needed()
