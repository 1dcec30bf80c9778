"""The Kubernetes versions of a region, and the upgrades between them.

The table follows AKS's policy (three minor versions with community support, one in preview, older ones for Long-Term Support
only; two patches each) as of autumn 2026. Source: "Supported Kubernetes versions in AKS", "AKS release calendar".
"""

from __future__ import annotations

from dataclasses import dataclass

OFFICIAL, LTS = "KubernetesOfficial", "AKSLongTermSupport"


@dataclass(frozen=True, slots=True)
class Minor:
    """A minor version: its patches, oldest first, and the support plans it may run under."""

    name: str
    patches: tuple[str, ...]
    plans: tuple[str, ...] = (OFFICIAL, LTS)
    preview: bool = False
    default: bool = False


MINORS = (
    Minor("1.31", ("1.31.13", "1.31.14"), (LTS,)),
    Minor("1.32", ("1.32.12", "1.32.13"), (LTS,)),
    Minor("1.33", ("1.33.11", "1.33.12"), (LTS,)),
    Minor("1.34", ("1.34.8", "1.34.9")),
    Minor("1.35", ("1.35.7", "1.35.8"), default=True),
    Minor("1.36", ("1.36.3", "1.36.4")),
    Minor("1.37", ("1.37.1",), preview=True),
)

WITHOUT_PREVIEW = frozenset({"westcentralus", "koreasouth", "japanwest", "ukwest", "canadaeast", "southafricanorth"})
"""Regions that get a new minor version last."""

MAX_SKEW = 3
"""Minor versions that nodes may be behind their control plane (Kubernetes version skew policy)."""

Version = tuple[int, int, int]


def parse(version: str) -> Version:
    """Return `1.35.7` as numbers, for comparing; a missing patch is 0."""
    major, minor, patch = (*version.split("."), "0")[:3]
    return int(major), int(minor), int(patch)


def offered(location: str) -> list[Minor]:
    """Return the minor versions of the region, oldest first."""
    return [minor for minor in MINORS if not (minor.preview and location in WITHOUT_PREVIEW)]


def default(location: str) -> str:
    """Return the version of a cluster that names no version."""
    return next(minor.patches[-1] for minor in offered(location) if minor.default)


def resolve(location: str, wanted: str) -> tuple[str, Minor] | None:
    """Return the full version and its minor for `1.35` (its latest patch) or `1.35.7`; `None` if it is not offered."""
    for minor in offered(location):
        if wanted == minor.name:
            return minor.patches[-1], minor
        if wanted in minor.patches:
            return wanted, minor
    return None


def minor_of(location: str, version: str) -> Minor | None:
    name = version.rpartition(".")[0]
    return next((minor for minor in offered(location) if minor.name == name), None)


def upgrades(location: str, version: str, plan: str = OFFICIAL) -> list[str]:
    """Return the upgrades of a control plane: newer patches of its minor version, and the next minor. Newest first."""
    _, current, _ = parse(version)
    patches = [
        patch
        for minor in offered(location)
        if plan in minor.plans and parse(minor.patches[0])[1] in (current, current + 1)
        for patch in minor.patches
        if parse(patch) > parse(version)
    ]
    return sorted(patches, key=parse, reverse=True)


def preview(location: str, version: str) -> bool:
    minor = minor_of(location, version)
    return bool(minor and minor.preview)


def pool_versions(location: str, control_plane: str, plan: str = OFFICIAL) -> list[str]:
    """Return the versions of a node pool under `control_plane`: not newer, at most MAX_SKEW minors older. Newest first."""
    _, top, _ = parse(control_plane)
    found = {
        patch
        for minor in offered(location)
        if plan in minor.plans
        for patch in minor.patches
        if top - MAX_SKEW <= parse(patch)[1] <= top and parse(patch) <= parse(control_plane)
    } | {control_plane}
    return sorted(found, key=parse, reverse=True)


def listing(location: str) -> list[dict[str, object]]:
    """Return `kubernetesVersions` of a region as AKS lists them: newest minor first, each patch with its upgrades."""
    return [_entry(location, minor) for minor in reversed(offered(location))]


def _entry(location: str, minor: Minor) -> dict[str, object]:
    plan = OFFICIAL if OFFICIAL in minor.plans else LTS
    entry: dict[str, object] = {
        "version": minor.name,
        "capabilities": {"supportPlan": list(minor.plans)},
        "patchVersions": {patch: {"upgrades": sorted(upgrades(location, patch, plan), key=parse)} for patch in minor.patches},
    }
    if minor.preview:
        entry["isPreview"] = True
    if minor.default:
        entry["isDefault"] = True
    return entry
