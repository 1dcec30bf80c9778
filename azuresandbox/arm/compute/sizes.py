"""The virtual machine sizes of the sandbox's regions: data, and whether a region offers a size.

Families, vCPUs and memory are Azure's own ("Sizes for virtual machines in Azure"). The table holds the series that people use
for AKS nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True, slots=True)
class Size:
    """One size. `memory_gb` in GiB; `series` groups the sizes that are offered in the same regions."""

    name: str
    series: str
    family: str
    vcpus: int
    memory_gb: float
    max_data_disks: int
    architecture: str = "x64"
    generations: str = "V1,V2"
    premium: bool = True
    resource_disk_gb: int = 0


@dataclass(frozen=True, slots=True)
class Series:
    """Sizes that differ only in the number of vCPUs.

    `pattern` with {n}, `ratio` GiB a vCPU, `disk` GiB a vCPU of temporary disk.
    """

    pattern: str
    family: str
    ratio: float
    counts: tuple[int, ...]
    architecture: str = "x64"
    generations: str = "V1,V2"
    disk: float = 0


SERIES = {
    "Dasv6": Series("Standard_D{n}as_v6", "StandardDasv6Family", 4, (2, 4, 8, 16, 32, 48, 64, 96), generations="V2"),
    "Dadsv6": Series("Standard_D{n}ads_v6", "StandardDadsv6Family", 4, (2, 4, 8, 16, 32), generations="V2", disk=55),
    "Dsv6": Series("Standard_D{n}s_v6", "StandardDsv6Family", 4, (2, 4, 8, 16, 32), generations="V2"),
    "Ddsv6": Series("Standard_D{n}ds_v6", "StandardDdsv6Family", 4, (2, 4, 8, 16), generations="V2", disk=55),
    "Easv6": Series("Standard_E{n}as_v6", "StandardEasv6Family", 8, (2, 4, 8, 16), generations="V2"),
    "Dasv5": Series("Standard_D{n}as_v5", "standardDASv5Family", 4, (2, 4, 8, 16, 32, 48, 64, 96)),
    "Dadsv5": Series("Standard_D{n}ads_v5", "standardDADSv5Family", 4, (2, 4, 8, 16), disk=37.5),
    "Dsv5": Series("Standard_D{n}s_v5", "standardDSv5Family", 4, (2, 4, 8, 16, 32, 48, 64, 96)),
    "Ddsv5": Series("Standard_D{n}ds_v5", "standardDDSv5Family", 4, (2, 4, 8, 16), disk=37.5),
    "Dpsv5": Series("Standard_D{n}ps_v5", "standardDPSv5Family", 4, (2, 4, 8, 16), architecture="Arm64", generations="V2"),
    "Esv5": Series("Standard_E{n}s_v5", "standardESv5Family", 8, (2, 4, 8, 16)),
    "Easv5": Series("Standard_E{n}as_v5", "standardEASv5Family", 8, (2, 4, 8, 16)),
    "Fsv2": Series("Standard_F{n}s_v2", "standardFSv2Family", 2, (2, 4, 8, 16, 32), disk=8),
    "Dasv4": Series("Standard_D{n}as_v4", "standardDASv4Family", 4, (2, 4, 8, 16), disk=8),
    "Dsv4": Series("Standard_D{n}s_v4", "standardDSv4Family", 4, (2, 4, 8, 16)),
    "Dsv3": Series("Standard_D{n}s_v3", "standardDSv3Family", 4, (2, 4, 8, 16), disk=8),
    "Basv2": Series("Standard_B{n}as_v2", "standardBasv2Family", 4, (2, 4, 8, 16), generations="V2"),
    "Bsv2": Series("Standard_B{n}s_v2", "standardBsv2Family", 4, (2, 4, 8, 16), generations="V2"),
}

IRREGULAR = (
    Size("Standard_B2s", "Bs", "standardBSFamily", 2, 4, 4, resource_disk_gb=8),
    Size("Standard_B2ms", "Bs", "standardBSFamily", 2, 8, 4, resource_disk_gb=16),
    Size("Standard_B4ms", "Bs", "standardBSFamily", 4, 16, 8, resource_disk_gb=32),
    Size("Standard_B8ms", "Bs", "standardBSFamily", 8, 32, 16, resource_disk_gb=64),
    Size("Standard_DS1_v2", "DSv2", "standardDSv2Family", 1, 3.5, 4, resource_disk_gb=7),
    Size("Standard_DS2_v2", "DSv2", "standardDSv2Family", 2, 7, 8, resource_disk_gb=14),
    Size("Standard_DS3_v2", "DSv2", "standardDSv2Family", 4, 14, 16, resource_disk_gb=28),
    Size("Standard_DS4_v2", "DSv2", "standardDSv2Family", 8, 28, 32, resource_disk_gb=56),
    Size("Standard_A2_v2", "Av2", "standardAv2Family", 2, 4, 4, generations="V1", premium=False, resource_disk_gb=20),
    Size("Standard_A4_v2", "Av2", "standardAv2Family", 4, 8, 8, generations="V1", premium=False, resource_disk_gb=40),
)

ABSENT: dict[str, frozenset[str]] = {
    "Dasv6": frozenset({"westus", "northcentralus", "westcentralus", "canadaeast", "japanwest", "ukwest", "koreasouth"}),
    "Dadsv6": frozenset({"westus", "northcentralus", "westcentralus", "canadaeast", "japanwest", "ukwest", "koreasouth"}),
    "Easv6": frozenset({"westus", "northcentralus", "westcentralus", "canadaeast", "japanwest", "ukwest", "koreasouth"}),
    "Dsv6": frozenset({"westus", "westcentralus", "japanwest", "koreasouth", "brazilsouth"}),
    "Ddsv6": frozenset({"westus", "westcentralus", "japanwest", "koreasouth", "brazilsouth"}),
    "Dpsv5": frozenset({"westcentralus", "canadaeast", "japanwest", "ukwest", "koreasouth", "southafricanorth"}),
    "Av2": frozenset({"swedencentral", "westus3", "polandcentral", "italynorth"}),
}
"""Series -> regions that do not have it. A series without an entry is everywhere."""

RESTRICTED: dict[str, frozenset[str]] = {
    "DSv2": frozenset({"eastus", "westeurope"}),
    "Dsv3": frozenset({"westeurope", "southcentralus"}),
    "Bs": frozenset({"southcentralus"}),
}
"""Series -> regions that have it, but not for this subscription (NotAvailableForSubscription)."""

_ZONAL = """
australiaeast brazilsouth canadacentral centralindia centralus eastasia eastus eastus2 francecentral germanywestcentral
italynorth japaneast koreacentral northeurope norwayeast polandcentral southafricanorth southcentralus southeastasia
swedencentral switzerlandnorth uaenorth uksouth westeurope westus2 westus3
"""
ZONAL = frozenset(_ZONAL.split())
"""Regions with availability zones."""


@cache
def all_sizes() -> dict[str, Size]:
    """Return every size by its name in lower case: Azure compares size names without regard to case."""
    regular = (
        Size(
            name=series.pattern.format(n=n),
            series=name,
            family=series.family,
            vcpus=n,
            memory_gb=n * series.ratio,
            max_data_disks=min(4 * n // 2, 32) if n > 1 else 4,
            architecture=series.architecture,
            generations=series.generations,
            resource_disk_gb=int(n * series.disk),
        )
        for name, series in SERIES.items()
        for n in series.counts
    )
    return {size.name.lower(): size for size in (*regular, *IRREGULAR)}


def find(name: str) -> Size | None:
    return all_sizes().get(name.lower())


def offered(size: Size, location: str) -> bool:
    """Return whether the region has the size at all."""
    return location not in ABSENT.get(size.series, frozenset())


def restricted(size: Size, location: str) -> bool:
    """Return whether this subscription may not use the size in the region, though the region has it."""
    return location in RESTRICTED.get(size.series, frozenset())


def usable(location: str) -> list[Size]:
    """Return the sizes this subscription may use in the region, by name."""
    found = (size for size in all_sizes().values() if offered(size, location) and not restricted(size, location))
    return sorted(found, key=lambda size: size.name.lower())


def zones(location: str) -> list[str]:
    return ["1", "2", "3"] if location in ZONAL else []
